"""Scenarios that must fail: one that passes was not looked at, which is the harness's worst fault.

A plain call is drawn in which everything that is expected comes true, and played. Then one thing is
made wrong, by what was heard in that call: a reply that nobody says, a key that nobody presses, a
limit that the measured value is beyond, a `never` of what happened, an expectation at a time when
it can't be met, a call that is over before its steps are. It is played again, and must not pass.

Each call is judged twice: by all that was marked, and as the call of an agent that is not ours, of
which nobody knows more than what the caller has heard.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from callerside.agent.config.settings import CallSettings
from callerside.agent.prompts.cache import MemoryPrompts
from callerside.audio import to_samples
from callerside.clock import NS_PER_S, ns_to_ms
from callerside.marks import Mark, merge
from callerside.reports.metrics.registry import METRICS
from callerside.reports.verdict.budget import is_lifted
from callerside.reports.verdict.call_result import CallResult, judge_call
from callerside.simulator.caller.audio import utterances
from callerside.simulator.fuzz.choices import Choices, between, chance, one_of
from callerside.simulator.lanes.planned_call import PlannedCall, PlayedCall, Verdict
from callerside.simulator.lanes.virtual.call import VirtualCall, options_for, play_call
from callerside.simulator.lanes.virtual.lane import evidence_of
from callerside.simulator.runner.answers import judge_answers
from callerside.simulator.runner.evaluate import call_info
from callerside.simulator.runner.expectations_after import CALLER_ALONE, check
from callerside.simulator.runner.plan import plan
from callerside.simulator.scenario.model import Scenario

_QUESTIONS = ("What time do you open?", "Sorry, I only want to know about the harbour.")
_SHORT = "We open at nine in the morning and close at five in the afternoon."
_LONG = (
    "We have three branches. The main branch is open from Monday to Saturday, the one at the "
    "harbour from Tuesday to Friday, and the one at the station every day of the week."
)
_KEYS = "42"
_NOBODYS_KEY = "D"
_MUCH_LESS = 0.8
"""Of what was measured: a limit that it is beyond, whatever bounds its error has here."""
_LEAST_BEYOND_MS = 60.0
"""By which it must be beyond it, so that no error bound leaves it undecided."""
_SURE_MS = 700.0
"""After which the end of a greeting is sure: its moment is when it fell silent."""
_QUIET_DBFS = -60.0
_LOUD_DBFS = -30.0
_FRAME_MS = 10
_LAST_FRAMES = 4
"""In which there is sound up to the end, if each of them is loud."""
_FULL_SCALE = 32768


class Judged:
    """A call that was played, and judged as in a run; measured only where somebody asks for it."""

    def __init__(self, planned: PlannedCall, call: VirtualCall) -> None:
        self.call = call
        scenario, finish = planned.scenario, call.finish
        marks = merge([call.caller_marks, call.agent_marks, call.realtime_marks])
        verdict: Verdict = finish.verdict if finish else "error"
        detail = finish.detail if finish else "the scenario did not come to an end"
        if verdict == "passed":
            wrong = [*check(scenario, marks), *judge_answers(scenario, marks)[0]]
            verdict, detail = ("failed", "; ".join(wrong)) if wrong else (verdict, detail)
        self.played = PlayedCall(
            planned=planned, directory=Path(), verdict=verdict, detail=detail, took_s=0.0
        )

    @cached_property
    def result(self) -> CallResult:
        """With all its numbers."""
        evidence = evidence_of(self.played.planned, self.call)
        return judge_call(replace(evidence, info=call_info(self.played, "virtual")))

    @property
    def passed(self) -> bool:
        """Whether a run would call it passed."""
        has_limits = any(not is_lifted(one) for one in self.played.planned.scenario.budget.values())
        has_defaults = len(self.played.planned.scenario.budget) < len(METRICS)
        if self.played.verdict != "passed" or not (has_limits or has_defaults):
            return self.played.verdict == "passed"
        return self.result.verdict == "passed"

    @property
    def passed_by_ear(self) -> bool:
        """Whether what the caller heard is as written, where nothing else is known of the agent."""
        scenario, finish = self.played.planned.scenario, self.call.finish
        passed = finish is not None and finish.verdict == "passed"
        return passed and not check(scenario, merge([self.call.caller_marks]), told=CALLER_ALONE)

    def loudness(self) -> NDArray[np.int32]:
        """Of each frame of `_FRAME_MS` of the recording the largest sample, whoever spoke."""
        recorder = self.call.recorder
        mouth, ear = (to_samples(channel).astype(np.int32) for channel in recorder.channels())
        frame = recorder.rate_hz * _FRAME_MS // 1000
        both = np.maximum(np.abs(mouth), np.abs(ear))
        loudest: NDArray[np.int32] = both[: len(both) // frame * frame].reshape(-1, frame).max(1)
        return loudest

    def caller(self, name: str) -> list[Mark]:
        """The caller's marks of that name."""
        return [mark for mark in self.call.caller_marks if mark.name == name]


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """A scenario with something wrong in it, and what."""

    data: Mapping[str, Any]
    what: str
    is_so: Callable[[Judged], bool] = lambda _: True
    """Whether it came about when it was played: what is made by time alone may not."""
    is_heard: Callable[[Judged], bool] = lambda _: True
    """Whether the caller can tell that by what it hears, whoever the agent is."""

    def passes(self, again: Judged) -> str:
        """What is wrong with a call of it that was played: it has passed; empty if it has not."""
        if again.passed and self.is_so(again):
            return f"passed with {self.what}"
        if again.passed_by_ear and self.is_so(again) and self.is_heard(again):
            return f"passed with {self.what}, where the agent is not ours"
        return ""


