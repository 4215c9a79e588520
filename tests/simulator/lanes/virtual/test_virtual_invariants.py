"""Each invariant holds in a good call, and is broken by a call that breaks it.

The eight bugs of tests/simulator/fuzz/test_planted_bugs.py break the others; here are those that no
small bug of the agent breaks, by evidence that was tampered with.
"""

import copy
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs
from tampered_calls import BARGE_IN, broken, changed_effects, changed_marks, play, tampered

from callerside.agent.call import events
from callerside.agent.call.events import Effect
from callerside.agent.telephony.interface import FramePlayed
from callerside.audio import AudioFormat, tone
from callerside.clock import NS_PER_S
from callerside.marks import Mark
from callerside.simulator.lanes.virtual.audio_invariants import AUDIO
from callerside.simulator.lanes.virtual.caller_invariants import ALL
from callerside.simulator.lanes.virtual.invariants import TracedCall, check
from callerside.simulator.lanes.virtual.playout_model import replay_playout
from callerside.simulator.scenario.model import Scenario


@pytest.fixture(scope="module")
def good() -> TracedCall:
    return play(BARGE_IN)


def test_everything_holds_in_a_good_call(good: TracedCall) -> None:
    assert broken(good) == set()
    assert len(replay_playout(good).truncations) == 1


def test_a_leap_between_states_is_found(good: TracedCall) -> None:
    def leap(mark: Mark) -> Mark | None:
        return None if mark.fields.get("to") == "PROCESSING" else mark

    assert broken(changed_marks(good, leap)) == {"only_legal_transitions"}


def test_a_mark_that_is_not_as_declared_is_found(good: TracedCall) -> None:
    def misspelt(mark: Mark) -> Mark:
        if mark.name != "answer_sent":
            return mark
        return structs.replace(mark, fields={"satus": 200})

    (breach,) = check(changed_marks(good, misspelt), ALL)
    assert breach.invariant == "every_mark_is_declared"
    assert "satus is declared nowhere" in breach.detail


def test_a_trigger_out_of_place_is_found_unless_a_fault_explains_it(good: TracedCall) -> None:
    dropped = Mark(
        at_ns=NS_PER_S,
        source="agent",
        call="call",
        name="event_dropped",
        fields={"type": "speech_started", "reason": "not legal"},
    )
    *before, ended = good.call.agent_marks
    marks = [*before, dropped, ended]
    assert broken(tampered(good, agent_marks=marks)) == {"only_legal_transitions"}
    realtime = {**BARGE_IN["realtime"], "faults": [{"fault": "reorder", "at": "event 99"}]}
    excused = Scenario.model_validate({**BARGE_IN, "realtime": realtime})
    call = replace(good.call, agent_marks=marks)
    assert broken(TracedCall(scenario=excused, settings=good.settings, call=call)) == set()


@pytest.mark.parametrize("changes", [{"finish": None}, {"agent_ended": False}])
def test_a_call_without_an_end_is_found(good: TracedCall, changes: dict[str, Any]) -> None:
    assert broken(tampered(good, **changes)) == {"ends_in_bounded_time"}


def test_a_call_that_outlives_its_leg_is_found(good: TracedCall) -> None:
    def late(mark: Mark) -> Mark:
        ended = mark.name == "call_ended"
        return structs.replace(mark, at_ns=mark.at_ns + NS_PER_S) if ended else mark

    assert broken(changed_marks(good, late)) == {"ends_in_bounded_time", "records_are_true"}


def test_an_answer_that_was_asked_for_before_the_greeting_is_found(good: TracedCall) -> None:
    asked = {"type": "response.create", "response": {"metadata": {"purpose": "turn"}}}
    trace = list(good.trace)
    place = next(i for i, step in enumerate(trace) if step.effects and step.at_ns > NS_PER_S)
    early = events.SendEvent(event={**asked, "event_id": "early"})
    trace[place] = trace[place]._replace(effects=[*trace[place].effects, early])
    assert "greets_first" in broken(tampered(good, trace=trace))


def test_a_flood_of_effects_is_found(good: TracedCall) -> None:
    trace = list(good.trace)
    mark = events.EmitMark(name="state", at_ns=0)
    trace[10] = trace[10]._replace(effects=[*trace[10].effects, *[mark] * 501])
    assert broken(tampered(good, trace=trace)) == {"queues_stay_bounded"}


@pytest.mark.parametrize("change", ["another pitch", "half of it", "none"])
def test_another_beep_than_is_set_is_found(good: TracedCall, change: str) -> None:
    seen = 0

    def other(effect: Effect) -> list[Effect]:
        nonlocal seen
        seen += isinstance(effect, events.Play)
        if not isinstance(effect, events.Play) or seen > 1:
            return [effect]
        rate_hz = good.call.recorder.rate_hz
        pcm = {"another pitch": tone(880, 400, rate_hz), "half of it": tone(440, 200, rate_hz)}
        return [structs.replace(effect, pcm=pcm[change])] if change in pcm else []

    beeped = {"callers_are_beeped_at": AUDIO["callers_are_beeped_at"]}
    assert len(list(check(changed_effects(good, other), beeped))) == 1


def test_a_greeting_that_was_cut_and_called_whole_is_found(good: TracedCall) -> None:
    def shorter(mark: Mark) -> Mark:
        if mark.name != "greeting_ended":
            return mark
        return structs.replace(mark, fields={**mark.fields, "played_ms": 800.0})

    assert broken(changed_marks(good, shorter)) == {"greetings_are_whole_or_marked"}


