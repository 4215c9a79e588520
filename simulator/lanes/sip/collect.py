"""After a call in the sip lane: what each process wrote about it, brought into one directory.

The directory is what `reports.evidence` reads: one merged timeline, the recording, and what the
server heard and sent.
"""

import glob
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from callerside.agent.config.settings import CallSettings, SipSettings
from callerside.audio_files import write_flac
from callerside.marks import Mark, merge, to_lines
from callerside.reports.evidence import HEARD, SENT, TIMELINE
from callerside.simulator.lanes.sip.closed_files import ClosedFiles
from callerside.timelines import TimelineError, read_timeline

CALLER_TIMELINE = "caller.jsonl"

EVIDENCE_TIMEOUT_S = 5.0
"""How long the agent and the server may take to close their timelines after a call."""
UNCONNECTED_TIMEOUT_S = 1.0
"""How long a server may take to report a connection that came to nothing; it may know of none."""
VANISHED_TIMEOUT_S = 45.0
"""The same after a caller that vanished: the agent must notice first (RFC 3261: 32 s at most for
a missing ACK), and longer where its limits are (`notices_vanished_s`). Until then it still has one
call less to give."""
_FAREWELLS_S = 45.0
"""What may lie between a limit and the end: the agent's last words, to nobody."""
_TAIL_MARKS = 20
"""Among how many of the last marks the closing one is: others may be written after it."""
_POLL_S = 0.05


def collect(
    call: str,
    directory: Path,
    work: Path | None,
    also: Sequence[Mark] = (),
    closed: ClosedFiles | None = None,
    *,
    upstream: bool = False,
    vanished_s: float = VANISHED_TIMEOUT_S,
) -> list[str]:
    """Bring together what was written about a call; returns what is missing. Blocks.

    Args:
        call: the call's name.
        directory: of the call; the caller's timeline and recording are there already.
        work: where agent and server write; None when they are not ours.
        also: what the run itself has to say about the call, in order of time.
        closed: what agent and server announce as complete. Where they do not, a timeline without
            its closing mark is read once more when its time is up.
        upstream: the server is somebody else's: only the agent is ours.
        vanished_s: how long to wait for the agent to notice a caller that vanished.
    """
    # By time: what befell its packets is written when the call is over.
    caller = merge([_read(directory / CALLER_TIMELINE)])
    closed = closed or ClosedFiles()
    needed = [("caller", caller, "scenario_ended")]
    timelines = [caller]
    if work is not None:
        vanished = any(m.name == "hang_up_sent" and m.fields["how"] == "vanish" for m in caller)
        answered = any(mark.name == "call_answered" for mark in caller)
        agent = _wait_for(
            closed,
            lambda: _agent_timelines(work, call),
            lambda name: _is_agents(name, call),
            "call_ended",
            vanished_s if vanished else EVIDENCE_TIMEOUT_S,
        )
        tried, connected = (
            not upstream and any(mark.name == name for mark in agent)
            for name in ("realtime_connecting", "realtime_connected")
        )
        server = _wait_for(
            closed,
            lambda: [_server_timeline(work, call)],
            lambda name: name == _server_timeline(work, call).name,
            "session_closed",
            EVIDENCE_TIMEOUT_S if connected else UNCONNECTED_TIMEOUT_S if tried else 0.0,
        )
        timelines = [agent, server, caller]
        needed += [("agent", agent, "call_ended")] if answered or vanished else []
        needed += [("server", server, "session_closed")] if connected else []
        _move_audio(call, directory, work, closed)
    (directory / TIMELINE).write_bytes(to_lines(merge([*timelines, also])))
    (directory / CALLER_TIMELINE).unlink(missing_ok=True)
    missing = [
        f"the {whose}'s timeline has no {last_mark} mark"
        for whose, marks, last_mark in needed
        if not _is_over(marks, last_mark)
    ]
    if work is not None and not missing:  # all of it is in the call's own now
        for path in (*_agent_timelines(work, call), _server_timeline(work, call)):
            path.unlink(missing_ok=True)
    return missing


def notices_vanished_s(agent: Mapping[str, Any]) -> float:
    """The longest that the agent may take to notice that a caller has vanished.

    It misses the caller's packets, its ACK, or anything to be said; of a call on hold nothing but
    the silence, and where that has no limit the call's length.

    Args:
        agent: a scenario's settings of the agent.
    """
    limits = CallSettings.model_validate(agent).limits
    longest_ms = max(SipSettings().rtp_timeout_ms, limits.silence_ms or limits.call_ms)
    return max(VANISHED_TIMEOUT_S, longest_ms / 1000 + _FAREWELLS_S)


def _agent_timelines(work: Path, call: str) -> list[Path]:
    """`NAME-CALL.jsonl`, where CALL has no hyphen and NAME may."""
    found = sorted((work / "agent").glob(f"{call}-*.jsonl"))
    return [path for path in found if _is_agents(path.name, call)]


def _server_timeline(work: Path, call: str) -> Path:
    return work / "realtime" / f"{call}.realtime.jsonl"


def _is_agents(name: str, call: str) -> bool:
    return Path(name).stem.rpartition("-")[0] == call


def _move_audio(call: str, directory: Path, work: Path, closed: ClosedFiles) -> None:
    """One FLAC file of each kind, also where sessions that followed others left files of their own.

    A session is reported to be over a moment before its sound is written to the end.
    """
    deadline = time.monotonic() + EVIDENCE_TIMEOUT_S
    unfinished = f".{glob.escape(call)}.*.part"
    while any((work / "realtime").glob(unfinished)) and time.monotonic() < deadline:
        if closed.over:
            return
        time.sleep(_POLL_S)
    for suffix, name in (("heard", HEARD), ("sent", SENT)):
        first = work / "realtime" / f"{call}.{suffix}.wav"
        if not first.exists():
            continue
        paths = [first, *_later_sessions(first)]
        pieces = [soundfile.read(path, dtype="int16") for path in paths]
        audio = np.concatenate([samples for samples, _ in pieces])
        if audio.size:
            write_flac(directory / name, audio, pieces[0][1])
        for path in paths:
            path.unlink()


def _later_sessions(first: Path) -> Iterator[Path]:
    number = 2
    while (path := first.with_name(f"{first.stem}-{number}.wav")).exists():
        yield path
        number += 1


def _wait_for(
    closed: ClosedFiles,
    paths: Callable[[], list[Path]],
    concerns: Callable[[str], bool],
    last_mark: str,
    timeout_s: float,
) -> list[Mark]:
    """The marks of the files, once the closing one is there or time is up.

    They are read at once, when one of them is announced as complete, and when time is up: never
    more often than there are announcements.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        seen = closed.count
        marks = [mark for path in paths() for mark in _read(path)]
        if _is_over(marks, last_mark) or closed.over or time.monotonic() > deadline:
            return marks
        closed.wait(seen, concerns, deadline - time.monotonic())


def _is_over(marks: Sequence[Mark], last_mark: str) -> bool:
    return any(mark.name == last_mark for mark in marks[-_TAIL_MARKS:])


def _read(path: Path) -> list[Mark]:
    """A timeline that is still being written may end in half a line, or not be there yet."""
    try:
        return read_timeline(path)
    except (TimelineError, FileNotFoundError):
        return []
