"""When the parts of a response are sent: its plan, made when it is asked for.

After recorded sessions (gpt-realtime-2.1-mini): the response is created, then its item, then the
transcript runs ahead of the audio, the audio comes in deltas at a multiple of real time, and a tail
of events ends it. A plan is data; `fakes.session.response` performs it.
"""

import json
import math
import random
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from heapq import merge
from typing import Literal, assert_never

from callerside.audio import AudioFormat
from callerside.fakes.script.model import Timing
from callerside.fakes.script.prepared import PreparedItem, PreparedReply
from callerside.fakes.script.reply import (
    Cancelled,
    Failed,
    FunctionCall,
    Incomplete,
    ItemPhase,
    McpCall,
    Reply,
    ReplyItem,
)
from callerside.fakes.session.conversation import MS_PER_OUTPUT_TOKEN

Trigger = Literal["vad", "client", "idle_timeout", "unasked"]

# Shares of the think time, as recorded. A response that a client asks for is created after 93 of
# 524 ms and has its item after 396; one that follows a commit is created at once, and has its item
# after 354 of 487.
_CREATED_SHARE: dict[Trigger, float] = {
    "client": 0.178,
    "vad": 0.0,
    "idle_timeout": 0.0,
    "unasked": 0.0,
}
_ITEM_SHARE: dict[Trigger, float] = {
    "client": 0.756,
    "vad": 0.727,
    "idle_timeout": 0.727,
    "unasked": 0.727,
}
_NEXT_ITEM_VOICE_MS = 128.0  # from an item to its first delta, as recorded of the only one
_PART_AFTER_ITEM_MS = 6.0
_WORDS_BEFORE_AUDIO = 3
_WORD_EVERY_MS = 3.0
_WORDS_END_SHARE = 0.6  # of the deltas: the transcript is ahead of the audio
_AUDIO_DONE_AFTER_MS = 21.0
_TAIL_AFTER_MS = 4.0
_ARGUMENT_EVERY_MS = 5.0
_ARGUMENT_CHARS = 4
_SHORTEST_DELTA_MS = 10.0

_WORD = re.compile(r"\s*(?:\w+(?:['\u2019-]\w+)*|[^\w\s])")


@dataclass(frozen=True, slots=True)
class Begin:
    """`response.created`."""


@dataclass(frozen=True, slots=True)
class AddItem:
    """An item begins: a message, or the call of a function or of an MCP server's tool."""

    call: FunctionCall | None = None
    mcp: McpCall | None = None
    phase: ItemPhase | None = None


@dataclass(frozen=True, slots=True)
class AddPart:
    """The content part of a message."""

    kind: Literal["audio", "text"]


@dataclass(frozen=True, slots=True)
class Word:
    """A piece of the transcript or of the text."""

    text: str


@dataclass(frozen=True, slots=True)
class Audio:
    """An audio delta."""

    wire: bytes
    samples: int
    length_ms: float
    silent_ms: float = 0.0
    """Of its length, before anything in it can be heard."""

    @property
    def can_be_heard(self) -> bool:
        """Whether there is sound in it, or in what came before it of its item."""
        return self.silent_ms < self.length_ms


@dataclass(frozen=True, slots=True)
class Arguments:
    """A piece of a function call's arguments."""

    text: str


@dataclass(frozen=True, slots=True)
class EndAudio:
    """`response.output_audio.done`."""


@dataclass(frozen=True, slots=True)
class EndItem:
    """The item is whole, and another follows it."""


@dataclass(frozen=True, slots=True)
class Complete:
    """Everything that is left, up to `response.done`."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The response ends incomplete."""

    reason: Literal["max_output_tokens", "content_filter"] = "max_output_tokens"


@dataclass(frozen=True, slots=True)
class Fail:
    """The response fails with this code."""

    code: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """The response is cancelled, without anybody's doing."""

    reason: Literal["turn_detected", "client_cancelled"]


End = Complete | Stop | Fail | Cancel
"""What a plan ends with."""
Step = Begin | AddItem | AddPart | Word | Audio | Arguments | EndAudio | EndItem | End
Plan = list[tuple[float, Step]]
"""Steps, each with its time in ms after the response was asked for; in order."""


@dataclass(frozen=True, slots=True)
class ResponseSpec:
    """What a response says, and how: a reply of the script with everything decided."""

    prepared: PreparedReply
    name: str
    """Which reply: `greeting`, `reply 2`, `default`."""
    think_ms: float
    delta_ms: float
    pace: float
    fails_with: str | None = None
    never_done: bool = False


def specify(
    prepared: PreparedReply,
    name: str,
    timing: Timing,
    rng: random.Random,
) -> ResponseSpec:
    """Decide on what the script leaves open for a reply."""
    reply = prepared.reply
    think_ms = timing.think_ms if reply.think_ms is None else reply.think_ms
    if timing.think_jitter_ms:
        think_ms = max(0.0, think_ms + rng.uniform(-1, 1) * timing.think_jitter_ms)
    return ResponseSpec(
        prepared=prepared,
        name=name,
        think_ms=think_ms,
        delta_ms=reply.delta_ms or timing.delta_ms,
        pace=reply.pace or timing.pace,
    )


