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
from dataclasses import dataclass
from typing import Literal, assert_never

from callerside.audio import AudioFormat
from callerside.fakes.script.model import FunctionCall, Timing
from callerside.fakes.script.prepared import PreparedReply
from callerside.fakes.session.conversation import MS_PER_OUTPUT_TOKEN

Trigger = Literal["vad", "client", "idle_timeout"]

# Shares of the think time, as recorded. A response that a client asks for is created after 93 of
# 524 ms and has its item after 396; one that follows a commit is created at once, and has its item
# after 354 of 487.
_CREATED_SHARE: dict[Trigger, float] = {"client": 0.178, "vad": 0.0, "idle_timeout": 0.0}
_ITEM_SHARE: dict[Trigger, float] = {"client": 0.756, "vad": 0.727, "idle_timeout": 0.727}
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
    """The item is there: a message, or the call of a function."""


@dataclass(frozen=True, slots=True)
class AddPart:
    """The content part of a message."""


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


@dataclass(frozen=True, slots=True)
class Arguments:
    """A piece of a function call's arguments."""

    text: str


@dataclass(frozen=True, slots=True)
class EndAudio:
    """`response.output_audio.done`."""


@dataclass(frozen=True, slots=True)
class Complete:
    """Everything that is left, up to `response.done`."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The response has used up its tokens: it ends incomplete."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The response fails with this code."""

    code: str


Step = Begin | AddItem | AddPart | Word | Audio | Arguments | EndAudio | Complete | Stop | Fail
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
    item_ms = think_ms * _ITEM_SHARE[trigger]
    plan: Plan = [(think_ms * _CREATED_SHARE[trigger], Begin())]
    call = spec.prepared.reply.function_call
    if spec.fails_with is not None:
        plan.append((think_ms, Fail(spec.fails_with)))
    elif call is not None:
        plan.append((item_ms, AddItem()))
        plan.extend(_call_steps(call, think_ms))
    else:
        plan.append((item_ms, AddItem()))
        plan.append((min(item_ms + _PART_AFTER_ITEM_MS, think_ms), AddPart()))
        if audio_format is None:
            plan.extend(_text_steps(spec))
        else:
            plan.extend(_audio_steps(spec, plan[-1][0], audio_format, timing, rng))
    if max_tokens is not None:
        plan = list(_within(plan, max_tokens))
    return plan[:-1] if spec.never_done else plan


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
        case Begin() | AddItem() | AddPart() | EndAudio() | Complete() | Stop() | Fail():
            return 0
        case unknown:
            assert_never(unknown)


def _call_steps(call: FunctionCall, think_ms: float) -> Iterator[tuple[float, Step]]:
    arguments = json.dumps(call.arguments)
    at_ms = think_ms
    for start in range(0, len(arguments), _ARGUMENT_CHARS):
        yield at_ms, Arguments(arguments[start : start + _ARGUMENT_CHARS])
        at_ms += _ARGUMENT_EVERY_MS
    yield at_ms, Complete()


def _text_steps(spec: ResponseSpec) -> Iterator[tuple[float, Step]]:
    at_ms = spec.think_ms
    for word in _words(spec.prepared.transcript):
        yield at_ms, Word(word)
        at_ms += _WORD_EVERY_MS
    yield at_ms, Complete()


def _audio_steps(
    spec: ResponseSpec,
    part_ms: float,
    audio_format: AudioFormat,
    timing: Timing,
    rng: random.Random,
) -> Iterator[tuple[float, Step]]:
    think_ms = spec.think_ms
    words = deque(_words(spec.prepared.transcript))
    for count in range(min(_WORDS_BEFORE_AUDIO, len(words))):
        yield min(part_ms + count * _WORD_EVERY_MS, think_ms), Word(words.popleft())
    deltas = _cut(spec, audio_format, timing.delta_spread_ms, rng)
    words_a_delta = math.ceil(len(words) / max(1.0, _WORDS_END_SHARE * len(deltas)))
    at_ms, sent_ms = think_ms, 0.0
    for number, delta in enumerate(deltas):
        late_ms = rng.uniform(0, timing.jitter_ms) if number else 0.0
        at_ms = max(at_ms, think_ms + sent_ms / spec.pace + late_ms)
        sent_ms += delta.length_ms
        yield at_ms, delta
        for _ in range(min(words_a_delta, len(words))):
            yield at_ms, Word(words.popleft())
    yield at_ms + _AUDIO_DONE_AFTER_MS, EndAudio()
    yield at_ms + _AUDIO_DONE_AFTER_MS + _TAIL_AFTER_MS, Complete()


def _cut(
    spec: ResponseSpec, audio_format: AudioFormat, spread_ms: float, rng: random.Random
) -> list[Audio]:
    wire = spec.prepared.wire(audio_format)
    bytes_a_sample = 2 if audio_format.encoding == "pcm" else 1
    deltas = []
    start = 0
    while start < len(wire):
        length_ms = spec.delta_ms + rng.uniform(-spread_ms, spread_ms)
        samples = round(max(_SHORTEST_DELTA_MS, length_ms) * audio_format.rate_hz / 1000)
        piece = wire[start : start + samples * bytes_a_sample]
        samples = len(piece) // bytes_a_sample
        deltas.append(Audio(piece, samples, samples * 1000 / audio_format.rate_hz))
        start += len(piece)
    return deltas


def _words(text: str) -> Iterable[str]:
    """A text as it is streamed: words with the space before them, and punctuation."""
    return _WORD.findall(text.strip())