def play(data: Mapping[str, Any], name: str) -> Judged:
    """Play a scenario as YAML has it, and judge it as a run does, without a file."""
    return play_scenario(Scenario.model_validate(data).named(name))


def play_scenario(scenario: Scenario) -> Judged:
    """The same of one that was read."""
    (planned,) = plan([scenario], repeat=1, seed=0)
    settings = CallSettings.model_validate(scenario.agent)
    options = options_for(scenario, settings, planned.seed)
    call = play_call(
        scenario,
        utterances.prepare(scenario, options.line.sample_rate_hz),
        call=planned.name,
        seed=planned.seed,
        settings=settings,
        prompts=MemoryPrompts(),
        options=options,
    )
    return Judged(planned, call)


def generate_right(choices: Choices) -> dict[str, Any]:
    """A plain call, of which everything that it expects comes true."""
    steps: list[Any] = [{"expect": "greeting"}]
    replies: list[Any] = []
    has_keys = False
    while len(replies) < 3 and (not replies or choices.up_to(2)):
        pressed, keys = chance(choices, 3), chance(choices, 4)
        asked: dict[str, Any] = {"press": "1#"} if pressed else {"say": one_of(choices, _QUESTIONS)}
        if chance(choices, 4):
            steps.append({"pause": between(choices, 500, 3500, 500)})
        steps += [asked, {"expect": "reply", "within": 20_000}]
        if keys and not has_keys:
            has_keys = True
            replies.append({"function_call": {"name": "send_dtmf", "arguments": {"digits": _KEYS}}})
            steps.insert(-1, {"expect": {"dtmf": _KEYS}})
        replies.append({"say": one_of(choices, (_SHORT, _LONG))})
    realtime: dict[str, Any] = {"replies": replies}
    realtime["timing"] = {"think_ms": one_of(choices, (500, 100, 1000))}
    realtime["timing"]["pace"] = one_of(choices, (12, 1))
    caller = {"end_silence": one_of(choices, (700, 3000))}
    call: dict[str, Any] = {
        "about": "A call in which all is as expected.",
        "lanes": ["virtual"],
        "agent": {"tools": {"send_dtmf": True}},
        "realtime": realtime,
        "caller": caller,
        "steps": [*steps, "hang_up"],
        "budget": dict.fromkeys(METRICS, "off"),
        "time_limit": 120_000,
    }
    if chance(choices, 3):
        _put_a_hole(choices, call)
    return call


def _put_a_hole(choices: Choices, call: dict[str, Any]) -> None:
    """An answer stalls in its middle, is silent for a while, and goes on until the caller leaves.

    To the caller, who waits for long, it is one utterance; and no other silence is longer.
    """
    for_ms = one_of(choices, (2500, 3500))
    call["realtime"] = {
        "replies": [{"say": _LONG}],
        "timing": {"delta_ms": 200, "pace": 1},
        "faults": [{"fault": "stall", "at": "reply 1 + 1500ms", "for_ms": for_ms}],
    }
    call["caller"]["end_silence"] = 7000
    call["steps"] = [
        {"expect": "greeting start"},
        {"pause": 2500},
        {"say": one_of(choices, _QUESTIONS)},
        {"expect": "reply start"},
        {"pause": for_ms + 3500},
        "hang_up",
    ]


