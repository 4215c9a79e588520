"""The dialects of the API: GA, which the session speaks, Azure's, and the beta before it.

The session knows GA alone; a translator stands at its door. The beta was shut down in May 2026,
but self-hosted servers still speak it.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from callerside.fakes.session.interface import Event

_EVENT_NAMES = {
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
    "response.output_text.delta": "response.text.delta",
    "response.output_text.done": "response.text.done",
    "conversation.item.added": "conversation.item.created",
}
_CONTENT_TYPES = {"output_text": "text", "output_audio": "audio"}
_CONTENT_TYPES_BACK = {beta: ga for ga, beta in _CONTENT_TYPES.items()}
_FORMATS = {"audio/pcm": "pcm16", "audio/pcmu": "g711_ulaw", "audio/pcma": "g711_alaw"}
_FORMATS_BACK = {beta: ga for ga, beta in _FORMATS.items()}
# Fields of the beta's flat session that mean the same in GA.
_SHARED = ("instructions", "tools", "tool_choice", "model", "tracing")
_NO_MEANING_IN_GA = ("temperature",)
# Where a flat session has what GA nests, the longest path first.
_PATHS = (
    ("session.audio.input.format.type", "session.input_audio_format"),
    ("session.audio.output.format.type", "session.output_audio_format"),
    ("response.audio.output.format.type", "response.output_audio_format"),
    ("session.audio.input.transcription", "session.input_audio_transcription"),
    ("session.audio.input.noise_reduction", "session.input_audio_noise_reduction"),
    ("session.audio.input.turn_detection", "session.turn_detection"),
    ("session.audio.input.format", "session.input_audio_format"),
    ("session.audio.output.format", "session.output_audio_format"),
    ("session.audio.output", "session"),
    ("session.max_output_tokens", "session.max_response_output_tokens"),
    ("session.output_modalities", "session.modalities"),
    ("response.audio.output.format", "response.output_audio_format"),
    ("response.audio.output", "response"),
    ("response.max_output_tokens", "response.max_response_output_tokens"),
    ("response.output_modalities", "response.modalities"),
)


class Translator(Protocol):
    """Stands between the session, which speaks GA, and the client."""

    def outgoing(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """A server event as the client knows it: none, one or more."""

    def incoming(self, event: Event) -> Event:
        """A client event as the session knows it."""


class Ga:
    """Nothing to translate."""

    def outgoing(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """See `Translator.outgoing`."""
        return [event]

    def incoming(self, event: Event) -> Event:
        """See `Translator.incoming`."""
        return event


class Azure(Ga):
    """GA, but for the parts of contents, which come a second time, as `content` (as recorded)."""

    def outgoing(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """See `Translator.outgoing`."""
        return [{**event, "content": event["part"]} if "part" in event else event]


class Beta:
    """Old event names, flat sessions, one `conversation.item.created` instead of two events."""

    def outgoing(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """See `Translator.outgoing`."""
        if event["type"] == "conversation.item.done":
            return []
        event = event | {"type": _EVENT_NAMES.get(event["type"], event["type"])}
        if "session" in event and event["session"]["type"] == "realtime":
            event["session"] = _flat_session(event["session"])
        if "item" in event:
            event["item"] = _beta_item(event["item"])
        if "response" in event:
            event["response"] = _beta_response(event["response"])
        if event["type"] == "error":
            event["error"] = _beta_error(event["error"])
        return [event]

    def incoming(self, event: Event) -> Event:
        """See `Translator.incoming`."""
        kind = event.get("type")
        if kind == "session.update" and isinstance(event.get("session"), Mapping):
            return {**event, "session": _nested_session(event["session"])}
        if kind == "response.create" and isinstance(event.get("response"), Mapping):
            return {**event, "response": _ga_response(event["response"])}
        if kind == "conversation.item.create" and isinstance(event.get("item"), Mapping):
            return {**event, "item": _ga_item(event["item"])}
        return event


TRANSLATORS: Mapping[str, Callable[[], Translator]] = {"ga": Ga, "azure": Azure, "beta": Beta}
"""By the name of the dialect."""


def _flat_session(session: Mapping[str, Any]) -> dict[str, Any]:
    audio_in, audio_out = session["audio"]["input"], session["audio"]["output"]
    modalities = session["output_modalities"]
    return {
        "id": session["id"],
        "object": session["object"],
        "expires_at": session["expires_at"],
        "modalities": ["audio", "text"] if modalities == ["audio"] else modalities,
        "voice": audio_out["voice"],
        "speed": audio_out["speed"],
        "input_audio_format": _FORMATS[audio_in["format"]["type"]],
        "output_audio_format": _FORMATS[audio_out["format"]["type"]],
        "input_audio_transcription": audio_in["transcription"],
        "input_audio_noise_reduction": audio_in["noise_reduction"],
        "turn_detection": audio_in["turn_detection"],
        "max_response_output_tokens": session["max_output_tokens"],
        "temperature": 0.8,
    } | {key: session.get(key) for key in _SHARED}


def _nested_session(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Keys that the beta does not know stay where they are, to be refused by name."""
    rest = dict(flat)
    session: dict[str, Any] = {"type": rest.pop("type", "realtime")}
    audio_in: dict[str, Any] = {}
    audio_out: dict[str, Any] = {}
    for beta, ga, part in (
        ("input_audio_transcription", "transcription", audio_in),
        ("input_audio_noise_reduction", "noise_reduction", audio_in),
        ("turn_detection", "turn_detection", audio_in),
        ("voice", "voice", audio_out),
        ("speed", "speed", audio_out),
        ("max_response_output_tokens", "max_output_tokens", session),
    ):
        if beta in rest:
            part[ga] = rest.pop(beta)
    for beta, part in (("input_audio_format", audio_in), ("output_audio_format", audio_out)):
        if beta in rest:
            part["format"] = _ga_format(rest.pop(beta))
    if "modalities" in rest:
        session["output_modalities"] = _ga_modalities(rest.pop("modalities"))
    for key in _NO_MEANING_IN_GA:
        rest.pop(key, None)
    if audio_in or audio_out:
        session["audio"] = {"input": audio_in, "output": audio_out}
    return session | rest


