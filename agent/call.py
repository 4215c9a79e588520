"""The call machine: all of the agent's behaviour in one call, without any I/O.

`handle(input, now_ns) -> list[effect]`: it is told what happened and when, and answers with what
should be done. It never reads a clock, sleeps, or opens a socket; `agent.driver` connects it to the
world. The work is done by its parts, each of which knows one thing; this module only decides which
parts hear of an input, in which order:

    opening    beep and greeting            turns      whose turn it is, commit, barge-in
    uplink     the caller's audio           responses  what the model says
    player     what the caller hears        link       the connection to the API
    closing    the end of the call
"""

from collections.abc import Callable
from typing import Any

from agent.closing import Closing
from agent.effects import Answer, Effect
from agent.inputs import (
    CallInput,
    EndRequested,
    PromptLoaded,
    PromptStored,
    Timer,
    TimerFired,
)
from agent.ledger import Kind
from agent.leg import (
    AudioReceived,
    CallAnswered,
    CallReceived,
    DtmfReceived,
    FramePlayed,
    HungUp,
    MediaHeld,
    MediaReady,
    PlayoutCleared,
    PlayoutOverflowed,
    RtpMeasured,
)
from agent.link import Link
from agent.opening import Opening
from agent.outbox import Outbox, StateChart
from agent.player import Player
from agent.realtime import events
from agent.realtime.door import (
    RealtimeClosed,
    RealtimeConnected,
    RealtimeEvent,
    RealtimeGarbage,
)
from agent.responses import Purpose, Response, Responses
from agent.settings import CallSettings, audio_format
from agent.states import State, Trigger
from agent.turns import Turns
from agent.uplink import Uplink

_BEFORE_TURNS = frozenset({State.MEDIA_READY, State.SENDING_GREETING, State.CONNECTING_OPENAI})
_TURN_STATES = frozenset(
    {
        State.LISTENING,
        State.RECORDING_AUDIO,
        State.COMMITTING_INPUT,
        State.PROCESSING,
        State.STREAMING_RESPONSE,
    }
)


