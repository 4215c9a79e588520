"""The call machine: all of the agent's behaviour in one call, without any I/O.

`handle(input, now_ns) -> list[effect]`: it is told what happened and when, and answers with what
should be done. It never reads a clock, sleeps, or opens a socket; `service.driver` connects it to
the world. The work is done by its parts (`agent.call.parts`), each of which knows one thing:

    opening    beep and greeting            turns      whose turn it is, commit, barge-in
    uplink     the caller's audio           responses  what the model says
    player     what the caller hears        functions  what the model calls
    keys       what the caller presses      link       the connection to the API
    history    what a new session is told   trouble    what is said when the API fails
    closing    the end of the call

This module decides who hears of what the telephone and the timers tell; `call.conversation` does
so for what the API tells, and keeps what holds between the parts.
"""

from collections.abc import Callable, Sequence
from typing import Any

from callerside.agent.call.builtin_tools import Declaration
from callerside.agent.call.conversation import TURN_STATES, Conversation
from callerside.agent.call.effects import Answer, Effect
from callerside.agent.call.inputs import (
    CallInput,
    EndRequested,
    PromptLoaded,
    PromptStored,
    Timer,
    TimerFired,
    ToolFinished,
)
from callerside.agent.call.parts import Parts
from callerside.agent.call.states import State, Trigger
from callerside.agent.config.settings import CallSettings, audio_format
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
    PlayoutCleared,
    PlayoutOverflowed,
    RtpMeasured,
    TransferProgressed,
    TransferRequested,
)

