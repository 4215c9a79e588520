"""The call machine: all of the agent's behaviour in one call, without any I/O.

`handle(input, now_ns) -> list[effect]`: it gets what happened and when, and returns what should be
done. It never reads a clock, sleeps, or opens a socket; `service.driver` connects it to
the world. The work is done by its parts (`agent.call.machine`), each of which knows one thing:

    opening    beep and greeting            turns      whose turn it is, commit, barge-in
    uplink     the caller's audio           responses  what the model says
    playout    what the caller hears        tool_calls what the model calls
    dtmf       what the caller presses      session    the session with the API
    history    what a new session gets      fallback   what is said when the API fails
    announcement: what callers hear before they are recorded
    answers    those that lack something    tool_wait  the silence while functions run
    consultation: the call to whoever is to take the caller; termination: the end of the call

This module decides who hears of what the telephone and the timers report; `Conversation` does so
for what the API reports, and keeps what holds between the parts.
"""

from collections.abc import Callable, Sequence
from typing import Any

from callerside.agent.call.announcement import Announcement
from callerside.agent.call.answers import AnswerRepair
from callerside.agent.call.api_session import UP, ApiSession
from callerside.agent.call.builtin_tools import Declaration, declarations
from callerside.agent.call.consultation import Consultation
from callerside.agent.call.context import CallContext
from callerside.agent.call.dtmf import DtmfCollector
from callerside.agent.call.event_bounds import EventBounds
from callerside.agent.call.events import (
    Answer,
    CallInput,
    ConsultReported,
    Effect,
    EndRequested,
    PromptLoaded,
    PromptStored,
    Timer,
    TimerFired,
    ToolFinished,
)
from callerside.agent.call.fallback import ApiFallback
from callerside.agent.call.history import History
from callerside.agent.call.opening import Opening
from callerside.agent.call.playout import Kind, Playout
from callerside.agent.call.responses import Purpose, Response, Responses
from callerside.agent.call.states import State, StateChart, Trigger
from callerside.agent.call.termination import Termination
from callerside.agent.call.tool_calls import ToolCalls
from callerside.agent.call.tool_wait import ToolWait
from callerside.agent.call.turn_taking import TurnTaking
from callerside.agent.call.uplink import Uplink
from callerside.agent.config.settings import CallSettings, audio_format
from callerside.agent.realtime import events
from callerside.agent.realtime.interface import (
    RealtimeClosed,
    RealtimeConnected,
    RealtimeEvent,
    RealtimeGarbage,
)
from callerside.agent.telephony.interface import (
    AudioReceived,
    CallAnswered,
    CallReceived,
    DtmfReceived,
    FramePlayed,
    HungUp,
    MediaHeld,
    MediaReady,
    MediaSource,
    PlayoutCleared,
    PlayoutOverflowed,
    RtpMeasured,
    TransferProgressed,
    TransferRequested,
)


class Parts:
    """Everything that a call is made of."""

    def __init__(
        self,
        settings: CallSettings,
        called: str,
        rate_hz: int,
        tools: Sequence[Declaration],
        *,
        strict: bool,
    ) -> None:
        """See `agent.call.machine.CallMachine`."""
        self.settings = settings
        self.rate_hz = rate_hz
        self.format = audio_format(rate_hz, None)
        self.context = context = CallContext()
        self.chart = chart = StateChart(context, strict=strict)
        offered = [*declarations(settings.tools), *tools]
        self.history = history = History(
            context,
            settings.realtime.dialect,
            has_callers_words=settings.realtime.transcription_model is not None,
        )
        self.playout = playout = Playout(context, rate_hz, settings.playout.max_ms)
        self.uplink = Uplink(context, settings, rate_hz)
        self.session = ApiSession(context, settings, called, offered)
        self.responses = responses = Responses(context, chart, playout, history, settings)
        self.turns = TurnTaking(context, chart, playout, responses, self.uplink, settings)
        self.opening = Opening(context, chart, playout, responses, history, settings, rate_hz)
        self.announcement = Announcement(context, playout, settings, rate_hz)
        self.termination = Termination(
            context, chart, playout, self.session, responses, settings.limits
        )
        self.dtmf = dtmf = DtmfCollector(context, history, self.turns, responses, settings.dtmf)
        self.consultation = Consultation(context, rate_hz, settings)
        self.tool_calls = ToolCalls(
            context,
            playout,
            history,
            self.turns,
            responses,
            self.termination,
            self.consultation,
            dtmf,
            settings,
            offered,
        )
        self.fallback = ApiFallback(
            context, playout, responses, self.termination, settings, rate_hz
        )
        self.answers = AnswerRepair(
            context, responses, playout, self.turns, self.termination, self.fallback, settings
        )
        self.tool_wait = ToolWait(context, self.fallback, settings.tools)


