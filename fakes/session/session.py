"""The fake Realtime session: a state machine that knows no socket and no clock.

`handle(input, now_ns)` gets what happened and returns what should be done
(`session.interface`). The same session serves real clients over a WebSocket and simulated ones in
memory. What it says is in a script; when it says it, too; what it hears, it really hears.
"""

import math
import random
from collections import deque
from collections.abc import Callable, Mapping
from typing import Literal, assert_never

from callerside.fakes.script.prepared import PreparedScript
from callerside.fakes.session.chaos import Chaos
from callerside.fakes.session.config import SessionConfig, doubt_of_model
from callerside.fakes.session.context import Ids, Observation, SessionOutput, SessionState
from callerside.fakes.session.conversation import Conversation
from callerside.fakes.session.dialects import TRANSLATORS
from callerside.fakes.session.fault_injector import FaultInjector
from callerside.fakes.session.faults import Fault, FaultySession
from callerside.fakes.session.interface import (
    AcceptConnection,
    CallOver,
    Changed,
    ClientEvent,
    ClientGarbage,
    CloseConnection,
    ConnectionLost,
    ConnectionRequested,
    DropConnection,
    Effect,
    Event,
    Input,
    ServerStopping,
    TimerFired,
    size_chars,
)
from callerside.fakes.session.items import make
from callerside.fakes.session.refusals import RequestError
from callerside.fakes.session.requests import (
    APPEND,
    AnyRequest,
    CancelResponse,
    ClearBuffer,
    Commit,
    CreateItem,
    CreateResponse,
    DeleteItem,
    RetrieveItem,
    SessionUpdate,
    Truncate,
    of_kind,
    read,
    read_leniently,
)
from callerside.fakes.session.response import Response
from callerside.fakes.session.response_scheduler import ResponseScheduler
from callerside.fakes.session.schema import (
    SessionFields,
    TranscriptionFields,
)
from callerside.fakes.session.user_turns import UserTurns

DEFAULT_MODEL = "gpt-realtime-2.1"
"""Of a client that names none."""
MOST_CHANGES_WAITING = 1000
"""Replies, and faults, that are still to come in a session."""
_MAX_WAITING_EVENTS = 1000
_MAX_WAITING_CHARS = 2**25
_OF_THE_BUFFER = frozenset(
    {APPEND, "input_audio_buffer.commit", "input_audio_buffer.clear", "session.update"}
)
"""What an append may not overtake: it would be in the wrong item, or read in the wrong format."""


