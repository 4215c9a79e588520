"""What the model must be told besides what it hears: the caller's keys, and functions' answers."""

import json
import re
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from typing import Any

from callerside.agent.call import events
from callerside.agent.call.builtin_tools import HANG_UP, SEND_DTMF, TRANSFER
from callerside.agent.call.events import ToolFinished
from callerside.agent.telephony.interface import TransferProgressed
from callerside.clock import NS_PER_MS, ms_to_ns
from callerside.simulator.lanes.virtual.answers_owed import loses_its_session
from callerside.simulator.lanes.virtual.invariants import (
    Invariant,
    TracedCall,
    at_ms,
    client_events,
    server_event,
)
from callerside.simulator.lanes.virtual.record_invariants import (
    is_end,
    keys_pressed,
    over_ns,
    whole_calls,
)
from callerside.simulator.lanes.virtual.stops import Stops
from callerside.simulator.lanes.virtual.trace import Step

_TOLD_KEYS = re.compile(r"I pressed (.+) on the telephone's keypad\.")
_MOST_OUTPUT_CHARS = 20_000
"""What is longer is cut."""
_LATE_NS = 100 * NS_PER_MS
_MOST_KEYS = 64
"""Of one number: what is longer is told as several."""


def keys_are_told(traced: TracedCall) -> Iterator[str]:
    """The model is told each number that the caller keys in: once a session, in order, whole.

    One ends with `#`, or with a pause.
    """
    if not traced.trace or not traced.settings.dtmf.to_model:
        return
    numbers = _Numbers(ms_to_ns(traced.settings.dtmf.interdigit_timeout_ms))
    pressed = deque(keys_pressed(traced))
    told: list[str] = []
    """In this session."""
    ready = False
    for step in traced.turning_points:
        while pressed and pressed[0][0] <= step.at_ns:
            numbers.press(*pressed.popleft())
        if server_event(step).get("type") == "session.updated" and not ready:
            ready, told = True, []
        told += _told_keys(step)
        whole = numbers.whole(step.at_ns)
        if told != whole[: len(told)]:
            yield f"the caller keyed in {whole}, and the model was told {told}"
            return
        if is_end(step):
            break
        ready = ready and not loses_its_session(step)
    untold = numbers.whole(over_ns(traced) - _LATE_NS)[len(told) :]
    if ready and untold:
        yield f"the model was never told {' and '.join(untold)}"


class _Numbers:
    """What is keyed in, number by number."""

    def __init__(self, pause_ns: int) -> None:
        self._pause_ns = pause_ns
        self._whole: list[tuple[int, str]] = []
        self._open = ""
        self._pressed_ns = 0

    def press(self, at_ns: int, digit: str) -> None:
        """A key."""
        self._close(at_ns)
        self._open += digit
        self._pressed_ns = at_ns
        if digit == "#" or len(self._open) >= _MOST_KEYS:
            self._whole.append((at_ns, self._open))
            self._open = ""

    def whole(self, at_ns: int) -> list[str]:
        """The numbers that were whole by then."""
        self._close(at_ns)
        return [number for whole_ns, number in self._whole if whole_ns <= at_ns]

    def _close(self, at_ns: int) -> None:
        whole_ns = self._pressed_ns + self._pause_ns
        if self._open and at_ns >= whole_ns:
            self._whole.append((whole_ns, self._open))
            self._open = ""


def _told_keys(step: Step) -> Iterator[str]:
    for sent in client_events(step):
        item = sent.get("item") or {}
        if sent["type"] == "conversation.item.create" and item.get("role") == "user":
            found = _TOLD_KEYS.fullmatch(item["content"][0]["text"])
            if found:
                yield found[1].replace(" ", "")


def functions_are_called_once(traced: TracedCall) -> Iterator[str]:
    """A function runs if the model has called it, with what the model gave it, and once."""
    asked: dict[str, Mapping[str, Any]] = {}
    ran = Counter[str]()
    for step in traced.turning_points:
        event = server_event(step)
        items = [event.get("item") or {}, *((event.get("response") or {}).get("output") or ())]
        asked |= {str(one["call_id"]): one for one in items if one.get("type") == "function_call"}
        for effect in step.effects:
            if not isinstance(effect, events.RunTool):
                continue
            ran[effect.call_id] += 1
            call = asked.get(effect.call_id)
            given = json.loads(call["arguments"] or "{}") if call else None
            if call is None or call["name"] != effect.name or given != effect.arguments:
                yield f"{effect.name} ran at {at_ms(step.at_ns)}, and nobody had called it so"
    for call_id, times in ran.items():
        if times > 1:
            yield f"the call {call_id} was made {times} times"