def make_wrong(choices: Choices, right: Judged, data: Mapping[str, Any]) -> Wrong | None:
    """The same scenario with one thing wrong; None where this call offers none of that kind."""
    make = one_of(choices, _MAKERS if _replies(data) else _OF_ANY_CALL)
    return make(choices, right, copy.deepcopy(dict(data)))


def _unsaid_reply(choices: Choices, _: Judged, data: dict[str, Any]) -> Wrong:
    place = one_of(choices, _replies(data))
    data["steps"].insert(place + 1, {"expect": one_of(choices, _REPLY_WORDS), "within": 1500})
    return Wrong(data=data, what="a second reply to one turn, which nobody says")


def _withheld_reply(choices: Choices, _: Judged, data: dict[str, Any]) -> Wrong | None:
    """The server answers a turn no more; in one kind the turn is taken while the agent speaks."""
    spoken = [place for place in _replies(data) if "say" in data["steps"][place - 1]]
    if not spoken or any("function_call" in one for one in data["realtime"]["replies"]):
        return None
    asked = data["steps"][spoken[0] - 1]
    opening: list[Any] = [{"expect": "greeting"}]
    replies: list[Any] = [{"sends_only": "nothing"}]
    is_heard: Callable[[Judged], bool] = Wrong.is_heard
    if chance(choices, 2):  # what is heard afterwards is the rest of an answer to another turn
        opening += [{"say": _QUESTIONS[0]}, {"expect": "reply start"}, {"pause": 500}]
        pauses = [{"at_ms": 2500, "for_ms": 1200}]
        replies.insert(0, {"say": _LONG, "pauses": pauses})
        turns = {"barge_in": False, "vad": {"interrupt_response": False}}
        turns |= {"watchdogs": {"response_ms": 20_000}}  # nobody asks again meanwhile
        data["agent"] |= {"turns": turns}
        data["caller"] = {"end_silence": 700}
        is_heard = _never_heard
    expected = {"expect": one_of(choices, _REPLY_WORDS), "within": 2500}
    data["steps"] = [*opening, asked, expected, "hang_up"]
    data["realtime"] |= {"replies": replies, "faults": []}
    return Wrong(data=data, what="a reply that the server does not give", is_heard=is_heard)


def _unpressed_key(choices: Choices, right: Judged, data: dict[str, Any]) -> Wrong:
    """A key that nobody presses is expected: in the steps, beside them, or a turn too late."""
    expected: dict[str, Any] = {"expect": {"dtmf": _NOBODYS_KEY}, "within": 1000}
    kind = one_of(choices, ("steps", "meanwhile", "later"))
    if kind == "meanwhile":
        lasted_ms = ns_to_ms(right.call.ended_ns - NS_PER_S)
        pause = one_of(choices, (round(lasted_ms) + 5000, 500))
        data["meanwhile"] = [{"pause": pause}, expected]
        return Wrong(data=data, what="steps of meanwhile that expect a key which nobody presses")
    replies = _replies(data)
    if kind == "later" and len(replies) > 1 and right.caller("dtmf_heard"):
        keys_ns = max(mark.at_ns for mark in right.caller("dtmf_heard"))
        if _turn_began_after(right, keys_ns, data["steps"], replies[-1]):
            data["steps"].insert(replies[-1] + 1, {"expect": {"dtmf": _KEYS}, "within": 1000})
            _take_keys_out(data)  # what is met there meets nothing else
            return Wrong(data=data, what="keys that were pressed a turn ago")
    data["steps"].insert(one_of(choices, replies) + 1, expected)
    return Wrong(data=data, what="a key that nobody presses")


def _take_keys_out(data: dict[str, Any]) -> None:
    """The first step that expects keys: they are expected elsewhere."""
    del data["steps"][next(n for n, step in enumerate(data["steps"]) if _is_of_keys(step))]


def _turn_began_after(right: Judged, at_ns: int, steps: list[Any], reply: int) -> bool:
    turn = max(n for n in range(reply) if "say" in steps[n] or "press" in steps[n])
    begun = (m.at_ns for m in right.caller("step_started") if m.fields["step"] == turn)
    return next(begun, 0) > at_ns


