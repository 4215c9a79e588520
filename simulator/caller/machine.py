"""The scripted caller, one of the three machines: does what a scenario says, and says how it went.

`handle(input, now_ns) -> list[effect]`: it gets what the telephone does (`telephony.interface`),
that it may start, and that timers have fired; it answers with effects (`simulator.caller.events`).
It does no I/O and reads no clock, so a call can be played to it by hand, on a virtual clock, or for
real.

Every call ends with `Finish`, whatever happens: each wait has a limit, the call has one (the
scenario's `time_limit`), and so has hanging up.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any, assert_never

from callerside.agent.telephony.interface import (
    AudioReceived,
    CallAnswered,
    CallProgressed,
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
from callerside.clock import ms_to_ns, ns_to_ms
from callerside.durations import format_duration
from callerside.simulator.caller.call_state import ObservedCall
from callerside.simulator.caller.events import (
    CallerInput,
    CancelTimer,
    Dial,
    Effect,
    EmitMark,
    Finish,
    HangUp,
    Play,
    SetTimer,
    Start,
    TimerFired,
    Vanish,
    Verdict,
)
from callerside.simulator.caller.line_model import NOISE, LineModel
from callerside.simulator.caller.listener import HeardEvent, Listener
from callerside.simulator.caller.speaker import SpeechOutput, Utterance
from callerside.simulator.caller.step_runner import StepRunner
from callerside.simulator.scenario.expectations import Silence
from callerside.simulator.scenario.model import Scenario

HANG_UP_LIMIT_MS = 5000
"""How long to wait for the leg's `HungUp` after hanging up."""

_RINGING = (180, 183)
_NO_NEWS = (
    CallReceived,
    MediaHeld,
    MediaSource,
    PlayoutCleared,
    PlayoutOverflowed,
    TransferProgressed,
)
"""Inputs of which nothing comes that a step may wait for."""


