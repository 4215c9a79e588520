"""`callerside calibrate`: the harness's own error, measured over real SIP and RTP.

The scripted caller calls a responder whose behaviour is known to the sample
(`calibration.responder`), as many at once as a run does, and is measured by the same code that
measures an agent. What it found, less what was true, is the harness's error; it is kept for this
machine, and every later report shows it.
"""

import asyncio
import os
import platform
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from callerside import audio, audio_files
from callerside.host import processors
from callerside.reports.evidence import TIMELINE, EvidenceError, load_evidence
from callerside.reports.metrics import measurement
from callerside.reports.metrics.registry import METRICS
from callerside.reports.verdict.calibration import MOVED, Calibration, error_of
from callerside.simulator.calibration.ground_truth import Errors, TruthError, errors_of
from callerside.simulator.calibration.placing import CalibrateError, Calling, place
from callerside.simulator.calibration.responder import Behaviour, hard_edged
from callerside.simulator.calibration.responder_marks import load_heard
from callerside.simulator.caller.recorder import CALLER_RATE_HZ
from callerside.simulator.lanes.sip.child_process import ChildProcess
from callerside.simulator.lanes.sip.process_pair import calls_at_once, child
from callerside.simulator.lanes.sip.scheduler_stalls import StallWatch
from callerside.simulator.lanes.sip.speech_files import SpeechFiles
from callerside.simulator.lanes.sip.stall_marks import marks_of
from callerside.simulator.scenario.model import Scenario
from callerside.speech.synthesis import synthesise

CALLS = 24

PHRASE = "When do you open on Saturday?"
REPLY = "On a Saturday morning we are here from nine o'clock."
_SCENARIO = {
    "about": "A responder whose behaviour is known to the sample.",
    "time_limit": "50s",
    "steps": [
        {"expect": "beep"},
        {"expect": "greeting"},
        {"say": {"wav": "phrase.wav"}},
        {"expect": "reply"},
        {"say": {"wav": "phrase.wav"}},
        {"say": {"wav": "phrase.wav"}, "when": "reply + 1500ms"},
        {"expect": "reply"},
        {"say": {"wav": "phrase.wav"}},
        {"expect": "reply"},
        {"expect": "reply"},
        "hang_up",
    ],
}


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """What calls to the responder have shown."""

    calibration: Calibration
    untold: Mapping[str, int]
    """How many values nobody can tell, by metric: it is not known how long the machine took."""

    @property
    def untold_share(self) -> float:
        """Of all values."""
        untold = sum(self.untold.values())
        return untold / max(1, untold + sum(one.count for one in self.calibration.metrics))


@dataclass
class _Collected:
    stalls: StallWatch
    """Of the whole time."""
    pairs: Mapping[str, int]
    """In which pair of processes each call was."""
    errors: list[Errors] = field(default_factory=list)
    """Of each call that could serve."""
    refused: list[str] = field(default_factory=list)


