"""The user's turns: what is heard becomes items, and asks for answers."""

import math
from typing import Any, Literal, assert_never

from callerside.fakes.session.context import SessionState
from callerside.fakes.session.conversation import Item
from callerside.fakes.session.fault_injector import FaultInjector
from callerside.fakes.session.input_audio import InputAudio
from callerside.fakes.session.interface import Event, KeepAudio
from callerside.fakes.session.refusals import RequestError
from callerside.fakes.session.requests import MAX_APPEND_BYTES
from callerside.fakes.session.response import Response
from callerside.fakes.session.response_scheduler import ResponseScheduler
from callerside.fakes.session.transcription import Transcriber, Transcript
from callerside.vad.turn_detector import FRAME_MS, SpeechStarted, SpeechStopped

MIN_COMMIT_MS = 100

_APPEND_KEYS = {"type", "event_id", "audio"}
_IDLE_MESSAGE = "The user has not said anything for a while."

CommittedBy = Literal["vad", "client", "idle_timeout"]


class UserTurns:
    """Hears, detects turns, commits, and transcribes."""

    def __init__(
        self, state: SessionState, fault_injector: FaultInjector, scheduler: ResponseScheduler
    ) -> None:
        self._state = state
        self._fault_injector = fault_injector
        self._observation = state.observation
        self._observes = self._observation.trace_audio or self._observation.keep_audio
        self._audio = InputAudio(state.script.vad)
        self._scheduler = scheduler
        self.spoken = 0
        """Times that the user has begun to speak."""
        self.committed = 0
        """Turns so far."""
        self._item_id: str | None = None
        self._start_ms = 0
        self._commit_end_ms: float | None = None
        self._idle_from_ms: float | None = None
        self._idle_timeout_ms: int | None = None
        self._transcriber = Transcriber(state)

    @property
    def commit_pending(self) -> bool:
        """Whether a client's commit is being worked on: other requests wait for it."""
        return self._commit_end_ms is not None

    def configure(self) -> None:
        """Follow the session's configuration and the script's position."""
        detection = self._state.config.turn_detection
        self._audio.configure(
            self._state.config.input_format,
            detection,
            unfinished=self._scheduler.upcoming.unfinished,
        )
        answers = detection is not None and not self._state.config.only_transcribes
        timeout_ms = detection.get("idle_timeout_ms") if detection and answers else None
        if self._idle_timeout_ms is None and self._idle_from_ms is not None:
            # Nobody has waited for the user before: the audio until now does not count.
            self._idle_from_ms = max(self._idle_from_ms, self._audio.clock_ms)
        self._idle_timeout_ms = timeout_ms

    def append(self, event: Event) -> None:
        """Take an append; fifty times a second."""
        audio = event.get("audio")
        if not isinstance(audio, bytes) or len(audio) > MAX_APPEND_BYTES:
            raise RequestError("audio_too_large", "audio")
        if not event.keys() <= _APPEND_KEYS:
            name = min(event.keys() - _APPEND_KEYS)
            self._state.refuse(RequestError("unknown_parameter", name))
        all_heard = self._audio.append(audio)
        if self._observes:
            self._observe()
        for heard in all_heard:
            match heard:
                case SpeechStarted():
                    self._on_started(heard)
                case SpeechStopped():
                    self._on_stopped(heard)
                case unknown:
                    assert_never(unknown)
        if self._idle_from_ms is not None:
            self._check_idle(self._idle_from_ms)

    def routine_ms(self, *, silent: bool) -> float:
        """See `fakes.session.session.RealtimeSession.routine_ms`."""
        is_timed = self._idle_from_ms is not None and self._idle_timeout_ms is not None
        return 0.0 if is_timed else self._audio.routine_ms(silent=silent)

    def clear(self) -> None:
        """`input_audio_buffer.clear`."""
        self._audio.clear()
        self._state.out.send("input_audio_buffer.cleared")

    def commit(self) -> None:
        """`input_audio_buffer.commit`.

        Raises:
            RequestError: `input_audio_buffer_commit_empty`.
        """
        if not self._audio.holds_uncommitted(MIN_COMMIT_MS):
            buffered_ms = math.floor(self._audio.uncommitted_ms * 100) / 100
            raise RequestError("buffer_too_small", least_ms=MIN_COMMIT_MS, ms=f"{buffered_ms:.2f}")
        if self._state.config.turn_detection is None:
            self._commit_end_ms = self._audio.clock_ms
            self._state.out.set_timer("commit", self._state.in_ms(self._state.timing.commit_ms))
            return
        self._audio.forget_turn()
        self._commit("client", 0, self._audio.clock_ms)
        if self._state.script.commits == "client":
            self._ask_for_answer()

    def finish_commit(self) -> None:
        """The timer `commit` is due."""
        end_ms = self._commit_end_ms
        self._commit_end_ms = None
        if end_ms is not None:
            self._commit("client", 0, end_ms)

    def on_response_done(self, response: Response) -> None:
        """The idle timer starts when the audio of a response has been played (official guide)."""
        if response.status == "completed":
            self._idle_from_ms = self._audio.clock_ms + response.sent_ms
        self.configure()

    def send_transcription(self, item_id: str) -> None:
        """The timer `transcription` of an item is due."""
        self._transcriber.finish(item_id)

    def _observe(self) -> None:
        pcm = self._audio.newest
        if self._observation.trace_audio:
            total = self._audio.total_samples
            self._state.out.mark("audio_received", samples=len(pcm) // 2, total_samples=total)
        if self._observation.keep_audio:
            self._state.out.put(KeepAudio(pcm, self._audio.rate_hz))

    def _on_started(self, heard: SpeechStarted) -> None:
        out = self._state.out
        self._idle_from_ms = None
        self._item_id = out.ids.new("item")
        self._start_ms = self._audio.start_ms(heard)
        out.send(
            "input_audio_buffer.speech_started",
            audio_start_ms=self._start_ms,
            item_id=self._item_id,
        )
        out.mark("speech_started", item=self._item_id, audio_start_ms=self._start_ms)
        self.spoken += 1
        self._fault_injector.reached(f"speech {self.spoken}")
        detection = self._state.config.turn_detection
        if detection is not None and detection.get("interrupt_response"):
            self._scheduler.interrupt()

    def _on_stopped(self, heard: SpeechStopped) -> None:
        out = self._state.out
        item_id = self._item_id or out.ids.new("item")
        if self._state.config.transcription is not None:
            self._transcriber.stream(item_id, self._words("vad"))
        out.send("input_audio_buffer.speech_stopped", audio_end_ms=heard.end_ms, item_id=item_id)
        out.mark(
            "speech_stopped",
            item=item_id,
            audio_end_ms=heard.end_ms,
            last_voiced_ms=heard.last_voiced_ms,
        )
        if self._state.script.commits == "server":
            self._commit("vad", self._start_ms, heard.end_ms)
            self._ask_for_answer()

    def _ask_for_answer(self) -> None:
        detection = self._state.config.turn_detection
        if self._state.config.only_transcribes:
            return
        if detection is not None and detection["create_response"]:
            self._scheduler.answer("vad")

    def _commit(self, by: CommittedBy, start_ms: float, end_ms: float) -> None:
        out = self._state.out
        item_id, self._item_id = self._item_id or out.ids.new("item"), None
        audio_ms, pcm = self._audio.take(start_ms, end_ms)
        out.send(
            "input_audio_buffer.committed",
            previous_item_id=self._state.conversation.last_id,
            item_id=item_id,
        )
        out.mark("committed", item=item_id, by=by)
        content = {"type": "input_audio", "transcript": None}
        self._state.add_item(
            Item(
                _message(item_id, "user", content),
                audio_ms=audio_ms,
                pcm=pcm,
                audio_format=self._state.config.input_format,
            )
        )
        if self._state.config.transcription is not None:
            self._transcriber.begin(item_id, self._words(by), audio_ms)
        if self._state.config.only_transcribes:
            self._scheduler.pass_over()
            self.configure()
        self.committed += 1
        self._fault_injector.reached(f"turn {self.committed}")

    def _words(self, by: CommittedBy) -> Transcript:
        """What is made of a turn by input transcription."""
        detects = self._state.config.turn_detection is not None
        if by == "client" and detects and self._state.script.commits == "server":
            return Transcript("")  # not the turn that the script means, but what came after one
        upcoming = self._scheduler.upcoming
        return Transcript(upcoming.heard or "", upcoming.heard_in, upcoming.unheard)

    def _check_idle(self, start_ms: float) -> None:
        """The idle timer runs on the audio clock, and is looked at once a frame."""
        if self._idle_timeout_ms is None:
            return
        if self._scheduler.is_busy:
            self._idle_from_ms = None  # the end of that response begins it anew
            return
        end_ms = math.ceil((start_ms + self._idle_timeout_ms) / FRAME_MS) * FRAME_MS
        if self._audio.clock_ms < end_ms:
            return
        self._idle_from_ms = None
        if self._audio.speaking:
            return
        out = self._state.out
        self._item_id = out.ids.new("item")
        out.send(
            "input_audio_buffer.timeout_triggered",
            audio_start_ms=round(start_ms),
            audio_end_ms=end_ms,
            item_id=self._item_id,
        )
        content = {"type": "input_text", "text": _IDLE_MESSAGE}
        self._state.add_item(Item(_message(out.ids.new("item"), "system", content)))
        self._commit("idle_timeout", start_ms, end_ms)
        self._scheduler.answer("idle_timeout")


def _message(item_id: str, role: str, content: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": item_id,
        "type": "message",
        "status": "completed",
        "role": role,
        "content": [content],
    }
