"""`earshot calibrate`: the harness's own error, measured over real SIP and RTP.

The scripted caller calls a responder whose behaviour is known to the sample
(`simulator.responder`), as many at once as a run does, and is measured by the same code that
measures an agent. What it found, less what was true, is the harness's error; it is kept for this
machine, and every later report shows it.
"""

import asyncio
import json
import platform
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import yaml

from agent import audio
from fakes.voice import synthesise
from reports import stats
from reports.budget import UNITS
from reports.calibration import Calibration, error_of
from reports.evidence import TIMELINE, EvidenceError, load_evidence
from reports.files import write_atomically
from simulator.calibration_truth import TruthError, errors_of, load_heard
from simulator.cell import CALLS_IN_A_CELL, calls_at_once, child
from simulator.processes import ChildProcess
from simulator.recording import CALLER_RATE_HZ
from simulator.responder import Behaviour, hard_edged

CALLS = 24
CALL_LIMIT_S = 60.0

_PHRASE = "Could you tell me when you open on Saturday morning?"
_GREETING = "Hello, this is the city library."
_REPLY = "We open at nine in the morning on Saturdays and we close at five in the afternoon."
_SCENARIO = {
    "about": "A responder whose behaviour is known to the sample.",
    "time_limit": "50s",
    "steps": [
        {"expect": "beep"},
        {"expect": "greeting"},
        {"pause": "300ms"},
        {"say": {"wav": "phrase.wav"}},
        {"expect": "reply"},
        {"say": {"wav": "phrase.wav"}},
        {"say": {"wav": "phrase.wav"}, "when": "reply + 1500ms"},
        {"expect": "reply"},
        "hang_up",
    ],
}


class CalibrateError(RuntimeError):
    """The calibration could not be done."""


@dataclass
class _Collected:
    errors: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    path: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    calls: int = 0
    refused: list[str] = field(default_factory=list)