class CallMachine:
    """One call, from INVITE to BYE."""

    def __init__(
        self,
        settings: CallSettings,
        *,
        called: str,
        sample_rate_hz: int,
        strict: bool = False,
    ) -> None:
        """A machine for one call.

        Args:
            settings: what the call is like.
            called: the number that was called; fills `{called}` in the API's URL.
            sample_rate_hz: the leg's rate: 24000, or 8000 to send G.711 straight through.
            strict: raise `IllegalTransitionError` where production drops an input with a mark.

        Raises:
            ValueError: the API knows no audio format of that rate.
        """
        audio_format(sample_rate_hz, None)
        self._settings = settings
        self._rate_hz = sample_rate_hz
        self._out = out = Outbox()
        self._chart = chart = StateChart(out, strict=strict)
        self._player = Player(out, sample_rate_hz, settings.playout.max_ms)
        self._uplink = Uplink(out, settings, sample_rate_hz)
        self._responses = Responses(out, chart, self._player, settings)
        self._turns = Turns(out, chart, self._player, self._responses, self._uplink, settings)
        self._opening = Opening(out, chart, self._player, self._responses, settings, sample_rate_hz)
        self._link = Link(out, settings, called, [])
        self._closing = Closing(out, chart, self._player, self._link, settings.limits)
        self._format = audio_format(sample_rate_hz, None)
        self._media_up = False
        self._handlers = self._input_handlers()
        self._event_handlers = self._server_event_handlers()
        self._timer_handlers = self._timer_actions()

    @property
    def state(self) -> State:
        """What the call is doing."""
        return self._chart.state

    def handle(self, event: CallInput, now_ns: int) -> list[Effect]:
        """What is to be done now that `event` happened at `now_ns`."""
        out = self._out
        out.now_ns = now_ns
        if self._chart.state is State.ENDED:
            return []
        if type(event) is AudioReceived:  # 50 times a second, as is the next
            if not self._closing.hanging_up:
                self._uplink.feed(event.pcm)
            return out.take()
        if type(event) is FramePlayed:
            if self._player.frame_played(event):
                self._settle()
            return out.take()
        self._handlers[type(event)](event)
        self._settle()
        return out.take()

    # What the telephone tells.

    def _call_received(self, event: CallReceived) -> None:
        fields = {
            "called": event.called,
            "caller": event.caller,
            "sip_call_id": event.sip_call_id,
        }
        self._out.mark("call_received", fields)
        self._out.add(Answer())
        self._out.mark("answer_sent", {"status": 200})
        self._chart.move(Trigger.ANSWER_SENT)
        self._opening.call_received()
        self._link.connect()
        if self._rate_hz == 24_000:
            self._link.use_format(self._format)
        limits = self._settings.limits
        self._out.set_timer(Timer.MEDIA_LIMIT, limits.media_ms)
        if limits.call_ms:
            self._out.set_timer(Timer.CALL_LIMIT, limits.call_ms)

    def _call_answered(self, _event: CallAnswered) -> None:
        self._out.mark("answered")
        if self._chart.state not in _TURN_STATES:
            self._chart.move(Trigger.ANSWERED)

    def _media_ready(self, event: MediaReady) -> None:
        if self._media_up:
            self._out.mark("media_resumed")
            return
        self._media_up = True
        self._out.mark("media_ready", {"codec": event.codec})
        self._out.cancel_timer(Timer.MEDIA_LIMIT)
        self._chart.move(Trigger.MEDIA_UP)
        self._format = audio_format(self._rate_hz, event.codec)
        self._link.use_format(self._format)
        self._opening.media_up()

    def _media_held(self, _event: MediaHeld) -> None:
        self._out.mark("media_held")

    def _playout_cleared(self, _event: PlayoutCleared) -> None:
        segments = self._player.cleared()
        if self._link.ready:
            self._turns.cleared(segments)

    def _playout_overflowed(self, event: PlayoutOverflowed) -> None:
        self._player.overflowed(event.dropped_samples)

    def _dtmf_received(self, event: DtmfReceived) -> None:
        self._out.mark("dtmf_received", {"digit": event.digit, "method": event.method})

    def _rtp_measured(self, event: RtpMeasured) -> None:
        fields = {
            "received_packets": event.received_packets,
            "lost_packets": event.lost_packets,
            "jitter_ms": event.jitter_ms,
        }
        self._out.mark("rtp_measured", fields)

    # What the Realtime API tells.

    def _realtime_event(self, event: RealtimeEvent) -> None:
        if self._closing.hanging_up:
            return
        try:
            parsed = events.read(event.event, self._settings.realtime.dialect)
        except events.EventError as error:
            fields = {"type": str(event.event.get("type")), "reason": str(error)}
            self._out.mark("event_dropped", fields)
            return
        handler = self._event_handlers.get(type(parsed))
        if handler is not None:
            handler(parsed)

    def _realtime_garbage(self, event: RealtimeGarbage) -> None:
        self._out.mark("event_dropped", {"type": "unknown", "reason": event.reason})

    def _realtime_closed(self, event: RealtimeClosed) -> None:
        self._link.lost(event)
        self._session_lost()

    def _session_updated(self, event: events.SessionUpdated) -> None:
        if self._link.session_updated(event):
            self._opening.session_ready()
            self._responses.start_session(self._format)

    def _api_error(self, event: events.ApiError) -> None:
        self._out.mark("realtime_error", {"code": event.code, "message": event.message})
        if self._link.refused(event.event_id, event.message):
            return
        if self._turns.commit_refused(event.event_id):
            return
        request = self._responses.refused(event.event_id)
        if request is not None and request.purpose is Purpose.GREETING:
            self._opening.request_failed()

    def _response_done(self, event: events.ResponseDone) -> None:
        response = self._responses.done(event)
        if response is not None:
            self._response_over(response, event.status)

    def _response_over(self, response: Response, status: str) -> None:
        if response.purpose is Purpose.GREETING:
            self._opening.response_done(response, status)
        elif not response.interrupted and self._player.idle:
            self._chart.move(Trigger.RESPONSE_OVER)

    # What the timers tell.

    def _timer_fired(self, event: TimerFired) -> None:
        if self._out.timer_fired(event.timer):
            self._timer_handlers[event.timer]()

    def _connect_limit(self) -> None:
        self._out.mark("watchdog_fired", {"what": Timer.CONNECT_LIMIT.value})
        self._link.drop("the session was not ready in time")
        self._session_lost()

    def _response_limit(self) -> None:
        if self._opening.awaits_response:
            self._out.mark("watchdog_fired", {"what": Timer.RESPONSE_LIMIT.value})
            self._responses.abandon_request()
            self._opening.request_failed()
        else:
            self._turns.response_limit()

    def _response_end_limit(self) -> None:
        self._out.mark("watchdog_fired", {"what": Timer.RESPONSE_END_LIMIT.value})
        response = self._responses.give_up()
        if response is not None:
            self._response_over(response, "stalled")

    def _limit_reached(self, timer: Timer) -> Callable[[], None]:
        def end() -> None:
            self._out.mark("watchdog_fired", {"what": timer.value})
            self._closing.now(f"limit reached: {timer.value}")

        return end

    def _hang_up_limit(self) -> None:
        self._closing.hung_up(HungUp(by="agent", status=200, reason="the leg did not answer"))

    # What follows from all of it.

    def _end_requested(self, event: EndRequested) -> None:
        if event.at_once:
            self._closing.now(event.reason)
        else:
            self._closing.after_last_word(event.reason)

    def _session_lost(self) -> None:
        self._uplink.close()
        self._turns.lose_session()
        self._responses.lose_session()
        self._opening.session_lost()
        if self._chart.state in _TURN_STATES:
            self._chart.move(Trigger.SESSION_MISSED)
        if self._link.failed:
            self._opening.give_up()
            self._closing.after_last_word("no connection to the Realtime API")

    def _segments_over(self) -> None:
        """Some audio was heard to its end, or cut."""
        for segment in self._player.take_over():
            self._opening.segment_over(segment)
            if (
                segment.kind is Kind.RESPONSE
                and self._chart.state is State.STREAMING_RESPONSE
                and self._player.idle
                and self._responses.active is None
            ):
                self._chart.move(Trigger.RESPONSE_OVER)

    def _settle(self) -> None:
        """What holds between the parts after every input."""
        if self._closing.hanging_up or self._chart.state is State.ENDED:
            return
        self._segments_over()
        if self._link.ready and not self._opening.holds_back_caller:
            self._uplink.open(self._format)
        else:
            self._uplink.close()
        if self._opening.over and self._chart.state in _BEFORE_TURNS:
            self._open_turns()
        self._closing.proceed(more_to_come=self._responses.expected)

    def _open_turns(self) -> None:
        if not self._link.ready:
            if self._chart.state is not State.CONNECTING_OPENAI:
                self._chart.move(Trigger.SESSION_MISSED)
            return
        self._chart.move(Trigger.TURNS_OPENED)
        # A caller who talked over the greeting is in the middle of a turn.
        if self._turns.speaking:
            self._chart.move(Trigger.SPEECH_STARTED)
        elif self._turns.committing:
            self._chart.move(Trigger.SPEECH_STOPPED)
        elif self._player.head is not None and self._player.head.kind is Kind.RESPONSE:
            self._chart.move(Trigger.RESPONSE_HEARD)
        elif self._responses.active is not None:
            self._chart.move(Trigger.RESPONSE_CREATED)

    # Who hears of what.

    def _input_handlers(self) -> dict[type, Callable[[Any], None]]:
        return {
            CallReceived: self._call_received,
            CallAnswered: self._call_answered,
            MediaReady: self._media_ready,
            MediaHeld: self._media_held,
            PlayoutCleared: self._playout_cleared,
            PlayoutOverflowed: self._playout_overflowed,
            DtmfReceived: self._dtmf_received,
            RtpMeasured: self._rtp_measured,
            HungUp: self._closing.hung_up,
            RealtimeConnected: lambda _: self._link.connected(),
            RealtimeEvent: self._realtime_event,
            RealtimeGarbage: self._realtime_garbage,
            RealtimeClosed: self._realtime_closed,
            TimerFired: self._timer_fired,
            PromptLoaded: self._opening.loaded,
            PromptStored: self._opening.stored,
            EndRequested: self._end_requested,
        }

    def _server_event_handlers(self) -> dict[type, Callable[[Any], Any]]:
        return {
            events.SessionCreated: self._link.session_created,
            events.SessionUpdated: self._session_updated,
            events.ApiError: self._api_error,
            events.SpeechStarted: self._turns.speech_started,
            events.SpeechStopped: self._turns.speech_stopped,
            events.Committed: self._turns.committed,
            events.Truncated: self._turns.truncated,
            events.ResponseCreated: self._responses.created,
            events.ResponseProgressed: lambda e: self._responses.progressed(e.response_id),
            events.AudioDelta: self._responses.delta,
            events.AudioDone: self._responses.audio_done,
            events.TranscriptDone: self._responses.transcript_done,
            events.ResponseDone: self._response_done,
        }

    def _timer_actions(self) -> dict[Timer, Callable[[], Any]]:
        return {
            Timer.GREETING_DUE: self._opening.due,
            Timer.CONNECT_LIMIT: self._connect_limit,
            Timer.RECONNECT_DUE: self._link.connect,
            Timer.COMMIT_LIMIT: self._turns.commit_limit,
            Timer.RESPONSE_LIMIT: self._response_limit,
            Timer.RESPONSE_END_LIMIT: self._response_end_limit,
            Timer.CALL_LIMIT: self._limit_reached(Timer.CALL_LIMIT),
            Timer.MEDIA_LIMIT: self._limit_reached(Timer.MEDIA_LIMIT),
            Timer.SILENCE_LIMIT: self._limit_reached(Timer.SILENCE_LIMIT),
            Timer.FAREWELL_LIMIT: self._closing.farewell_limit,
            Timer.HANG_UP_LIMIT: self._hang_up_limit,
        }
