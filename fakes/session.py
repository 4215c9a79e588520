"""The fake Realtime session: a state machine that knows no socket and no clock.

`handle(input, now_ns)` is told what happened and answers with what should be done (`fakes.door`).
The same session serves real clients over a WebSocket and simulated ones in memory. What it says is
in a script; when it says it, too; what it hears, it really hears.
"""

import math
import random
from collections import deque
from dataclasses import dataclass
from typing import Literal

from agent.clock import ms_to_ns
from fakes.config import ResponseConfig, SessionConfig
from fakes.conversation import Conversation, Item
from fakes.dialects import Beta, Ga
from fakes.door import (
    AcceptConnection,
    ClientEvent,
    ClientGarbage,
    CloseConnection,
    ConnectionLost,
    ConnectionRequested,
    Effect,
    Event,
    Input,
    KeepAudio,
    ServerStopping,
    TimerFired,
)
from fakes.hearing import InputAudio
from fakes.outbox import Ids, Outbox
from fakes.plan import Trigger, make_plan, perform
from fakes.repertoire import Line, Repertoire
from fakes.requests import (
    APPEND,
    AnyRequest,
    CancelResponse,
    ClearBuffer,
    Commit,
    CreateItem,
    CreateResponse,
    DeleteItem,
    RequestError,
    ResponseFields,
    RetrieveItem,
    SessionUpdate,
    Truncate,
    read,
)
from fakes.response import CancelReason, Response
from fakes.vad import SpeechStarted, SpeechStopped

MAX_APPEND_BYTES = 15 * 2**20
MIN_COMMIT_MS = 100

_RATE_LIMITS_AFTER_MS = 30
_MAX_PARALLEL_RESPONSES = 16
_MAX_WAITING_EVENTS = 1000
_IDLE_MESSAGE = "The user has not said anything for a while."

CommittedBy = Literal["vad", "client", "idle_timeout"]


@dataclass(frozen=True, slots=True)
class Observation:
    """What a session tells about what it receives, besides what it does."""

    trace_audio: bool = False
    """A mark for every append."""
    keep_audio: bool = False
    """`KeepAudio` for every append."""