_DELTA = ".delta"
"""Ends the name of what comes many times a second in honest sessions."""
_ALREADY_ACTIVE = "conversation_already_has_active_response"
_BEFORE_TURNS = frozenset({State.MEDIA_READY, State.SENDING_GREETING, State.CONNECTING_OPENAI})
_MOST_TOLD_CHARS = 100
_ASIDE_MS = 200
"""After which a request that waits for the caller to finish looks again."""
TURN_STATES = frozenset(
    {
        State.LISTENING,
        State.RECORDING_AUDIO,
        State.COMMITTING_INPUT,
        State.PROCESSING,
        State.STREAMING_RESPONSE,
    }
)


class Conversation:
    """The call as the API sees it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._context = parts.context
        self._chart = parts.chart
        self._dialect = parts.settings.realtime.dialect
        self._answer_owed = False
        """The session that was lost had not answered the caller yet."""
        self._move_wanted = False
        self._silent = False
        self._bounds = EventBounds()
        self._handlers = self._event_handlers()
        parts.session.on_session_lost = self._session_lost
        parts.responses.on_dropped = lambda: self._counts(unusable=True)

    def event(self, event: RealtimeEvent) -> bool:
        """A server event. Returns whether something may be to `settle` after it."""
        if self._parts.termination.hanging_up or self._parts.session.state not in UP:
            return False
        flooded = self._bounds.flooded(self._context.now_ns, event.size_bytes)
        if flooded:
            return self._given_up(flooded)
        try:
            parsed = events.read(event.event, self._dialect)
        except events.EventError as error:
            kind = str(event.event.get("type"))[:_MOST_TOLD_CHARS]
            self._context.mark("event_dropped", {"type": kind, "reason": str(error)})
            self._parts.opening.missed_something()
            return self._counts(unusable=True)
        is_audio = type(parsed) is events.AudioDelta  # many a second, as is the next
        consultation, responses = self._parts.consultation, self._parts.responses
        may_be_theirs = not is_audio or consultation.response_id is not None
        if may_be_theirs and consultation.takes(parsed, self._parts.format):
            return True
        if type(parsed) is events.AudioDelta:
            changed = responses.delta(parsed)
            return self._given_up(responses.endless) if responses.endless else changed
        if type(parsed) is events.ResponseProgressed:
            responses.progressed(parsed.response_id, event.size_bytes)
            return self._given_up(responses.endless)
        if type(parsed) is events.Ignored and parsed.type.endswith(_DELTA):
            return False
        if self._counts(unusable=type(parsed) is events.ApiError):
            return True
        if type(parsed) is events.Ignored:
            return False
        self._handlers[type(parsed)](parsed)
        return True

    def garbage(self, event: RealtimeGarbage) -> None:
        """A message that is no event."""
        if self._parts.session.state not in UP:
            return
        if self._given_up(self._bounds.flooded(self._context.now_ns, event.size_bytes)):
            return
        self._context.mark("event_dropped", {"type": "unknown", "reason": event.reason})
        self._parts.opening.missed_something()
        self._counts(unusable=True)

    def _counts(self, *, unusable: bool) -> bool:
        """One more event; returns whether it was one too many, and the session is given up."""
        return self._given_up(self._bounds.exceeded(self._context.now_ns, unusable=unusable))

    def _given_up(self, reason: str) -> bool:
        """Whether a server has sent too much, and its session is given up for that.

        What waits to be heard of it is not: there may be minutes of it, or anything.
        """
        if not reason or self._parts.session.state not in UP:
            return False
        self._parts.playout.disown()
        self._parts.session.drop(reason)
        return True

    def closed(self, event: RealtimeClosed) -> None:
        """The connection is over."""
        if not self._parts.termination.hanging_up:
            self._parts.session.lost(event)

    def connect_limit(self) -> None:
        """The session was not ready in time."""
        self._context.mark("watchdog_fired", {"what": Timer.CONNECT_LIMIT.value})
        self._parts.session.drop("the session was not ready in time")

    def move_due(self) -> None:
        """The session will expire: move to a new one at the next quiet moment."""
        self._move_wanted = True

    def commit_limit(self) -> None:
        """A turn was not committed."""
        if self._parts.turns.commit_limit():
            self._parts.fallback.no_answer()

    def response_limit(self) -> None:
        """Nothing came of a committed turn, or of a request."""
        parts = self._parts
        if parts.responses.active is not None:
            parts.turns.wait_on()
        elif parts.opening.awaits_response:
            self._context.mark("watchdog_fired", {"what": Timer.RESPONSE_LIMIT.value})
            parts.responses.abandon_request()
            parts.opening.request_failed()
        elif parts.turns.response_limit():
            parts.fallback.no_answer()

    def retry_due(self) -> None:
        """Ask again for what failed, once the caller has not got the floor.

        What the caller says meanwhile may be answered first; then nothing is asked again.
        """
        turns = self._parts.turns
        if turns.speaking or turns.committing or turns.answer_due:
            self._context.set_timer(Timer.RETRY_DUE, _ASIDE_MS)
        else:
            self._parts.fallback.retry()

    def response_end_limit(self) -> None:
        """The running response has stopped giving signs of life, unless one came meanwhile."""
        if self._parts.responses.watch_on():
            return
        self._context.mark("watchdog_fired", {"what": Timer.RESPONSE_END_LIMIT.value})
        response = self._parts.responses.give_up()
        if response is None:
            return
        self._response_over(response, "stalled")
        turns = self._parts.turns
        silent = response.purpose is Purpose.TURN and not response.has_sound
        if silent and not (response.interrupted or turns.committing or turns.answer_due):
            self._parts.fallback.no_answer()

    def farewell_limit(self) -> None:
        """The last words have taken too long; where none were heard, ours must do."""
        termination, running = self._parts.termination, self._parts.responses.active
        if termination.goodbye_owed and not (running and running.has_sound):
            self._context.mark("watchdog_fired", {"what": Timer.FAREWELL_LIMIT.value})
            self._parts.responses.give_up()
            self._parts.fallback.say_farewell()
            termination.wait_for_own_words()
        else:
            termination.limit_reached(Timer.FAREWELL_LIMIT)

    def settle(self) -> None:
        """Restore what holds between the parts."""
        parts = self._parts
        if parts.termination.hanging_up or self._chart.state is State.ENDED:
            return
        self._segments_over()
        if parts.opening.over and self._chart.state in _BEFORE_TURNS:
            self._open_turns()
        self._watch_answer()
        self._listen_again()
        if self._move_wanted and self._chart.state is State.LISTENING:
            self._move_session()
        waits = parts.opening.over or parts.opening.awaits_session
        missing = waits and not parts.session.ready and not parts.termination.wanted
        parts.fallback.waiting(for_session=missing)
        self._watch_silence()
        if parts.tool_calls.running or parts.tool_wait.watching:
            self._watch_tools()
        said_more = parts.responses.expected or parts.tool_calls.pending
        more_to_come = parts.session.ready and bool(said_more)
        if parts.termination.goodbye_owed and not more_to_come and parts.playout.idle:
            parts.fallback.say_farewell()
        parts.termination.proceed(more_to_come=more_to_come)
        parts.tool_calls.proceed()
        if not parts.session.ready or parts.opening.holds_back_caller:
            parts.uplink.close()
        elif parts.uplink.open(parts.format):  # with a turn of the caller's in what was kept
            self.settle()

    def _session_updated(self, event: events.SessionUpdated) -> None:
        parts = self._parts
        if not parts.session.session_updated(event):
            return
        self._bounds.begin_anew(self._context.now_ns)
        parts.history.start_session()
        parts.opening.session_ready()
        parts.responses.start_session(parts.format)
        if self._answer_owed and not parts.responses.expected:
            parts.responses.request(Purpose.TURN)
        self._answer_owed = False

    def _session_lost(self) -> None:
        parts = self._parts
        parts.uplink.close()
        running = parts.responses.active
        turn_owed = parts.turns.lose_session()
        response_owed = parts.responses.lose_session()
        for item in running.lost_items if running else ():
            parts.history.agent_was_lost(item)
        self._answer_owed = self._answer_owed or turn_owed or response_owed
        parts.consultation.session_lost()
        parts.history.lose_session()
        parts.playout.forget_items()
        parts.opening.session_lost(running)
        if self._chart.state in TURN_STATES:
            self._chart.move(Trigger.SESSION_MISSED)
        if parts.session.failed:
            parts.opening.give_up()
            parts.fallback.give_up("no connection to the Realtime API")

    def _move_session(self) -> None:
        self._move_wanted = False
        self._parts.session.move()

    def _error(self, event: events.ApiError) -> None:
        parts = self._parts
        self._context.mark("realtime_error", {"code": event.code, "message": event.message})
        if parts.session.refused(event.event_id, event.message):
            return
        if parts.consultation.refused(event.event_id, event.message):
            return
        if not parts.turns.commit_refused(event.event_id):
            self._request_refused(event)

    def _request_refused(self, event: events.ApiError) -> None:
        parts = self._parts
        request = parts.responses.refused(event.event_id)
        if request is None:
            return
        if request.purpose is Purpose.GREETING:
            parts.opening.request_failed()
        elif event.code == _ALREADY_ACTIVE:
            parts.responses.ask_again(request)

    def _response_created(self, event: events.ResponseCreated) -> None:
        if self._parts.responses.has_begun(event.response_id):
            self._parts.responses.drop("response.created", event.response_id, "has begun already")
            return
        self._response_begun(event)
        self._parts.turns.spoken_over()

    def _response_begun(self, event: events.ResponseCreated) -> None:
        self._context.cancel_timer(Timer.RETRY_DUE)  # the caller was quicker
        parts = self._parts
        if parts.turns.committing:  # the server may have committed without a word
            parts.history.has_caller = True
        parts.turns.answered(of_its_own=event.purpose is None)
        parts.tool_calls.response_created()
        if parts.responses.created(event).purpose is Purpose.GREETING:
            parts.opening.response_created()
        else:
            parts.history.has_caller = True

    def _committed(self, event: events.Committed) -> None:
        self._parts.history.has_caller = True
        self._parts.history.caller_spoke(event.item_id)
        self._parts.turns.committed(event)

    def _function_called(self, event: events.FunctionCalled) -> None:
        parts = self._parts
        parts.responses.progressed(event.response_id, size_bytes=0)
        response = parts.responses.active
        if response and response.id == event.response_id and not response.interrupted:
            parts.tool_calls.called(event.call)

    def _response_done(self, event: events.ResponseDone) -> None:
        if not self._parts.responses.has_begun(event.response_id):  # was lost, or comes later
            begun = events.ResponseCreated(response_id=event.response_id, purpose=event.purpose)
            self._response_begun(begun)
        response = self._parts.responses.done(event)
        if response is None:
            return
        parts = self._parts
        was_leaving = self._is_leaving
        parts.tool_calls.run(event.runnable)
        if self._is_leaving and not was_leaving:
            response.must_be_heard()  # stopped, its last words would be over, and the call, too
        parts.answers.response_done(response, event)
        self._response_over(response, event.status)
        parts.fallback.response_done(response, event.status, event.reason)

    def _response_over(self, response: Response, status: str) -> None:
        if response.purpose is Purpose.GOODBYE:
            self._parts.termination.goodbye_owed &= not response.has_sound
        if response.purpose is Purpose.GREETING:
            self._parts.opening.response_done(response, status)
        elif not response.interrupted and self._parts.playout.idle:
            self._over()

    @property
    def _is_leaving(self) -> bool:
        """The call is to end, or the caller to be transferred, once the last word was heard."""
        return self._parts.termination.wanted or self._parts.tool_calls.transfers

    def _over(self) -> None:
        """A response is over, and heard; perhaps its turn is not."""
        parts = self._parts
        to_come = parts.tool_calls.pending or parts.responses.expected
        self._chart.move(Trigger.ANSWER_TO_COME if to_come else Trigger.RESPONSE_OVER)

    def _segments_over(self) -> None:
        """Some audio was heard to its end, or cut."""
        parts = self._parts
        for segment in parts.playout.take_over():
            parts.opening.segment_over(segment)
            parts.announcement.segment_over(segment)
            if (
                segment.kind is Kind.RESPONSE
                and self._chart.state is State.STREAMING_RESPONSE
                and parts.playout.idle
                and parts.responses.active is None
            ):
                self._over()

    def _open_turns(self) -> None:
        parts, chart = self._parts, self._chart
        if not parts.session.ready:
            if chart.state is not State.CONNECTING_OPENAI:
                chart.move(Trigger.SESSION_MISSED)
            return
        chart.move(Trigger.TURNS_OPENED)
        # A caller who talked over the greeting is in the middle of a turn.
        head = parts.playout.head
        if parts.turns.speaking:
            chart.move(Trigger.SPEECH_STARTED)
        elif parts.turns.committing:
            chart.move(Trigger.SPEECH_STOPPED)
        elif head is not None and head.kind is Kind.RESPONSE:
            chart.move(Trigger.RESPONSE_HEARD)
        elif parts.responses.active is not None:
            chart.move(Trigger.RESPONSE_CREATED)
        elif parts.turns.answer_due:
            chart.move(Trigger.COMMITTED)

    def _watch_answer(self) -> None:
        """Limit the wait for an answer that is owed, whatever has stopped the watch on it."""
        parts, turns = self._parts, self._parts.turns
        limit_ms = parts.settings.turns.watchdogs.response_ms
        committed = turns.answer_due and not (turns.speaking or turns.committing)
        owed = parts.session.ready and (parts.responses.pending or committed)
        if owed and limit_ms and not self._context.is_running(Timer.RESPONSE_LIMIT):
            self._context.set_timer(Timer.RESPONSE_LIMIT, limit_ms)

    def _listen_again(self) -> None:
        """Leave a state that waits for something which will not come.

        A request was refused, or what the caller stopped by a key press has ended. Only where the
        call listens does the caller's silence have a limit.
        """
        parts, turns = self._parts, self._parts.turns
        in_turn = turns.speaking or turns.committing or turns.answer_due
        to_come = parts.responses.expected or parts.tool_calls.running
        if in_turn or to_come or not parts.playout.idle:
            return
        if self._chart.state is State.STREAMING_RESPONSE:
            self._chart.move(Trigger.RESPONSE_OVER)
        elif self._chart.state in (State.COMMITTING_INPUT, State.PROCESSING):
            self._chart.move(Trigger.SPEECH_DISMISSED)

    def _watch_silence(self) -> None:
        """Time the silence in which everybody waits for the caller."""
        silent = self._chart.state is State.LISTENING and not self._parts.tool_calls.running
        if silent is self._silent:
            return
        self._silent = silent
        limit_ms = self._parts.settings.limits.silence_ms
        if silent and limit_ms:
            self._context.set_timer(Timer.SILENCE_LIMIT, limit_ms)
        else:
            self._context.cancel_timer(Timer.SILENCE_LIMIT)

    def _watch_tools(self) -> None:
        """Time the silence in which the caller waits for functions."""
        parts, turns = self._parts, self._parts.turns
        in_turn = turns.speaking or turns.committing or turns.answer_due
        silent = parts.playout.idle and not (in_turn or parts.responses.expected)
        running = bool(parts.tool_calls.running) and not parts.termination.wanted
        parts.tool_wait.watch(running=running, silent=silent)

    def _event_handlers(self) -> dict[type, Callable[[Any], object]]:
        parts = self._parts
        return {
            events.SessionCreated: parts.session.session_created,
            events.SessionUpdated: self._session_updated,
            events.ApiError: self._error,
            events.SpeechStarted: parts.turns.speech_started,
            events.SpeechStopped: parts.turns.speech_stopped,
            events.Committed: self._committed,
            events.Transcribed: lambda e: parts.history.caller_said(e.item_id, e.transcript),
            events.Truncated: parts.turns.truncated,
            events.ResponseCreated: self._response_created,
            events.AudioDone: parts.responses.audio_done,
            events.TranscriptDone: parts.responses.transcript_done,
            events.FunctionCalled: self._function_called,
            events.ResponseDone: self._response_done,
        }


_SUCCESS, _REFUSAL = 200, 300
"""The first SIP status that means that something worked, and that it did not."""
_AFTER_HANGING_UP = frozenset({FramePlayed, PlayoutCleared, RtpMeasured, TimerFired, HungUp})
"""What still matters once we have hung up: the leg's last words, and the wait for them."""