async def calibrate(
    directory: Path,
    *,
    calls: int = CALLS,
    concurrency: int | None = None,
    disturbed: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Calibrated:
    """Place the calls, and compute the harness's errors. Evidence stays in `directory`.

    Args:
        directory: where the calls' evidence goes.
        calls: how many.
        concurrency: how many at once; as many as a run places, if not given.
        disturbed: let other work want every processor meanwhile (`calibration.burner`).
        progress: called with a line after each call.

    Raises:
        CalibrateError: too few of the calls could serve.
        ProcessError: a process died, or did not start.
    """
    concurrency = concurrency or calls_at_once()
    phrase, reply, calling = await asyncio.to_thread(_prepare, directory)
    names = [f"call{number}" for number in range(1, calls + 1)]
    async with AsyncExitStack() as meanwhile:
        stalls = await meanwhile.enter_async_context(StallWatch())
        if disturbed:
            for process in _burners(directory):
                await process.start()
                meanwhile.push_async_callback(process.stop)
        callings = dict.fromkeys(names, calling)
        speaks = directory / "reply.wav"
        pairs = await place(directory, callings, speaks, concurrency, progress, stalls)
    collected = _Collected(stalls, pairs)
    for name in names:
        await asyncio.to_thread(
            _collect, directory, name, phrase, Behaviour(reply=reply), collected
        )
    for line in collected.refused:
        progress(f"not used: {line}")
    if len(collected.errors) < max(1, calls // 2):
        raise CalibrateError(
            f"only {len(collected.errors)} of {calls} calls could serve: "
            f"{'; '.join(collected.refused)}"
        )
    untold = Counter[str]()
    for call in collected.errors:
        untold.update(call.untold)
    return Calibrated(calibration=_result(collected.errors, concurrency), untold=untold)


def _burners(directory: Path) -> list[ChildProcess]:
    module = "callerside.simulator.calibration.burner"
    return [child(f"burner{number}", module, [str(number)], directory) for number in processors()]


def _prepare(directory: Path) -> tuple[bytes, bytes, Calling]:
    """What caller and responder say, as files too, and what every caller does."""
    phrase = hard_edged(synthesise(PHRASE, rate_hz=CALLER_RATE_HZ))
    reply = hard_edged(synthesise(REPLY, rate_hz=CALLER_RATE_HZ))
    for name, pcm in (("phrase", phrase), ("reply", reply)):
        audio_files.write_wav(directory / f"{name}.wav", audio.to_samples(pcm), CALLER_RATE_HZ)
    scenario = Scenario.model_validate(_SCENARIO).named("calibration", directory / "of_no_file")
    speech = SpeechFiles(directory / "speech", CALLER_RATE_HZ)
    return phrase, reply, Calling(scenario.model_dump_json(), speech.of(scenario))


def _collect(
    directory: Path, name: str, phrase: bytes, behaviour: Behaviour, collected: _Collected
) -> None:
    """One call's errors; a spoilt call (a lost packet in the phrase) is reported, not used."""
    try:
        (directory / name / "caller.jsonl").rename(directory / name / TIMELINE)
        evidence = load_evidence(directory / name)
        marks = evidence.marks
        stood = collected.stalls.between(marks[0].at_ns, marks[-1].at_ns)
        number = collected.pairs[name]
        concerned = ("", f"caller{number}", f"agent{number}")
        told = marks_of((one for one in stood if one.process in concerned), name)
        marks = sorted([*marks, *told], key=lambda one: one.at_ns)
        evidence = replace(evidence, marks=marks)
        heard = load_heard(directory / name)
        collected.errors.append(errors_of(evidence, heard, audio.to_samples(phrase), behaviour))
    except (OSError, EvidenceError, TruthError) as error:
        collected.refused.append(f"{name}: {error}")


def _result(calls: list[Errors], concurrency: int) -> Calibration:
    errors: dict[str, list[float]] = defaultdict(list)
    missed: Counter[str] = Counter()
    for call in calls:
        missed.update(call.missed)
        for name, values in call.metrics.items():
            errors[name] += values
    path = [one for call in calls for one in call.there_and_back_ms]
    moved = [one for call in calls for one in call.moved_ms]
    return Calibration(
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        calls=len(calls),
        concurrency=concurrency,
        metrics=tuple(
            error_of(name, metric.unit, errors[name])
            for name, metric in METRICS.items()
            if errors.get(name)
        ),
        path_ms={
            "p50": round(measurement.percentile(path, 50), 1),
            "p95": round(measurement.percentile(path, 95), 1),
            MOVED: round(measurement.percentile(moved, 95), 1),
        },
        remarks={
            name: f"{missed[name]} values that were to be measured were not found"
            if missed[name]
            else metric.without_error or "none of these calls shows anything about it"
            for name, metric in METRICS.items()
            if missed[name] or not errors.get(name)
        },
    )
