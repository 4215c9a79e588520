"""Answers that a caller cannot use, or never got: a failure, unless the agent made up for it.

The server's marks tell how each response ended, and which never did. One that is incomplete, has
failed, brought nothing to hear or never came is what agents are silent after, so a call with one
fails, whatever its steps say; a warning is left of it where the agent was heard before the caller
had to speak again, and the caller heard an answer in the end. A scenario that means it says so:
`expect: {response: failed}`, which excuses the answer of one turn.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from callerside.agent.call.builtin_tools import BUILT_IN
from callerside.clock import NS_PER_S, ms_to_ns
from callerside.marks import Mark
from callerside.simulator.scenario.model import Scenario

_MOVED_ON_NS = 2 * NS_PER_S
"""A caller who speaks so soon has not waited for the agent to make up for anything."""
_LEFT_NS = 2 * NS_PER_S
"""A caller who hangs up so soon has not waited for the answer."""
_PATIENT_NS = 5 * NS_PER_S
"""Nor one who hangs up so soon for a function's result."""
_OF_ITS_END = ("response_done", "response_incomplete", "response_silent", "response_withheld")
_NEVER_CAME = "withheld"
_FAULT = "fault_applied"
_CALLED_OFF = "tool_cancelled"
_AGENT_HEARD = ("playout_started", "prompt_started", "greeting_started")


@dataclass(frozen=True, slots=True)
class UnusableAnswer:
    """A response that the caller cannot use, and when it ended, or should have begun."""

    response: str
    turn: int
    """Whose answer it was; 0 before the caller's first."""
    how: str
    """`incomplete`, `failed`, `cancelled`, `silent` or `withheld`: as scenarios expect it."""
    reason: str
    at_ns: int
    in_part: bool = False
    """Whether some of it was sent as sound."""

    def __str__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        where = f"turn {self.turn}" if self.turn else "before the first turn"
        told = {"silent": "was silent", _NEVER_CAME: "never came"}
        return f"{where}: the answer {told.get(self.how, f'ended {self.how}{why}')}"


@dataclass(slots=True)
class _Begun:
    """A response, as the marks until now tell it."""

    turn: int
    due_ns: int
    """When its first sound is due."""
    aside: bool = False
    """It is out of band: nobody is to hear it."""
    sounding: bool = False
    calls: bool = False
    waits: bool = False
    """It calls a function that the agent is to run."""
    spoken_over: bool = False
    """The caller has spoken since it was asked for."""
    follows: str = ""
    """The function whose result it tells, if one is still owed to the caller."""


def unusable_answers(marks: Sequence[Mark]) -> list[UnusableAnswer]:
    """All of them in a call, in order, by the server's marks; those out of band do not count."""
    answers = _Answers()
    for mark in marks:
        if mark.source == "realtime":
            answers.take(mark)
    return answers.unusable(_left_ns(marks))


def left_before_results(marks: Sequence[Mark]) -> list[str]:
    """That the caller left while it had heard no more than that a function runs: a warning.

    What was said before the call of a function is no answer, and nobody has waited for one.
    """
    if not any(_is(mark, "caller", "hang_up_sent") for mark in marks):
        return []
    left_ns = _left_ns(marks)
    answers = _Answers()
    for mark in marks:
        if mark.source == "realtime" and mark.at_ns <= left_ns:
            answers.take(mark)
    return answers.owed()


