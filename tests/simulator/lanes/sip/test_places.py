"""A run's processes hold as many calls as their SIP engines do."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from callerside.agent.telephony.engine import PROFILES, EngineName
from callerside.agent.telephony.engines import survey
from callerside.agent.telephony.options import SipAccount
from callerside.marks import Mark
from callerside.simulator.lanes.planned_call import PlannedCall
from callerside.simulator.lanes.sip import lane as lane_module
from callerside.simulator.lanes.sip.lane import SipLane
from callerside.simulator.lanes.sip.process_pair import ProcessPair
from callerside.simulator.runner.plan import plan
from callerside.simulator.scenario.loader import load_file

ORDINARY = "about: x\nsteps: [hang_up]\n"
HERE = {found.name for found in survey() if not found.problem}


def calls(folder: Path, scenario: str, repeat: int = 1, name: str = "a") -> list[PlannedCall]:
    (folder / f"{name}.yaml").write_text(scenario)
    return plan(load_file(folder / f"{name}.yaml"), repeat=repeat, seed=0)


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
        calls(tmp_path, ORDINARY, 12),
        tmp_path,
        lambda *_: None,
        calls_at_once=12,
        engine=agent,
        caller_engine=caller,
    )
    assert [pair.kind for pair in lane._pairs] == [""] * pairs
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
    planned = calls(tmp_path, RELAYED.replace("CALLERS", str(callers)))
    lane = SipLane(planned, tmp_path, lambda *_: None, calls_at_once=at_once)
    free = [pair.places._value for pair in lane._pairs if pair.kind == "relayed"]
    assert sum(free) >= places
    assert sum(free) - free[-1] < places, "and no process too many"
    lane = SipLane(planned, tmp_path, lambda *_: None, calls_at_once=at_once, calls_a_worker=4)
    free = [pair.places._value for pair in lane._pairs if pair.kind == "relayed"]
    assert sum(free) >= places


VANISHING = "about: x\nsteps: [{expect: beep}, vanish]\n"


@pytest.mark.parametrize(
    ("ordinary", "relayed", "vanishing", "kinds"),
    [
        (1, 0, 0, [""]),
        (0, 1, 0, ["relayed"]),
        (0, 0, 1, ["vanishing"]),
        (1, 3, 0, ["", "relayed"]),
        (5, 1, 1, ["", "", "relayed", "vanishing"]),
    ],
)
def test_no_process_is_started_that_no_call_needs(
    tmp_path: Path, ordinary: int, relayed: int, vanishing: int, kinds: list[str]
) -> None:
    texts = (ORDINARY, RELAYED.replace("CALLERS", "1"), VANISHING)
    planned = [
        one
        for text, count, name in zip(texts, (ordinary, relayed, vanishing), "abc", strict=True)
        if count
        for one in calls(tmp_path, text, count, name)
    ]
    lane = SipLane(
        planned,
        tmp_path,
        lambda *_: None,
        calls_at_once=len(planned),
        engine="pjsua2" if "pjsua2" in HERE else "baresip",
    )
    if lane._places > PROFILES["pjsua2"].calls_a_process:
        kinds = list(dict.fromkeys(kinds))
    assert [pair.kind for pair in lane._pairs] == kinds


@pytest.mark.parametrize("texts", [(VANISHING,), (RELAYED, VANISHING), (ORDINARY, VANISHING)])
def test_one_caller_registers_whatever_the_calls_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, texts: tuple[str, ...]
) -> None:
    registering: list[bool] = []

    class Pair(ProcessPair):
        def __init__(self, *given: Any, account: SipAccount | None, **more: Any) -> None:
            assert account is not None
            registering.append(account.registers)
            super().__init__(*given, account=account, **more)

    monkeypatch.setattr(lane_module, "ProcessPair", Pair)
    planned = [
        one
        for name, text in zip("abc", texts, strict=False)
        for one in calls(tmp_path, text.replace("CALLERS", "1"), 1, name)
    ]
    account = SipAccount(user="2001", registrar="127.0.0.1")
    SipLane(planned, tmp_path, lambda *_: None, agent_uri="sip:a@127.0.0.1", account=account)
    assert registering == [True, False][: len(texts)]


async def test_what_the_machine_did_before_a_call_had_a_place_is_nothing_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last of five calls at once may wait for seconds."""
    (planned,) = calls(tmp_path, ORDINARY)
    lane = SipLane([planned], tmp_path, lambda *_: None)
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
    monkeypatch.setattr("callerside.simulator.lanes.sip.lane.collect", lambda *_, **__: [])
    await lane.play(planned)
    assert asked_ns[0] >= placed_ns[0]


CONSULTING = """about: A caller whose agent calls somebody else.
agent: {tools: {transfer: ["sip:desk@127.0.0.1"], transfer_kind: attended}}
target: {}
realtime: {default_reply: {say: hello}}
steps: [expect: greeting, hang_up]
"""


async def test_a_call_whose_agent_calls_somebody_else_takes_a_place_for_that_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With four other calls up the agent was refused its own call by its full engine."""
    planned = [*calls(tmp_path, ORDINARY, 3, "a"), *calls(tmp_path, CONSULTING, 1, "b")]
    lane = SipLane(planned, tmp_path, lambda *_: None, calls_at_once=4, calls_a_worker=4)
    (pair,) = lane._pairs
    legs: list[int] = []
    up = 0

    async def play(one: PlannedCall, _directory: Path) -> tuple[str, str]:
        nonlocal up
        mine = 1 + one.scenario.consults
        up += mine
        legs.append(up)
        await asyncio.sleep(0.02)
        up -= mine
        return "passed", ""

    monkeypatch.setattr(pair, "play", play)
    monkeypatch.setattr("callerside.simulator.lanes.sip.lane.collect", lambda *_, **__: [])
    await asyncio.gather(*(lane.play(one) for one in planned))
    assert len(legs) == 4
    assert max(legs) <= 4
