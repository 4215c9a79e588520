"""What became of the agent's audio, item by item, counted anew from the trace of its machine.

The agent counts what has left by the leg's tags. `replay_playout` counts it anew, from the order of
the effects and the lengths in the inputs: two counts, made by different means, must agree
(`simulator.lanes.virtual.audio_invariants`).
"""

import math
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from callerside.agent.call import events
from callerside.agent.call.events import PromptLoaded
from callerside.agent.realtime.interface import RealtimeEvent
from callerside.agent.telephony.interface import FramePlayed, PlayoutCleared, PlayoutOverflowed
from callerside.audio import BYTES_PER_SAMPLE, heard_from_ms
from callerside.clock import NS_PER_MS
from callerside.simulator.lanes.virtual.invariants import TracedCall, server_event
from callerside.simulator.lanes.virtual.stops import Stops
from callerside.simulator.lanes.virtual.trace import Step

_DELTAS = frozenset({"response.output_audio.delta", "response.audio.delta"})
_STOP_LIMIT_NS = 40 * NS_PER_MS
"""Two frames: one may be on its way into the network when the interruption becomes known."""
_MODEL = "playout_model"
_LEAVING = frozenset({"hang_up", "transfer"})
"""Functions before which the caller hears what was said."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Truncation:
    """A truncation that the agent sent, and what the other count says at that moment."""

    at_ns: int
    item: str
    audio_end_ms: int
    played_ms: float
    received_ms: float


@dataclass(kw_only=True)
class PlayoutModel:
    """What happened to the agent's audio, item by item."""

    truncations: list[Truncation] = field(default_factory=list)
    overstayed: list[tuple[int, str]] = field(default_factory=list)
    """When audio of an interrupted item left long after the interruption."""
    overfilled: list[tuple[int, float]] = field(default_factory=list)
    """When more audio waited to be played than may, and how much, in ms."""
    received: defaultdict[str, bytearray] = field(default_factory=lambda: defaultdict(bytearray))
    items_of_tags: dict[int, str] = field(default_factory=dict)
    """Whose audio the leg was given by each tag; empty for what is no item's."""
    protected: set[str] = field(default_factory=set)
    """Items of greetings that must not be interrupted, by what they were made for."""
    last_words: set[str] = field(default_factory=set)
    """Items of a goodbye, or of what is said before the caller is sent elsewhere, or let go."""
    asked_for: set[str] = field(default_factory=set)
    """Items of responses that the agent asked for."""
    protected_cleared: list[tuple[int, str]] = field(default_factory=list)
    """When audio that must not be interrupted was dropped before it had left, and its item."""
    out_of_order: list[tuple[int, str]] = field(default_factory=list)
    """When an item's audio was queued that had not just come, or more of it than had come."""
    idle: list[tuple[int, int]] = field(default_factory=list)
    """From when to when there was nothing left to be heard."""
    lost: list[tuple[int, str]] = field(default_factory=list)
    """When words of the model's were lost for no reason, and how."""
    overflowed_samples: int = 0
    """Of the model's words, for which there was no room."""
    begun: dict[int, int] = field(default_factory=dict)
    """When the first of each tag has left."""
    greetings: set[int] = field(default_factory=set)
    """Tags of greetings: from the cache, or by what their response was asked for."""
    left: list[tuple[int, bytes]] = field(default_factory=list)
    """What has left for the caller, in order, and when: by each report of it."""


def replay_playout(traced: TracedCall) -> PlayoutModel:
    """Count from the trace what left of each item; once for each call."""
    model: PlayoutModel | None = traced.__dict__.get(_MODEL)
    if model is None:
        model = traced.__dict__[_MODEL] = _PlayoutReplay(traced).replay()
    return model


