"""The session's configuration: its defaults, and what `session.update` makes of it."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel

from callerside.audio import AudioFormat, Encoding
from callerside.fakes.session.interface import Event
from callerside.fakes.session.refusals import RequestError
from callerside.fakes.session.schema import (
    Generation,
    ResponseFields,
    SessionFields,
    TranscriptionFields,
    is_realtime_model,
    is_transcription_model,
)

_PCM = {"type": "audio/pcm", "rate": 24000}
_ENCODINGS: dict[str, Encoding] = {"audio/pcm": "pcm", "audio/pcmu": "pcmu", "audio/pcma": "pcma"}

# As recorded: gpt-realtime starts with a shorter silence than the models after it.
_SILENCE_MS = {"gpt-realtime": 200}
_DEFAULT_SILENCE_MS = 500

WHISPER = "gpt-realtime-whisper"
"""Transcribes while it hears, without turns of its own."""
_TAKE_HINTS = ("gpt-transcribe", "gpt-live-transcribe")
_OPTIONS = {"languages": _TAKE_HINTS, "keywords": _TAKE_HINTS, "delay": (WHISPER,)}
"""Options of a transcription, and the models that know them (the SDK's types)."""
_TRANSCRIBES = "whisper-1"
_LOGPROBS = "item.input_audio_transcription.logprobs"

Kind = Literal["realtime", "transcription"]


DEFAULT_INSTRUCTIONS = "You are a helpful assistant."
_HEARD_ALONE = ("type", "threshold", "prefix_padding_ms", "silence_duration_ms")
"""What turn detection says in a session that answers nobody."""


def doubt_of_model(model: str, param: str) -> RequestError | None:
    """Why no session can have this model; None if one can."""
    if is_transcription_model(model):
        return RequestError("transcription_model_speaks_not", param, model=model)
    return (
        None if is_realtime_model(model) else RequestError("unsupported_model", param, model=model)
    )


class SessionConfig:
    """The effective session: `values` is the `session` of `session.created` and `.updated`."""

    def __init__(
        self,
        session_id: str,
        model: str,
        expires_at_s: int,
        kind: Kind = "realtime",
        *,
        voice: str = "marin",
    ) -> None:
        common = {"id": session_id, "expires_at": expires_at_s, "include": None}
        detection = self._server_vad(model)
        if kind == "transcription":
            detection = {key: detection[key] for key in _HEARD_ALONE}
        heard = {
            "format": dict(_PCM),
            "transcription": None,
            "noise_reduction": None,
            "turn_detection": detection,
        }
        if kind == "transcription":
            self.values: dict[str, Any] = {
                "type": kind,
                "object": "realtime.transcription_session",
                **common,
                "audio": {"input": heard},
            }
            return
        self.values = {
            "type": kind,
            "object": "realtime.session",
            "model": model,
            "output_modalities": ["audio"],
            "instructions": DEFAULT_INSTRUCTIONS,
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
            "tracing": None,
            "truncation": "auto",
            "prompt": None,
            **common,
            "audio": {
                "input": heard,
                "output": {"format": dict(_PCM), "voice": voice, "speed": 1.0},
            },
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
    def only_transcribes(self) -> bool:
        """Whether it is a transcription session, in which nobody answers."""
        return bool(self.values["type"] == "transcription")

    @property
    def transcription(self) -> dict[str, Any] | None:
        """Input transcription; None when it is off."""
        transcription: dict[str, Any] | None = self.values["audio"]["input"]["transcription"]
        return transcription

    @property
    def wants_logprobs(self) -> bool:
        """Whether transcripts say how sure they are."""
        return _LOGPROBS in (self.values["include"] or ())

    @property
    def kind(self) -> str:
        """The type of the session."""
        return str(self.values["type"])

    def other_kind(self, event: Event) -> RequestError | None:
        """What is wrong with the type of a `session.update`, of a session of this kind."""
        described = event.get("session")
        if event.get("type") != "session.update" or not isinstance(described, Mapping):
            return None
        kind = described.get("type")
        if kind == "transcription" and not self.only_transcribes:
            return RequestError("other_kind_of_session", "session.type")
        if kind == "realtime" and self.only_transcribes:
            return RequestError("realtime_in_transcription", "session.type")
        return None

    def doubts(
        self, fields: SessionFields | TranscriptionFields, *, voice_is_fixed: bool = False
    ) -> Iterator[RequestError]:
        """What of a `session.update` the API would refuse.

        `cannot_update_voice` once the assistant has spoken (`voice_is_fixed`), another model, turn
        detection of a transcription model that has none, and what such a model does not know.
        """
        given = fields.model_dump(exclude_unset=True)
        audio = given.get("audio") or {}
        voice = (audio.get("output") or {}).get("voice")
        if voice_is_fixed and voice is not None and voice != self.voice:
            yield RequestError("voice_is_fixed")
        if given.get("model", self._model) != self._model:
            yield RequestError("model_is_fixed", "session.model")
        heard = audio.get("input") or {}
        if self._has_no_turns(heard) and heard.get("turn_detection") is not None:
            yield RequestError("no_turn_detection", "session.audio.input.turn_detection")
        transcription = heard.get("transcription") or {}
        model = transcription.get("model") or (self.transcription or {}).get("model")
        model = model or _TRANSCRIBES
        for option in sorted(transcription.keys() & (_OPTIONS.keys() | {"prompt"})):
            knows = model in _OPTIONS[option] if option in _OPTIONS else model != WHISPER
            if transcription[option] and not knows:
                path = f"session.audio.input.transcription.{option}"
                yield RequestError("transcription_option", path, option=option, model=model)

    def update(self, fields: SessionFields | TranscriptionFields) -> None:
        """Apply a `session.update`: what is not given stays, and what cannot change (`doubts`)."""
        given = fields.model_dump(exclude_unset=True)
        given.pop("model", None)
        audio = given.pop("audio", None) or {}
        heard = audio.get("input") or {}
        if self._has_no_turns(heard):
            heard["turn_detection"] = None
        for side in audio.values():
            if side is not None and side.get("format") is not None:
                side["format"] = _whole_format(side["format"])
        self.values.update(given)
        self._update_input(heard)
        self._output.update(audio.get("output") or {})

    def _has_no_turns(self, heard: dict[str, Any]) -> bool:
        """Whether the transcription model has none, once this is applied."""
        return self.only_transcribes and self._model_after(heard) == WHISPER

    @property
    def _output(self) -> dict[str, Any]:
        output: dict[str, Any] = self.values["audio"].get("output", {"format": _PCM})
        return output

    @property
    def voice(self) -> Any:
        """Its name, or an object with the id of a custom one."""
        return self._output["voice"]

    @property
    def _model(self) -> str:
        return str(self.values.get("model", ""))

    def _model_after(self, heard: dict[str, Any]) -> str | None:
        """The transcription's model once this is applied."""
        given = heard.get("transcription", self.transcription) or {}
        model: str | None = given.get("model") or (self.transcription or {}).get("model")
        return model

    def _update_input(self, given: dict[str, Any]) -> None:
        current = self.values["audio"]["input"]
        detection = given.get("turn_detection")
        if detection is not None:
            given["turn_detection"] = self._effective_detection(detection)
        transcription = given.get("transcription")
        if transcription is not None:
            given["transcription"] = {
                "model": _TRANSCRIBES,
                "language": None,
                "prompt": None,
            } | transcription
        current.update(given)

    def _effective_detection(self, given: dict[str, Any]) -> dict[str, Any]:
        current = self.turn_detection
        if current is not None and current["type"] == given["type"]:
            return current | given
        if given["type"] == "server_vad":
            if self.only_transcribes:
                whole = self._server_vad(self._model)
                return {key: whole[key] for key in _HEARD_ALONE} | given
            return self._server_vad(self._model) | given
        if self.only_transcribes:
            return {"type": "semantic_vad", "eagerness": "auto"} | given
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
        tools = values["tools"] if given.tools is None else dumped(given.tools)
        self.functions: dict[str, Mapping[str, Any] | None] = {
            tool["name"]: tool.get("parameters") for tool in tools if tool["type"] == "function"
        }
        """What the model may call, and the schemas of their arguments, as far as they have any."""
        chosen = given.tool_choice or values["tool_choice"]
        self.tool_choice: Any = chosen.model_dump() if isinstance(chosen, BaseModel) else chosen
        """A word, or what is chosen."""
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


def dumped(tools: Sequence[BaseModel]) -> list[dict[str, Any]]:
    """Tools as they were described."""
    return [tool.model_dump(exclude_unset=True) for tool in tools]


def _whole_format(given: dict[str, Any]) -> dict[str, Any]:
    return _PCM | given if given["type"] == _PCM["type"] else given


def _audio_format(value: dict[str, Any]) -> AudioFormat:
    return AudioFormat(_ENCODINGS[value["type"]])