def make_plan(
    spec: ResponseSpec,
    trigger: Trigger,
    audio_format: AudioFormat | None,
    timing: Timing,
    rng: random.Random,
    max_tokens: int | None = None,
) -> Plan:
    """The plan of a response; `audio_format` is None for one that is to be text.

    Beyond `max_tokens`, a token being 50 ms of audio or a word of text, it is cut off.
    """
    think_ms = spec.think_ms
    reply = spec.prepared.reply
    plan: Plan = [(think_ms * _CREATED_SHARE[trigger], Begin())]
    if spec.fails_with is not None:
        plan.append((think_ms, Fail(spec.fails_with)))
    elif not spec.prepared.items:
        plan.append((think_ms, _end(reply)))
    else:
        item_ms = think_ms * _ITEM_SHARE[trigger]
        plan.extend(_items(spec, item_ms, audio_format, timing, rng))
    if reply.ending is not None and spec.fails_with is None:
        plan = list(_cut_off(plan, _end(reply), reply.ending.after_ms))
    if max_tokens is not None:
        plan = list(_within(plan, max_tokens))
    if reply.sends_only is not None:
        return plan[:1] if reply.sends_only == "created" else []
    return plan[:-1] if spec.never_done else plan


def _end(reply: Reply) -> End:
    match reply.ending:
        case None:
            return Complete()
        case Incomplete(reason=reason):
            return Stop(reason)
        case Failed(code=code):
            return Fail(code)
        case Cancelled(reason=why):
            return Cancel(why)
        case unknown:
            assert_never(unknown)


def _items(
    spec: ResponseSpec,
    item_ms: float,
    audio_format: AudioFormat | None,
    timing: Timing,
    rng: random.Random,
) -> Iterator[tuple[float, Step]]:
    """All items, one after another: each begins when the one before it has ended."""
    voice_ms = end_ms = spec.think_ms
    last = spec.prepared.items[-1]
    for number, prepared in enumerate(spec.prepared.items):
        item = prepared.item
        if number:
            item_ms = end_ms + item.after_ms
            voice_ms = item_ms + _NEXT_ITEM_VOICE_MS
        yield item_ms, AddItem(item.function_call, item.mcp_call, item.phase)
        if (arguments := _arguments(item)) is not None:
            steps = _call_steps(arguments, voice_ms)
        elif audio_format is None or item.text is not None:
            steps = _text_steps(prepared, item_ms, voice_ms)
        else:
            steps = _audio_steps(prepared, spec, item_ms, voice_ms, audio_format, timing, rng)
        for end_ms, step in steps:
            is_end = isinstance(step, EndItem) and prepared is last
            yield end_ms, Complete() if is_end else step


def _cut_off(plan: Plan, end: End, after_ms: float | None) -> Iterator[tuple[float, Step]]:
    """A plan that ends otherwise, perhaps after so much audio."""
    left_ms = math.inf if after_ms is None else after_ms
    for at_ms, step in plan:
        over = isinstance(step, Complete) or (left_ms <= 0 and not isinstance(step, Begin))
        if over:
            yield at_ms, end
            return
        if isinstance(step, Audio):
            if step.length_ms > left_ms:
                step = _shortened(step, left_ms)
            left_ms -= step.length_ms
        yield at_ms, step


def _shortened(audio: Audio, length_ms: float) -> Audio:
    samples = max(1, int(audio.samples * length_ms / audio.length_ms))
    size = len(audio.wire) // audio.samples
    length_ms = audio.length_ms * samples / audio.samples
    return replace(audio, wire=audio.wire[: samples * size], samples=samples, length_ms=length_ms)


def _within(plan: Plan, max_tokens: int) -> Iterator[tuple[float, Step]]:
    left = float(max_tokens)
    has_audio = any(isinstance(step, Audio) for _, step in plan)
    for at_ms, step in plan:
        left -= _tokens(step, has_audio=has_audio)
        if left < 0:
            yield at_ms, Stop()
            return
        yield at_ms, step


def _tokens(step: Step, *, has_audio: bool) -> float:
    match step:
        case Audio():
            return step.length_ms / MS_PER_OUTPUT_TOKEN
        case Word():
            return 0 if has_audio else 1
        case Arguments():
            return 1
        case Begin() | AddItem() | AddPart() | EndAudio() | EndItem():
            return 0
        case Complete() | Stop() | Fail() | Cancel():
            return 0
        case unknown:
            assert_never(unknown)


def _arguments(item: ReplyItem) -> str | None:
    """The arguments of what an item calls; None if it calls nothing."""
    if item.mcp_call is not None:
        return item.mcp_call.arguments_text
    call = item.function_call
    if call is None:
        return None
    return json.dumps(call.arguments) if call.raw_arguments is None else call.raw_arguments


