"""Over SIP, agent and server announce which timelines are complete; nobody reads on and on."""

import asyncio
import threading
from functools import partial
from pathlib import Path

import pytest

from callerside.marks import Mark
from callerside.simulator.lanes.sip import collect
from callerside.simulator.lanes.sip.lane import SipLane
from callerside.simulator.runner.plan import plan
from callerside.simulator.scenario.loader import load
from callerside.timelines import read_timeline

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

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


def _begins(beginning: str, name: str) -> bool:
    return name.startswith(beginning)