def _ga_modalities(modalities: Any) -> Any:
    if isinstance(modalities, list) and "audio" in modalities:
        return ["audio"]
    return modalities


def _ga_format(name: Any) -> dict[str, Any] | None:
    """Null stays null: it counts as left out."""
    return None if name is None else {"type": _FORMATS_BACK.get(name, name)}


def _ga_response(response: Mapping[str, Any]) -> dict[str, Any]:
    ga = dict(response)
    if "modalities" in ga:
        ga["output_modalities"] = _ga_modalities(ga.pop("modalities"))
    if "max_response_output_tokens" in ga:
        ga["max_output_tokens"] = ga.pop("max_response_output_tokens")
    output: dict[str, Any] = {}
    if "voice" in ga:
        output["voice"] = ga.pop("voice")
    if "output_audio_format" in ga:
        output["format"] = _ga_format(ga.pop("output_audio_format"))
    if output:
        ga["audio"] = {"output": output}
    for key in _NO_MEANING_IN_GA:
        ga.pop(key, None)
    return ga


def _ga_item(item: Mapping[str, Any]) -> dict[str, Any]:
    return _with_content_types(item, _CONTENT_TYPES_BACK if item.get("role") == "assistant" else {})


def _beta_item(item: Mapping[str, Any]) -> dict[str, Any]:
    return {"object": "realtime.item"} | _with_content_types(item, _CONTENT_TYPES)


def _with_content_types(item: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    translated = copy.deepcopy(dict(item))
    content = translated.get("content")
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict) and part.get("type") in names:
            part["type"] = names[part["type"]]
    return translated


def _beta_error(error: Mapping[str, Any]) -> dict[str, Any]:
    """An error that names its parameter as the client wrote it."""
    param = error["param"] or ""
    for ga, beta in _PATHS:
        if param == ga or param.startswith((f"{ga}.", f"{ga}[")):
            written = beta + param.removeprefix(ga)
            message = error["message"].replace(f"'{param}'", f"'{written}'")
            for name, beta_name in _FORMATS.items():
                message = message.replace(f"'{name}'", f"'{beta_name}'")
            return {**error, "param": written, "message": message}
    return dict(error)


def _beta_response(response: Mapping[str, Any]) -> dict[str, Any]:
    beta = dict(response)
    modalities = beta.pop("output_modalities")
    output = beta.pop("audio")["output"]
    return beta | {
        "modalities": ["audio", "text"] if modalities == ["audio"] else modalities,
        "voice": output["voice"],
        "output_audio_format": _FORMATS[output["format"]["type"]],
        "temperature": 0.8,
        "output": [_beta_item(item) for item in beta["output"]],
    }
