"""Whatever a recording holds, it is told and replayed, or refused in one line: never a crash."""

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from in_memory import Client

from callerside.fakes.recording.format import (
    Entry,
    Header,
    Recording,
    RecordingError,
    read_recording,
)
from callerside.fakes.recording.replay import ReplayOptions, ReplaySession
from callerside.fakes.recording.transcript import narrate
from callerside.fakes.session.interface import ClientEvent
from callerside.speech.synthesis import synthesise

SPEECH = synthesise("Hello.") + bytes(48_000)
TYPES = [
    "session.created",
    "session.updated",
    "session.update",
    "input_audio_buffer.append",
    "input_audio_buffer.commit",
    "input_audio_buffer.committed",
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "conversation.item.create",
    "conversation.item.added",
    "conversation.item.truncated",
    "response.create",
    "response.created",
    "response.output_item.added",
    "response.output_audio.delta",
    "response.audio.delta",
    "response.done",
    "rate_limits.updated",
    "error",
    "unheard.of",
]
KEYS = ["session", "audio", "input", "output", "format", "type", "turn_detection", "threshold"]
KEYS += ["silence_duration_ms", "eagerness", "item", "id", "item_id", "response", "response_id"]
KEYS += ["status_details", "reason", "error", "event_id", "content", "text", "delta", "status"]
WORDS = ["server_vad", "semantic_vad", "audio/pcmu", "AAAA", "a", "turn_detected", "low"]

values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**6) | st.sampled_from(WORDS) | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=8,
)
entries = st.builds(
    lambda sender, kind, rest: {"at": 1, "from": sender, "event": {**rest, "type": kind}},
    st.sampled_from(["client", "server"]),
    st.sampled_from(TYPES),
    st.dictionaries(st.sampled_from(KEYS), values, max_size=4),
)
lines = st.lists(entries, max_size=8) | st.lists(entries | values, max_size=3)


def replayed(recording: Recording) -> Client:
    """Everything that its client did, and some speech."""
    client = Client(ReplaySession(recording, call="test", options=ReplayOptions(timing="fast")))
    for entry in recording.entries:
        if entry.sender == "client":
            client.feed(ClientEvent(entry.event))
        client.send("input_audio_buffer.append", audio=SPEECH)
    client.wait(1000)
    return client


def read_or_none(path: Path) -> Recording | None:
    """A recording that is refused is so in one line, which names the file."""
    try:
        return read_recording(path)
    except RecordingError as error:
        message = str(error)
    assert message.startswith(f"{path}:")
    assert len(message.splitlines()) == 1
    return None


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lines)
def test_no_recording_breaks_anything(given_lines: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "strange.realtime"
        header = {"format": "realtime-recording", "version": 1}
        path.write_text("".join(json.dumps(line) + "\n" for line in [header, *given_lines]))
        recording = read_or_none(path)
    if recording is not None:
        assert list(narrate(recording))
        replayed(recording)


def test_what_a_recording_does_not_say_is_as_the_api_has_it() -> None:
    session = {"turn_detection": {"type": "semantic_vad", "eagerness": 5, "threshold": "high"}}
    created = Entry(0.0, "server", {"type": "session.created", "session": session})
    started = Entry(1.0, "server", {"type": "input_audio_buffer.speech_started"})
    client = replayed(Recording(Header(), (created, started)))
    client.send("input_audio_buffer.append", audio=SPEECH)
    assert client.types == ["session.created", "input_audio_buffer.speech_started"]
