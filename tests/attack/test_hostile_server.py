"""The model's side as an enemy: bounded, marked, and in the end the caller hears our own words."""

import gc
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from call_rig import NO_GREETING, CallRig, with_settings

from callerside.agent.call import events
from callerside.agent.call.api_session import ApiSessionState
from callerside.agent.call.event_bounds import (
    MOST_AUDIO_S,
    MOST_BYTES_AT_ONCE,
    MOST_EVENTS,
    MOST_EVENTS_AT_ONCE,
    MOST_UNUSABLE,
    MOST_WORDS_BYTES,
)
from callerside.agent.call.prompts import PromptName, own_words, prompt_key
from callerside.agent.config.settings import CallSettings
from callerside.agent.prompts.cache import Prompt
from callerside.agent.realtime.interface import RealtimeEvent, RealtimeGarbage, RealtimeInput
from callerside.agent.telephony.media.playout_buffer import PlayoutBuffer

COUNT = 20_000
GROWS_BY_BYTES = 3 * 2**20
MOST_MARKS = 2 * MOST_EVENTS
Say = Callable[[CallRig, int], object]


def size(root: object) -> int:
    """Bytes of all that the machine holds, but for classes and modules."""
    seen: set[int] = set()
    waiting, total = [root], 0
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, type | type(sys)) or callable(one):
            continue
        seen.add(id(one))
        total += sys.getsizeof(one)
        waiting += gc.get_referents(one)
    return total


def said(event_type: str, **fields: Any) -> RealtimeEvent:
    return RealtimeEvent(event={"type": event_type, "event_id": "e", **fields})


def a_delta(rig: CallRig, number: int) -> None:
    if not number:
        rig.event("response.created", response={"id": "r1"})
    rig.delta(200)


def an_item(rig: CallRig, number: int) -> None:
    if not number:
        rig.event("response.created", response={"id": "r1"})
    rig.delta(20, item=f"item {number}")


def a_call(rig: CallRig, number: int) -> None:
    if not number:
        rig.event("response.created", response={"id": "r1"})
    item = {"type": "function_call", "id": f"i{number}", "call_id": f"c{number}"}
    item |= {"name": "none", "arguments": "{}", "status": "completed"}
    rig.event("response.output_item.done", response_id="r1", item=item)


WORDS = "w" * 90_000
ENDLESS: Mapping[str, Say] = {
    "deltas": a_delta,
    "items of one response": an_item,
    "functions in one response": a_call,
    "responses": lambda rig, n: rig.event("response.created", response={"id": f"r{n}"}),
    "ends": lambda rig, n: rig.response_done(f"r{n}"),
    "turns": lambda rig, n: rig.event("input_audio_buffer.committed", item_id=f"u{n}"),
    "beginnings of speech": lambda rig, n: rig.event(
        "input_audio_buffer.speech_started", item_id=f"u{n}", audio_start_ms=n
    ),
    "words": lambda rig, n: rig.event(
        "conversation.item.input_audio_transcription.completed", item_id=f"u{n}", transcript=WORDS
    ),
    "errors": lambda rig, n: rig.event("error", error={"code": f"c{n}", "message": WORDS}),
    "garbage": lambda rig, _: rig.tell(RealtimeGarbage(reason="not JSON")),
    "events without what they need": lambda rig, _: rig.event("response.done"),
    "audio of nobody": lambda rig, n: rig.delta(20, response=f"r{n}" * 5_000),
    "long names": lambda rig, _: rig.event("response.created", response={"id": "r" * 10**6}),
    "signs of life": lambda rig, _: rig.event("response.output_text.delta", response_id="r1"),
    "unknown events": lambda rig, n: rig.event(f"new.{n}"),
    "sessions": lambda rig, n: rig.event("session.created", session={"id": f"s{n}"}),
}


@pytest.mark.parametrize("what", ENDLESS)
def test_what_never_ends_costs_little(what: str) -> None:
    rig = CallRig(NO_GREETING).listening()
    rig.effects.clear()
    before = size(rig.machine)
    marks = 0
    for number in range(COUNT if what not in ("words", "errors", "long names") else 1_000):
        ENDLESS[what](rig, number)
        marks += sum(isinstance(one, events.EmitMark) for one in rig.effects)
        rig.effects.clear()
        rig.buffer.clear(None)
    assert size(rig.machine) - before < GROWS_BY_BYTES + 40 * (what == "words") * len(WORDS) * 10
    assert marks < MOST_MARKS
    rig.hang_up()
    assert rig.finished


def test_a_greeting_without_end_is_not_kept() -> None:
    rig = CallRig().ring().media().connect()
    rig.wait(500)
    rig.event("response.created", response={"id": "r1", "metadata": {"purpose": "greeting"}})
    before = size(rig.machine)
    for _ in range(3_000):
        rig.delta(200)
        rig.effects.clear()
        rig.buffer.clear(None)
    assert size(rig.machine) - before < 2 * 120 * 48_000 + GROWS_BY_BYTES
    rig.response_done()
    assert not rig.stored


