"""The session's configuration: its defaults, and what `session.update` makes of it."""

import copy
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from callerside.audio import AudioFormat, Encoding
from callerside.fakes.session.refusals import RequestError
from callerside.fakes.session.schema import Generation, ResponseFields, SessionFields

_PCM = {"type": "audio/pcm", "rate": 24000}
_ENCODINGS: dict[str, Encoding] = {"audio/pcm": "pcm", "audio/pcmu": "pcmu", "audio/pcma": "pcma"}

# As recorded: gpt-realtime starts with a shorter silence than the models after it.
_SILENCE_MS = {"gpt-realtime": 200}
_DEFAULT_SILENCE_MS = 500


class SessionConfig:
    """The effective session: `values` is the `session` of `session.created` and `.updated`."""

    def __init__(self, session_id: str, model: str, expires_at_s: int) -> None:
        self.values: dict[str, Any] = {
            "type": "realtime",
            "object": "realtime.session",
            "id": session_id,
            "model": model,
            "output_modalities": ["audio"],
            "instructions": "You are a helpful assistant.",
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
            "tracing": None,
            "truncation": "auto",
            "prompt": None,
            "expires_at": expires_at_s,
            "audio": {
                "input": {
                    "format": dict(_PCM),
                    "transcription": None,
                    "noise_reduction": None,
                    "turn_detection": self._server_vad(model),
                },
                "output": {"format": dict(_PCM), "voice": "marin", "speed": 1.0},
            },
            "include": None,
        }

    @staticmethod
    def _server_vad(model: str) -> dict[str, Any]:
        return {
            "type": "server_vad",
            "threshold": 0.5,
            "prefix_padding_ms": 300,
            "silence_duration_ms": _SILENCE_MS.get(model, _DEFAULT_SILENCE_MS),
            "idle_timeout_ms": None,
            "create_response": True,
            "interrupt_response": True,
        }

    def snapshot(self) -> dict[str, Any]:
        """A copy for an event."""
        return copy.deepcopy(self.values)

    @property
    def input_format(self) -> AudioFormat:
        """Format of appended audio."""
        return _audio_format(self.values["audio"]["input"]["format"])

    @property
    def output_format(self) -> AudioFormat:
        """Format of the audio that responses have, if they do not say otherwise."""
        return _audio_format(self._output["format"])

    @property
    def turn_detection(self) -> dict[str, Any] | None:
        """Effective turn detection; None when it is off."""
        detection: dict[str, Any] | None = self.values["audio"]["input"]["turn_detection"]
        return detection

    @property
    def transcribes(self) -> bool:
        """Whether input transcription is on."""
        return self.values["audio"]["input"]["transcription"] is not None

    def update(self, fields: SessionFields, *, voice_is_fixed: bool) -> None:
        """Apply a `session.update`: what is not given stays.

        Raises:
            RequestError: `cannot_update_voice`, once the assistant has spoken; another model.
        """
        given = fields.model_dump(exclude_unset=True)
        voice = given.get("audio", {}).get("output", {}).get("voice")
        if voice_is_fixed and voice is not None and voice != self._output["voice"]:
            raise RequestError("voice_is_fixed")
        if given.get("model", self.values["model"]) != self.values["model"]:
            raise RequestError("model_is_fixed", "session.model")
        audio = given.pop("audio", None) or {}
        for side in audio.values():
            if side is not None and side.get("format") is not None:
                side["format"] = _whole_format(side["format"])
        self.values.update(given)
        self._update_input(audio.get("input") or {})
        self._output.update(audio.get("output") or {})

    @property
    def _output(self) -> dict[str, Any]:
        output: dict[str, Any] = self.values["audio"]["output"]
        return output

    def _update_input(self, given: dict[str, Any]) -> None:
        current = self.values["audio"]["input"]
        detection = given.get("turn_detection")
        if detection is not None:
            given["turn_detection"] = self._effective_detection(detection)
        transcription = given.get("transcription")
        if transcription is not None:
            given["transcription"] = {
                "model": "whisper-1",
                "language": None,
                "prompt": None,
            } | transcription
        current.update(given)

    def _effective_detection(self, given: dict[str, Any]) -> dict[str, Any]:
        current = self.turn_detection
        if current is not None and current["type"] == given["type"]:
            return current | given
        if given["type"] == "server_vad":
            return self._server_vad(self.values["model"]) | given
        defaults = {"eagerness": "auto", "create_response": True, "interrupt_response": True}
        return {"type": "semantic_vad"} | defaults | given


class ResponseConfig:
    """How one response is made: as the session is configured, but for what its request says."""

    def __init__(self, session: SessionConfig, fields: ResponseFields | None) -> None:
        given: Generation = fields or ResponseFields()
        values = session.values
        self.modalities: list[str] = list(given.output_modalities or values["output_modalities"])
        self.max_output_tokens = given.max_output_tokens or values["max_output_tokens"]
        self.output = {key: values["audio"]["output"][key] for key in ("format", "voice")}
        tools = values["tools"] if given.tools is None else _dumped(given.tools)
        self.functions = {tool["name"] for tool in tools if tool["type"] == "function"}
        """Names of what the model may call."""
        self.tool_choice = given.tool_choice or values["tool_choice"]
        self.metadata: dict[str, str] | None = None
        self.in_conversation = True
        if fields is not None:
            self.metadata = fields.metadata
            self.in_conversation = fields.conversation == "auto"
            if fields.audio is not None and fields.audio.output is not None:
                override = fields.audio.output.model_dump(exclude_none=True)
                self.output.update({key: override[key] for key in self.output if key in override})

    @property
    def output_format(self) -> AudioFormat:
        """Format of the audio deltas."""
        return _audio_format(self.output["format"])


def _dumped(tools: Sequence[BaseModel]) -> list[dict[str, Any]]:
    return [tool.model_dump(exclude_unset=True) for tool in tools]


def _whole_format(given: dict[str, Any]) -> dict[str, Any]:
    return _PCM | given if given["type"] == _PCM["type"] else given


def _audio_format(value: dict[str, Any]) -> AudioFormat:
    return AudioFormat(_ENCODINGS[value["type"]])