class RealtimeSession:
    """One session, from the client's request for a connection to its end."""

    def __init__(
        self,
        repertoire: Repertoire,
        *,
        call: str,
        rng: random.Random,
        unix_time_s: int = 0,
        observation: Observation | None = None,
    ) -> None:
        """`call` names the session on the timeline; `unix_time_s` is when it expires from."""
        self._repertoire = repertoire
        self._script = repertoire.script
        self._timing = self._script.timing
        self._rng = rng
        self._observation = observation or Observation()
        self._translator = Beta() if self._script.dialect == "beta" else Ga()
        ids = Ids(rng)
        self._out = Outbox(call, ids, self._translator)
        self._unix_time_s = unix_time_s
        self._config = SessionConfig(ids.new("sess"), "", 0)
        self._request = ConnectionRequested()
        self._conversation = Conversation(ids.new("conv"))
        self._audio = InputAudio(self._script.vad)
        self._state: Literal["waiting", "open", "over"] = "waiting"
        self._responses: dict[str, Response] = {}
        self._turns = 0
        self._replies = 0
        self._turn_waits = False
        self._speech_item: str | None = None
        self._speech_start_ms = 0
        self._idle_from_ms: float | None = None
        self._commit_pending = False
        self._waiting: deque[Event] = deque()
        self._transcribing: dict[str, tuple[str, float]] = {}

    @property
    def over(self) -> bool:
        """Whether the session has ended; it does nothing any more."""
        return self._state == "over"

    def handle(self, given: Input, now_ns: int) -> list[Effect]:
        """Take one input; returns what should be done about it, in order."""
        if self._state == "over":
            return []
        self._out.now_ns = now_ns
        match given:
            case ClientEvent(event):
                if self._state == "open":
                    self._on_event(event)
            case TimerFired(name):
                self._on_timer(name)
            case ConnectionRequested():
                self._on_request(given)
            case ClientGarbage(message, param, event_id):
                self._out.error("invalid_value", message, param=param, client_event_id=event_id)
            case ConnectionLost(code, reason):
                self._end(code, reason)
            case ServerStopping():
                self._close(1001, "the server is going away")
        return self._out.take()

    # The connection.

    def _on_request(self, request: ConnectionRequested) -> None:
        self._request = request
        if self._timing.connect_delay_ms:
            self._out.set_timer("accept", self._in_ms(self._timing.connect_delay_ms))
        else:
            self._accept()

    def _accept(self) -> None:
        self._state = "open"
        model = self._request.model
        session_id = self._config.values["id"]
        expires_at_s = self._unix_time_s + round(self._timing.expires_after_s)
        self._config = SessionConfig(session_id, model, expires_at_s)
        self._configure_input()
        self._out.put(AcceptConnection())
        self._out.mark("session_opened", path=self._request.path, model=model, session=session_id)
        if self._request.beta_header and self._script.dialect == "ga":
            self._refuse_beta()
            return
        self._out.send("session.created", session=self._config.snapshot())
        self._out.set_timer("expiry", self._in_ms(self._timing.expires_after_s * 1000))

    def _refuse_beta(self) -> None:
        self._out.error(
            "beta_api_shape_disabled",
            "The Realtime Beta API is no longer supported. Please use /v1/realtime for the GA API.",
        )
        self._close(4000, "invalid_request_error.beta_api_shape_disabled")

    def _close(self, code: int, reason: str) -> None:
        self._out.put(CloseConnection(code, reason))
        self._end(code, reason)

    def _end(self, code: int, reason: str) -> None:
        self._state = "over"
        self._out.mark("session_closed", code=code, reason=reason)

    def _expire(self) -> None:
        minutes = self._timing.expires_after_s / 60
        self._out.error(
            "session_expired", f"Your session hit the maximum duration of {minutes:g} minutes."
        )
        self._close(1001, "session_expired")

    # Timers.

    def _on_timer(self, name: str) -> None:
        kind, _, identifier = name.partition(":")
        match kind:
            case "accept":
                self._accept()
            case "response":
                response = self._responses.get(identifier)
                if response is not None:
                    self._advance(response)
            case "rate_limits":
                self._send_rate_limits()
            case "transcription":
                self._send_transcription(identifier)
            case "commit":
                self._finish_commit()
            case "expiry":
                self._expire()

    def _in_ms(self, delay_ms: float) -> int:
        return self._out.now_ns + ms_to_ns(delay_ms)

    # Client events.

    def _on_event(self, event: Event) -> None:
        if event.get("type") == APPEND:
            self._on_append(event)
        elif not self._commit_pending:
            self._serve(event)
        elif len(self._waiting) < _MAX_WAITING_EVENTS:
            self._waiting.append(event)
        else:
            self._out.error("rate_limit_exceeded", "Too many events wait for a commit.")

    def _serve(self, event: Event) -> None:
        try:
            self._dispatch(read(self._translator.incoming(event)))
        except RequestError as error:
            client_id = event.get("event_id")
            self._out.error(
                error.code,
                error.message,
                param=error.param,
                client_event_id=client_id if isinstance(client_id, str) else None,
            )

    def _dispatch(self, request: AnyRequest) -> None:
        match request:
            case SessionUpdate():
                self._update(request)
            case Commit():
                self._on_commit()
            case ClearBuffer():
                self._audio.clear()
                self._out.send("input_audio_buffer.cleared")
            case CreateItem():
                self._create_item(request)
            case RetrieveItem(item_id=item_id):
                item = self._conversation.get(item_id, "item_retrieve_invalid_item_id")
                self._out.send("conversation.item.retrieved", item=item.snapshot())
            case DeleteItem(item_id=item_id):
                self._conversation.delete(item_id)
                self._out.send("conversation.item.deleted", item_id=item_id)
            case Truncate():
                self._truncate(request)
            case CreateResponse():
                self._on_create_response(request.response)
            case CancelResponse():
                self._on_cancel(request.response_id)

    def _update(self, request: SessionUpdate) -> None:
        self._config.update(request.session, voice_is_fixed=self._conversation.has_assistant_audio)
        self._configure_input()
        self._out.send("session.updated", session=self._config.snapshot())
        self._out.mark("session_updated", turn_detection=self._config.turn_detection)

    def _create_item(self, request: CreateItem) -> None:
        data = request.item.model_dump(exclude_none=True)
        data.setdefault("id", self._out.ids.new("item"))
        if data["type"] != "function_call_output":
            data["status"] = "completed"
        if data["type"] == "function_call":
            data.setdefault("call_id", f"call_{self._out.ids.letters(16)}")
        self._add_item(Item(data), request.previous_item_id)

    def _truncate(self, request: Truncate) -> None:
        self._conversation.truncate(request.item_id, request.content_index, request.audio_end_ms)
        self._out.send(
            "conversation.item.truncated",
            item_id=request.item_id,
            content_index=request.content_index,
            audio_end_ms=request.audio_end_ms,
        )
        self._out.mark("truncated", item=request.item_id, audio_end_ms=request.audio_end_ms)

    def _add_item(self, item: Item, after: str | None = None) -> None:
        previous = self._conversation.add(item, after)
        for name in ("conversation.item.added", "conversation.item.done"):
            self._out.send(name, previous_item_id=previous, item=item.snapshot())

    # Audio in.

    def _configure_input(self) -> None:
        upcoming = self._repertoire.reply(self._replies + 1).reply
        self._audio.configure(
            self._config.input_format,
            self._config.turn_detection,
            unfinished=upcoming.unfinished,
        )

    def _on_append(self, event: Event) -> None:
        audio = event.get("audio")
        if not isinstance(audio, bytes) or len(audio) > MAX_APPEND_BYTES:
            self._out.error(
                "invalid_value",
                "Invalid value for 'audio': expected base64 of at most 15 MiB of audio.",
                param="audio",
            )
            return
        pcm = self._audio.append(audio)
        if self._observation.trace_audio:
            self._out.mark(
                "audio_received",
                samples=len(pcm) // 2,
                total_samples=self._audio.total_samples,
            )
        if self._observation.keep_audio:
            self._out.put(KeepAudio(pcm, self._audio.rate_hz))
        for heard in self._audio.listen(pcm):
            if isinstance(heard, SpeechStarted):
                self._on_speech_started(heard)
            else:
                self._on_speech_stopped(heard)
        if self._idle_from_ms is not None:
            self._check_idle()

    def _on_speech_started(self, heard: SpeechStarted) -> None:
        self._idle_from_ms = None
        self._speech_item = self._out.ids.new("item")
        self._speech_start_ms = self._audio.start_ms(heard)
        self._out.send(
            "input_audio_buffer.speech_started",
            audio_start_ms=self._speech_start_ms,
            item_id=self._speech_item,
        )
        self._out.mark(
            "speech_started", item=self._speech_item, audio_start_ms=self._speech_start_ms
        )
        detection = self._config.turn_detection
        if detection is not None and detection["interrupt_response"]:
            self._turn_waits = False
            self._cancel(self._active, "turn_detected")

    def _on_speech_stopped(self, heard: SpeechStopped) -> None:
        item_id = self._speech_item or self._out.ids.new("item")
        self._out.send(
            "input_audio_buffer.speech_stopped", audio_end_ms=heard.end_ms, item_id=item_id
        )
        self._out.mark(
            "speech_stopped",
            item=item_id,
            audio_end_ms=heard.end_ms,
            last_voiced_ms=heard.last_voiced_ms,
        )
        if self._script.commits == "server":
            self._commit("vad", heard.end_ms - self._speech_start_ms)
            self._answer_turn("vad")

    # Commits.

    def _on_commit(self) -> None:
        buffered_ms = self._audio.uncommitted_ms
        if buffered_ms < MIN_COMMIT_MS:
            raise RequestError(
                "input_audio_buffer_commit_empty",
                "Error committing input audio buffer: buffer too small. Expected at least "
                f"{MIN_COMMIT_MS}ms of audio, but buffer only has {buffered_ms:.2f}ms of audio.",
            )
        if self._config.turn_detection is None:
            self._commit_pending = True
            self._out.set_timer("commit", self._in_ms(self._timing.commit_ms))
            return
        self._commit("client")
        if self._script.commits == "client":
            self._answer_turn("client")

    def _finish_commit(self) -> None:
        self._commit_pending = False
        self._commit("client")
        while self._waiting and not self._commit_pending:
            self._serve(self._waiting.popleft())

    def _commit(self, by: CommittedBy, length_ms: float | None = None) -> None:
        item_id = self._speech_item or self._out.ids.new("item")
        self._speech_item = None
        audio_ms, pcm = self._audio.take(length_ms)
        self._out.send(
            "input_audio_buffer.committed",
            previous_item_id=self._conversation.last_id,
            item_id=item_id,
        )
        self._out.mark("committed", item=item_id, by=by)
        self._turns += 1
        content = {"type": "input_audio", "transcript": None}
        data = {
            "id": item_id,
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [content],
        }
        self._add_item(Item(data, audio_ms=audio_ms, pcm=pcm))
        if self._config.transcribes:
            heard = self._repertoire.reply(self._replies + 1).reply.heard or ""
            self._transcribing[item_id] = (heard, audio_ms)
            self._out.set_timer(
                f"transcription:{item_id}", self._in_ms(self._timing.transcription_ms)
            )

    def _send_transcription(self, item_id: str) -> None:
        text, audio_ms = self._transcribing.pop(item_id)
        if item_id in self._conversation:
            item = self._conversation.get(item_id, "")
            item.data["content"][0]["transcript"] = text
        self._out.send(
            "conversation.item.input_audio_transcription.completed",
            item_id=item_id,
            content_index=0,
            transcript=text,
            usage={"type": "duration", "seconds": math.ceil(audio_ms / 1000)},
        )

    def _check_idle(self) -> None:
        """The idle timer runs on the audio clock, from the end of the last response's audio."""
        detection = self._config.turn_detection
        timeout_ms = None if detection is None else detection.get("idle_timeout_ms")
        if timeout_ms is None or self._idle_from_ms is None or self._audio.speaking:
            return
        if self._audio.clock_ms < self._idle_from_ms + timeout_ms:
            return
        start_ms, self._idle_from_ms = self._idle_from_ms, None
        self._speech_item = self._out.ids.new("item")
        self._out.send(
            "input_audio_buffer.timeout_triggered",
            audio_start_ms=round(start_ms),
            audio_end_ms=round(self._audio.clock_ms),
            item_id=self._speech_item,
        )
        content = [{"type": "input_text", "text": _IDLE_MESSAGE}]
        message = {"type": "message", "role": "system", "status": "completed", "content": content}
        self._add_item(Item({"id": self._out.ids.new("item"), **message}))
        self._commit("idle_timeout", self._audio.clock_ms - start_ms)
        self._respond(None, "idle_timeout")

    # Responses.

    @property
    def _active(self) -> Response | None:
        """The response that runs in the conversation; out-of-band ones run beside it."""
        return next((r for r in self._responses.values() if r.in_conversation), None)

    def _answer_turn(self, trigger: Trigger) -> None:
        detection = self._config.turn_detection
        if detection is None or not detection["create_response"]:
            return
        if self._active is None:
            self._respond(None, trigger)
        else:
            self._turn_waits = True  # the turn did not interrupt: it is answered afterwards

    def _on_create_response(self, fields: ResponseFields | None) -> None:
        active = self._active
        in_conversation = fields is None or fields.conversation == "auto"
        if in_conversation and active is not None:
            raise RequestError(
                "conversation_already_has_active_response",
                f"Conversation already has an active response in progress: {active.id}. "
                "Wait until the response is finished before creating a new one.",
            )
        if len(self._responses) >= _MAX_PARALLEL_RESPONSES:
            raise RequestError("rate_limit_exceeded", "Too many responses at the same time.")
        self._respond(fields, "client")

    def _respond(self, fields: ResponseFields | None, trigger: Trigger) -> None:
        config = ResponseConfig(self._config, fields)
        line, name = self._choose_line(in_conversation=config.in_conversation)
        performance = perform(line, name, self._timing, self._rng)
        response = Response(self._out, self._conversation, config, performance, trigger)
        audio_format = None if config.modalities == ["text"] else config.output_format
        plan = make_plan(performance, trigger, audio_format, self._timing, self._rng)
        self._responses[response.id] = response
        self._idle_from_ms = None
        response.start(plan, self._out.now_ns)
        self._advance(response)

    def _choose_line(self, *, in_conversation: bool) -> tuple[Line, str]:
        if not in_conversation:
            return self._repertoire.default, "out_of_band"
        if not self._conversation.has_user_item:
            return self._repertoire.greeting, "greeting"
        self._replies += 1
        self._configure_input()
        return self._repertoire.reply(self._replies), f"reply {self._replies}"

    def _advance(self, response: Response) -> None:
        response.advance(self._out.now_ns)
        if response.running:
            if response.due_ns is not None:
                self._out.set_timer(f"response:{response.id}", response.due_ns)
        else:
            self._on_done(response)

    def _on_cancel(self, response_id: str | None) -> None:
        response = self._active if response_id is None else self._responses.get(response_id)
        if response is None:
            raise RequestError(
                "response_cancel_not_active", "Cancellation failed: no active response found"
            )
        self._cancel(response, "client_cancelled")

    def _cancel(self, response: Response | None, reason: CancelReason) -> None:
        if response is None:
            return
        self._out.cancel_timer(f"response:{response.id}")
        response.cancel(reason)
        self._on_done(response)

    def _on_done(self, response: Response) -> None:
        del self._responses[response.id]
        self._out.set_timer("rate_limits", self._in_ms(_RATE_LIMITS_AFTER_MS))
        if response.in_conversation:
            if response.status == "completed":
                self._idle_from_ms = self._audio.clock_ms + response.sent_ms
            if self._turn_waits:
                self._turn_waits = False
                self._respond(None, "vad")

    def _send_rate_limits(self) -> None:
        limits = (("requests", 5000), ("tokens", 800_000))
        self._out.send(
            "rate_limits.updated",
            rate_limits=[
                {"name": name, "limit": limit, "remaining": limit - 1, "reset_seconds": 0.01}
                for name, limit in limits
            ],
        )