@pytest.mark.parametrize("what", ["garbage", "errors"])
def test_a_server_that_only_disturbs_is_given_up_and_the_caller_hears_why(what: str) -> None:
    raw = with_settings(NO_GREETING, {"realtime": {"reconnect": {"attempts": 1}}})
    made = CallSettings.model_validate(raw)
    key = prompt_key(made, own_words(made)[PromptName.FAREWELL])
    rig = CallRig(raw, prompts={key: Prompt(pcm=bytes(48_000), transcript="bye")}).listening()
    for _ in range(2):
        for number in range(MOST_UNUSABLE + 1):
            ENDLESS[what](rig, number)
        rig.wait(1_000)
        if not rig.marks("prompt_started"):
            rig.connect()
    failed = [fields["reason"] for fields in rig.marks("realtime_failed")]
    assert failed == [f"more than {MOST_UNUSABLE} events within 10 s could not be used"] * 2
    assert rig.marks("prompt_started") == [{"prompt": "farewell"}]
    rig.wait(2_000)
    assert rig.marks("hang_up_sent")


IDS = {"response_id": "r1", "item_id": "i1", "output_index": 0, "content_index": 0}


def sized(event_type: str, size_bytes: int = 300, **fields: Any) -> RealtimeEvent:
    return RealtimeEvent(event={"type": event_type, **fields}, size_bytes=size_bytes)


AUDIO = sized("response.output_audio.delta", 1_520, delta=b"\0\2" * 480, **IDS)
"""20 ms; as large as it is in base64, with its ids."""
WORD = sized("response.output_audio_transcript.delta", 300, delta=" word", **IDS)
_ITEM = {"id": "i", "type": "message", "role": "user", "status": "completed"}
FLOODS: Mapping[str, tuple[RealtimeInput, int, str]] = {
    "audio": (AUDIO, 5_000, f"more than {MOST_EVENTS_AT_ONCE} events"),
    "audio in large pieces": (
        sized("response.output_audio.delta", 641_000, delta=b"\0\2" * 240_000, **IDS),
        20,
        f"more than {MOST_BYTES_AT_ONCE} bytes",
    ),
    "G.711, hardly any of it": (
        sized("response.output_audio.delta", 300, delta=b"\0\2" * 48_000, **IDS),
        200,
        f"more than {MOST_AUDIO_S} s of audio in one response",
    ),
    "arguments": (
        sized("response.function_call_arguments.delta", 10_300, delta="x" * 10_000, **IDS),
        1_750,
        f"more than {MOST_WORDS_BYTES} bytes beside the audio of one response",
    ),
    "words": (
        sized("response.output_audio_transcript.delta", 1_250, delta="x" * 1_000, **IDS),
        7_500,
        f"more than {MOST_WORDS_BYTES} bytes beside the audio of one response",
    ),
    "words of another response": (
        sized("response.output_text.delta", 1_250, response_id="r2"),
        7_500,
        f"more than {MOST_EVENTS_AT_ONCE} events",
    ),
    "items": (
        sized("conversation.item.added", 400, item=_ITEM),
        8_500,
        f"more than {MOST_EVENTS} events within 10 s",
    ),
    "what the caller says": (
        sized("conversation.item.input_audio_transcription.delta", 250, item_id="u1", delta="x"),
        9_000,
        f"more than {MOST_EVENTS_AT_ONCE} events",
    ),
    "large garbage": (
        RealtimeGarbage(reason="not JSON", size_bytes=4 * 2**20),
        10,
        f"more than {MOST_BYTES_AT_ONCE} bytes",
    ),
}
"""What comes without end, how many a second, and why it is given up."""


def farewell_rig(**realtime: Any) -> CallRig:
    """A call that has words of its own."""
    raw = with_settings(NO_GREETING, {"realtime": realtime})
    made = CallSettings.model_validate(raw)
    key = prompt_key(made, own_words(made)[PromptName.FAREWELL])
    return CallRig(raw, prompts={key: Prompt(pcm=bytes(48_000), transcript="bye")}).listening()


