"""What is true of the audio of every call: counted anew from the tape, and looked up at the ear.

The agent has a ledger of what has left. `retell` keeps another, simpler one, from the effects and
inputs alone: two counts of the same thing, made by different means, must agree.
"""

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from agent import effects
from agent.audio import AudioFormat, to_bytes, to_samples
from agent.clock import NS_PER_MS, NS_PER_S, ns_to_ms
from agent.inputs import PromptLoaded
from agent.leg import AudioReceived, FramePlayed, PlayoutOverflowed
from agent.realtime.door import RealtimeEvent
from simulator.invariants import SAFETY, Invariant, Witness
from simulator.virtual_tape import Step

_DELTAS = frozenset({"response.output_audio.delta", "response.audio.delta"})
_STOP_LIMIT_NS = 40 * NS_PER_MS
"""Two frames: one may be on its way into the network when the interruption becomes known."""
_LINE_LIMIT_MS = 300
"""What may still be heard after a clear: the jitter buffer's 200 ms and two frames, and margin."""
_STORY = "story"
_SNIPPET_MS = 15
_SNIPPET_LEVEL = 300
"""A snippet to look for must not be silence: silence is everywhere."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """A truncation that the agent sent, and what the other count says at that moment."""

    at_ns: int
    item: str
    audio_end_ms: int
    played_ms: float
    received_ms: float


@dataclass(kw_only=True)
class Story:
    """What happened to the agent's audio, item by item."""

    cuts: list[Cut] = field(default_factory=list)
    overstayed: list[tuple[int, str]] = field(default_factory=list)
    """When audio of an interrupted item left long after the interruption."""
    received: defaultdict[str, bytearray] = field(default_factory=lambda: defaultdict(bytearray))


def retell(witness: Witness) -> Story:
    """Count from the tape what left of each item; once for each witness."""
    story: Story | None = witness.__dict__.get(_STORY)
    if story is None:
        story = witness.__dict__[_STORY] = _Teller(witness).tell()
    return story