_REFUSAL = 300
"""The first SIP status that means that something did not work."""
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
        self._out = parts.out
        self._chart = parts.chart
        self._player = parts.player
        self._uplink = parts.uplink
        self._closing = parts.closing
        self._conversation = Conversation(parts)
        self._own_ear = settings.turns.policy == "local"
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
        if self._own_ear or self._closing.hanging_up or self._chart.state is State.ENDED:
            return 0
        return self._player.routine_frames

    def handle(self, event: CallInput, now_ns: int) -> list[Effect]:
        """What is to be done now that `event` happened at `now_ns`."""
        out = self._out
        out.now_ns = now_ns
        if self._chart.state is State.ENDED:
            return []
        if self._closing.hanging_up and type(event) not in _AFTER_HANGING_UP:
            return []
        if type(event) is AudioReceived:  # 50 times a second, as is the next
            self._uplink.feed(event.pcm, event.at_ns)
            if self._own_ear:
                self._listen(event.pcm)
            return out.take()
        if type(event) is FramePlayed:
            if self._player.frame_played(event):
                self._conversation.settle()
            return out.take()
        self._handlers[type(event)](event)
        self._conversation.settle()
        return out.take()

    # What the telephone tells.

    def _call_received(self, event: CallReceived) -> None:
        fields = {
            "called": event.called,
            "caller": event.caller,
            "sip_call_id": event.sip_call_id,
        }
        parts, limits = self._parts, self._parts.settings.limits
        self._out.mark("call_received", fields)
        self._out.add(Answer())
        self._out.mark("answer_sent", {"status": 200})
        self._chart.move(Trigger.ANSWER_SENT)
        parts.opening.call_received()
        parts.trouble.call_received()
        parts.link.connect()
        if parts.format.encoding == "pcm":  # G.711: the codec decides, once it is known
            parts.link.use_format(parts.format)
        self._out.set_timer(Timer.MEDIA_LIMIT, limits.media_ms)
        if limits.call_ms:
            self._out.set_timer(Timer.CALL_LIMIT, limits.call_ms)

    def _call_answered(self, _event: CallAnswered) -> None:
        self._out.mark("answered")
        if self._chart.state not in TURN_STATES:
            self._chart.move(Trigger.ANSWERED)

    def _media_ready(self, event: MediaReady) -> None:
        if self._media_up:
            self._out.mark("media_resumed")
            return
        parts = self._parts
        self._media_up = True
        self._out.mark("media_ready", {"codec": event.codec})
        self._out.cancel_timer(Timer.MEDIA_LIMIT)
        self._chart.move(Trigger.MEDIA_UP)
        parts.format = audio_format(parts.rate_hz, event.codec)
        parts.link.use_format(parts.format)
        parts.opening.media_up()

    def _media_held(self, _event: MediaHeld) -> None:
        self._out.mark("media_held")

    def _listen(self, pcm: bytes) -> None:
        if self._parts.link.ready and self._parts.turns.hear(pcm):
            self._conversation.settle()

    def _playout_cleared(self, _event: PlayoutCleared) -> None:
        segments = self._player.cleared()
        if self._parts.link.ready:
            self._parts.turns.cleared(segments)

    def _playout_overflowed(self, event: PlayoutOverflowed) -> None:
        self._player.overflowed(event.dropped_samples)

    def _transfer_progressed(self, event: TransferProgressed) -> None:
        self._out.mark("transfer_ended", {"status": event.status})
        if self._closing.transferring and event.status < _REFUSAL:
            self._closing.transferred()
        elif self._closing.transferring:
            self._parts.trouble.transfer_failed()
        else:
            self._parts.functions.transfer_ended(event.status)

    def _transfer_requested(self, _event: TransferRequested) -> None:
        self._out.mark("event_dropped", {"type": "REFER", "reason": "we are not to be transferred"})

    def _rtp_measured(self, event: RtpMeasured) -> None:
        fields = {
            "received_packets": event.received_packets,
            "lost_packets": event.lost_packets,
            "jitter_ms": event.jitter_ms,
        }
        self._out.mark("rtp_measured", fields)

    # What the driver and the timers tell.

    def _prompt_loaded(self, event: PromptLoaded) -> None:
        self._parts.opening.loaded(event)
        self._parts.trouble.loaded(event)

    def _end_requested(self, event: EndRequested) -> None:
        if event.at_once:
            self._closing.now(event.reason)
        else:
            self._closing.after_last_word(event.reason)

    def _timer_fired(self, event: TimerFired) -> None:
        if self._out.timer_fired(event.timer):
            self._timer_handlers[event.timer]()

    def _transfer_limit(self) -> None:
        self._out.mark("watchdog_fired", {"what": Timer.TRANSFER_LIMIT.value})
        self._parts.trouble.transfer_failed()

    def _limit_reached(self, timer: Timer) -> None:
        self._out.mark("watchdog_fired", {"what": timer.value})
        self._closing.with_goodbye(f"limit reached: {timer.value}")

    # Who hears of what.

    def _input_handlers(self) -> dict[type, Callable[[Any], None]]:
        parts, conversation = self._parts, self._conversation
        return {
            CallReceived: self._call_received,
            CallAnswered: self._call_answered,
            MediaReady: self._media_ready,
            MediaHeld: self._media_held,
            PlayoutCleared: self._playout_cleared,
            PlayoutOverflowed: self._playout_overflowed,
            DtmfReceived: parts.keys.pressed,
            TransferProgressed: self._transfer_progressed,
            TransferRequested: self._transfer_requested,
            RtpMeasured: self._rtp_measured,
            HungUp: self._closing.hung_up,
            RealtimeConnected: lambda _: parts.link.connected(),
            RealtimeEvent: conversation.event,
            RealtimeGarbage: conversation.garbage,
            RealtimeClosed: conversation.closed,
            TimerFired: self._timer_fired,
            PromptLoaded: self._prompt_loaded,
            PromptStored: parts.opening.stored,
            ToolFinished: parts.functions.finished,
            EndRequested: self._end_requested,
        }

    def _timer_actions(self) -> dict[Timer, Callable[[], object]]:
        parts, conversation, closing = self._parts, self._conversation, self._closing
        return {
            Timer.GREETING_DUE: parts.opening.due,
            Timer.CONNECT_LIMIT: conversation.connect_limit,
            Timer.RECONNECT_DUE: parts.link.connect,
            Timer.SESSION_MOVE_DUE: conversation.move_due,
            Timer.COMMIT_LIMIT: conversation.commit_limit,
            Timer.RESPONSE_LIMIT: conversation.response_limit,
            Timer.RESPONSE_END_LIMIT: conversation.response_end_limit,
            Timer.TOOL_LIMIT: parts.functions.time_limit,
            Timer.DTMF_GAP: parts.keys.finished,
            Timer.HOLD_DUE: parts.trouble.hold_on,
            Timer.RETRY_DUE: conversation.retry_due,
            Timer.SILENCE_LIMIT: lambda: self._limit_reached(Timer.SILENCE_LIMIT),
            Timer.CALL_LIMIT: lambda: self._limit_reached(Timer.CALL_LIMIT),
            Timer.MEDIA_LIMIT: lambda: closing.limit_reached(Timer.MEDIA_LIMIT),
            Timer.FAREWELL_LIMIT: lambda: closing.limit_reached(Timer.FAREWELL_LIMIT),
            Timer.TRANSFER_LIMIT: self._transfer_limit,
            Timer.HANG_UP_LIMIT: closing.never_hung_up,
        }