@pytest.mark.parametrize("what", FLOODS)
def test_a_server_that_never_stops_is_given_up_and_the_caller_hears_why(what: str) -> None:
    flood, per_s, why = FLOODS[what]
    rig = farewell_rig()
    rig.event("response.created", response={"id": "r1"})
    session = rig.machine._parts.session
    before_ns = rig.now_ns
    while not rig.finished and rig.now_ns - before_ns < 60 * 10**9:
        if session.state is ApiSessionState.CONNECTING:
            rig.connect()
            rig.event("response.created", response={"id": "r1"})
        elif session.state is ApiSessionState.READY:
            for _ in range(max(1, per_s // 50)):
                rig.tell(flood)
        rig.wait(1000 / per_s if per_s < 50 else 20)
        if rig.marks("hang_up_sent"):
            rig.hang_up()
    reasons = [str(fields["reason"]) for fields in rig.marks("realtime_failed")]
    assert reasons[0].startswith(why)
    assert len(reasons) == 5, "the first, and the tries after it"
    assert rig.marks("prompt_started")[-1] == {"prompt": "farewell"}
    (heard_ms,) = rig.mark_times_ms("prompt_started")[-1:]
    first_ms = rig.mark_times_ms("realtime_failed")[0]
    assert first_ms < 10_000, "of the first session, by which all others are shorter"
    assert heard_ms < 40_000
    assert len(rig.marks("playout_overflowed")) <= 1 + heard_ms / 1_000


def test_ten_minutes_at_once_are_no_enemys() -> None:
    rig = CallRig(with_settings(NO_GREETING, {"playout": {"max_ms": 1_000_000}})).listening()
    rig.buffer = PlayoutBuffer(rig.rate_hz * 1_000)
    rig.event("response.created", response={"id": "r1"})
    for number in range(30_000):
        rig.tell(AUDIO)
        if not number % 12:
            rig.tell(WORD)
    rig.response_done(item="i1")
    assert not rig.marks("realtime_failed")
    assert not rig.marks("playout_overflowed")
    assert rig.machine._playout.waiting_ms == 600_000


def test_the_longest_response_of_a_model_at_the_pace_of_recordings_is_no_enemys() -> None:
    """12 times faster than it is heard; what does not fit the playout is told once a second."""
    rig = CallRig(NO_GREETING).listening()
    rig.event("response.created", response={"id": "r1"})
    sent_s = 27 * 60
    for _ in range(sent_s * 1000 // 240):
        for _ in range(12):
            rig.tell(AUDIO)
        rig.tell(WORD)
        rig.wait(20)
    rig.response_done(item="i1")
    assert not rig.marks("realtime_failed")
    assert 10 < len(rig.marks("playout_overflowed")) <= sent_s / 12
    rig.wait(200_000)
    dropped_ms = sum(fields["dropped_ms"] for fields in rig.marks("playout_overflowed"))
    (ended,) = rig.marks("playout_ended")
    assert dropped_ms + ended["played_ms"] == sent_s * 1_000


def test_signs_of_life_without_a_sound_end_with_the_limit_of_silence() -> None:
    rig = CallRig(NO_GREETING).listening()
    rig.turn()
    rig.event("response.created", response={"id": "r1"})
    for _ in range(11):
        rig.wait(5_000)
        rig.tell(WORD)
    assert not rig.marks("watchdog_fired")
    rig.wait(5_001)
    assert rig.marks("watchdog_fired") == [{"what": "response_end"}]
    assert rig.marks("prompt_started"), "the caller hears why"


def test_a_session_that_lasted_before_it_flooded_has_failed_all_the_same() -> None:
    rig = farewell_rig(reconnect={"attempts": 1})
    for _ in range(2):
        rig.wait(20_000)
        for number in range(MOST_UNUSABLE + 1):
            ENDLESS["garbage"](rig, number)
        rig.wait(300)
        if not rig.machine._parts.session.failed:
            rig.connect()
    assert len(rig.marks("realtime_failed")) == 2
    assert rig.marks("hang_up_sent") or rig.machine._parts.session.failed


def orders(rng: random.Random) -> Iterator[tuple[str, dict[str, Any]]]:
    """Events of honest kinds in no order, with ids of others."""
    ids = ["r1", "r2", "u1", "a1", "", "é" * 50]
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("session.updated", {"session": {}}),
        ("session.created", {"session": {"id": None}}),
        ("input_audio_buffer.speech_started", {"item_id": "ID", "audio_start_ms": -5}),
        ("input_audio_buffer.speech_stopped", {"item_id": "ID", "audio_end_ms": 10**12}),
        ("input_audio_buffer.committed", {"item_id": "ID", "previous_item_id": "ID"}),
        ("response.created", {"response": {"id": "ID", "metadata": {"purpose": "greeting"}}}),
        ("response.output_audio.delta", {"response_id": "ID", "item_id": "ID", "delta": b"\1" * 9}),
        ("response.output_audio.done", {"response_id": "ID", "item_id": "ID"}),
        ("response.done", {"response": {"id": "ID", "status": "completed", "output": [{}]}}),
        ("response.done", {"response": {"id": "ID", "status": "new", "status_details": []}}),
        ("conversation.item.truncated", {"item_id": "ID", "audio_end_ms": 2**60}),
        ("error", {"error": {"event_id": "agent_1", "code": None}}),
    ]
    while True:
        kind, fields = rng.choice(kinds)
        yield kind, _filled(fields, rng.choice(ids))


def _filled(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return {key: _filled(one, name) for key, one in value.items()}
    return name if value == "ID" else value


@pytest.mark.parametrize("seed", range(5))
def test_no_order_of_events_keeps_a_call_from_ending(seed: int) -> None:
    rng = random.Random(seed)
    rig = CallRig(strict=False).ring().media().connect()
    for (kind, fields), _ in zip(orders(rng), range(1_500), strict=False):
        rig.event(kind, **fields)
        if rng.random() < 0.2:
            rig.wait(rng.choice((1, 20, 400)))
        if rng.random() < 0.01:
            rig.lose()
        if rig.timers and not rig.machine._parts.session.ready and rng.random() < 0.05:
            rig.wait(5_000)
            rig.connect()
    rig.hang_up()
    assert rig.finished
    assert not rig.timers
