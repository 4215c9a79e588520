"""Input transcription: what was heard in a turn, as the script has it, told some time later.

It understands nothing: the script says what was heard, in which languages, or how it failed.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from callerside.fakes.script.reply import Unheard
from callerside.fakes.session.context import OBFUSCATED_LENGTH, Ids, SessionState
from callerside.fakes.session.conversation import MS_PER_INPUT_TOKEN, text_tokens

_DIARIZES = "gpt-4o-transcribe-diarize"
_NAMES_LANGUAGES = "gpt-transcribe"
_STREAMS = "gpt-realtime-whisper"
_LEAST_LOGPROB = -0.5
_EVENT = "conversation.item.input_audio_transcription"


@dataclass(frozen=True, slots=True)
class Transcript:
    """What is made of a turn."""

    text: str
    languages: Sequence[str] = ()
    """ISO 639-1."""
    failure: Unheard | None = None


class Transcriber:
    """Tells what was heard: words in deltas, then the whole, or that it failed."""

    def __init__(self, state: SessionState) -> None:
        self._state = state
        self._heard: dict[str, tuple[Transcript, float]] = {}
        self._streamed: str | None = None
        """The item whose words have been told already."""

    def stream(self, item_id: str, transcript: Transcript) -> None:
        """A turn is about to end: one model has told its words by then, as recorded."""
        if self._model != _STREAMS or transcript.failure is not None:
            return
        self._streamed = item_id
        self._send_words(item_id, transcript.text)

    def begin(self, item_id: str, transcript: Transcript, audio_ms: float) -> None:
        """A turn has been committed: its transcription is due later (`transcription:ITEM`)."""
        self._heard[item_id] = transcript, audio_ms
        due_ns = self._state.in_ms(self._state.timing.transcription_ms)
        self._state.out.set_timer(f"transcription:{item_id}", due_ns)

    def finish(self, item_id: str) -> None:
        """The timer of an item is due."""
        transcript, audio_ms = self._heard.pop(item_id)
        shared = {"item_id": item_id, "content_index": 0}
        if transcript.failure is not None:
            error = {
                "type": "transcription_error",
                "code": transcript.failure.code,
                "message": transcript.failure.message,
                "param": None,
            }
            self._state.out.send(f"{_EVENT}.failed", **shared, error=error)
            return
        text = transcript.text
        conversation = self._state.conversation
        if item_id in conversation:
            conversation.get(item_id, "").data["content"][0]["transcript"] = text
        noise = random.Random(item_id)  # none of the session's own chance is used up by it
        if self._streamed == item_id:
            self._streamed = None
        else:
            self._send_words(item_id, text)
        if text and self._model == _DIARIZES:
            self._send_segment(text, audio_ms, shared, noise)
        self._state.out.send(
            f"{_EVENT}.completed",
            **shared,
            transcript=text,
            usage=self._usage(text, audio_ms),
            **self._logprobs(text, item_id),
            **self._languages(transcript.languages),
        )

    def _send_words(self, item_id: str, text: str) -> None:
        shared = {"item_id": item_id, "content_index": 0}
        noise = random.Random(f"{item_id} words")
        for word in text.split(" ") if text else ():
            self._send_word(f" {word}", shared, noise)

    def _send_word(self, word: str, shared: dict[str, Any], noise: random.Random) -> None:
        self._state.out.send(
            f"{_EVENT}.delta",
            **shared,
            delta=word,
            obfuscation=Ids(noise).letters(OBFUSCATED_LENGTH - len(word)),
            **self._logprobs(word, shared["item_id"]),
        )

    def _send_segment(
        self, text: str, audio_ms: float, shared: dict[str, Any], noise: random.Random
    ) -> None:
        """One speaker says all of it: who says what in a turn is more than a script knows."""
        self._state.out.send(
            f"{_EVENT}.segment",
            **shared,
            id=f"seg_{Ids(noise).letters(16)}",
            speaker="A",
            text=text,
            start=0.0,
            end=round(audio_ms / 1000, 3),
        )

    @property
    def _model(self) -> str:
        return str((self._state.config.transcription or {}).get("model") or "whisper")

    def _logprobs(self, text: str, item_id: str) -> dict[str, Any]:
        """How sure it is of each word, if the session asks for it: made up, the same each time."""
        if not self._state.config.wants_logprobs:
            return {}
        sure = [
            {
                "token": word,
                "logprob": round(_LEAST_LOGPROB * random.Random(f"{item_id}{word}").random(), 6),
                "bytes": list(word.encode()),
            }
            for word in _tokens(text)
        ]
        return {"logprobs": sure}

    def _languages(self, languages: Sequence[str]) -> dict[str, Any]:
        """Which were heard; one model alone says it."""
        if self._model != _NAMES_LANGUAGES:
            return {}
        return {"languages": [{"code": code} for code in languages]}

    def _usage(self, text: str, audio_ms: float) -> dict[str, Any]:
        """As recorded: whisper counts seconds, the gpt models count tokens."""
        if "whisper" in self._model:
            return {"type": "duration", "seconds": math.ceil(audio_ms / 1000)}
        audio, words = math.ceil(audio_ms / MS_PER_INPUT_TOKEN), text_tokens(text)
        return {
            "type": "tokens",
            "total_tokens": audio + words,
            "input_tokens": audio,
            "output_tokens": words,
            "input_token_details": {"text_tokens": 0, "audio_tokens": audio},
        }


def _tokens(text: str) -> list[str]:
    """Words, each with the space before it, as they are streamed."""
    return [f" {word}" for word in text.split()]
