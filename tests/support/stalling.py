"""What an agent's telephone does in tests of its pace: it stands still, in its own process."""

import os
import threading
import time

from callerside.agent.telephony.interface import AudioReceived, CallLeg, CallReceived, LegInput

STALL_S = 0.04
STALL_FRAMES = 25
"""One stall in so many frames: twice a second."""

_frames = 0


def stalls(leg: CallLeg, item: LegInput) -> None:
    """Takes the call, and holds the loop up now and then."""
    global _frames
    if isinstance(item, CallReceived):
        leg.answer()
    elif isinstance(item, AudioReceived):
        _frames += 1
        if _frames % STALL_FRAMES == 0:
            time.sleep(STALL_S)


def stalls_without_priority(leg: CallLeg, item: LegInput) -> None:
    """The same where the system grants no real-time scheduling."""
    if isinstance(item, AudioReceived) and not _frames:
        for thread in threading.enumerate():
            if thread.name == "pacer" and thread.native_id:
                os.sched_setscheduler(thread.native_id, os.SCHED_OTHER, os.sched_param(0))
    stalls(leg, item)
