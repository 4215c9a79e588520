"""The model's side as an enemy: bounded, marked, and in the end the caller hears our own words."""

import gc
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from call_rig import NO_GREETING, CallRig, with_settings

from callerside.agent.call import events
from callerside.agent.call.event_bounds import MOST_EVENTS, MOST_UNUSABLE
from callerside.agent.call.prompts import PromptName, own_words, prompt_key
from callerside.agent.config.settings import CallSettings
from callerside.agent.prompts.cache import Prompt
from callerside.agent.realtime.interface import RealtimeEvent, RealtimeGarbage

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
