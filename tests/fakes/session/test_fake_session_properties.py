"""Whatever a client sends, the session answers in order and never breaks."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from in_memory import Client
from official import check

from callerside.fakes.script.model import Script
from callerside.fakes.script.prepare import prepare
from callerside.fakes.server.codec import decode, encode
from callerside.fakes.session.interface import SendEvent

PREPARED = prepare(
    Script.model_validate(
        {
            "replies": [{"say": "Nine."}, {"function_call": {"name": "f"}}],
            "timing": {"think_ms": 30, "pace": 20},
        }
    )
)
TYPES = [
    "session.update",
    "input_audio_buffer.append",
    "input_audio_buffer.commit",
    "input_audio_buffer.clear",
    "conversation.item.create",
    "conversation.item.retrieve",
    "conversation.item.delete",
    "conversation.item.truncate",
    "response.create",
    "response.cancel",
]
KEYS = [
    "type",
    "event_id",
    "session",
    "audio",
    "item",
    "item_id",
    "id",
    "previous_item_id",
    "content_index",
    "audio_end_ms",
    "response",
    "response_id",
    "role",
    "content",
    "text",
    "input",
    "output",
    "format",
    "turn_detection",
    "transcription",
    "output_modalities",
    "conversation",
    "metadata",
    "max_output_tokens",
    "call_id",
    "name",
    "arguments",
]
WORDS = ["message", "user", "assistant", "input_text", "input_audio", "audio/pcmu", "server_vad"]
WORDS += ["semantic_vad", "realtime", "none", "root", "AAAA", "inf", "text", "function_call_output"]

scalars: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10**6),
    st.floats(allow_nan=False),
    st.sampled_from(WORDS),
    st.text(max_size=5),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=8,
)
wild_events = st.builds(
    lambda kind, rest: {**rest, "type": kind},
    st.sampled_from(TYPES),
    st.dictionaries(st.sampled_from(KEYS), values, max_size=5),
)

message = st.builds(
    lambda text: {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": text}],
    },
    st.text(max_size=5),
)
detections = st.sampled_from(
    [None, {"type": "server_vad"}, {"type": "semantic_vad"}, {"type": "server_vad", "threshold": 0}]
)
tame_events = st.one_of(
    st.builds(lambda i: {"type": "conversation.item.create", "item": i}, message),
    st.builds(
        lambda d: {
            "type": "session.update",
            "session": {"type": "realtime", "audio": {"input": {"turn_detection": d}}},
        },
        detections,
    ),
    st.builds(
        lambda fields: {"type": "response.create", "response": fields},
        st.fixed_dictionaries(
            {},
            optional={
                "conversation": st.sampled_from(["auto", "none"]),
                "output_modalities": st.sampled_from([["text"], ["audio"]]),
                "max_output_tokens": st.integers(1, 40),
            },
        ),
    ),
    st.sampled_from(
        [
            {"type": "response.cancel"},
            {"type": "input_audio_buffer.commit"},
            {"type": "input_audio_buffer.clear"},
        ]
    ),
    st.builds(
        lambda level, count: {
            "type": "input_audio_buffer.append",
            "audio": (bytes([0, level]) * 240 * count).hex(),
        },
        st.sampled_from([0, 40]),
        st.integers(1, 60),
    ),
)
steps = st.lists(st.tuples(wild_events | tame_events, st.integers(0, 800)), max_size=25)


def feed(client: Client, event: dict[str, Any]) -> None:
    """As the server does: through JSON, and from base64."""
    if event.get("type") == "input_audio_buffer.append" and isinstance(event.get("audio"), str):
        audio = event["audio"]
        if len(audio) > 400:
            client.send("input_audio_buffer.append", audio=bytes.fromhex(audio))
            return
    client.feed(decode(json.dumps(event)))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_nothing_breaks_a_session(given_steps: list[tuple[dict[str, Any], int]]) -> None:
    client = Client(PREPARED)
    for event, pause_ms in given_steps:
        feed(client, event)
        client.wait(pause_ms)
    client.wait(20_000)
    for effect in client.effects:
        if isinstance(effect, SendEvent):
            check(json.loads(encode(effect.event)))
    created = client.all("response.created")
    done = [event["response"]["id"] for event in client.all("response.done")]
    assert sorted(done) == sorted(event["response"]["id"] for event in created)
    ids = [event["event_id"] for event in client.events]
    assert len(ids) == len(set(ids))