class _Teller:
    """Walks the tape once."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._rate_hz = witness.call.recorder.rate_hz
        self._format = witness.api_format
        self._story = Story()
        self._items: dict[int, str] = {}  # by the identity of a delta's bytes, which the tape keeps
        self._waiting: deque[list[Any]] = deque()  # [item or "", samples]
        self._played: defaultdict[str, int] = defaultdict(int)
        self._interrupted: dict[str, int] = {}
        self._protected = _greeting_items(witness)

    def tell(self) -> Story:
        for step in self._witness.tape:
            self._take_in(step)
            for effect in step.effects:
                if isinstance(effect, effects.Play):
                    self._waiting.append([self._item_of(effect.pcm), len(effect.pcm) // 2])
                elif isinstance(effect, effects.ClearPlayout):
                    self._waiting.clear()
                elif isinstance(effect, effects.SendEvent):
                    self._note_cut(step.at_ns, effect.event)
        return self._story

    def _item_of(self, pcm: bytes) -> str:
        """Whose audio is played: a whole delta, or as much of the newest one as found room."""
        item = self._items.get(id(pcm))
        if item is None:
            received = self._story.received
            item = next((name for name in reversed(received) if pcm in received[name]), "")
        return item

    def _take_in(self, step: Step) -> None:
        given = step.given
        if isinstance(given, FramePlayed):
            self._leave(given.samples, given.at_ns)
        elif isinstance(given, PlayoutOverflowed):
            self._overflow(given.dropped_samples)
        elif isinstance(given, RealtimeEvent):
            kind = given.event.get("type")
            if kind in _DELTAS:
                item = str(given.event["item_id"])
                delta = given.event["delta"]
                self._story.received[item] += self._format.decode(delta)
                # By identity: the same words may come in two items, as the same bytes.
                self._items[id(delta)] = item
            elif kind == "input_audio_buffer.speech_started":
                self._note_interruption(step.at_ns)

    def _leave(self, samples: int, at_ns: int) -> None:
        while samples and self._waiting:
            head = self._waiting[0]
            item, share = head[0], min(samples, head[1])
            samples -= share
            head[1] -= share
            if not head[1]:
                self._waiting.popleft()
            self._played[item] += share
            if item in self._interrupted and at_ns > self._interrupted[item] + _STOP_LIMIT_NS:
                self._story.overstayed.append((at_ns, item))

    def _overflow(self, samples: int) -> None:
        while samples and self._waiting:
            tail = self._waiting[-1]
            share = min(samples, tail[1])
            samples -= share
            tail[1] -= share
            if not tail[1]:
                self._waiting.pop()

    def _note_interruption(self, at_ns: int) -> None:
        if self._witness.settings.turns.barge_in:
            for item, _ in self._waiting:
                if item and item not in self._protected:
                    self._interrupted.setdefault(item, at_ns)

    def _note_cut(self, at_ns: int, event: Mapping[str, Any]) -> None:
        if event["type"] != "conversation.item.truncate":
            return
        item = event["item_id"]
        self._story.cuts.append(
            Cut(
                at_ns=at_ns,
                item=item,
                audio_end_ms=event["audio_end_ms"],
                played_ms=self._played[item] * 1000 / self._rate_hz,
                received_ms=len(self._story.received[item]) / 2 * 1000 / self._rate_hz,
            )
        )


def truncations_are_true(witness: Witness) -> Iterator[str]:
    """`audio_end_ms` is what the caller was sent of the item, and no more than had arrived."""
    for cut in retell(witness).cuts:
        where = f"truncated to {cut.audio_end_ms} ms at {_ms(cut.at_ns)}"
        if cut.audio_end_ms > cut.received_ms:
            yield f"{where}, but only {cut.received_ms:.1f} ms had arrived"
        if not cut.played_ms - 1 <= cut.audio_end_ms <= cut.played_ms:
            yield f"{where}, but {cut.played_ms:.1f} ms had been played"


def interrupted_audio_stops(witness: Witness) -> Iterator[str]:
    """Once the caller is known to speak, an item that was playing leaves no more."""
    for at_ns, item in retell(witness).overstayed:
        yield f"audio of {item} left at {_ms(at_ns)}, although the caller had interrupted it"


def truncated_audio_is_not_heard(witness: Witness) -> Iterator[str]:
    """What was cut from an item never reaches the caller's ear."""
    call = witness.call
    started_ns = call.recorder.started_at_ns
    story = retell(witness)
    if started_ns is None or not story.cuts:
        return
    _, ear = call.recorder.channels()
    rate_hz = call.recorder.rate_hz
    codec = witness.scenario.caller.codec
    line_ns = _LINE_LIMIT_MS * NS_PER_MS + round(_network_ms(witness) * NS_PER_MS)
    for cut in story.cuts:
        heard_later = ear[2 * ((cut.at_ns + line_ns - started_ns) * rate_hz // NS_PER_S) :]
        unheard = story.received[cut.item][2 * (cut.audio_end_ms * rate_hz // 1000) :]
        # The same words may be said again, with every right, in another item.
        others = [bytes(audio) for item, audio in story.received.items() if item != cut.item]
        for snippet in _snippets(bytes(unheard), rate_hz):
            said_again = any(snippet in other for other in others)
            if not said_again and _as_heard(snippet, codec) in heard_later:
                yield f"audio of {cut.item} was heard after it was cut at {_ms(cut.at_ns)}"
                break


def nothing_appended_is_lost(witness: Witness) -> Iterator[str]:
    """All of the caller's audio goes to the API in order, but for what a mark calls dropped."""
    heard = bytearray()
    appended_until = 0
    dropped = 0
    api = witness.api_format
    for step in witness.tape:
        if isinstance(step.given, AudioReceived):
            heard += step.given.pcm
        for effect in step.effects:
            if isinstance(effect, effects.EmitMark) and effect.name == "capture_overflowed":
                dropped += round(effect.fields["dropped_ms"] * witness.call.recorder.rate_hz / 500)
            elif isinstance(effect, effects.SendEvent) and "audio" in effect.event:
                audio = effect.event["audio"]
                begin = appended_until + dropped
                end = begin + len(api.decode(audio))
                dropped = 0
                if api.encode(bytes(heard[begin:end])) != audio:
                    yield f"an append at {_ms(step.at_ns)} is not what came after the one before"
                    return
                appended_until = end


def greetings_are_whole_or_marked(witness: Witness) -> Iterator[str]:
    """A greeting is heard to its end, or a mark says that it was not."""
    if any(witness.agent("playout_overflowed")):
        return
    marks = [mark for mark in witness.call.agent_marks if mark.name in _GREETING_MARKS]
    lengths_ms = _greeting_lengths_ms(witness)
    for mark, following in pairwise([*marks, None]):
        assert mark is not None  # noqa: S101 - only the last of the pairs holds None, and second
        if mark.name == "greeting_started" and following is None:
            yield f"the greeting that began at {_ms(mark.at_ns)} has no end"
        if mark.name == "greeting_ended" and not mark.fields["interrupted"]:
            played_ms = float(mark.fields["played_ms"])
            if not any(abs(played_ms - length_ms) < 1 for length_ms in lengths_ms):
                known = ", ".join(f"{length_ms:.0f}" for length_ms in lengths_ms)
                yield f"a greeting of {played_ms:.0f} ms was called whole; there are {known} ms"


def only_whole_greetings_are_kept(witness: Witness) -> Iterator[str]:
    """What is cached was completed by the server: half a prompt would greet every later caller."""
    for step in witness.turning_points:
        for effect in step.effects:
            if not isinstance(effect, effects.StorePrompt):
                continue
            event = step.given.event if isinstance(step.given, RealtimeEvent) else {}
            status = event.get("response", {}).get("status")
            if status != "completed":
                yield f"a prompt was cached at {_ms(step.at_ns)}, its response being {status}"


ALL: Mapping[str, Invariant] = {
    **SAFETY,
    "truncations_are_true": truncations_are_true,
    "interrupted_audio_stops": interrupted_audio_stops,
    "truncated_audio_is_not_heard": truncated_audio_is_not_heard,
    "nothing_appended_is_lost": nothing_appended_is_lost,
    "greetings_are_whole_or_marked": greetings_are_whole_or_marked,
    "only_whole_greetings_are_kept": only_whole_greetings_are_kept,
}
"""Every invariant of safety."""

_GREETING_MARKS = ("greeting_started", "greeting_ended", "call_ended")


def _greeting_items(witness: Witness) -> frozenset[str]:
    """Items of greetings that must not be interrupted."""
    if witness.settings.greeting.interruptible:
        return frozenset()
    marks = witness.call.agent_marks
    return frozenset(
        str(item.fields["item"])
        for greeting, item in pairwise(marks)
        if greeting.name == "greeting_started" and item.name == "playout_started"
    )


def _greeting_lengths_ms(witness: Witness) -> list[float]:
    """Of the greeting from the cache, and of the items that were generated for it."""
    rate = witness.call.recorder.rate_hz * 2 / 1000
    received = retell(witness).received
    generated = [len(received[item]) / rate for item in _generated_greetings(witness)]
    loaded = [
        len(step.given.pcm) / rate
        for step in witness.tape
        if isinstance(step.given, PromptLoaded) and step.given.pcm
    ]
    return generated + loaded


def _generated_greetings(witness: Witness) -> Iterator[str]:
    marks = witness.call.agent_marks
    for greeting, item in pairwise(marks):
        if greeting.name == "greeting_started" and item.name == "playout_started":
            yield str(item.fields["item"])


def _network_ms(witness: Witness) -> float:
    network = witness.scenario.network
    if network is None:
        return 0.0
    _, to_caller = network.impairments()
    return to_caller.delay_ms + to_caller.jitter_ms


def _as_heard(pcm: bytes, codec: str) -> bytes:
    """PCM as the codec leaves it."""
    if codec not in ("PCMU", "PCMA"):
        return pcm
    g711 = AudioFormat("pcmu" if codec == "PCMU" else "pcma")
    return g711.decode(g711.encode(pcm))


def _snippets(pcm: bytes, rate_hz: int) -> Iterator[bytes]:
    """Some short pieces that are not silent, spread over `pcm`."""
    length = rate_hz * _SNIPPET_MS // 1000
    samples = to_samples(pcm)
    starts = range(length, len(samples) - length, max(length, len(samples) // 10))
    for start in starts:
        piece = samples[start : start + length]
        if abs(piece.astype(int)).mean() > _SNIPPET_LEVEL:
            yield to_bytes(piece)


def _ms(at_ns: int) -> str:
    return f"{ns_to_ms(at_ns - NS_PER_S):.1f} ms"
