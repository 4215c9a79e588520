"""How many files a process may have open, and how many calls that carries: known at the start.

A process that runs out of handles in the midst of its calls loses some of each: a socket for sound,
a connection to the API, a record. So it is counted before, and fewer calls are taken instead.
"""

import resource

import structlog

from callerside.agent.config.loader import ConfigError
from callerside.agent.service.http import MAX_CONNECTIONS

A_CALL = 16
"""Two sockets of sound, and two of whoever is consulted; the API's, and the next one's while it is
moved to; timeline, recording, events; the functions that run at once; a record."""
CONNECTIONS = MAX_CONNECTIONS + 64
"""Of the pages, and of SIP over TCP: as many as an engine that holds others off has (`tcp_floods`);
one that does not has the proxy in front."""
RESERVE = 128
"""Of the process itself: libraries, loops, pipes, prompts that are read and made."""

_log = structlog.get_logger(__name__)


def needed(calls: int) -> int:
    """Handles that a process may need with so many calls at once."""
    return RESERVE + CONNECTIONS + A_CALL * calls


def carried(calls: int) -> int:
    """How many calls can be up at once, of so many that there is room for otherwise.

    The limit (RLIMIT_NOFILE) is raised as far as it has to be and may be.

    Raises:
        ConfigError: not one; says what to raise.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed(calls):
        return calls
    most = needed(calls) if hard == resource.RLIM_INFINITY else min(hard, needed(calls))
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most == needed(calls):
        return calls
    places = (most - needed(0)) // A_CALL
    if places < 1:
        raise ConfigError(
            f"this process may open {most} files, and one call needs {needed(1)}: raise the limit "
            "(`ulimit -Hn`, LimitNOFILE of systemd)"
        )
    _log.warning("files_too_few", limit=most, needed=needed(calls), calls=places, wanted=calls)
    return places
