"""`python tests/scorers/make_calls.py FOLDER [COUNT]`: calls whose truth is known, for any scorer.

Each is a folder, as callback-voice keeps one: `call.wav` (left the caller, right the agent),
`caller_clean.wav`, `events.jsonl`; and `truth.json`, with what is true and what callerside says.
They are those of `callerside calibrate --speech` (docs/metrics.md), each on another line.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from callerside.audio_files import write_wav
from callerside.reports.evidence import CallEvidence, CallInfo
from callerside.reports.metrics.metrics import measure
from callerside.reports.sound.files import read, recordings_at
from callerside.reports.sound.report import evidence_of
from callerside.simulator.calibration.speech.calibrate import call_of, plans
from callerside.simulator.calibration.speech.spoken_call import SpokenCall
from callerside.simulator.caller.recorder import CALLER_RATE_HZ

CALLS = 60


def write(call: SpokenCall, name: str, folder: Path) -> None:
    """One call as a folder of files."""
    write_wav(folder / "call.wav", call.recording, CALLER_RATE_HZ)
    write_wav(folder / "caller_clean.wav", call.mouth, CALLER_RATE_HZ)
    lines = [json.dumps(event) for event in _events(call)]
    (folder / "events.jsonl").write_text("\n".join(lines) + "\n")
    truth = {
        "name": name,
        "line": call.condition.group,
        "question_s": [_s(call.said[0].voiced[0][0]), _s(call.said[0].voiced[-1][1])],
        "interruption_s": _s(call.said[1].voiced[0][0]),
        "gap_ms": _gap_ms(call),
        "stop_ms": call.stop_ms,
        "callerside": {way: _told(call, one) for way, one in _ways(call, folder).items()},
    }
    (folder / "truth.json").write_text(json.dumps(truth, indent=2) + "\n")


def _events(call: SpokenCall) -> Iterator[dict[str, Any]]:
    for said, tag in zip(call.said, ("line", "barge_in"), strict=True):
        edges = {"t_s": _s(said.voiced[0][0]), "end_s": _s(said.voiced[-1][1])}
        yield {**edges, "kind": "caller_utterance", "text": "x", "data": {"tag": tag}}


def _ways(call: SpokenCall, folder: Path) -> dict[str, CallEvidence]:
    """With all that our fake tells; of another's agent; of the bare recording."""
    (sound,) = recordings_at([folder / "call.wav"])
    info = CallInfo(name="bare", lane="recording")
    return {
        "our fake": call.evidence("known"),
        "any agent": call.evidence("unknown"),
        "bare recording": evidence_of(read(sound), info, "left"),
    }


def _told(call: SpokenCall, evidence: CallEvidence) -> dict[str, float | None]:
    measured = measure(evidence)
    found = {(one.name, one.turn): one for one in measured.measurements}
    numbers = [
        next(
            (
                turn.number
                for turn in measured.turns
                if abs(evidence.sample_at(getattr(turn, edge)) - sample) < CALLER_RATE_HZ // 2
            ),
            0,
        )
        for edge, sample in (
            ("end_ns", call.said[0].voiced[-1][1]),
            ("start_ns", call.said[1].voiced[0][0]),
        )
    ]
    turn, stop = found.get(("turn_ms", numbers[0])), found.get(("barge_in_stop_ms", numbers[1]))
    packet_ms = 0.0
    if evidence.info.lane != "recording":  # its turn begins when the packet left
        packet_ms = call.turn_ms - _gap_ms(call)
    return {
        "gap_ms": None if turn is None else turn.value - packet_ms,
        "gap_bound_ms": turn.bound.size if turn is not None and turn.bound else None,
        "stop_ms": None if stop is None else stop.value,
        "stop_bound_ms": stop.bound.size if stop is not None and stop.bound else None,
    }


def _gap_ms(call: SpokenCall) -> float:
    return 1000 * (_s(call.heard[1][0][0]) - _s(call.said[0].voiced[-1][1]))


def _s(sample: int) -> float:
    return sample / CALLER_RATE_HZ


def main() -> None:
    """Write as many calls as are asked for."""
    folder, count = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else CALLS
    for number, plan in enumerate(plans(sample=count)):
        target = folder / f"{number:03}"
        target.mkdir(parents=True, exist_ok=True)
        write(call_of(plan), plan.name, target)


if __name__ == "__main__":
    main()