def _call_steps(arguments: str, voice_ms: float) -> Iterator[tuple[float, Step]]:
    at_ms = voice_ms
    for start in range(0, len(arguments), _ARGUMENT_CHARS):
        yield at_ms, Arguments(arguments[start : start + _ARGUMENT_CHARS])
        at_ms += _ARGUMENT_EVERY_MS
    yield at_ms, EndItem()


def _text_steps(
    prepared: PreparedItem, item_ms: float, voice_ms: float
) -> Iterator[tuple[float, Step]]:
    yield min(item_ms + _PART_AFTER_ITEM_MS, voice_ms), AddPart("text")
    at_ms = voice_ms
    for word in _words(prepared.transcript):
        yield at_ms, Word(word)
        at_ms += _WORD_EVERY_MS
    yield at_ms, EndItem()


def _audio_steps(
    prepared: PreparedItem,
    spec: ResponseSpec,
    item_ms: float,
    voice_ms: float,
    audio_format: AudioFormat,
    timing: Timing,
    rng: random.Random,
) -> Iterator[tuple[float, Step]]:
    part_ms = min(item_ms + _PART_AFTER_ITEM_MS, voice_ms)
    yield part_ms, AddPart("audio")
    words = deque(_words(prepared.transcript))
    deltas = _cut(prepared, spec.delta_ms, audio_format, timing.delta_spread_ms, rng)
    times = list(_times(deltas, spec.pace, voice_ms, timing.jitter_ms, rng))
    lag_ms = prepared.item.transcript_lag_ms
    if lag_ms is not None:
        yield from _with_late_words(list(zip(times, deltas, strict=True)), words, lag_ms)
        return
    for count in range(min(_WORDS_BEFORE_AUDIO, len(words))):
        yield min(part_ms + count * _WORD_EVERY_MS, voice_ms), Word(words.popleft())
    words_a_delta = math.ceil(len(words) / max(1.0, _WORDS_END_SHARE * len(deltas)))
    at_ms = voice_ms
    for at_ms, delta in zip(times, deltas, strict=True):
        yield at_ms, delta
        for _ in range(min(words_a_delta, len(words))):
            yield at_ms, Word(words.popleft())
    yield at_ms + _AUDIO_DONE_AFTER_MS, EndAudio()
    yield at_ms + _AUDIO_DONE_AFTER_MS + _TAIL_AFTER_MS, EndItem()


def _times(
    deltas: list[Audio], pace: float, voice_ms: float, jitter_ms: float, rng: random.Random
) -> Iterator[float]:
    at_ms, sent_ms = voice_ms, 0.0
    for number, delta in enumerate(deltas):
        late_ms = rng.uniform(0, jitter_ms) if number else 0.0
        at_ms = max(at_ms, voice_ms + sent_ms / pace + late_ms)
        sent_ms += delta.length_ms
        yield at_ms


def _with_late_words(
    deltas: list[tuple[float, Audio]], words: deque[str], lag_ms: float
) -> Iterator[tuple[float, Step]]:
    """Audio, and each word so long after the delta in which it is heard."""
    last_ms = deltas[-1][0] if deltas else 0.0
    spoken = len(words)
    late = [
        (deltas[number * len(deltas) // spoken][0] + lag_ms, Word(word))
        for number, word in enumerate(words)
        if deltas
    ]
    sound: list[tuple[float, Step]] = [*deltas, (last_ms + _AUDIO_DONE_AFTER_MS, EndAudio())]
    yield from merge(sound, late, key=lambda timed: timed[0])
    end_ms = max(last_ms + _AUDIO_DONE_AFTER_MS, late[-1][0] if late else 0.0)
    yield end_ms + _TAIL_AFTER_MS, EndItem()


def _cut(
    prepared: PreparedItem,
    delta_ms: float,
    audio_format: AudioFormat,
    spread_ms: float,
    rng: random.Random,
) -> list[Audio]:
    wire = prepared.wire(audio_format)
    bytes_a_sample = 2 if audio_format.encoding == "pcm" else 1
    deltas = []
    start = 0
    while start < len(wire):
        length_ms = delta_ms + rng.uniform(-spread_ms, spread_ms)
        samples = round(max(_SHORTEST_DELTA_MS, length_ms) * audio_format.rate_hz / 1000)
        piece = wire[start : start + samples * bytes_a_sample]
        samples = len(piece) // bytes_a_sample
        start_ms = start // bytes_a_sample * 1000 / audio_format.rate_hz
        silent_ms = max(0.0, prepared.heard_from_ms - start_ms)
        deltas.append(Audio(piece, samples, samples * 1000 / audio_format.rate_hz, silent_ms))
        start += len(piece)
    return deltas


def _words(text: str) -> Iterable[str]:
    """A text as it is streamed: words with the space before them, and punctuation."""
    return _WORD.findall(text.strip())