class CallerMachine:
    """Plays one scenario in one call.

    Args:
        scenario: what to do.
        audio: PCM of the steps that speak, by position in `scenario.all_steps`
            (`simulator.caller.audio.utterances.prepare`).
        uri: where to call.
        rate_hz: of the audio, in both directions.
        rng: what is left to chance, such as the noise on the line, comes from it.
    """

    def __init__(
        self,
        scenario: Scenario,
        audio: Mapping[int, bytes],
        *,
        uri: str,
        rate_hz: int,
        rng: random.Random,
    ) -> None:
        self._scenario = scenario
        self._uri = uri
        self._observed = ObservedCall(
            scenario.caller,
            Listener(rate_hz, end_silence_ms=scenario.caller.end_silence),
            SpeechOutput(
                LineModel(scenario.caller, audio.get(NOISE, b""), rate_hz, rng),
                rate_hz,
                mixes=bool(scenario.meanwhile),
            ),
            greets=scenario.greets,
        )
        self._main = StepRunner(scenario.steps, 0, audio, self._observed)
        self._meanwhile = StepRunner(scenario.meanwhile, len(scenario.steps), audio, self._observed)
        forbidden = [one.silence for one in scenario.never if isinstance(one, Silence)]
        self._least_silence_ms = min(forbidden, default=inf)
        """Pauses of the agent's that may not be."""
        self._effects: list[Effect] = []
        self._outcome: tuple[Verdict, str] | None = None
        self._wake_ns: int | None = None
        self._finished = False
        self._learners: dict[type, Callable[[Any, int], None]] = {
            Start: self._started,
            TimerFired: self._timer_fired,
            CallProgressed: self._progressed,
            CallAnswered: self._answered,
            MediaReady: self._media_ready,
            DtmfReceived: self._digit_heard,
            TransferRequested: self._transfer_heard,
            RtpMeasured: self._rtp_measured,
            HungUp: self._hung_up,
        }

    @property
    def phase(self) -> str:
        """What the caller is doing, in a few words, for people who watch."""
        if self._finished:
            return "over"
        return "hanging up" if self._outcome else self._main.phase

    @property
    def said(self) -> Sequence[Utterance]:
        """Everything that the caller has made heard, as it was before it met the line."""
        return self._observed.speech.all_said

    @property
    def routine_frames(self) -> int:
        """So many frames may leave at once: nothing comes of it."""
        return self._observed.speech.routine_frames

    def routine_heard(self, frames: int, coming: bytes | None) -> int:
        """How many of the `frames` that are `coming` may be heard at once: nothing comes of them.

        None stands for digital silence. So many must then come before anything else happens.
        """
        return self._observed.listener.routine_frames(frames, coming)

    def handle(self, event: CallerInput, now_ns: int) -> list[Effect]:
        """Take one input and answer with what is to be done; nothing after `Finish`."""
        if self._finished:
            return []
        self._effects = []
        if self._learn(event, now_ns) and not self._finished:
            self._go_on(now_ns)
        pcm = self._observed.speech.more_audio() if self._outcome is None else b""
        if pcm:
            self._effects.append(Play(pcm=pcm))
        return self._effects

    def _learn(self, event: CallerInput, now_ns: int) -> bool:
        """Take the input into the facts; whether anything that a step may wait for is new."""
        if isinstance(event, AudioReceived):
            return self._hear(event)
        if isinstance(event, FramePlayed):
            return self._frame_left(event)
        if isinstance(event, _NO_NEWS):
            return False
        self._learners[type(event)](event, now_ns)
        return True

    def _hear(self, event: AudioReceived) -> bool:
        self._observed.speech.hear(event.pcm)
        listener = self._observed.listener
        heard_events = listener.listen(event.pcm, event.at_ns)
        self._mark_heard(heard_events)
        return bool(heard_events) or listener.silence_sure_ns() != self._observed.silence_sure_ns

    def _go_on(self, now_ns: int) -> None:
        """Let the steps go on as far as they can, and ask to be woken for what is next."""
        listener = self._observed.listener
        self._mark_heard(listener.notice_silence(now_ns))
        self._observed.silence_sure_ns = listener.silence_sure_ns()
        if self._outcome is None:
            for runner in (self._main, self._meanwhile):
                self._effects += runner.go_on(now_ns)
                if runner.failure is not None:
                    self._end("failed", runner.failure, now_ns)
                    break
            else:
                if self._main.done:
                    self._done(now_ns)
                elif self._observed.ended is not None:
                    self._end("failed", self._cut_short(now_ns), now_ns)
        if self._outcome is not None and self._observed.ended is not None:
            self._finish(now_ns)
        elif self._outcome is None:
            self._set_wake()

    def _set_wake(self) -> None:
        times = (self._main.wake_ns, self._meanwhile.wake_ns, self._observed.silence_sure_ns)
        wake_ns = min((time for time in times if time is not None), default=None)
        if wake_ns == self._wake_ns:
            return
        self._wake_ns = wake_ns
        if wake_ns is None:
            self._effects.append(CancelTimer(name="wake"))
        else:
            self._effects.append(SetTimer(name="wake", at_ns=wake_ns))

    def _started(self, _event: Start, now_ns: int) -> None:
        self._observed.dialed_ns = now_ns
        self._mark(now_ns, "call_dialed", uri=self._uri)
        limit_ns = now_ns + ms_to_ns(self._scenario.time_limit)
        self._effects += [Dial(uri=self._uri), SetTimer(name="limit", at_ns=limit_ns)]

    def _timer_fired(self, event: TimerFired, now_ns: int) -> None:
        match event.name:
            case "wake":
                self._wake_ns = None
            case "limit":
                self._limit_reached(now_ns)
            case "hang_up":  # the leg never reported that the call is over
                self._finish(now_ns)
            case unknown:
                assert_never(unknown)

    def _progressed(self, event: CallProgressed, now_ns: int) -> None:
        self._mark(now_ns, "call_progressed", status=event.status)
        if event.status in _RINGING and self._observed.ringing_ns is None:
            self._observed.ringing_ns = now_ns

    def _answered(self, event: CallAnswered, now_ns: int) -> None:
        self._observed.answered_ns = now_ns
        self._mark(now_ns, "call_answered", status=event.status)

    def _media_ready(self, event: MediaReady, now_ns: int) -> None:
        if self._observed.media_ns is None:
            self._observed.media_ns = now_ns
            self._observed.speech.open()
        self._mark(now_ns, "media_ready", codec=event.codec)

    def _digit_heard(self, event: DtmfReceived, now_ns: int) -> None:
        self._observed.digits.append((now_ns, event.digit))
        self._mark(now_ns, "dtmf_heard", digit=event.digit)

    def _transfer_heard(self, event: TransferRequested, now_ns: int) -> None:
        self._observed.transfers.append((now_ns, event.uri))
        self._mark(now_ns, "transfer_heard", uri=event.uri)

    def _rtp_measured(self, event: RtpMeasured, now_ns: int) -> None:
        self._mark(
            now_ns,
            "rtp_measured",
            received_packets=event.received_packets,
            lost_packets=event.lost_packets,
            jitter_ms=event.jitter_ms,
        )

    def _hung_up(self, event: HungUp, now_ns: int) -> None:
        observed = self._observed
        observed.ended, observed.ended_ns = event, now_ns
        self._mark_heard(observed.listener.line_is_dead(now_ns))
        self._mark(now_ns, "call_ended", by=event.by, status=event.status, reason=event.reason)

    def _frame_left(self, event: FramePlayed) -> bool:
        observed = self._observed
        changed = observed.speech.frame_left(event.samples, event.at_ns)
        for utterance in changed:
            if utterance.turn is None:
                continue
            if utterance.started_ns == event.at_ns:
                observed.turn_started(event.at_ns)
                self._mark(
                    event.at_ns, "utterance_started", turn=utterance.turn, text=utterance.text
                )
            if utterance.ended_ns == event.at_ns:
                if not observed.speech.taking_turn:  # what is said within a sentence ends no turn
                    observed.turn_ended(event.at_ns)
                self._mark(event.at_ns, "utterance_ended", turn=utterance.turn)
        return bool(changed)

    def _mark_heard(self, heard_events: list[HeardEvent]) -> None:
        for thing in heard_events:
            if thing.what == "beep":
                beep = self._observed.listener.beeps[-1]
                length_ms = ns_to_ms(beep.end_ns - beep.start_ns)
                self._mark(
                    thing.at_ns,
                    "beep_heard",
                    hz=round(beep.hz, 2),
                    length_ms=round(length_ms, 2),
                )
            elif thing.what != "pause":
                name = "speech_heard" if thing.what == "utterance started" else "silence_heard"
                self._mark(thing.at_ns, name)
            elif thing.length_ms >= self._least_silence_ms:
                self._mark(thing.at_ns, "pause_heard", length_ms=round(thing.length_ms, 2))

    def _done(self, now_ns: int) -> None:
        """All of `steps` is done; who leaves at a moment of his own leaves in the middle."""
        last = self._scenario.steps[-1]
        leaves = last.ends_call and last.when is not None
        if self._meanwhile.undone and not leaves:
            detail = f"{self._meanwhile.where} of meanwhile was still to be done when steps were"
            self._end("failed", f"{detail}; {self._observed.heard_so_far()}", now_ns)
        else:
            self._end("passed", "every step went as written", now_ns)

    def _cut_short(self, now_ns: int) -> str:
        ended = self._observed.ended
        assert ended is not None  # noqa: S101 - only asked when the call is over
        answered = f"{ended.status} {ended.reason}".rstrip()
        if self._observed.answered_ns is None:
            return (
                f"the call was not answered: {answered}, while the caller was at {self._main.where}"
            )
        who = "no side" if ended.by == "network" else f"the {ended.by}"
        return (
            f"{who} ended the call ({answered}) while the caller was at "
            f"{self._main.where}; {self._main.awaited(now_ns)}{self._observed.heard_so_far()}"
        )

    def _limit_reached(self, now_ns: int) -> None:
        if self._outcome is None:
            limit = format_duration(self._scenario.time_limit)
            detail = (
                f"the time limit of {limit} was reached at {self._main.where}; "
                f"{self._main.awaited(now_ns)}{self._observed.heard_so_far()}"
            )
            self._end("failed", detail, now_ns)

    def _end(self, verdict: Verdict, detail: str, now_ns: int) -> None:
        """Decide the verdict and leave the call, if it is still there."""
        self._outcome = (verdict, detail)
        self._effects += [CancelTimer(name="wake"), CancelTimer(name="limit")]
        self._wake_ns = None
        if self._observed.ended is not None:
            return
        if self._observed.vanished:
            self._mark(now_ns, "hang_up_sent", how="vanish")
            self._effects.append(Vanish())
        else:
            how = "bye" if self._observed.answered_ns is not None else "cancel"
            self._mark(now_ns, "hang_up_sent", how=how)
            self._effects.append(HangUp())
        limit_ns = now_ns + ms_to_ns(HANG_UP_LIMIT_MS)
        self._effects.append(SetTimer(name="hang_up", at_ns=limit_ns))

    def _finish(self, now_ns: int) -> None:
        assert self._outcome is not None  # noqa: S101 - decided before hanging up
        verdict, detail = self._outcome
        self._finished = True
        self._mark(now_ns, "scenario_ended", verdict=verdict, detail=detail)
        self._effects += [
            CancelTimer(name="hang_up"),
            Finish(verdict=verdict, detail=detail),
        ]

    def _mark(self, at_ns: int, name: str, **fields: object) -> None:
        self._effects.append(EmitMark(at_ns=at_ns, name=name, fields=fields))