class _PlayoutReplay:
    """Walks the trace once."""

    def __init__(self, traced: TracedCall) -> None:
        self._traced = traced
        self._rate_hz = traced.call.recorder.rate_hz
        self._max_samples = traced.settings.playout.max_ms * self._rate_hz // 1000
        self._format = traced.api_format
        self._model = PlayoutModel()
        self._items: dict[
            int, str
        ] = {}  # by the identity of a delta's bytes, which the trace keeps
        self._waiting: dict[int, list[Any]] = {}  # by tag: [item or "", samples, PCM]
        self._clears: deque[frozenset[int]] = deque()  # tags of what is to be dropped
        self._played: defaultdict[str, int] = defaultdict(int)
        self._queued: defaultdict[str, int] = defaultdict(int)  # bytes of an item
        self._missed: defaultdict[str, int] = defaultdict(int)  # bytes of an item, for a reason
        self._cut_short: set[str] = set()
        """Items for which there was no room."""
        self._stops = Stops(traced.settings)
        self._interrupted: dict[str, int] = {}
        self._protected = _greeting_items(traced)
        self._protects = not traced.settings.greeting.interruptible
        self._greeting_key: str | None = None
        self._greeting_pcm: bytes | None = None
        self._greetings: set[str] = set()
        """Responses that were made to greet."""
        self._asked_for: set[str] = set()
        self._goodbyes: set[str] = set()
        model = self._model
        self._kinds = [(self._goodbyes, model.last_words), (self._asked_for, model.asked_for)]
        if self._protects:
            self._kinds.append((self._greetings, model.protected))
        self._protected_tags: set[int] = set()
        """Of a greeting from the cache."""
        self._idle_since_ns: int | None = traced.trace[0].at_ns if traced.trace else None

    def replay(self) -> PlayoutModel:
        trace = self._traced.trace
        for step in self._traced.without_appends:
            if step.effects or type(step.given) is not FramePlayed:
                self._stops.begin(step)
            self._take_in(step)
            for effect in step.effects:
                self._carry_out(step, effect)
            for response in self._stops.end(step):
                self._model.lost.append((step.at_ns, f"{response} was stopped for nothing"))
            self._note_lost(step)
        if self._idle_since_ns is not None and trace:
            self._model.idle.append((self._idle_since_ns, trace[-1].at_ns))
        return self._model

    def _carry_out(self, step: Step, effect: events.Effect) -> None:
        if isinstance(effect, events.Play):
            self._queue(step, effect)
        elif isinstance(effect, events.ClearPlayout):
            self._note_protected(step.at_ns, effect.tags)
            self._note_cleared(step.at_ns, effect.tags)
            # A frame that has left already may yet be reported, up to `PlayoutCleared`.
            self._clears.append(effect.tags)
        elif isinstance(effect, events.SendEvent):
            self._note_truncation(step.at_ns, effect.event)
        elif isinstance(effect, events.LoadPrompt) and self._greeting_key is None:
            self._greeting_key = effect.key  # it is looked up first
        elif isinstance(effect, events.HangUp | events.Transfer):
            self._note_cut_off(step.at_ns)

    def _queue(self, step: Step, effect: events.Play) -> None:
        waiting = self._waiting.get(effect.tag)
        if waiting is None:
            item = self._item_of(effect.pcm)
            waiting = self._waiting[effect.tag] = [item, 0, bytearray()]
            self._model.items_of_tags[effect.tag] = item
            # There may be room for the beginning of it only.
            is_cached = bool(effect.pcm) and (self._greeting_pcm or b"").startswith(effect.pcm)
            if is_cached:
                self._protected_tags.add(effect.tag)
            if is_cached or server_event(step).get("response_id") in self._greetings:
                self._model.greetings.add(effect.tag)
        item = waiting[0]
        self._queued[item] += len(effect.pcm)
        is_more = self._queued[item] > len(self._model.received[item])
        if item and (is_more or server_event(step).get("item_id") != item):
            self._model.out_of_order.append((step.at_ns, item))
        waiting[1] += len(effect.pcm) // 2
        waiting[2] += effect.pcm
        self._note_waiting(step.at_ns)
        if self._idle_since_ns is not None and effect.pcm:
            self._model.idle.append((self._idle_since_ns, step.at_ns))
            self._idle_since_ns = None

    def _note_protected(self, at_ns: int, tags: frozenset[int]) -> None:
        for tag in tags & self._waiting.keys():
            item, left, _ = self._waiting[tag]
            is_last = item in self._model.last_words
            greets = item in self._model.protected if item else tag in self._protected_tags
            if left and (is_last or (greets and self._protects)):
                self._model.protected_cleared.append((at_ns, item))

    def _item_of(self, pcm: bytes) -> str:
        """Whose audio is played: a whole delta, or as much of the newest one as found room."""
        item = self._items.get(id(pcm))
        if item is None:
            received = self._model.received
            item = next((name for name in reversed(received) if pcm in received[name]), "")
        return item

    def _take_in(self, step: Step) -> None:
        given = step.given
        if isinstance(given, FramePlayed):
            self._leave(given.samples, given.at_ns)
        elif isinstance(given, PlayoutCleared):
            for tag in self._clears.popleft():
                self._waiting.pop(tag, None)
            self._note_idle(step.at_ns)
        elif isinstance(given, PlayoutOverflowed):
            self._waiting[given.tag][1] -= given.dropped_samples
        elif isinstance(given, PromptLoaded):
            if given.key == self._greeting_key:
                self._greeting_pcm = given.pcm
        elif isinstance(given, RealtimeEvent):
            self._hear_of(given.event, step.at_ns)

    def _hear_of(self, event: Mapping[str, Any], at_ns: int) -> None:
        kind = event.get("type")
        if kind in _DELTAS:
            item, delta = str(event["item_id"]), event["delta"]
            for kept, items in self._kinds:
                if event["response_id"] in kept:
                    items.add(item)
            self._model.received[item] += self._format.decode(delta)
            # By identity: the same words may come in two items, as the same bytes.
            self._items[id(delta)] = item
        elif kind == "input_audio_buffer.speech_started":
            self._note_interruption(at_ns)
        elif kind == "response.created":
            self._begin(event["response"])
        elif kind == "response.done":
            output = event["response"].get("output") or ()
            if any(item.get("name") in _LEAVING for item in output):
                self._model.last_words.update(str(item.get("id")) for item in output)

    def _begin(self, response: Mapping[str, Any]) -> None:
        purpose = (response.get("metadata") or {}).get("purpose")
        if purpose is not None:
            self._asked_for.add(response["id"])
        if purpose == "greeting":
            self._greetings.add(response["id"])
        elif purpose == "goodbye":
            self._goodbyes.add(response["id"])

    def _leave(self, samples: int, at_ns: int) -> None:
        while samples and self._waiting:
            tag, head = next(iter(self._waiting.items()))
            item, share = head[0], min(samples, head[1])
            samples -= share
            head[1] -= share
            if share:
                self._model.begun.setdefault(tag, at_ns)
            self._model.left.append((at_ns, bytes(head[2][: 2 * share])))
            del head[2][: 2 * share]
            if not head[1]:
                del self._waiting[tag]
            self._played[item] += share
            if item in self._interrupted and at_ns > self._interrupted[item] + _STOP_LIMIT_NS:
                self._model.overstayed.append((at_ns, item))
        self._note_idle(at_ns)

    def _note_idle(self, at_ns: int) -> None:
        if not self._waiting and self._idle_since_ns is None:
            self._idle_since_ns = at_ns

    def _note_lost(self, step: Step) -> None:
        """All that came of an item is queued, or lost for a reason."""
        event = server_event(step)
        if event.get("type") not in _DELTAS:
            return
        item, response = str(event["item_id"]), str(event["response_id"])
        if self._stops.is_briefing(response):
            told = [one.pcm for one in step.effects if isinstance(one, events.PlayToConsulted)]
            if self._stops.is_consulting and told != [self._format.decode(event["delta"])]:
                lost = f"what {response} tells who is to take the caller was not told"
                self._model.lost.append((step.at_ns, lost))
            return
        missing = len(self._model.received[item]) - self._queued[item] - self._missed[item]
        if missing < BYTES_PER_SAMPLE:  # of half a sample the other half comes next
            return
        self._missed[item] += missing
        if self._stops.may_lose(response):
            return
        has_room = self._waiting_samples() < self._max_samples
        if item in self._cut_short or not has_room:
            self._cut_short.add(item)
            self._model.overflowed_samples += missing // BYTES_PER_SAMPLE
        else:
            self._model.lost.append((step.at_ns, f"{missing} bytes of {item} were not queued"))

    def _note_cleared(self, at_ns: int, tags: frozenset[int]) -> None:
        for tag in () if self._stops.may_clear else tags & self._waiting.keys():
            item, left, _ = self._waiting[tag]
            sounds_ms = heard_from_ms(bytes(self._model.received[item]), self._rate_hz)
            if item and left and sounds_ms < math.inf:
                self._model.lost.append((at_ns, f"{item} was dropped, and nobody had stopped it"))

    def _note_cut_off(self, at_ns: int) -> None:
        for item, left, _ in () if self._stops.may_cut_off else self._waiting.values():
            if item and left:
                self._model.lost.append((at_ns, f"the caller was let go before {item} was heard"))

    def _waiting_samples(self) -> int:
        dropping = frozenset[int]().union(*self._clears)
        return sum(one[1] for tag, one in self._waiting.items() if tag not in dropping)

    def _note_waiting(self, at_ns: int) -> None:
        waiting_ms = self._waiting_samples() * 1000 / self._rate_hz
        if waiting_ms > self._traced.settings.playout.max_ms:
            self._model.overfilled.append((at_ns, waiting_ms))

    def _note_interruption(self, at_ns: int) -> None:
        if self._traced.settings.turns.barge_in:
            for item, *_ in self._waiting.values():
                if item and item not in self._protected | self._model.last_words:
                    self._interrupted.setdefault(item, at_ns)

    def _note_truncation(self, at_ns: int, event: Mapping[str, Any]) -> None:
        if event["type"] != "conversation.item.truncate":
            return
        item = event["item_id"]
        self._model.truncations.append(
            Truncation(
                at_ns=at_ns,
                item=item,
                audio_end_ms=event["audio_end_ms"],
                played_ms=self._played[item] * 1000 / self._rate_hz,
                received_ms=len(self._model.received[item]) / 2 * 1000 / self._rate_hz,
            )
        )


def _greeting_items(traced: TracedCall) -> frozenset[str]:
    """Items of greetings that must not be interrupted."""
    if traced.settings.greeting.interruptible:
        return frozenset()
    marks = traced.call.agent_marks
    return frozenset(
        str(item.fields["item"])
        for greeting, item in pairwise(marks)
        if greeting.name == "greeting_started" and item.name == "playout_started"
    )