def _never_what_happens(choices: Choices, right: Judged, data: dict[str, Any]) -> Wrong | None:
    """What the call has had must never happen."""
    happened: list[tuple[Any, str]] = [
        ("reply", "replies"),
        ("reply start", "replies"),
        ("greeting", "a greeting"),
        ("beep", "a beep"),
        ("answer", "an answer"),
        ({"state": "LISTENING"}, "that state"),
    ]
    if right.caller("dtmf_heard"):
        happened.append(({"dtmf": _KEYS}, "those keys"))
    quiet_ms = _longest_silence_ms(right)
    if quiet_ms > 500:
        happened += [({"silence": round(quiet_ms * _MUCH_LESS)}, "silence")] * 4
    never, what = one_of(choices, happened)
    data["never"] = [never]
    is_heard = _never_heard if "state" in never else Wrong.is_heard
    return Wrong(data=data, what=f"never: {never}, and there are {what}", is_heard=is_heard)


def _longest_silence_ms(right: Judged) -> float:
    """The longest stretch in which nothing is in the recording; between what was said."""
    sounds = np.flatnonzero(right.loudness() > _FULL_SCALE * 10 ** (_QUIET_DBFS / 20))
    gaps = np.diff(sounds) - 1
    return float(gaps.max(initial=0)) * _FRAME_MS


def _tight_limit(choices: Choices, right: Judged, data: dict[str, Any]) -> Wrong | None:
    """A limit that a measured value is well beyond; or on a kind of it that was not measured."""
    found = [
        one
        for one in right.result.judged
        if METRICS[one.name].unit == "ms"
        and not METRICS[one.name].more_is_better
        and METRICS[one.name].of_the_agent
        and one.value * (1 - _MUCH_LESS) > _LEAST_BEYOND_MS
        and one.statistic is None
    ]
    if not found:
        return None
    one = one_of(choices, found)
    variants = METRICS[one.name].variants
    others = [name for name in variants if name != one.variant]
    del data["budget"][one.name]
    if others and one.variant and chance(choices, 2):
        data["budget"][one.name] = {others[0]: 10}
        what = f"a limit on {one.name} that nothing is held to"
        return Wrong(data=data, what=what, is_heard=_never_heard)
    most = one.value * _MUCH_LESS
    limit: Any = {"max": most}
    if one.variant and chance(choices, 2):
        limit = {one.variant: most}
    data["budget"][one.name] = limit
    what = f"a limit of {most:.0f} on {one.name}, which was {one.value:.0f}"
    return Wrong(data=data, what=what, is_heard=_never_heard)


def _broken_silence(choices: Choices, right: Judged, data: dict[str, Any]) -> Wrong | None:
    """Silence is expected where somebody speaks before it has lasted so long."""
    place = one_of(choices, _replies(data))
    if "say" not in data["steps"][place - 1]:
        return None
    turn_ns = _ended(right, place - 1)
    begun = [mark.at_ns for mark in right.caller("speech_heard") if mark.at_ns > turn_ns]
    if not begun:
        return None
    answer_ms = ns_to_ms(begun[0] - turn_ns)
    length_ms = round(answer_ms) + one_of(choices, (500, 1000))
    kind = one_of(choices, ("at once", "after a pause", "silent before"))
    if kind == "after a pause":  # what was silent already when the step began is no part of it
        data["steps"].insert(place, {"pause": round(answer_ms * 0.6)})
        length_ms, place = round(answer_ms * _MUCH_LESS), place + 1
    elif kind == "silent before":  # so long, until the caller spoke
        data["steps"].insert(place - 1, {"pause": length_ms + 1000})
        place += 1
    step = {"expect": {"silence": length_ms}, "within": length_ms + 50}
    data["steps"].insert(place, step)
    return Wrong(
        data=data, what=f"silence of {length_ms} ms, and an answer after {answer_ms:.0f} ({kind})"
    )


def _too_early(choices: Choices, right: Judged, data: dict[str, Any]) -> Wrong | None:
    """An expectation before what it waits for; or with less time than that took."""
    place = one_of(choices, _replies(data))
    keys, quiet = right.caller("dtmf_heard"), right.caller("silence_heard")
    if keys and quiet and chance(choices, 2):
        took_ms = ns_to_ms(keys[-1].at_ns - quiet[0].at_ns)
        within = {"when": "greeting end", "within": round(took_ms - _SURE_MS / 2)}
        _take_keys_out(data)
        data["meanwhile"] = [{"expect": {"dtmf": _KEYS}, **within}]
        return Wrong(
            data=data, what=f"keys that came {took_ms:.0f} ms after the greeting, {within}"
        )
    if chance(choices, 2):
        expected = data["steps"].pop(place)
        asked = next(
            n for n in range(place - 1, -1, -1) if {"say", "press"} & data["steps"][n].keys()
        )
        data["steps"].insert(asked, {**expected, "within": 1500})
        return Wrong(data=data, what="a reply before the turn that it answers")
    since_ns, until_ns = _ended(right, place - 1), _ended(right, place)
    heard = (mark.at_ns for mark in right.caller("speech_heard") if mark.at_ns <= until_ns)
    took_ms = ns_to_ms(max(heard, default=since_ns) - since_ns)
    if took_ms * (1 - _MUCH_LESS) < _LEAST_BEYOND_MS:
        return None
    data["steps"][place]["within"] = round(took_ms * _MUCH_LESS)
    return Wrong(data=data, what=f"a reply within less than the {took_ms:.0f} ms that it took")