class _Answers:
    """The responses of a call, as its marks tell them one after another."""

    def __init__(self) -> None:
        self._turn = 0
        self._running: dict[str, _Begun] = {}
        self._unusable: list[UnusableAnswer] = []
        self._called: UnusableAnswer | None = None
        """A response that said nothing and called a function, until the next one is asked for."""
        self._owed = ""
        """The function whose result the caller has not been told, as far as it has heard."""

    def take(self, mark: Mark) -> None:
        """The next mark of the server's."""
        running, fields = self._running, mark.fields
        response = str(fields.get("response"))
        if mark.name == "committed":
            self._turn += 1
            self._owed = ""  # the caller asks something else
        elif mark.name == "speech_started":
            for one in running.values():
                one.spoken_over = True
        elif mark.name == "function_called":
            self._call(str(fields.get("name")))
        elif mark.name == "response_planned":
            due_ns = mark.at_ns + ms_to_ns(float(fields.get("think_ms", 0)))
            aside = fields.get("reply") == "out_of_band"
            follows = "" if aside else self._owed
            running[response] = _Begun(self._turn, due_ns, aside=aside, follows=follows)
            self._called = None if not aside else self._called
        elif mark.name == "delta_sent":
            begun = running.setdefault(response, _Begun(self._turn, mark.at_ns))
            begun.sounding = True
            self._owed = "" if begun.follows else self._owed
        elif mark.name == "response_done":
            self._end(response, mark)

    def _call(self, name: str) -> None:
        waits = name not in BUILT_IN  # they end, or move, the call
        for one in self._running.values():
            one.calls, one.waits = True, one.waits or waits
        self._owed = name if waits else self._owed

    def _end(self, response: str, mark: Mark) -> None:
        begun = self._running.pop(response, None) or _Begun(self._turn, mark.at_ns)
        begun.sounding = begun.sounding and not mark.fields.get("inaudible")
        how = "" if begun.aside else _how(mark.fields, begun)
        if begun.waits and not begun.sounding:
            self._called = UnusableAnswer(response, begun.turn, _NEVER_CAME, "", mark.at_ns)
        if how:
            reason = str(mark.fields.get("reason", ""))
            self._unusable.append(
                UnusableAnswer(response, begun.turn, how, reason, mark.at_ns, begun.sounding)
            )

    def owed(self) -> list[str]:
        """What the caller has not been told until now."""
        if not self._owed:
            return []
        left = f"the caller left before the answer after the function {self._owed!r} came"
        return [f"turn {self._turn}: {left}; expect: reply waits for it"]

    def unusable(self, left_ns: int) -> list[UnusableAnswer]:
        """What the caller, who was there until then, could not use."""
        never = [
            UnusableAnswer(response, one.turn, _NEVER_CAME, "", one.due_ns)
            for response, one in self._running.items()
            if not (one.aside or one.sounding or one.calls) and one.due_ns + _LEFT_NS <= left_ns
        ]
        if self._called is not None and self._called.at_ns + _PATIENT_NS <= left_ns:
            never.append(self._called)
        return sorted([*self._unusable, *never], key=lambda one: one.at_ns)


def _left_ns(marks: Sequence[Mark]) -> int:
    """Until when the caller was there to hear anything."""
    over = (mark.at_ns for mark in marks if _is(mark, "caller", "hang_up_sent", "call_ended"))
    return next(over, marks[-1].at_ns if marks else 0)


def _how(fields: Mapping[str, object], begun: _Begun) -> str:
    status = str(fields.get("status"))
    if status in ("incomplete", "failed"):
        return status
    if status == "cancelled":
        return status if fields.get("by_script") and not begun.spoken_over else ""
    return "silent" if status == "completed" and not begun.sounding and not begun.calls else ""


def judge_answers(scenario: Scenario, marks: Sequence[Mark]) -> tuple[list[str], list[str]]:
    """What is wrong with the answers of a call, and what the agent has made up for.

    Args:
        scenario: what was played; what it expects is no failure.
        marks: of all parties, in order of time.

    Returns:
        Sentences that fail the call, and warnings.
    """
    failures, warnings = [], []
    answers = unusable_answers(marks)
    wanted = _wanted_turns(answers, scenario, marks)
    for answer in answers:
        if answer.turn in wanted.get(answer.how, ()) or _is_swallowed(answer, scenario, marks):
            continue
        if is_made_up_for(answer, marks):
            warnings.append(f"{answer}; the agent made up for it")
        else:
            heard = "no whole answer" if answer.in_part else "no answer instead of it"
            failures.append(f"{answer}, and the caller heard {heard}{_wish(answer, marks)}")
    if not any(one.is_told_by(mark) for one in scenario.looked_up for mark in _called_off(marks)):
        warnings += [] if failures else left_before_results(marks)
    # An answer that was asked for again, and never came either, is told once.
    return list(dict.fromkeys(failures)), list(dict.fromkeys(warnings))


