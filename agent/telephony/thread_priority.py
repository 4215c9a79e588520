"""Threads that must not wait: those that pace what is sent.

A tick that comes late makes the other side's jitter buffer grow by whole frames, and PJSIP's
shrinks slowly or, by a frame, never: every answer of the rest of the call is heard 20 ms later. So
these threads ask the system for real-time scheduling. They are short and mostly asleep. Linux
grants it to root, and to processes with CAP_SYS_NICE or a limit on `rtprio`; without it they run as
before.
"""

import os
import sys

import structlog

_log = structlog.get_logger(__name__)

_PRIORITY = 10
"""Of 1 to 99: above everything ordinary, below what the kernel itself needs."""


def hurry(thread: int = 0) -> bool:
    """Ask for real-time scheduling of a thread, by its system's id; 0: the calling one."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        # Not for what the thread may start: that has no frame to be in time for.
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(thread, policy, os.sched_param(_PRIORITY))
    except OSError as error:
        _log.debug("no_real_time_scheduling", reason=str(error))
        return False
    return True
