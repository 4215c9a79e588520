"""What the agent sends: the session that it wants, and client events, in both dialects.

Each function returns an event as a mapping, as it crosses the door (audio as `bytes`); the call's
context adds the `event_id`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from callerside.agent.config.settings import CallSettings, Dialect
from callerside.agent.realtime.dialects import assistant_text
from callerside.audio import AudioFormat

Event = dict[str, Any]

GA_FORMATS: Mapping[str, Mapping[str, Any]] = {
    "pcm": {"type": "audio/pcm", "rate": 24_000},
    "pcmu": {"type": "audio/pcmu"},
    "pcma": {"type": "audio/pcma"},
}
BETA_FORMATS: Mapping[str, str] = {"pcm": "pcm16", "pcmu": "g711_ulaw", "pcma": "g711_alaw"}


def session_update(
    settings: CallSettings, audio_format: AudioFormat, tools: Sequence[Mapping[str, Any]]
) -> Event:
    """`session.update` with everything that shapes the session."""
    build = _beta_session if settings.realtime.dialect == "beta" else _ga_session
    session = build(settings, audio_format)
    if tools:
        session |= {"tools": list(tools), "tool_choice": "auto"}
    return {"type": "session.update", "session": session}


def format_name(audio_format: AudioFormat, dialect: Dialect) -> str:
    """How `session.updated` names a format."""
    if dialect == "beta":
        return BETA_FORMATS[audio_format.encoding]
    return str(GA_FORMATS[audio_format.encoding]["type"])


def append(audio: bytes) -> Event:
    """Caller audio, in the session's input format."""
    return {"type": "input_audio_buffer.append", "audio": audio}


def commit() -> Event:
    """End the caller's turn."""
    return {"type": "input_audio_buffer.commit"}


def truncate(item_id: str, audio_end_ms: int) -> Event:
    """Report how much of an item has been heard; the rest leaves the conversation."""
    return {
        "type": "conversation.item.truncate",
        "item_id": item_id,
        "content_index": 0,
        "audio_end_ms": audio_end_ms,
    }


def cancel(response_id: str) -> Event:
    """Stop that response, and no other."""
    return {"type": "response.cancel", "response_id": response_id}


def response_create(
    purpose: str,
    *,
    instructions: str | None = None,
    may_call: bool = True,
    voice: str | None = None,
    aside: bool = False,
    dialect: Dialect,
) -> Event:
    """Ask for a response; `purpose` comes back in the response's metadata.

    With `instructions` it says just that, and calls no function; nor does it without `may_call`.
    One that is `aside` is out of band: it knows the conversation, and is no part of it.
    """
    response: Event = {"metadata": {"purpose": purpose}}
    if aside:
        response["conversation"] = "none"
    if instructions is not None:
        response["instructions"] = instructions
    if instructions is not None or not may_call:
        response["tool_choice"] = "none"
    if voice is not None:
        response |= (
            {"voice": voice} if dialect == "beta" else {"audio": {"output": {"voice": voice}}}
        )
    return {"type": "response.create", "response": response}


def assistant_message(text: str, dialect: Dialect) -> Event:
    """Something that the agent has said."""
    return _message("assistant", assistant_text(dialect), text)


def user_message(text: str) -> Event:
    """Something that the caller has done or said, as text."""
    return _message("user", "input_text", text)


def system_message(text: str) -> Event:
    """Something that the model must know."""
    return _message("system", "input_text", text)


def function_call(call_id: str, name: str, arguments: str) -> Event:
    """A call of the model's, for a session that has not seen it."""
    return _item(
        {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}
    )


def function_output(call_id: str, output: str) -> Event:
    """What a function said."""
    return _item({"type": "function_call_output", "call_id": call_id, "output": output})


def _message(role: str, content_type: str, text: str) -> Event:
    content = [{"type": content_type, "text": text}]
    return _item({"type": "message", "role": role, "content": content})


def _item(item: Event) -> Event:
    return {"type": "conversation.item.create", "item": item}


def _ga_session(settings: CallSettings, audio_format: AudioFormat) -> Event:
    realtime = settings.realtime
    wire_format = dict(GA_FORMATS[audio_format.encoding])
    audio_input: Event = {"format": wire_format, "turn_detection": _turn_detection(settings)}
    if realtime.transcription_model:
        audio_input["transcription"] = {"model": realtime.transcription_model}
    if realtime.noise_reduction:
        audio_input["noise_reduction"] = {"type": realtime.noise_reduction}
    audio_output: Event = {"format": wire_format, "voice": settings.voice}
    if realtime.speed is not None:
        audio_output["speed"] = realtime.speed
    session: Event = {
        "type": "realtime",
        "instructions": settings.instructions,
        "output_modalities": ["audio"],
        "audio": {"input": audio_input, "output": audio_output},
    }
    if realtime.max_output_tokens is not None:
        session["max_output_tokens"] = realtime.max_output_tokens
    return session


def _beta_session(settings: CallSettings, audio_format: AudioFormat) -> Event:
    realtime = settings.realtime
    wire_format = BETA_FORMATS[audio_format.encoding]
    session: Event = {
        "modalities": ["audio", "text"],
        "instructions": settings.instructions,
        "voice": settings.voice,
        "input_audio_format": wire_format,
        "output_audio_format": wire_format,
        "turn_detection": _turn_detection(settings),
    }
    if realtime.transcription_model:
        session["input_audio_transcription"] = {"model": realtime.transcription_model}
    if realtime.noise_reduction:
        session["input_audio_noise_reduction"] = {"type": realtime.noise_reduction}
    if realtime.speed is not None:
        session["speed"] = realtime.speed
    if realtime.max_output_tokens is not None:
        session["max_response_output_tokens"] = realtime.max_output_tokens
    return session


def _turn_detection(settings: CallSettings) -> Event | None:
    """The server's turn detection; None (off) when our own decides."""
    vad = settings.turns.vad
    if settings.turns.policy == "local":
        return None
    common: Event = {
        "create_response": vad.create_response,
        "interrupt_response": vad.interrupt_response and settings.turns.barge_in,
    }
    if vad.type == "semantic_vad":
        return {"type": "semantic_vad", "eagerness": vad.eagerness, **common}
    detection: Event = {
        "type": "server_vad",
        "threshold": vad.threshold,
        "prefix_padding_ms": vad.prefix_padding_ms,
        "silence_duration_ms": vad.silence_duration_ms,
        **common,
    }
    if vad.idle_timeout_ms is not None:
        detection["idle_timeout_ms"] = vad.idle_timeout_ms
    return detection
