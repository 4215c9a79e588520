"""What a time passes on its way, by the marks of who has to do something there.

Only marks that the end waits for: what the agent does meanwhile delays nothing.
"""

from collections.abc import Iterator

from callerside.marks import Mark
from callerside.reports.evidence import CallEvidence
from callerside.reports.metrics.machine_time import AGENT, CALLER, SERVER, Part

_OWNERS = {"agent": AGENT, "caller": CALLER, "realtime": SERVER}

ANSWERED = ("agent/call_received", "agent/answer_sent", "caller/call_answered")
CONNECTED = (
    "agent/call_received",
    "agent/realtime_connecting",
    "realtime/session_opened",
    "agent/realtime_connected",
)
MEDIA = ("agent/call_received", "agent/answer_sent", "agent/answered", "agent/media_ready")
GREETED = (
    *MEDIA,
    *CONNECTED,
    "agent/beep_ended",
    "agent/session_updated",
    "agent/greeting_requested",
    "realtime/response_created",
    "realtime/delta_sent",
    "agent/first_delta",
)
"""Up to where the greeting is there to be played."""
_PACED = frozenset({"beep_ended", "greeting_ended"})
_ASIDE = frozenset({"realtime/delta_sent"})
_OF_SEVERAL = frozenset({"realtime/speech_started", "realtime/session_opened"})
"""What ends a part in which several processes had to do something, one after the other: a server
opens a session when the agent has found it, connected, and asked for it."""


def passed(
    evidence: CallEvidence, path: tuple[str, ...], start_ns: int, end_ns: int
) -> Iterator[Part]:
    """The parts of a path that end within a time: of each mark the first one there is.

    Args:
        evidence: of the call.
        path: marks, each as `source/name`.
        start_ns: when the time begins.
        end_ns: when it is over; a part may end with it.
    """
    for one in dict.fromkeys(path):
        source, _, name = one.partition("/")
        mark = evidence.first(source, name, after_ns=start_ns)  # type: ignore[arg-type]  # of a mark
        if mark is not None and mark.at_ns <= end_ns:
            yield part_of(mark)


def part_of(mark: Mark) -> Part:
    """What ends with a mark: whoever marks it has done it."""
    name = f"{mark.source}/{mark.name}"
    return Part(
        mark.at_ns,
        None if name in _OF_SEVERAL else _OWNERS[mark.source],
        paced=mark.name in _PACED,
        aside=name in _ASIDE,
    )