class CallMachine:
    """One call, from INVITE to BYE."""

    def __init__(
        self,
        settings: CallSettings,
        *,
        called: str,
        sample_rate_hz: int,
        tools: Sequence[Declaration] = (),
        strict: bool = False,
    ) -> None:
        """A machine for one call.

        Args:
            settings: what the call is like.
            called: the number that was called; fills `{called}` in the API's URL.
            sample_rate_hz: the leg's rate: 24000, or 8000 to send G.711 straight through.
            tools: declarations of the user's own functions (`Tool.declaration`).
            strict: raise `IllegalTransitionError` where production drops an input with a mark.

        Raises:
            ValueError: the API knows no audio format of that rate.
        """
        self._parts = parts = Parts(settings, called, sample_rate_hz, tools, strict=strict)
        self._context = parts.context
        self._chart = parts.chart
        self._playout = parts.playout
        self._uplink = parts.uplink
        self._termination = parts.termination
        self._conversation = Conversation(parts)
        self._local_vad = settings.turns.policy == "local"
        if self._local_vad:  # what is said while there is no session is heard when there is one
            parts.uplink.on_resent = parts.turns.hear
        self._media_up = False
        self._handlers = self._input_handlers()
        self._timer_handlers = self._timer_actions()

    @property
    def state(self) -> State:
        """What the call is doing."""
        return self._chart.state

    @property
    def is_appending(self) -> bool:
        """Whether what the caller says goes on to the API at once."""
        return self._uplink.is_open

    @property
    def routine_frames(self) -> int:
        """Of so many frames nothing comes but the appends of their audio.

        One `FramePlayed` may then count all their samples, all frames ours or all silent, with the
        last one's time; and where each frame is an append and none is traced, one `AudioReceived`
        may hold them all. In simulations that saves most of the work; a telephone's frames come
        one by one.
        """
        if self._local_vad or self._termination.hanging_up or self._chart.state is State.ENDED:
            return 0
        return self._playout.routine_frames

    def handle(self, event: CallInput, now_ns: int) -> list[Effect]:
        """What is to be done now that `event` happened at `now_ns`."""
        context = self._context
        context.now_ns = now_ns
        effects: list[Effect] = []
        context.effects = effects
        if self._chart.state is State.ENDED:
            return effects
        if self._termination.hanging_up and type(event) not in _AFTER_HANGING_UP:
            return effects
        if type(event) is AudioReceived:  # 50 times a second, as is the next
            self._uplink.feed(event)
            changed = self._local_vad and self._listen(event.pcm)
        elif type(event) is FramePlayed:
            changed = self._playout.frame_played(event)
        elif type(event) is RealtimeEvent:
            changed = self._conversation.event(event)
        elif type(event) is ConsultReported:
            changed = self._parts.consultation.reported(event.event)
        else:
            self._handlers[type(event)](event)
            changed = True
        if changed:
            self._conversation.settle()
        return effects

    # What the telephone reports.

    def _call_received(self, event: CallReceived) -> None:
        fields = {
            "called": event.called,
            "caller": event.caller,
            "sip_call_id": event.sip_call_id,
            **({"traceparent": event.traceparent} if event.traceparent else {}),
        }
        parts, limits = self._parts, self._parts.settings.limits
        self._context.mark("call_received", fields)
        self._context.add(Answer())
        self._context.mark("answer_sent", {"status": 200})
        self._chart.move(Trigger.ANSWER_SENT)
        parts.opening.call_received()
        parts.announcement.call_received()
        parts.fallback.call_received()
        parts.session.connect()
        if parts.format.encoding == "pcm":  # G.711: the codec decides, once it is known
            parts.session.use_format(parts.format)
        self._context.set_timer(Timer.MEDIA_LIMIT, limits.media_ms)
        if limits.call_ms:
            self._context.set_timer(Timer.CALL_LIMIT, limits.call_ms)

    def _call_answered(self, _event: CallAnswered) -> None:
        self._context.mark("answered")
        if self._chart.state not in TURN_STATES:
            self._chart.move(Trigger.ANSWERED)

    def _media_ready(self, event: MediaReady) -> None:
        if self._media_up:
            self._context.mark("media_resumed")
            return
        parts = self._parts
        self._media_up = True
        self._context.mark("media_ready", {"codec": event.codec})
        self._context.cancel_timer(Timer.MEDIA_LIMIT)
        self._chart.move(Trigger.MEDIA_UP)
        parts.format = audio_format(parts.rate_hz, event.codec)
        parts.session.use_format(parts.format)
        parts.opening.media_up()
        parts.announcement.media_up()

    def _media_held(self, _event: MediaHeld) -> None:
        self._context.mark("media_held")

    def _media_source(self, event: MediaSource) -> None:
        self._context.mark("media_source", {"what": event.what, "source": event.source})

    def _listen(self, pcm: bytes) -> bool:
        return self._uplink.is_open and self._parts.turns.hear(pcm)

    def _playout_cleared(self, event: PlayoutCleared) -> None:
        segments = self._playout.cleared(event)
        for segment in segments:
            if segment.item and not (segment.whole or segment.gives_way):
                self._parts.history.agent_was_cut(
                    segment.item, segment.played / max(1, segment.queued)
                )
        if self._parts.session.ready:
            self._parts.turns.cleared(segments)

    def _transfer_progressed(self, event: TransferProgressed) -> None:
        self._context.mark("transfer_ended", {"status": event.status})
        if self._termination.transferring and _SUCCESS <= event.status < _REFUSAL:
            self._termination.transferred()
        elif self._termination.transferring:
            self._parts.fallback.transfer_failed()
        else:
            self._parts.tool_calls.transfer_ended(event.status)

    def _transfer_requested(self, _event: TransferRequested) -> None:
        self._context.mark(
            "event_dropped", {"type": "REFER", "reason": "we are not to be transferred"}
        )

    def _rtp_measured(self, event: RtpMeasured) -> None:
        fields = {
            "received_packets": event.received_packets,
            "lost_packets": event.lost_packets,
            "jitter_ms": event.jitter_ms,
        }
        self._context.mark("rtp_measured", fields)

    # What the driver and the timers report.

    def _prompt_loaded(self, event: PromptLoaded) -> None:
        self._parts.opening.loaded(event)
        self._parts.announcement.loaded(event)
        self._parts.fallback.loaded(event)

    def _end_requested(self, event: EndRequested) -> None:
        if event.at_once:
            self._termination.now(event.reason)
        else:
            self._termination.after_last_word(event.reason)

    def _timer_fired(self, event: TimerFired) -> None:
        if self._context.timer_fired(event.timer):
            self._timer_handlers[event.timer]()

    def _transfer_limit(self) -> None:
        self._context.mark("watchdog_fired", {"what": Timer.TRANSFER_LIMIT.value})
        self._parts.fallback.transfer_failed()

    def _limit_reached(self, timer: Timer) -> None:
        self._context.mark("watchdog_fired", {"what": timer.value})
        self._termination.with_goodbye(f"limit reached: {timer.value}")

    # Who hears of what.

    def _input_handlers(self) -> dict[type, Callable[[Any], None]]:
        parts, conversation = self._parts, self._conversation
        return {
            CallReceived: self._call_received,
            CallAnswered: self._call_answered,
            MediaReady: self._media_ready,
            MediaHeld: self._media_held,
            MediaSource: self._media_source,
            PlayoutCleared: self._playout_cleared,
            PlayoutOverflowed: parts.playout.overflowed,
            DtmfReceived: parts.dtmf.pressed,
            TransferProgressed: self._transfer_progressed,
            TransferRequested: self._transfer_requested,
            RtpMeasured: self._rtp_measured,
            HungUp: self._termination.hung_up,
            RealtimeConnected: lambda _: parts.session.connected(),
            RealtimeGarbage: conversation.garbage,
            RealtimeClosed: conversation.closed,
            TimerFired: self._timer_fired,
            PromptLoaded: self._prompt_loaded,
            PromptStored: parts.opening.stored,
            ToolFinished: parts.tool_calls.finished,
            EndRequested: self._end_requested,
        }

    def _timer_actions(self) -> dict[Timer, Callable[[], object]]:
        parts, conversation, termination = self._parts, self._conversation, self._termination
        return {
            Timer.GREETING_DUE: parts.opening.due,
            Timer.CONNECT_LIMIT: conversation.connect_limit,
            Timer.RECONNECT_DUE: parts.session.connect,
            Timer.SESSION_MOVE_DUE: conversation.move_due,
            Timer.SPEECH_LIMIT: parts.turns.speech_limit,
            Timer.COMMIT_LIMIT: conversation.commit_limit,
            Timer.RESPONSE_LIMIT: conversation.response_limit,
            Timer.RESPONSE_END_LIMIT: conversation.response_end_limit,
            Timer.TOOL_LIMIT: parts.tool_calls.time_limit,
            Timer.TOOL_WAIT_DUE: parts.tool_wait.due,
            Timer.DTMF_GAP: parts.dtmf.finished,
            Timer.HOLD_DUE: parts.fallback.hold_on,
            Timer.RETRY_DUE: conversation.retry_due,
            Timer.SILENCE_LIMIT: lambda: self._limit_reached(Timer.SILENCE_LIMIT),
            Timer.CALL_LIMIT: lambda: self._limit_reached(Timer.CALL_LIMIT),
            Timer.MEDIA_LIMIT: lambda: termination.limit_reached(Timer.MEDIA_LIMIT),
            Timer.FAREWELL_LIMIT: conversation.farewell_limit,
            Timer.CONSULT_LIMIT: parts.consultation.not_answered,
            Timer.TRANSFER_LIMIT: self._transfer_limit,
            Timer.HANG_UP_LIMIT: termination.never_hung_up,
        }
