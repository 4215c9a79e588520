"""Answers that ended otherwise than a caller can use: a failure, unless the agent made up for it.

The server's marks tell how each response ended. One that is incomplete, has failed, or brought
nothing to hear is what agents are silent after, so a call with one fails, whatever its steps say;
a warning is left of it where the agent was heard before the caller had to speak again, and the
caller heard an answer in the end. A scenario that means it says so: `expect: {response: failed}`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from callerside.clock import NS_PER_S
from callerside.marks import Mark
from callerside.simulator.scenario.model import Scenario

_MOVED_ON_NS = 2 * NS_PER_S
"""A caller who speaks so soon has not waited for the agent to make up for anything."""
_OF_ITS_END = ("response_done", "response_incomplete", "response_silent")
_AGENT_HEARD = ("playout_started", "prompt_started", "greeting_started")


@dataclass(frozen=True, slots=True)
class UnusableAnswer:
    """A response that the caller cannot use, and when it ended."""

    response: str
    turn: int
    """Whose answer it was; 0 before the caller's first."""
    how: str
    reason: str
    at_ns: int

    def __str__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        where = f"turn {self.turn}" if self.turn else "before the first turn"
        silent = self.how == "silent"
        return f"{where}: the answer {'was silent' if silent else f'ended {self.how}{why}'}"


def unusable_answers(marks: Sequence[Mark]) -> list[UnusableAnswer]:
    """All of them in a call, in order, by the server's marks; those out of band do not count."""
    found: list[UnusableAnswer] = []
    aside: set[object] = set()
    sounding: set[object] = set()
    turn, calls = 0, False
    for mark in marks:
        if mark.source != "realtime":
            continue
        response = mark.fields.get("response")
        if mark.name == "committed":
            turn += 1
        elif mark.name == "response_planned" and mark.fields.get("reply") == "out_of_band":
            aside.add(response)
        elif mark.name == "function_called":
            calls = True
        elif mark.name == "delta_sent":
            sounding.add(response)
        elif mark.name == "response_done" and response not in aside:
            how = _how(mark.fields, heard=response in sounding, calls=calls)
            if how:
                reason = str(mark.fields.get("reason", ""))
                found.append(UnusableAnswer(str(response), turn, how, reason, mark.at_ns))
            calls = False
    return found


def _how(fields: Mapping[str, object], *, heard: bool, calls: bool) -> str:
    status = str(fields.get("status"))
    if status in ("incomplete", "failed"):
        return status
    return "silent" if status == "completed" and not heard and not calls else ""


def judge_answers(scenario: Scenario, marks: Sequence[Mark]) -> tuple[list[str], list[str]]:
    """What is wrong with the answers of a call, and what the agent has made up for.

    Args:
        scenario: what was played; what it expects is no failure.
        marks: of all parties, in order of time.

    Returns:
        Sentences that fail the call, and warnings.
    """
    failures, warnings = [], []
    for answer in unusable_answers(marks):
        if _is_wanted(answer, scenario, marks):
            continue
        if _is_made_up_for(answer, marks):
            warnings.append(f"{answer}; the agent made up for it")
        else:
            wish = "{response: %s}" % answer.how  # noqa: UP031 - braces
            failures.append(
                f"{answer}, and the caller heard nothing instead of it; "
                f"if that is meant: expect: {wish}"
            )
    return failures, warnings


def _is_wanted(answer: UnusableAnswer, scenario: Scenario, marks: Sequence[Mark]) -> bool:
    ends = [
        mark
        for mark in marks
        if mark.name in _OF_ITS_END and mark.fields.get("response") == answer.response
    ]
    return any(one.is_told_by(mark) for one in scenario.looked_up for mark in ends)


def _is_made_up_for(answer: UnusableAnswer, marks: Sequence[Mark]) -> bool:
    since = [mark for mark in marks if mark.at_ns >= answer.at_ns]
    turn_ns = next((one.at_ns for one in since if _is(one, "caller", "utterance_started")), None)
    agent_ns = next(
        (one.at_ns for one in since if one.source == "agent" and one.name in _AGENT_HEARD), None
    )
    left_alone = turn_ns is not None and turn_ns > answer.at_ns + _MOVED_ON_NS
    if left_alone and (agent_ns is None or turn_ns is None or agent_ns > turn_ns):
        return False
    return any(_answers_heard(since))


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
            yield whole and any(at_ns > begun[response] for at_ns in heard)


def _is(mark: Mark, source: str, *names: str) -> bool:
    return mark.source == source and mark.name in names