def _over_before(choices: Choices, right: Judged, data: dict[str, Any]) -> Wrong | None:
    """The agent ends the call: in the middle of a reply, or before the steps are done."""
    place = one_of(choices, _replies(data))
    heard = [mark.at_ns for mark in right.caller("speech_heard")]
    until_ns = _ended(right, place)
    begun_ns = max((at_ns for at_ns in heard if at_ns < until_ns), default=0)
    received_ns = next(
        (mark.at_ns for mark in right.call.agent_marks if mark.name == "call_received"), 0
    )
    first = one_of(choices, ("hold", {"press": "1"}, {"pause": 100}))
    rest: list[Any] = [first, *(["resume"] if first == "hold" else []), "hang_up"]
    if chance(choices, 2):
        middle_ms = ns_to_ms((begun_ns + until_ns) // 2 - received_ns)
        if until_ns - begun_ns < 3 * NS_PER_S or data["realtime"]["timing"].get("pace") != 1:
            return None
        data["agent"] |= {"limits": {"call_ms": round(middle_ms), "farewell_ms": 1000}}
        data["realtime"]["replies"] = [
            {**one, "say": _LONG} if "say" in one else one for one in data["realtime"]["replies"]
        ]
        data["steps"] = [*data["steps"][: place + 1], *one_of(choices, ([], rest))]
        what = "a reply that the end of the call has cut"
        return Wrong(data=data, what=what, is_so=_is_cut, is_heard=_sounds_to_the_end)
    awaited = one_of(choices, ({"expect": "hang_up"}, {"pause": 3000}))
    data["steps"] = [*data["steps"][: place + 1], awaited, *one_of(choices, (rest, ["hang_up"]))]
    data["realtime"]["replies"].insert(
        _said_before(data, place), {"say": _SHORT, "function_call": {"name": "hang_up"}}
    )
    return Wrong(data=data, what="steps in a call that the agent has ended")


def _is_cut(played: Judged) -> bool:
    """Whether the agent was still speaking when the call ended."""
    names = ("playout_started", "playout_ended", "playout_cleared")
    last = [mark.name for mark in played.call.agent_marks if mark.name in names]
    return last[-1:] == ["playout_started"]


def _sounds_to_the_end(played: Judged) -> bool:
    """Whether there is sound up to the end: a pause between two words may be the end of all."""
    last = played.loudness()[-_LAST_FRAMES:]
    return bool(last.size and last.min() > _FULL_SCALE * 10 ** (_LOUD_DBFS / 20))


def _never_heard(_: Judged) -> bool:
    """It is no matter of what the caller hears, but of what the agent marks, or is measured."""
    return False


def _said_before(data: Mapping[str, Any], place: int) -> int:
    """How many of the replies are said before that of a step."""
    turns = sum(1 for number in _replies(data) if number < place)
    keys = sum(1 for step in data["steps"][:place] if _is_of_keys(step))
    return turns + keys


def _is_of_keys(step: Any) -> bool:
    return isinstance(step, dict) and isinstance(step.get("expect"), dict)


def _replies(data: Mapping[str, Any]) -> list[int]:
    """The steps that expect a reply."""
    return [
        number
        for number, step in enumerate(data["steps"])
        if isinstance(step, dict) and step.get("expect") == "reply"
    ]


def _ended(right: Judged, step: int) -> int:
    """When a step of the call had ended."""
    ends = (m.at_ns for m in right.caller("step_ended") if m.fields["step"] == step)
    return next(ends, 0)


_REPLY_WORDS = ("reply", "reply start")
_Maker = Callable[[Choices, Judged, dict[str, Any]], Wrong | None]
_MAKERS: tuple[_Maker, ...] = (
    _unsaid_reply,
    _withheld_reply,
    _unpressed_key,
    _never_what_happens,
    _tight_limit,
    _broken_silence,
    _too_early,
    _over_before,
)
_OF_ANY_CALL: tuple[_Maker, ...] = (_never_what_happens, _tight_limit)
"""Those that need no reply which was heard to its end."""
