"""What the agent owes its caller, and by which response each of it is paid.

Owed is a turn (by its item), keys (by their words), a function's result (by its call) and one
greeting. A response of the server's own answers the turns that are owed when it begins; one that
was asked for answers whatever was owed when it was. It has paid if it was completed, and something
of it was heard or it calls functions; or if the caller has stopped it. Else it is owed again,
however it was lost.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from callerside.agent.call import events
from callerside.agent.call.events import Timer, TimerFired
from callerside.agent.realtime.interface import RealtimeClosed
from callerside.agent.telephony.interface import PlayoutOverflowed
from callerside.audio import BYTES_PER_SAMPLE, heard_from_ms
from callerside.simulator.lanes.virtual.invariants import server_event
from callerside.simulator.lanes.virtual.trace import Step

AUDIO_DELTAS = ("response.output_audio.delta", "response.audio.delta")
"""As both dialects call it."""
_STARTED, _STOPPED = "speech_started", "speech_stopped"
_TURN, _GREETING = "turn", "greeting"
_ENDS_OF_TURNS = ("input_audio_buffer.speech_stopped", "input_audio_buffer.timeout_triggered")
_COMMITTED = "input_audio_buffer.committed"
_TRANSCRIBED = "conversation.item.input_audio_transcription.completed"


@dataclass(kw_only=True, slots=True)
class _Answer:
    """A response that runs, or a request for one."""

    pays: frozenset[str]
    request: str = ""
    """Its event's id; of the server's own there is none."""
    purpose: object = None
    is_stopped: bool = False
    """By the caller."""


class AnswersOwed:
    """The account of one call."""

    def __init__(self, rate_hz: int, *, asks_for_turns: bool) -> None:
        """`asks_for_turns`: the server leaves that to the agent; what it begins is no answer."""
        self._rate_hz = rate_hz
        self._asks_for_turns = asks_for_turns
        self._owed: set[str] = set()
        self._turns: set[str] = set()
        """What was ever owed and is a turn, which the server answers by itself."""
        self._others: set[str] = set()
        """What else was ever owed."""
        self._asked: _Answer | None = None
        self._running: dict[str, _Answer] = {}
        self._begun: set[str] = set()
        self._sounds: dict[int, str] = {}
        """By the telephone's tag: of which response the audio is."""
        self._heard: Counter[str] = Counter()
        """Samples of each response, from its first sound on."""
        self._spoken: set[str] = set()
        """Items of which the server has told the beginning."""
        self._commits = False
        """The agent ends turns itself: an item that nobody has spoken is no turn."""
        self._transcripts: set[str] = set()
        """A new session is told them, too, and they are owed for already."""
        self._told: Counter[str] = Counter()
        """How often this session was told the same words: what has no id is known by that."""
        self._is_greeted = False
        """A greeting that the model has made was sent to its end."""

    def asked_for_nothing(self, step: Step) -> bool:
        """Enter a step; returns whether it asks for an answer that is not owed."""
        event = server_event(step)
        if fired(step, Timer.RESPONSE_END_LIMIT) or loses_its_session(step):
            self._lose_all()
        self._enter_turn(event)
        self._enter_sound(step, event)
        self._enter_response(event)
        if event.get("type") == "session.updated":
            self._told.clear()
        if is_told(step, _STARTED):
            self._stop()
        wrong = [effect for effect in step.effects if self._enter_effect(effect)]
        return bool(wrong)

    def _enter_effect(self, effect: events.Effect) -> bool:
        """Each in its place: of two turns that one step tells, the second's end comes later.

        Returns whether the effect asks for an answer that is not owed.
        """
        if isinstance(effect, events.EmitMark) and effect.name == _STOPPED:
            # Under the policy `local` the agent's own ear ends turns.
            self._owe(str(effect.fields["item"]), self._turns)
        return isinstance(effect, events.SendEvent) and self._is_wrong(effect.event)

    def _enter_turn(self, event: Mapping[str, Any]) -> None:
        """A turn is over by its stop, or by its commit where that comes first."""
        kind, item = event.get("type"), str(event.get("item_id"))
        if kind == f"input_audio_buffer.{_STARTED}":
            self._spoken.add(item)
        elif kind == _TRANSCRIBED:
            self._transcripts.add(event["transcript"])
        is_turn = item in self._spoken or not self._commits
        if kind in _ENDS_OF_TURNS or (kind == _COMMITTED and is_turn):
            self._owe(item, self._turns)

    def _owe(self, what: str, known: set[str]) -> None:
        if what not in known:
            known.add(what)
            self._owed.add(what)

    def _enter_sound(self, step: Step, event: Mapping[str, Any]) -> None:
        if isinstance(step.given, PlayoutOverflowed):
            self._heard[self._sounds.get(step.given.tag, "")] -= step.given.dropped_samples
        if event.get("type") not in AUDIO_DELTAS:
            return
        response = str(event["response_id"])
        for effect in step.effects:
            if not isinstance(effect, events.Play):
                continue
            self._sounds[effect.tag] = response
            if self._heard[response] or heard_from_ms(effect.pcm, self._rate_hz) < math.inf:
                self._heard[response] += len(effect.pcm) // BYTES_PER_SAMPLE

    def _enter_response(self, event: Mapping[str, Any]) -> None:
        kind, response = event.get("type"), event.get("response") or {}
        if kind in ("response.created", "response.done") and response["id"] not in self._begun:
            self._begin(response)  # its end may be all that is told of it
        if kind == "response.done" and response["id"] in self._running:
            answer = self._running.pop(response["id"])
            if not self._is_paid(response, answer):
                self._give_back(answer)
        elif kind == "error" and self._is_refused(event["error"]):
            self._give_back(self._asked)
            self._asked = None

    def _is_refused(self, error: Mapping[str, Any]) -> bool:
        return self._asked is not None and error.get("event_id") == self._asked.request

    def _give_back(self, *answers: _Answer | None) -> None:
        """They will not come, or have not paid."""
        for answer in answers:
            self._owed |= answer.pays if answer else set()

    def _begin(self, response: Mapping[str, Any]) -> None:
        name, purpose = str(response["id"]), purpose_of(response)
        self._begun.add(name)
        pays: frozenset[str] = frozenset()
        if purpose is None and not self._asks_for_turns:
            pays = self._take_turns()
        elif purpose and self._asked and self._asked.purpose == purpose:
            pays, self._asked = self._asked.pays, None
        # What it answers was perhaps never told: to be broken off it need not be known.
        self._running[name] = _Answer(pays=pays or frozenset({name}))

    def _take_turns(self) -> frozenset[str]:
        """Of what is owed, and of what was asked for meanwhile."""
        turns = self._owed & self._turns
        self._owed -= turns
        if self._asked:
            turns |= self._asked.pays & self._turns
            self._asked.pays -= turns
        return frozenset(turns)

    def _is_paid(self, response: Mapping[str, Any], answer: _Answer) -> bool:
        is_heard = self._heard[response["id"]] > 0
        if response["status"] == "cancelled":
            return answer.is_stopped
        if response["status"] != "completed":
            return False
        self._is_greeted = self._is_greeted or (is_heard and purpose_of(response) == _GREETING)
        output = response.get("output") or ()
        return is_heard or any(item["type"] == "function_call" for item in output)

    def _is_wrong(self, sent: Mapping[str, Any]) -> bool:
        """Enter what the agent sends; returns whether it asks for an answer that is not owed."""
        kind = sent["type"]
        if kind == "response.create":
            return self._ask(sent["event_id"], purpose_of(sent.get("response") or {}))
        if kind == "response.cancel":
            self._stop()
        elif kind == "input_audio_buffer.commit":
            self._commits = True
        elif kind == "conversation.item.create":
            self._enter_item(sent["item"])
        return False

    def _enter_item(self, item: Mapping[str, Any]) -> None:
        if item["type"] == "function_call_output":
            self._owe(str(item["call_id"]), self._others)
        elif item.get("role") == "user":
            words = item["content"][0]["text"]
            self._told[words] += 1
            if words not in self._transcripts:
                self._owe(f"{words} ({self._told[words]})", self._others)

    def _ask(self, request: str, purpose: object) -> bool:
        self._give_back(self._asked)  # it was waited for in vain
        pays = frozenset(self._owed)
        if purpose == _TURN:
            self._owed.clear()
        elif purpose == _GREETING:
            pays = frozenset({_GREETING})
        else:
            pays = frozenset()
        self._asked = _Answer(pays=pays, request=request, purpose=purpose)
        return (purpose == _TURN and not pays) or (purpose == _GREETING and self._is_greeted)

    def _stop(self) -> None:
        """The caller, or the agent, stops what runs."""
        for answer in self._running.values():
            answer.is_stopped = True

    def _lose_all(self) -> None:
        """What runs, and what was asked for, will not come."""
        self._give_back(*self._running.values(), self._asked)
        self._running.clear()
        self._asked = None
        self._commits = False


def loses_its_session(step: Step) -> bool:
    """Whether there is no session any more, until the next one."""
    closes = any(isinstance(effect, events.CloseRealtime) for effect in step.effects)
    return closes or isinstance(step.given, RealtimeClosed)


def is_told(step: Step, what: str) -> bool:
    """Whether the agent learns of it: by the server, or by its own ear."""
    heard = server_event(step).get("type") == f"input_audio_buffer.{what}"
    return heard or emitted(step, what) > 0


def emitted(step: Step, mark: str) -> int:
    """How many of these marks a step writes."""
    return sum(isinstance(one, events.EmitMark) and one.name == mark for one in step.effects)


def fired(step: Step, timer: Timer) -> bool:
    """Whether it is that timer's step."""
    return isinstance(step.given, TimerFired) and step.given.timer is timer


def purpose_of(response: Mapping[str, Any]) -> object:
    """What it was asked for; None: it is the server's own."""
    return (response.get("metadata") or {}).get("purpose")
