"""The sip lane's processes: what they are sent, and what they announce."""

import asyncio
import threading
from functools import partial
from pathlib import Path

import pytest

from callerside.audio import to_samples, tone
from callerside.audio_files import write_wav
from callerside.marks import Mark
from callerside.simulator.lanes.sip import collect
from callerside.simulator.lanes.sip.lane import SipLane
from callerside.simulator.runner.plan import plan
from callerside.simulator.scenario.loader import load
from callerside.timelines import read_timeline

pytestmark = pytest.mark.e2e

SCENARIO = """\
about: A short call.
realtime:
  greeting: {say: "Hello."}
  timing: {think_ms: 100}
steps:
  - pause: 800ms
  - hang_up
"""


@pytest.mark.parametrize("calls_a_worker", [None, 1], ids=["an agent a caller", "workers"])
async def test_a_timeline_is_read_when_it_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls_a_worker: int | None
) -> None:
    """At once, once it is announced, and once more where that was in between."""
    (tmp_path / "short.yaml").write_text(SCENARIO)
    planned_calls = plan(load([tmp_path / "short.yaml"]), repeat=2, seed=1)
    read: list[str] = []
    lock = threading.Lock()

    def count(path: Path) -> list[Mark]:
        with lock:
            read.append(path.name)
        return read_timeline(path)

    monkeypatch.setattr(collect, "read_timeline", count)
    calls = 2 if calls_a_worker else 4
    async with SipLane(
        planned_calls,
        tmp_path,
        lambda *_: None,
        calls_at_once=calls,
        calls_a_worker=calls_a_worker,
    ) as lane:
        done = await asyncio.gather(*map(lane.play, planned_calls))
        closed = lane._closed
    assert [one.verdict for one in done] == ["passed"] * 2, done
    for call in planned_calls:
        for begins in (f"{call.name}.realtime.jsonl", f"{call.name}-"):
            assert closed.wait(0, partial(_begins, begins), 0), begins
            times = [name for name in read if name.startswith(begins)]
            assert 1 <= len(times) <= 3, read


async def test_a_scenario_is_read_and_spoken_by_the_run_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file may be gone by the time that the caller's process plays it."""
    path = tmp_path / "scenarios" / "matrix.yaml"
    path.parent.mkdir()
    saying = SCENARIO.replace(
        "pause: 800ms", "expect: greeting\n  - say: Hello there.\n  - expect: reply"
    )
    path.write_text(saying + "matrix: {caller.codec: [PCMU, PCMA]}\n")
    planned_calls = plan(load([path]), repeat=2, seed=1)
    async with SipLane(planned_calls, tmp_path / "out", lambda *_: None) as lane:
        path.unlink()
        done = await asyncio.gather(*map(lane.play, planned_calls))
    assert [one.verdict for one in done] == ["passed"] * 4, done
    speech = list((tmp_path / "out" / "work" / "speech").iterdir())
    assert [one.suffix for one in speech] == [".wav"], "one phrase is one file"


async def test_speech_that_cannot_be_made_any_more_is_an_error_of_that_call(tmp_path: Path) -> None:
    sound = tmp_path / "hello.wav"
    write_wav(sound, to_samples(tone(440, 500, 8000)), 8000)
    (tmp_path / "played.yaml").write_text(SCENARIO.replace("pause: 800ms", "say: {wav: hello.wav}"))
    (planned,) = plan(load([tmp_path / "played.yaml"]), repeat=1, seed=1)
    async with SipLane([planned], tmp_path / "out", lambda *_: None) as lane:
        sound.unlink()
        done = await lane.play(planned)
    assert done.verdict == "error"
    assert f"the caller's speech cannot be made: {sound}: there is no such file" in done.detail


def _begins(beginning: str, name: str) -> bool:
    return name.startswith(beginning)
