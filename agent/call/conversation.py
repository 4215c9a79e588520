"""What the Realtime API says, handed to the parts that it concerns, and what holds between them.

After every input `settle` restores the few rules that no part can keep alone: the caller's audio
flows when there is a session to hear it, turns open when the greeting is over and the session is
ready, silence is timed, and a call that is to end does so when the last word has been heard.
"""

from collections.abc import Callable
from typing import Any

from callerside.agent.call.inputs import Timer
from callerside.agent.call.ledger import Kind
from callerside.agent.call.parts import Parts
from callerside.agent.call.responses import Purpose, Response
from callerside.agent.call.states import State, Trigger
from callerside.agent.realtime import events
from callerside.agent.realtime.interface import RealtimeClosed, RealtimeEvent, RealtimeGarbage

_ALREADY_ACTIVE = "conversation_already_has_active_response"
_BEFORE_TURNS = frozenset({State.MEDIA_READY, State.SENDING_GREETING, State.CONNECTING_OPENAI})
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
        self._out = parts.out
        self._chart = parts.chart
        self._dialect = parts.settings.realtime.dialect
        self._answer_owed = False
        """The session that was lost had not answered the caller yet."""
        self._move_wanted = False
        self._silent = False
        self._handlers = self._event_handlers()
        parts.link.on_session_lost = self._session_lost

    def event(self, event: RealtimeEvent) -> None:
        """A server event."""
        if self._parts.closing.hanging_up:
            return
        try:
            parsed = events.read(event.event, self._dialect)
        except events.EventError as error:
            fields = {"type": str(event.event.get("type")), "reason": str(error)}
            self._out.mark("event_dropped", fields)
            return
        handler = self._handlers.get(type(parsed))
        if handler is not None:
            handler(parsed)

    def garbage(self, event: RealtimeGarbage) -> None:
        """A message that is no event."""
        self._out.mark("event_dropped", {"type": "unknown", "reason": event.reason})

    def closed(self, event: RealtimeClosed) -> None:
        """The connection is over."""
        if not self._parts.closing.hanging_up:
            self._parts.link.lost(event)

    def connect_limit(self) -> None:
        """The session was not ready in time."""
        self._out.mark("watchdog_fired", {"what": Timer.CONNECT_LIMIT.value})
        self._parts.link.drop("the session was not ready in time")

    def move_due(self) -> None:
        """The session will expire: move to a new one at the next quiet moment."""
        self._move_wanted = True

    def commit_limit(self) -> None:
        """A turn was not committed."""
        if self._parts.turns.commit_limit():
            self._parts.trouble.no_answer()

    def response_limit(self) -> None:
        """Nothing came of a committed turn, or of a request."""
        parts = self._parts
        if parts.responses.active is not None:
            parts.turns.wait_on()
        elif parts.opening.awaits_response:
            self._out.mark("watchdog_fired", {"what": Timer.RESPONSE_LIMIT.value})
            parts.responses.abandon_request()
            parts.opening.request_failed()
        elif parts.turns.response_limit():
            parts.trouble.no_answer()

    def retry_due(self) -> None:
        """Ask again for what failed, once the caller has not got the floor.

        What the caller says meanwhile may be answered first; then nothing is asked again.
        """
        turns = self._parts.turns
        if turns.speaking or turns.committing or turns.answer_due:
            self._out.set_timer(Timer.RETRY_DUE, _ASIDE_MS)
        else:
            self._parts.trouble.retry()

    def response_end_limit(self) -> None:
        """The running response has stopped giving signs of life."""
        self._out.mark("watchdog_fired", {"what": Timer.RESPONSE_END_LIMIT.value})
        response = self._parts.responses.give_up()
        if response is None:
            return
        self._response_over(response, "stalled")
        turns = self._parts.turns
        silent = response.purpose is Purpose.TURN and not response.has_sound
        if silent and not (response.interrupted or turns.committing or turns.answer_due):
            self._parts.trouble.no_answer()

    def settle(self) -> None:
        """Restore what holds between the parts."""
        parts = self._parts
        if parts.closing.hanging_up or self._chart.state is State.ENDED:
            return
        self._segments_over()
        if parts.opening.over and self._chart.state in _BEFORE_TURNS:
            self._open_turns()
        if self._move_wanted and self._chart.state is State.LISTENING:
            self._move_session()
        self._watch_answer()
        self._listen_again()
        missing = parts.opening.over and not parts.link.ready and not parts.closing.wanted
        parts.trouble.waiting(for_session=missing)
        self._watch_silence()
        said_more = parts.responses.expected or parts.functions.running
        more_to_come = parts.link.ready and said_more
        if parts.closing.goodbye_owed and not more_to_come and parts.player.idle:
            parts.trouble.take_leave()
        parts.closing.proceed(more_to_come=more_to_come)
        parts.functions.proceed()
        if parts.link.ready and not parts.opening.holds_back_caller:
            parts.uplink.open(parts.format)
        else:
            parts.uplink.close()

    def _session_updated(self, event: events.SessionUpdated) -> None:
        parts = self._parts
        if not parts.link.session_updated(event):
            return
        parts.history.start_session()
        parts.opening.session_ready()
        parts.responses.start_session(parts.format)
        if self._answer_owed and not parts.responses.expected:
            parts.responses.request(Purpose.TURN)
        self._answer_owed = False

    def _session_lost(self) -> None:
        parts = self._parts
        parts.uplink.close()
        greeting = parts.responses.active
        turn_owed = parts.turns.lose_session()
        response_owed = parts.responses.lose_session()
        self._answer_owed = self._answer_owed or turn_owed or response_owed
        parts.history.lose_session()
        parts.player.forget_items()
        parts.opening.session_lost(greeting)
        if self._chart.state in TURN_STATES:
            self._chart.move(Trigger.SESSION_MISSED)
        if parts.link.failed:
            parts.opening.give_up()
            parts.trouble.give_up("no connection to the Realtime API")

    def _move_session(self) -> None:
        self._move_wanted = False
        self._parts.link.move()

    def _error(self, event: events.ApiError) -> None:
        parts = self._parts
        self._out.mark("realtime_error", {"code": event.code, "message": event.message})
        if parts.link.refused(event.event_id, event.message):
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
        self._out.cancel_timer(Timer.RETRY_DUE)  # the caller was quicker
        self._parts.turns.answered(of_its_own=event.purpose is None)
        self._parts.responses.created(event)

    def _response_done(self, event: events.ResponseDone) -> None:
        response = self._parts.responses.done(event)
        if response is None:
            return
        self._response_over(response, event.status)
        self._parts.trouble.response_done(response, event.status, event.reason)
        if event.calls and event.status == "completed":
            self._parts.functions.run(event.calls)

    def _response_over(self, response: Response, status: str) -> None:
        if response.purpose is Purpose.GOODBYE:
            self._parts.closing.goodbye_owed &= not response.has_sound
        if response.purpose is Purpose.GREETING:
            self._parts.opening.response_done(response, status)
        elif not response.interrupted and self._parts.player.idle:
            self._chart.move(Trigger.RESPONSE_OVER)

    def _segments_over(self) -> None:
        """Some audio was heard to its end, or cut."""
        parts = self._parts
        for segment in parts.player.take_over():
            parts.opening.segment_over(segment)
            if (
                segment.kind is Kind.RESPONSE
                and self._chart.state is State.STREAMING_RESPONSE
                and parts.player.idle
                and parts.responses.active is None
            ):
                self._chart.move(Trigger.RESPONSE_OVER)

    def _open_turns(self) -> None:
        parts, chart = self._parts, self._chart
        if not parts.link.ready:
            if chart.state is not State.CONNECTING_OPENAI:
                chart.move(Trigger.SESSION_MISSED)
            return
        chart.move(Trigger.TURNS_OPENED)
        # A caller who talked over the greeting is in the middle of a turn.
        head = parts.player.head
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
        owed = parts.link.ready and (parts.responses.pending or committed)
        if owed and limit_ms and not self._out.is_running(Timer.RESPONSE_LIMIT):
            self._out.set_timer(Timer.RESPONSE_LIMIT, limit_ms)

    def _listen_again(self) -> None:
        """Leave a state that waits for something which will not come.

        A request was refused, or what the caller stopped by a key press has ended. Only where the
        call listens does the caller's silence have a limit.
        """
        parts, turns = self._parts, self._parts.turns
        in_turn = turns.speaking or turns.committing or turns.answer_due
        if in_turn or parts.responses.expected or not parts.player.idle:
            return
        if self._chart.state is State.STREAMING_RESPONSE:
            self._chart.move(Trigger.RESPONSE_OVER)
        elif self._chart.state in (State.COMMITTING_INPUT, State.PROCESSING):
            self._chart.move(Trigger.SPEECH_DISMISSED)

    def _watch_silence(self) -> None:
        """Time the silence in which everybody waits for the caller."""
        silent = self._chart.state is State.LISTENING and not self._parts.functions.running
        if silent is self._silent:
            return
        self._silent = silent
        limit_ms = self._parts.settings.limits.silence_ms
        if silent and limit_ms:
            self._out.set_timer(Timer.SILENCE_LIMIT, limit_ms)
        else:
            self._out.cancel_timer(Timer.SILENCE_LIMIT)

    def _event_handlers(self) -> dict[type, Callable[[Any], object]]:
        parts = self._parts
        return {
            events.SessionCreated: parts.link.session_created,
            events.SessionUpdated: self._session_updated,
            events.ApiError: self._error,
            events.SpeechStarted: parts.turns.speech_started,
            events.SpeechStopped: parts.turns.speech_stopped,
            events.Committed: parts.turns.committed,
            events.Transcribed: lambda e: parts.history.caller_said(e.item_id, e.transcript),
            events.Truncated: parts.turns.truncated,
            events.ResponseCreated: self._response_created,
            events.ResponseProgressed: lambda e: parts.responses.progressed(e.response_id),
            events.AudioDelta: parts.responses.delta,
            events.AudioDone: parts.responses.audio_done,
            events.TranscriptDone: parts.responses.transcript_done,
            events.ResponseDone: self._response_done,
        }
