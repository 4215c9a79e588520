"""Scenarios that must fail do, drawn and shipped; clients of the fake are served as they should be.

Each is shown to find something: with a harness, or a fake, that is broken on purpose.
"""

from pathlib import Path
from typing import Any

import pytest

from callerside.fakes.session.input_audio import InputAudio
from callerside.simulator.caller import expect, listener
from callerside.simulator.caller.expect import Met
from callerside.simulator.fuzz import clients, wrong
from callerside.simulator.fuzz.choices import SeededChoices
from callerside.simulator.fuzz.play import (
    CLIENT_IS_SERVED,
    WRONG_EVERY,
    WRONG_FAILS,
    Outcome,
    play_client_of,
    play_seed,
    play_wrong,
    shrink_outcome,
)
from callerside.simulator.scenario import loader
from callerside.simulator.scenario.model import Scenario
from callerside.simulator.scenario.steps import Expect

SHIPPED = Path(__file__).parents[3] / "scenarios"
SOME = ("first_call", "barge_in", "dtmf", "hold")
"""Of the library: what is made wrong in each costs two calls in memory."""
KNOWN = 19
"""Found so once: played first, before it is looked for anew."""


def drawn(seed: int) -> Outcome:
    return play_wrong(f"wrong-{seed}", SeededChoices(f"wrong {seed}"))


def a_client(seed: int) -> Outcome:
    return play_client_of(f"client-{seed}", SeededChoices(f"client {seed}"))


def test_one_seed_in_so_many_is_a_scenario_that_must_fail() -> None:
    assert play_seed(WRONG_EVERY - 1).game == "wrong"
    assert play_seed(0).game == "call"


def test_what_is_drawn_to_fail_fails() -> None:
    outcomes = [drawn(seed) for seed in range(12)]
    assert {one.name: one.breaches for one in outcomes if one.breaches} == {}
    assert {one.game for one in outcomes} == {"wrong"}


def test_a_harness_that_takes_anything_for_silence_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(expect._Judgement, "_silence", lambda *_: Met())
    found = next(one for seed in (KNOWN, *range(150)) if (one := drawn(seed)).breaches)
    assert [breach.invariant for breach in found.breaches] == [WRONG_FAILS]
    assert "silence" in found.breaches[0].detail
    small = shrink_outcome(found, max_plays=8)
    assert small.breaches[0].invariant == WRONG_FAILS
    assert len(small.choices) <= len(found.choices)


def test_what_is_heard_is_enough_to_find_a_reply_that_the_end_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The marks of our agent would tell it as well; of another there are none."""
    monkeypatch.setattr(listener, "LAST_SILENCE_MS", -10_000)
    seeds = (279, *range(WRONG_EVERY - 1, 2000, WRONG_EVERY))  # the first is known
    found = next(one for seed in seeds if (one := drawn(seed)).breaches)
    assert [breach.invariant for breach in found.breaches] == [WRONG_FAILS]
    assert found.breaches[0].detail.endswith("where the agent is not ours")


@pytest.mark.parametrize("name", SOME)
def test_a_shipped_scenario_made_wrong_fails(name: str) -> None:
    scenario = loader.load([SHIPPED / f"{name}.yaml"])[0]
    key = Expect.model_validate({"expect": {"dtmf": "D"}, "within": 500})
    steps = [*scenario.steps[:-1], key, scenario.steps[-1]]
    assert not wrong.play_scenario(changed(scenario, steps=steps)).passed
    assert not wrong.play_scenario(changed(scenario, never=("answer",))).passed


def changed(scenario: Scenario, **fields: Any) -> Scenario:
    return scenario.model_copy(update={**fields, "after": None})


def test_clients_are_served_whatever_they_do() -> None:
    outcomes = [a_client(seed) for seed in range(60)]
    assert {one.name: one.breaches for one in outcomes if one.breaches} == {}


def test_a_fake_that_hears_what_has_been_committed_again_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forget_nothing(self: InputAudio, _position: int) -> None:
        self._committed_at = 0

    monkeypatch.setattr(InputAudio, "_forget", forget_nothing)
    found = next(one for seed in range(60) if (one := a_client(seed)).breaches)
    assert found.breaches[0].invariant == CLIENT_IS_SERVED
    small = shrink_outcome(found, max_plays=8)
    assert small.breaches[0].invariant == CLIENT_IS_SERVED
    for place in range(len(small.data["requests"])):  # each of them is needed
        requests = [*small.data["requests"]]
        del requests[place]
        assert not list(clients.play_client({**small.data, "requests": requests}))