def answers_of_functions_are_told(traced: TracedCall) -> Iterator[str]:
    """Whatever becomes of a function that the model calls, the model is told: once, and as it was.

    Where no function has answered, that is a failure, unless the call itself was what was wanted
    and came about: keys, a transfer, the end. Not while it runs, and not once its session is lost
    without another.
    """
    calls = _Calls(traced)
    for step in traced.turning_points:
        yield from calls.take(step)
        if is_end(step):
            break
    yield from calls.untold()


class _Calls:
    """The function calls of one call, and what became of them."""

    def __init__(self, traced: TracedCall) -> None:
        self._stops = Stops(traced.settings)
        self._due: dict[str, str | None] = {}
        """Calls whose answer is to be told; where it is a function's, what that was."""
        self._calls: dict[str, Mapping[str, Any]] = {}
        """As the model made them."""
        self._pressed: set[str] = set()
        """Keys that were sent for it."""
        self._handed_over = False
        self._made_by: dict[str, str] = {}
        """The response of each call that was told before its end: until then nothing is told."""
        self._running: set[str] = set()
        self._told = Counter[str]()
        """In this session."""
        self._ready = False

    def take(self, step: Step) -> Iterator[str]:
        """Enter a step; yields what is wrong in it."""
        event, given = server_event(step), step.given
        if isinstance(given, ToolFinished) and given.call_id in self._running:
            self._running.discard(given.call_id)
            self._due[given.call_id] = given.output
        if isinstance(given, TransferProgressed):
            self._handed_over = 200 <= given.status < 300
        if event.get("type") == "response.output_item.done":
            for call in whole_calls([event["item"]]):
                self._made_by[str(call["call_id"])] = str(event["response_id"])
                self._calls[str(call["call_id"])] = call
        if event.get("type") == "response.done" and self._stops.runs(str(event["response"]["id"])):
            self._take_end(event["response"])
        self._stops.begin(step)
        if event.get("type") == "session.updated" and not self._ready:
            self._ready = True
            self._told.clear()
        for effect in step.effects:
            if isinstance(effect, events.CancelTool) and is_end(step):
                continue  # it ran to the end
            yield from self._carry_out(effect, step.at_ns)
        self._stops.end(step)
        if loses_its_session(step) and not is_end(step):
            self._ready = False

    def _take_end(self, response: Mapping[str, Any]) -> None:
        whole = response["status"] in ("completed", "incomplete")
        for call in whole_calls(response.get("output") or ()) if whole else ():
            self._calls[str(call["call_id"])] = call
            if call["name"] != TRANSFER:
                self._due.setdefault(str(call["call_id"]), None)

    def _carry_out(self, effect: events.Effect, at_ns: int) -> Iterator[str]:
        if isinstance(effect, events.RunTool):
            self._running.add(effect.call_id)
        elif isinstance(effect, events.CancelTool):
            self._running.discard(effect.call_id)
        elif isinstance(effect, events.SendDtmf):
            self._pressed.add(effect.digits)
        elif isinstance(effect, events.SendEvent):
            item = effect.event.get("item") or {}
            if item.get("type") == "function_call_output":
                yield from self._note_told(str(item["call_id"]), str(item["output"]), at_ns)

    def _note_told(self, call_id: str, output: str, at_ns: int) -> Iterator[str]:
        self._told[call_id] += 1
        if self._told[call_id] > 1:
            yield f"the model was told twice what became of {call_id}, at {at_ms(at_ns)}"
        said, call = self._due.get(call_id), self._calls.get(call_id)
        if said is None and call is not None and _is_failure(output) == self._came_about(call):
            yield f"of the call of {call['name']} the model was told {output!r}, at {at_ms(at_ns)}"
        if said is not None and output != said and len(said) <= _MOST_OUTPUT_CHARS:
            yield f"{call_id} said {said!r}, and the model was told {output!r}, at {at_ms(at_ns)}"

    def _came_about(self, call: Mapping[str, Any]) -> bool:
        """Whether what the model wanted of the call itself was done."""
        if call["name"] == SEND_DTMF:
            return _argument(call, "digits") in self._pressed
        return call["name"] == HANG_UP or (call["name"] == TRANSFER and self._handed_over)

    def untold(self) -> Iterator[str]:
        """Calls of which the model was not told, at the end."""
        for call_id in self._due.keys() - self._running - self._told.keys():
            if self._ready and not self._stops.is_known_to_run(self._made_by.get(call_id, "")):
                yield f"the model was never told what became of {call_id}"


def _is_failure(output: str) -> bool:
    try:
        said = json.loads(output)
    except ValueError:
        return False
    return isinstance(said, dict) and bool(said.get("error"))


def _argument(call: Mapping[str, Any], name: str) -> str:
    try:
        given = json.loads(call["arguments"] or "{}")
    except ValueError:
        return ""
    return str(given.get(name, "")) if isinstance(given, dict) else ""


TOLD: Mapping[str, Invariant] = {
    "keys_are_told": keys_are_told,
    "functions_are_called_once": functions_are_called_once,
    "answers_of_functions_are_told": answers_of_functions_are_told,
}