class RealtimeSession:
    """One session, from the client's request for a connection to its end."""

    def __init__(
        self,
        prepared: PreparedScript,
        *,
        call: str,
        rng: random.Random,
        unix_time_s: int = 0,
        session_number: int = 1,
        observation: Observation | None = None,
        lenient: bool = False,
    ) -> None:
        """`call` names the session on the timeline; `unix_time_s` is when it begins.

        `session_number`, from 1 on, says how many sessions of this path there have been: faults
        strike in the first of them. `lenient`: what can be served is, though the API refuses it.
        """
        script = prepared.script
        ids = Ids(rng)
        self._translator = TRANSLATORS[script.dialect]()
        self._out = SessionOutput(call, ids, self._translator)
        self._unix_time_s = unix_time_s
        self._request = ConnectionRequested()
        self._connect_delay_ms = 0.0
        self._phase: Literal["waiting", "open", "over"] = "waiting"
        self._state = SessionState(
            out=self._out,
            config=SessionConfig(ids.new("sess"), "", 0),
            conversation=Conversation(ids.new("conv")),
            prepared=prepared,
            rng=rng,
            observation=observation or Observation(),
            lenient=lenient,
        )
        faults = [fault for fault in script.faults if session_number <= fault.sessions]
        self._fault_injector = FaultInjector(
            faults,
            FaultySession(out=self._out, close=self._close, drop=self._drop, expire=self._expire),
            Chaos(script.chaos, random.Random(f"{script.seed}:chaos:{call}:{session_number}"))
            if script.chaos
            else None,
        )
        self._scheduler = ResponseScheduler(
            self._state, self._fault_injector, self._on_response_done
        )
        self._turns = UserTurns(self._state, self._fault_injector, self._scheduler)
        self._waiting: deque[Event] = deque()
        self._waiting_chars = 0
        self._appends_wait = False
        self._late_errors: deque[tuple[RequestError, str | None]] = deque()
        self._late_errors_sent = 0
        self._timer_actions = self._actions_of_timers()

    @property
    def over(self) -> bool:
        """Whether the session has ended; it does nothing any more."""
        return self._phase == "over"

    @property
    def progress(self) -> Mapping[str, int]:
        """By place: how many there have been of it."""
        return {
            "speech": self._turns.spoken,
            "turn": self._turns.committed,
            "reply": self._scheduler.answered_turns,
            "event": self._out.events_sent,
        }

    def why_no_change(self, changed: Changed) -> str | None:
        """Why what is given to a session that runs would do nothing, or is too much; None: do."""
        replies = self._scheduler.replies_waiting + len(changed.replies)
        faults = self._fault_injector.waiting + len(changed.faults)
        for name, waiting in (("replies", replies), ("faults", faults)):
            if waiting > MOST_CHANGES_WAITING:
                return f"{name}: at most {MOST_CHANGES_WAITING} may wait for their turn"
        for number, fault in enumerate(changed.faults):
            why = self._fault_injector.why_too_late(fault) or self._why_no_response(fault)
            if why is not None:
                return f"faults.{number}: {why}"
        return None

    def _why_no_response(self, fault: Fault) -> str | None:
        """Why there will be no response that a fault could befall; None if there may be one."""
        place = fault.point.place
        if place in ("greeting", "reply") and self._state.config.only_transcribes:
            return "the session answers nobody: it transcribes"
        if place == "greeting" and self._state.conversation.has_user_item:
            return "the user has spoken, and is not greeted any more: 'next reply'"
        return None

    def routine_ms(self, *, silent: bool) -> float:
        """So much audio may be appended at once, as nothing can come of it, whatever is in it.

        Args:
            silent: nothing is in it.
        """
        return self._turns.routine_ms(silent=silent) if self._phase == "open" else 0.0

    def handle(self, given: Input, now_ns: int) -> list[Effect]:
        """Take one input; returns what should be done about it, in order."""
        if self._phase == "over":
            return []
        self._out.now_ns = now_ns
        match given:
            case ClientEvent(event):
                self._on_event(event)
            case TimerFired(name):
                self._on_timer(name)
            case ConnectionRequested():
                self._on_request(given)
            case ClientGarbage(message, param, event_id, code):
                self._out.error(code, message, param=param, client_event_id=event_id)
            case ConnectionLost(code, reason):
                self._end(code, reason)
            case ServerStopping() | CallOver():
                self._close(given.code, given.reason)
            case Changed():
                self._change(given)
            case unknown:
                assert_never(unknown)
        return self._out.take()

    def _change(self, changed: Changed) -> None:
        self._scheduler.say_next(changed.replies)
        if self._phase == "open":
            self._turns.configure()  # the turn that they answer may be unfinished
        for fault in changed.faults:
            self._fault_injector.add(fault)

    def _on_request(self, request: ConnectionRequested) -> None:
        self._request = request
        script = self._state.script
        if script.chaos:
            self._out.mark("chaos_begun", rate=script.chaos, seed=script.seed)
        handshake = self._fault_injector.handshake()
        if handshake.refusal is not None:
            self._out.put(handshake.refusal)
            self._end(handshake.refusal.status, handshake.refusal.body)
            return
        delay_ms = self._state.timing.connect_delay_ms + handshake.late_ms
        self._connect_delay_ms = delay_ms
        if delay_ms:
            self._out.set_timer("accept", self._state.in_ms(delay_ms))
        else:
            self._accept()

    def _accept(self) -> None:
        self._phase = "open"
        lifetime_s = self._state.timing.expires_after_s
        request = self._request
        transcribes = request.intent == "transcription" or isinstance(
            request.session, TranscriptionFields
        )
        model = request.model or getattr(request.session, "model", None) or DEFAULT_MODEL
        self._state.config = config = SessionConfig(
            self._state.config.values["id"],
            model,
            self._unix_time_s + round(lifetime_s),
            "transcription" if transcribes else "realtime",
            voice="alloy" if self._state.script.dialect == "azure" else "marin",
        )
        self._out.put(AcceptConnection())
        self._out.mark(
            "session_opened",
            path=request.path,
            model=request.model if transcribes else model,
            session=config.values["id"],
            delay_ms=self._connect_delay_ms,
            **({} if request.prepared_ms is None else {"prepared_ms": request.prepared_ms}),
        )
        try:
            self._check_request(model, transcribes=transcribes)
            if request.session is not None:
                self._configure(request.session)
        except RequestError as error:
            self._refuse_session(error)
            return
        self._turns.configure()
        self._out.send("session.created", session=config.snapshot())
        self._scheduler.mcp.follow(config.values.get("tools", ()))
        self._out.set_timer("expiry", self._state.in_ms(lifetime_s * 1000))
        self._fault_injector.reached("connect")

    def _check_request(self, model: str, *, transcribes: bool) -> None:
        """Whether such a session can be opened.

        Raises:
            RequestError: it cannot.
        """
        if self._request.wrong is not None:
            self._state.refuse(self._request.wrong)
        if self._request.beta_header and self._state.script.dialect != "beta":
            self._state.refuse(RequestError("beta_is_over"))
        if transcribes:
            if self._request.model is not None:
                self._state.refuse(RequestError("model_of_transcription", "model"))
            return
        if (doubt := doubt_of_model(model, "model")) is not None:
            self._state.refuse(doubt)

    def _refuse_session(self, error: RequestError) -> None:
        self._refuse(error, None)
        close_code = 3000 if error.name == "wrong_key" else 4000  # both as reported
        self._close(close_code, f"invalid_request_error.{error.code}")

    def _close(self, code: int, reason: str) -> None:
        self._out.put(CloseConnection(code, reason))
        self._end(code, reason)

    def _end(self, code: int, reason: str) -> None:
        self._phase = "over"
        self._out.mark("session_closed", code=code, reason=reason)
        self._out.end()

    def _expire(self) -> None:
        minutes = max(1, round(self._state.timing.expires_after_s / 60))
        self._refuse(RequestError("session_is_over", minutes=minutes), None)
        self._close(1001, "session_expired")

    def _drop(self) -> None:
        self._out.put(DropConnection())
        self._end(1006, "dropped by the script")

    def _on_response_done(self, response: Response) -> None:
        self._turns.on_response_done(response)

    def _on_timer(self, name: str) -> None:
        kind, _, argument = name.partition(":")
        self._timer_actions[kind](argument)

    def _finish_commit(self) -> None:
        self._turns.finish_commit()
        self._serve_waiting()

    def _actions_of_timers(self) -> dict[str, Callable[[str], object]]:
        """By a timer's kind: what is to be done with its argument when it is due."""
        return {
            "response": self._scheduler.advance,
            "next_response": lambda _: self._scheduler.speak_unasked(),
            "rate_limits": lambda _: self._scheduler.send_rate_limits(),
            "transcription": self._turns.send_transcription,
            "commit": lambda _: self._finish_commit(),
            "accept": lambda _: self._accept(),
            "expiry": lambda _: self._expire(),
            "fault": lambda argument: self._fault_injector.inject(int(argument)),
            "mcp_list": self._scheduler.mcp.finish_listing,
            "mcp_call": self._scheduler.mcp.finish_call,
            "late_error": lambda _: self._send_late_error(),
            "stall": lambda _: self._out.delivery.release(self._out.now_ns),
        }

    def _on_event(self, event: Event) -> None:
        if self._phase != "open":
            return
        is_append = event.get("type") == APPEND
        waits = self._appends_wait if is_append else self._turns.commit_pending
        if not waits:
            self._serve(event)
            return
        chars = size_chars(event)
        is_full = len(self._waiting) >= _MAX_WAITING_EVENTS
        if is_full or self._waiting_chars + chars > _MAX_WAITING_CHARS:
            self._refuse(RequestError("too_much_waits"), None)
            return
        self._waiting.append(event)
        self._waiting_chars += chars
        self._appends_wait = self._appends_wait or event.get("type") in _OF_THE_BUFFER

    def _serve_waiting(self) -> None:
        """Serve what has waited for a commit, in the order of its arrival, until the next one."""
        while self._waiting and not self._turns.commit_pending:
            event = self._waiting.popleft()
            self._waiting_chars -= size_chars(event)
            self._serve(event)
        self._appends_wait = any(event.get("type") in _OF_THE_BUFFER for event in self._waiting)

    def _serve(self, event: Event) -> None:
        try:
            if event.get("type") == APPEND:
                self._turns.append(event)
            else:
                self._dispatch(self._read(self._translator.incoming(event)))
        except RequestError as error:
            client_id = event.get("event_id")
            refused = error, client_id if isinstance(client_id, str) else None
            late_ms = self._state.timing.commit_error_ms if error.name == "buffer_too_small" else 0
            if late_ms and len(self._late_errors) < _MAX_WAITING_EVENTS:
                self._late_errors.append(refused)
                number = self._late_errors_sent + len(self._late_errors)
                self._out.set_timer(f"late_error:{number}", self._state.in_ms(late_ms))
            else:
                self._refuse(*refused)

    def _read(self, event: Event) -> AnyRequest:
        """A request; of a lenient session, without what cannot be read in it, which is told.

        Raises:
            RequestError: it is refused; of a lenient session, what is wrong cannot be left out.
        """
        state = self._state
        wrong = state.config.other_kind(event)
        if wrong is not None:
            state.refuse(wrong)
            event = of_kind(event, state.config.kind)
        if not state.lenient:
            return read(event)
        request, told = read_leniently(event, state.config.kind)
        for one in told:
            state.refuse(one)
        return request

    def _refuse(self, error: RequestError, client_event_id: str | None) -> None:
        named = error.names_its_event
        self._out.error(
            error.code,
            error.message,
            param=error.param if named else None,
            client_event_id=client_event_id if named else None,
        )

    def _send_late_error(self) -> None:
        self._late_errors_sent += 1
        self._refuse(*self._late_errors.popleft())

    def _dispatch(self, request: AnyRequest) -> None:
        conversation = self._state.conversation
        match request:
            case SessionUpdate():
                self._update(request)
            case Commit():
                self._turns.commit()
            case ClearBuffer():
                self._turns.clear()
            case CreateItem():
                self._create_item(request)
            case RetrieveItem(item_id=item_id):
                item = conversation.get(item_id, "retrieved_item_unknown")
                self._out.send("conversation.item.retrieved", item=item.snapshot(with_audio=True))
            case DeleteItem(item_id=item_id):
                conversation.delete(item_id)
                self._out.send("conversation.item.deleted", item_id=item_id)
            case Truncate():
                self._truncate(request)
            case CreateResponse(response=fields):
                self._scheduler.request(fields)
            case CancelResponse(response_id=response_id):
                self._scheduler.cancel(response_id)
            case unknown:
                assert_never(unknown)

    def _update(self, request: SessionUpdate) -> None:
        config = self._state.config
        self._configure(request.session)
        self._turns.configure()
        self._out.send("session.updated", session=config.snapshot())
        self._out.mark("session_updated", turn_detection=config.turn_detection)
        self._scheduler.mcp.follow(config.values.get("tools", ()))

    def _configure(self, fields: SessionFields | TranscriptionFields) -> None:
        """Make the session what it is to be.

        Raises:
            RequestError: it cannot be that.
        """
        state = self._state
        has_spoken = state.conversation.has_assistant_audio
        for doubt in state.config.doubts(fields, voice_is_fixed=has_spoken):
            state.refuse(doubt)
        prompted = None
        if isinstance(fields, SessionFields):
            state.check_tool_choice(fields)
            prompted = state.prompted(fields) if fields.instructions is None else None
        state.config.update(fields)
        if prompted is not None:
            state.config.values["instructions"] = prompted

    def _create_item(self, request: CreateItem) -> None:
        state, conversation = self._state, self._state.conversation
        item = make(request.item, state)
        after = request.previous_item_id
        if item.data["type"] == "function_call_output":
            call_id = item.data["call_id"]
            if not conversation.has_call(call_id):
                state.refuse(RequestError("tool_call_unknown", "item.call_id", value=call_id))
        is_answer = item.data["type"] == "mcp_approval_response"
        if is_answer:
            self._scheduler.mcp.check_asked(item.data["approval_request_id"])
        if item.id in conversation:
            state.refuse(RequestError("duplicate_item", "item.id", value=item.id))
            item.data["id"] = self._out.ids.new("item")
        if not conversation.has_place(after):
            state.refuse(RequestError("previous_item_unknown", "previous_item_id", value=after))
            after = None
        state.add_item(item, after)
        if is_answer:  # taken only now: an item that is refused has answered nothing
            answer = item.data
            self._scheduler.mcp.answer(answer["approval_request_id"], approve=answer["approve"])

    def _truncate(self, request: Truncate) -> None:
        item_id, index, end_ms = request.item_id, request.content_index, request.audio_end_ms
        try:
            self._state.conversation.truncate(item_id, index, end_ms)
        except RequestError as error:
            self._state.refuse(error)  # and so it is the length that was asked for in vain
            item = self._state.conversation.get(item_id, "truncated_item_unknown")
            end_ms = math.floor(item.audio_ms)
            self._state.conversation.truncate(item_id, index, end_ms)
        self._out.send(
            "conversation.item.truncated", item_id=item_id, content_index=index, audio_end_ms=end_ms
        )
        self._out.mark("truncated", item=item_id, audio_end_ms=end_ms)