async def calibrate(
    directory: Path,
    *,
    calls: int = CALLS,
    concurrency: int | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Calibration:
    """Place the calls, and compute the harness's errors. Evidence stays in `directory`.

    Args:
        directory: where the calls' evidence goes.
        calls: how many.
        concurrency: how many at once; as many as a run places, if not told.
        progress: told a line after each call.

    Raises:
        CalibrateError: too few of the calls could serve.
        ProcessError: a process died, or did not start.
    """
    concurrency = concurrency or calls_at_once()
    phrase, behaviour, scenario = await asyncio.to_thread(_prepare, directory)
    names = [f"call{number}" for number in range(1, calls + 1)]
    await _place(directory, scenario, names, concurrency, progress)
    collected = _Collected()
    for name in names:
        await asyncio.to_thread(_collect, directory, name, phrase, behaviour, collected)
    if collected.calls < max(1, calls // 2):
        raise CalibrateError(
            f"only {collected.calls} of {calls} calls could serve: {'; '.join(collected.refused)}"
        )
    return _result(collected, concurrency)


def _prepare(directory: Path) -> tuple[bytes, Behaviour, Path]:
    """What the caller says, what the responder does, and the caller's scenario, as files too."""
    phrase = hard_edged(synthesise(_PHRASE, rate_hz=CALLER_RATE_HZ))
    greeting, reply = (
        hard_edged(synthesise(text, voice="en-us", rate_hz=CALLER_RATE_HZ))
        for text in (_GREETING, _REPLY)
    )
    for name, pcm in (("phrase", phrase), ("greeting", greeting), ("reply", reply)):
        audio.write_wav(directory / f"{name}.wav", audio.to_samples(pcm), CALLER_RATE_HZ)
    scenario = directory / "calibration.yaml"
    write_atomically(scenario, yaml.safe_dump(_SCENARIO, sort_keys=False).encode())
    return phrase, Behaviour(reply=reply, greeting=greeting), scenario


async def _place(
    directory: Path,
    scenario: Path,
    names: list[str],
    concurrency: int,
    progress: Callable[[str], None],
) -> None:
    waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}

    def told(line: str) -> None:
        message = json.loads(line) if line.startswith("{") else {}
        future = waiting.get(message.get("stage", ""))
        if "verdict" in message and future is not None and not future.done():
            future.set_result(message)

    pairs = [
        _pair(directory, str(number), told)
        for number in range(1, -(-concurrency // CALLS_IN_A_CELL) + 1)
    ]
    processes = [process for pair in pairs for process in pair]
    try:
        await asyncio.gather(*(process.start() for process in processes))
        places: asyncio.Queue[_Pair] = asyncio.Queue()
        for number in range(concurrency):
            places.put_nowait(pairs[number % len(pairs)])
        rng = random.Random(0)

        async def call(name: str) -> None:
            pair = await places.get()
            await asyncio.sleep(rng.uniform(0, 0.5))  # so that no two begin on the same tick
            waiting[name] = asyncio.get_running_loop().create_future()
            uri = pair.responder.ready_line.split()[-1]
            pair.caller.send_line(_order(name, scenario, uri, directory / name))
            try:
                message = await asyncio.wait_for(waiting[name], CALL_LIMIT_S)
            except TimeoutError:
                raise CalibrateError(
                    f"{name} was not over after {CALL_LIMIT_S:.0f} s; the caller's last words: "
                    f"{pair.caller.last_words()}"
                ) from None
            progress(f"{name}: {message['verdict']}: {message['detail']}")
            places.put_nowait(pair)

        await asyncio.gather(*map(call, names))
    finally:
        await asyncio.gather(*(process.stop() for process in processes))


class _Pair(NamedTuple):
    """A caller's process and a responder's: PJSUA2 carries four calls in each."""

    caller: ChildProcess
    responder: ChildProcess


def _pair(directory: Path, name: str, told: Callable[[str], None]) -> _Pair:
    speaks = [str(directory / "greeting.wav"), str(directory / "reply.wav"), str(directory)]
    arguments = ["-m", "simulator.responder_process", *speaks]
    return _Pair(
        caller=child(f"caller{name}", ["-m", "simulator.caller_process"], directory, told),
        responder=child(f"responder{name}", arguments, directory),
    )


def _order(name: str, scenario: Path, uri: str, directory: Path) -> str:
    directory.mkdir(parents=True, exist_ok=True)
    return json.dumps(
        {
            "stage": name,
            "path": str(scenario),
            "scenario": scenario.stem,
            "uri": uri.replace("sip:", f"sip:{name}@"),
            "seed": 0,
            "directory": str(directory),
        }
    )


def _collect(
    directory: Path, name: str, phrase: bytes, behaviour: Behaviour, collected: _Collected
) -> None:
    """One call's errors; a call that was spoilt (a lost packet in the phrase) is told, not used."""
    try:
        (directory / name / "caller.jsonl").rename(directory / name / TIMELINE)
        evidence = load_evidence(directory / name)
        heard = load_heard(directory / name)
        errors, path = errors_of(evidence, heard, audio.to_samples(phrase), behaviour)
    except (OSError, EvidenceError, TruthError) as error:
        collected.refused.append(f"{name}: {error}")
        return
    collected.calls += 1
    for into, found in ((collected.errors, errors), (collected.path, path)):
        for metric, values in found.items():
            into[metric] += values


def _result(collected: _Collected, concurrency: int) -> Calibration:
    path = collected.path["there and back"]
    return Calibration(
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=f"{platform.system()} {platform.machine()}, {psutil.cpu_count()} cores",
        calls=collected.calls,
        concurrency=concurrency,
        metrics=tuple(
            error_of(name, UNITS[name], collected.errors[name])
            for name in UNITS
            if collected.errors.get(name)
        ),
        path_ms={
            "p50": round(stats.percentile(path, 50), 1),
            "p95": round(stats.percentile(path, 95), 1),
        },
    )
