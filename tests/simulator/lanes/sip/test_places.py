"""A run's processes hold as many calls as their SIP engines do."""

import asyncio
import time
from pathlib import Path

import pytest

from callerside.agent.telephony.engine import PROFILES, EngineName
from callerside.agent.telephony.engines import survey
from callerside.marks import Mark
from callerside.simulator.lanes.sip.lane import SipLane
from callerside.simulator.runner.plan import plan
from callerside.simulator.scenario.loader import load_file

HERE = {found.name for found in survey() if not found.problem}


@pytest.mark.parametrize(
    ("agent", "caller", "pairs"),
    [("baresip", "baresip", 1), ("pjsua2", "pjsua2", 3), ("baresip", "pjsua2", 3)],
)
def test_twelve_calls_take_as_many_pairs_as_their_engines_need(
    tmp_path: Path, agent: EngineName, caller: EngineName, pairs: int
) -> None:
    if not {agent, caller} <= HERE:
        newest = PROFILES["pjsua2"].newest_python
        pytest.skip(f"pjsua2 has no wheel above Python {newest[0]}.{newest[1]}")
    lane = SipLane(
        [], tmp_path, lambda *_: None, calls_at_once=12, engine=agent, caller_engine=caller
    )
    assert len([pair for pair in lane._pairs if not pair.kind]) == pairs
    assert {pair.places._value for pair in lane._pairs} == {12 // pairs}


RELAYED = """
about: Many callers, on a network.
network: {to_agent: {loss: 1%}}
callers: CALLERS
steps: [{expect: beep}, hang_up]
"""


@pytest.mark.parametrize(("callers", "at_once", "places"), [(8, 8, 8), (8, 2, 2), (1, 8, 1)])
def test_who_calls_together_on_a_network_has_places_at_once(
    tmp_path: Path, callers: int, at_once: int, places: int
) -> None:
    (tmp_path / "a.yaml").write_text(RELAYED.replace("CALLERS", str(callers)))
    planned = plan(load_file(tmp_path / "a.yaml"), repeat=None, seed=0)
    lane = SipLane(planned, tmp_path, lambda *_: None, calls_at_once=at_once)
    free = [pair.places._value for pair in lane._pairs if pair.kind == "relayed"]
    assert sum(free) >= places
    assert sum(free) - free[-1] < places, "and no process too many"
    lane = SipLane(planned, tmp_path, lambda *_: None, calls_at_once=at_once, calls_a_worker=4)
    free = [pair.places._value for pair in lane._pairs if pair.kind == "relayed"]
    assert sum(free) >= places


async def test_what_the_machine_did_before_a_call_had_a_place_is_nothing_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last of five calls at once may wait for seconds."""
    lane = SipLane([], tmp_path, lambda *_: None)
    (tmp_path / "a.yaml").write_text("about: x\nsteps: [hang_up]\n")
    (planned,) = plan(load_file(tmp_path / "a.yaml"), repeat=None, seed=0)
    (pair,) = lane._pairs
    placed_ns: list[int] = []
    asked_ns: list[int] = []

    async def play(*_: object) -> tuple[str, str]:
        return "passed", ""

    async def place() -> bool:
        await asyncio.sleep(0.05)  # somebody else has it
        placed_ns.append(time.monotonic_ns())
        return True

    def stalls(_: object, since_ns: int, _concerned: object) -> list[Mark]:
        asked_ns.append(since_ns)
        return []

    monkeypatch.setattr(pair, "play", play)
    monkeypatch.setattr(pair.places, "acquire", place)
    monkeypatch.setattr(lane, "_stall_marks", stalls)
    monkeypatch.setattr("callerside.simulator.lanes.sip.lane.collect", lambda *_: [])
    await lane.play(planned)
    assert asked_ns[0] >= placed_ns[0]