def test_a_greeting_without_an_end_is_found(good: TracedCall) -> None:
    last = next(i for i, m in enumerate(good.call.agent_marks) if m.name == "greeting_started")
    marks = good.call.agent_marks[: last + 1]
    assert "greetings_are_whole_or_marked" in broken(tampered(good, agent_marks=marks))


def test_a_greeting_whose_end_nobody_marked_is_found(good: TracedCall) -> None:
    def unsaid(mark: Mark) -> Mark | None:
        return None if mark.name == "greeting_ended" else mark

    assert broken(changed_marks(good, unsaid)) == {"greetings_are_whole_or_marked"}


def test_an_append_that_no_session_hears_is_found(good: TracedCall) -> None:
    early = events.AppendAudio(audio=b"")

    def too_early(effect: Effect) -> list[Effect]:
        return [effect, early] if isinstance(effect, events.Answer) else [effect]

    assert broken(changed_effects(good, too_early)) == {"appends_reach_a_session"}


def test_more_audio_than_may_wait_is_found(good: TracedCall) -> None:
    def again_and_again(effect: Effect) -> list[Effect]:
        return [effect] * (200 if isinstance(effect, events.Play) else 1)

    assert "playout_stays_bounded" in broken(changed_effects(good, again_and_again))


def test_a_second_commit_of_our_own_turn_is_found() -> None:
    local = play({**BARGE_IN, "agent": {"turns": {"policy": "local"}}})
    assert broken(local) == set()

    def twice(effect: Effect) -> list[Effect]:
        is_commit = (
            isinstance(effect, events.SendEvent)
            and effect.event["type"] == "input_audio_buffer.commit"
        )
        return [effect] * (2 if is_commit else 1)

    assert broken(changed_effects(local, twice)) == {"one_commit_a_turn"}


@pytest.mark.parametrize(
    "faults",
    [
        [{"fault": "refuse", "at": "connect", "status": 401, "sessions": 100}],
        [{"fault": "fail", "at": "greeting", "code": "insufficient_quota"}],
    ],
    ids=["refused", "out of quota"],
)
def test_a_caller_who_is_kept_although_there_is_no_hope_is_found(faults: list[Any]) -> None:
    agent = {"realtime": {"reconnect": {"attempts": 0}}, "limits": {"farewell_ms": 1000}}
    data = {"about": "No hope.", "agent": agent, "realtime": {"faults": faults}}
    hopeless = play({**data, "steps": [{"pause": 9000}, "hang_up"]})
    assert broken(hopeless) == set()
    # Nobody hung up, and the trace goes on.
    kept = changed_effects(hopeless, lambda e: [] if isinstance(e, events.HangUp) else [e])
    kept.trace[-1] = kept.trace[-1]._replace(at_ns=kept.trace[-1].at_ns + 10 * NS_PER_S)
    assert "gives_up_in_bounded_time" in broken(kept)


@pytest.mark.parametrize(
    ("limits", "faults"),
    [
        ({"call_ms": 8000, "farewell_ms": 1000}, []),
        ({"call_ms": 7000}, [{"fault": "drop", "at": "turn 1 + 400ms"}]),
    ],
    ids=["an answer", "our own last words"],
)
def test_what_is_being_said_as_the_limit_of_a_call_comes_is_a_last_word(
    limits: dict[str, Any], faults: list[Any]
) -> None:
    agent = {"limits": limits, "realtime": {"reconnect": {"attempts": 0}}}
    realtime = {**BARGE_IN["realtime"], "timing": {"pace": 1}, "faults": faults}
    steps = [{"pause": 4000}, {"say": "When are you open?"}, {"pause": 10_000}, "hang_up"]
    ended = play({"about": "A limit.", "agent": agent, "realtime": realtime, "steps": steps})
    marks = ended.call.agent_marks
    (limit,) = (number for number, one in enumerate(marks) if one.fields.get("what") == "call")
    names = [mark.name for mark in marks]
    assert not {"playout_started", "prompt_started"} & {*names[limit:]}
    assert broken(ended) == set()
    # Nothing was being said.
    quiet = [mark for mark in marks if mark.name not in ("playout_started", "prompt_started")]
    assert "who_is_let_go_is_told" in broken(tampered(ended, agent_marks=quiet))


def test_audio_of_a_truncated_item_at_the_ear_is_found(good: TracedCall) -> None:
    (cut,) = replay_playout(good).truncations
    recorder = good.call.recorder
    unheard = bytes(replay_playout(good).received[cut.item])[2 * 24 * cut.audio_end_ms :]
    line = _as_heard(unheard)
    spoiled = copy.deepcopy(recorder)
    ends_ns = good.trace[-1].at_ns + NS_PER_S
    spoiled.left(bytes(len(line)), ends_ns)
    spoiled.heard(line, ends_ns - len(line) * NS_PER_S // (2 * recorder.rate_hz))
    assert "truncated_audio_is_not_heard" in broken(tampered(good, recorder=spoiled))


def test_a_truncation_past_what_was_played_is_found(good: TracedCall) -> None:
    trace = [
        step._replace(given=structs.replace(step.given, played=()))
        if isinstance(step.given, FramePlayed)
        else step
        for step in good.trace
    ]
    assert "truncations_are_true" in broken(tampered(good, trace=trace))


def test_a_caller_who_is_never_answered_is_found() -> None:
    unanswered = {
        **BARGE_IN,
        "agent": {},
        "steps": [
            {"expect": "greeting"},
            {"say": "When are you open?"},
            {"expect": "reply", "within": 500},
            "hang_up",
        ],
    }
    assert broken(play(unanswered)) == {"recovers"}


def _as_heard(pcm: bytes) -> bytes:
    pcmu = AudioFormat("pcmu")
    return pcmu.decode(pcmu.encode(pcm))