def _wanted_turns(
    answers: Sequence[UnusableAnswer], scenario: Scenario, marks: Sequence[Mark]
) -> dict[str, set[int]]:
    """In which turns an answer that ended so is meant: an expectation is met by one turn's alone.

    Who asks for an answer again gets it in the same turn, and ends as often as not in the same way.
    """
    meets: list[list[tuple[str, int]]] = []
    for expected in scenario.looked_up:
        met = [
            (answer.how, answer.turn)
            for answer in answers
            if any(expected.is_told_by(mark) for mark in _ends(answer, marks))
        ]
        meets.append(list(dict.fromkeys(met)))
    wanted: dict[str, set[int]] = {}
    for met in sorted(meets, key=len):  # what fits little first: the rest is for what fits all
        free = (one for one in met if one[1] not in wanted.get(one[0], ()))
        for how, turn in list(free)[:1]:
            wanted.setdefault(how, set()).add(turn)
    return wanted


def _is_swallowed(answer: UnusableAnswer, scenario: Scenario, marks: Sequence[Mark]) -> bool:
    """Whether it never came, and what may be why is expected: a fault swallows all that follows."""
    if answer.how != _NEVER_CAME:
        return False
    why = [mark for mark in marks if mark.name in (_FAULT, _CALLED_OFF)]
    return any(one.is_told_by(mark) for one in scenario.looked_up for mark in why)


def _called_off(marks: Sequence[Mark]) -> list[Mark]:
    return [mark for mark in marks if mark.name == _CALLED_OFF]


def _ends(answer: UnusableAnswer, marks: Sequence[Mark]) -> list[Mark]:
    """What tells how it ended."""
    return [
        mark
        for mark in marks
        if mark.name in _OF_ITS_END and mark.fields.get("response") == answer.response
    ]


def _wish(answer: UnusableAnswer, marks: Sequence[Mark]) -> str:
    """How a scenario says that it is meant; empty if nothing in it has brought it about."""
    told = {
        mark.name: mark
        for mark in marks
        if mark.name in (_FAULT, _CALLED_OFF) or mark.fields.get("response") == answer.response
    }
    if answer.how != _NEVER_CAME or "response_withheld" in told:
        wish = "{response: %s}" % answer.how  # noqa: UP031 - braces
    elif _CALLED_OFF in told:
        wish = "{mark: tool_cancelled}"
    elif _FAULT in told:
        fault = told[_FAULT].fields["fault"]
        wish = "{mark: fault_applied, fields: {fault: %s}}" % fault  # noqa: UP031 - braces
    else:
        return ""
    return f"; if that is meant: expect: {wish}"


def is_made_up_for(answer: UnusableAnswer, marks: Sequence[Mark]) -> bool:
    """Whether the caller heard an answer all the same, without having to ask again."""
    since = [mark for mark in marks if mark.at_ns >= answer.at_ns]
    turn_ns = next((one.at_ns for one in since if _is(one, "caller", "utterance_started")), None)
    agent_ns = next(
        (one.at_ns for one in since if one.source == "agent" and one.name in _AGENT_HEARD), None
    )
    left_alone = turn_ns is not None and turn_ns > answer.at_ns + _MOVED_ON_NS
    if left_alone and (agent_ns is None or turn_ns is None or agent_ns > turn_ns):
        return False
    return is_answer_heard(since)


def is_answer_heard(marks: Sequence[Mark]) -> bool:
    """Whether an answer was whole in these marks, and the caller heard the agent once it began."""
    return any(_answers_heard(marks))


def _answers_heard(marks: Sequence[Mark]) -> Iterator[bool]:
    """For each answer that was whole: whether the caller heard the agent after it had begun."""
    begun: dict[object, int] = {}
    heard = [one.at_ns for one in marks if _is(one, "caller", "silence_heard", "speech_heard")]
    for mark in marks:
        response = mark.fields.get("response")
        if _is(mark, "realtime", "delta_sent"):
            begun.setdefault(response, mark.at_ns)
        elif _is(mark, "realtime", "response_done") and response in begun:
            whole = mark.fields.get("status") in ("completed", "cancelled")
            whole = whole and not (mark.fields.get("by_script") or mark.fields.get("inaudible"))
            yield whole and any(at_ns > begun[response] for at_ns in heard)


def _is(mark: Mark, source: str, *names: str) -> bool:
    return mark.source == source and mark.name in names
