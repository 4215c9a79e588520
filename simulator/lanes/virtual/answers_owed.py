"""What the agent owes its caller, counted from what it was told and what it has asked for.

A turn, keys and a function's result are owed an answer each, and a caller is owed one greeting. An
answer that has begun pays for one of them. One that failed, was cut short though nobody spoke into
it, was lost with its session, or had no sound pays for none.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from callerside.agent.call import events
from callerside.agent.call.events import Timer, TimerFired
from callerside.agent.realtime.interface import RealtimeClosed
from callerside.simulator.lanes.virtual.invariants import client_events, server_event
from callerside.simulator.lanes.virtual.trace import Step

AUDIO_DELTAS = ("response.output_audio.delta", "response.audio.delta")
"""As both dialects call it."""
_STARTED, _STOPPED = "speech_started", "speech_stopped"
_TURN, _GREETING = "turn", "greeting"
_OWING = ("input_audio_buffer.speech_stopped", "input_audio_buffer.timeout_triggered")
_ACTIVE = "conversation_already_has_active_response"
_COMMITTED = "input_audio_buffer.committed"


class AnswersOwed:
    """The account of one call."""

    def __init__(self) -> None:
        self._owed = 0
        self._running: str | None = None
        self._answers: set[str] = set()
        """Responses that have paid for something, and are not done."""
        self._heard: set[str] = set()
        self._interrupted: set[str] = set()
        self._speaking: object = None
        """The item that the caller is speaking, as the server has told."""
        self._over: object = None
        """The last one whose commit came before its stop."""
        self._told: Counter[str] = Counter()
        """Items that the server knows."""
        self._greetings: set[str] = set()
        self._is_full = False
        """Some of the answer that comes has found no room to wait in."""
        self._is_greeted = False
        """A greeting that the model has made was sent to its end."""

    def asked_for_nothing(self, step: Step) -> bool:
        """Enter a step; returns whether it asks for an answer that is not owed."""
        event = server_event(step)
        self._enter(event)
        if self._running and (fired(step, Timer.RESPONSE_END_LIMIT) or _loses_its_session(step)):
            self._owed, self._running = self._owed + 1, None
        self._owed += self._new_debts(step, event)
        self._is_full = self._is_full or bool(_emits(step, "playout_overflowed"))
        if event.get("type") == "response.done":  # one that found no room was not heard
            self._owed += self._is_full and _emits(step, "response_silent")
            self._is_full = False
        sent = list(client_events(step))
        stops = any(one["type"] == "response.cancel" for one in sent)
        if self._running and (stops or is_told(step, _STARTED)):
            self._interrupted.add(self._running)
        if self._is_greeted and any(_is_request(one, _GREETING) for one in sent):
            return True
        return not self._owed and any(_is_request(one, _TURN) for one in sent)

    def _enter(self, event: Mapping[str, Any]) -> None:
        kind = event.get("type")
        if kind in AUDIO_DELTAS:
            self._heard.add(str(event["response_id"]))
        elif kind == "response.created" and purpose_of(event["response"]) in (None, _TURN):
            self._owed, self._running = max(0, self._owed - 1), str(event["response"]["id"])
            self._answers.add(self._running)
        elif kind == "response.done" and event["response"]["id"] in self._answers:
            response = str(event["response"]["id"])
            self._answers.remove(response)
            self._owed += not self._is_paid(event["response"])
            self._running = None if response == self._running else self._running
        elif kind == "error" and event["error"].get("code") == _ACTIVE:
            self._owed = max(1, self._owed)  # what was asked for is owed still
        elif kind == "response.created" and purpose_of(event["response"]) == _GREETING:
            self._greetings.add(str(event["response"]["id"]))
        elif kind == "response.done" and event["response"]["id"] in self._greetings:
            response = event["response"]["id"]
            whole = event["response"]["status"] == "completed"
            self._is_greeted = self._is_greeted or (whole and response in self._heard)
            self._owed += not whole  # it is asked for anew as whatever the model has to say

    def _is_paid(self, response: Mapping[str, Any]) -> bool:
        if response["status"] == "cancelled":
            return response["id"] in self._interrupted
        return response["status"] == "completed" and response["id"] in self._heard

    def _new_debts(self, step: Step, event: Mapping[str, Any]) -> int:
        kind = event.get("type")
        debts = self._turns_over(event)
        if kind not in _OWING:  # under the policy `local` the agent's own ear ends turns
            debts += _emits(step, _STOPPED)
        items = [str(one["item"]) for one in client_events(step) if _is_owing(one)]
        if kind == "session.updated":  # a new session is told all that the one before knew, too
            new = Counter(items) - self._told
            self._told = Counter(items)
            return debts + new.total()
        self._told.update(items)
        return debts + len(items)

    def _turns_over(self, event: Mapping[str, Any]) -> int:
        """A turn is over by its stop, or by its commit where that comes first."""
        kind, item = event.get("type"), event.get("item_id")
        if kind == f"input_audio_buffer.{_STARTED}":
            self._speaking = item
        elif kind == _COMMITTED and item == self._speaking:
            self._speaking, self._over = None, item
            return 1
        if kind not in _OWING:
            return 0
        self._speaking = None
        return int(kind != _OWING[0] or item != self._over)


def _is_request(sent: Mapping[str, Any], purpose: str) -> bool:
    return sent["type"] == "response.create" and purpose_of(sent.get("response") or {}) == purpose


def _is_owing(sent: Mapping[str, Any]) -> bool:
    """Whether it tells the server something that the caller did, or a function's result."""
    if sent["type"] != "conversation.item.create":
        return False
    item = sent["item"]
    return bool(item["type"] == "function_call_output" or item.get("role") == "user")


def _loses_its_session(step: Step) -> bool:
    closes = any(isinstance(effect, events.CloseRealtime) for effect in step.effects)
    return closes or isinstance(step.given, RealtimeClosed)


def is_told(step: Step, what: str) -> bool:
    """Whether the agent learns of it: by the server, or by its own ear."""
    heard = server_event(step).get("type") == f"input_audio_buffer.{what}"
    return heard or _emits(step, what) > 0


def _emits(step: Step, mark: str) -> int:
    """How many of these marks it writes."""
    return sum(isinstance(one, events.EmitMark) and one.name == mark for one in step.effects)


def fired(step: Step, timer: Timer) -> bool:
    """Whether it is that timer's step."""
    return isinstance(step.given, TimerFired) and step.given.timer is timer


def purpose_of(response: Mapping[str, Any]) -> object:
    """What it was asked for; None: it is the server's own."""
    return (response.get("metadata") or {}).get("purpose")
