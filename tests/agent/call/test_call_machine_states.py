"""The call machine alone, told anything at any time: it keeps to its table, and to its end."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from callerside.agent.call import events
from callerside.agent.call.events import (
    CallInput,
    EndRequested,
    PromptLoaded,
    PromptStored,
    Timer,
    TimerFired,
)
from callerside.agent.call.machine import CallMachine
from callerside.agent.call.states import TRANSITIONS, State
from callerside.agent.config.settings import CallSettings
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
    TaggedSamples,
)
from callerside.agent.telephony.media.playout_buffer import PlayoutBuffer
from callerside.clock import NS_PER_MS

FRAME = bytes(960)
MOST_EFFECTS = 200
LONG_ENOUGH = 20
"""Events of the API, before which a call does not end: most would be over at once."""


class CallMachineModel(RuleBasedStateMachine):
    """Follows only what the table says of states; everything else is up to chance."""

    items = Bundle("items")
    responses = Bundle("responses")

    def __init__(self) -> None:
        super().__init__()
        self.machine: CallMachine
        self.state = State.CALL_RECEIVED
        self.now_ns = 10**9
        self.timers: dict[Timer, int] = {}
        self.buffer = PlayoutBuffer(24_000)
        self.overflowed: list[PlayoutOverflowed] = []
        self.clearing: list[TaggedSamples] = []
        self.hung_up = self.finished = False
        self.made = 0
        self.keys: list[str] = []

    @initialize(
        policy=st.sampled_from(["server", "client", "local"]),
        greeting=st.booleans(),
        interruptible=st.booleans(),
        answers=st.booleans(),
        ready=st.sampled_from([True, True, True, False]),
    )
    def call_comes_in(
        self, policy: str, greeting: bool, interruptible: bool, answers: bool, ready: bool
    ) -> None:
        call_settings = CallSettings.model_validate(
            {
                "turns": {"policy": policy, "vad": {"create_response": answers}},
                "greeting": {"enabled": greeting, "interruptible": interruptible},
            }
        )
        self.machine = CallMachine(call_settings, called="shop", sample_rate_hz=24_000)
        self.tell(CallReceived(called="shop", caller="ann", sip_call_id="1"))
        if ready:  # most calls come so far, and what is interesting comes after
            self.is_answered()
            self.media_is_ready()
            self.connects()
            self.session_is_created()
            self.session_is_updated()
            self.the_cache_answers(known=True, damage=None)
            self.fire(Timer.GREETING_DUE)
            while self.buffer:
                self.frames_pass(1)

    def tell(self, given: CallInput) -> None:
        """Give the machine an input, and hold what it asks for to the table."""
        self.now_ns += NS_PER_MS
        asked = self.machine.handle(given, self.now_ns)
        assert len(asked) <= MOST_EFFECTS
        for effect in asked:
            assert not self.finished, f"{effect} after Finish"
            self.follow(effect)
        assert self.machine.state is self.state

    def follow(self, effect: events.Effect) -> None:
        match effect:
            case events.EmitMark(name="state_changed", fields=fields):
                assert fields["from"] == self.state
                target = State(fields["to"])
                assert target in TRANSITIONS[self.state].values()
                self.state = target
            case events.Play(pcm=pcm, tag=tag):
                assert not self.hung_up, "audio after hanging up"
                assert pcm
                assert len(pcm) % 2 == 0
                dropped = self.buffer.write(pcm, tag)
                told = PlayoutOverflowed(tag=tag, dropped_samples=dropped)
                self.overflowed += [told] * bool(dropped)
            case events.SendEvent() | events.AppendAudio():
                assert not self.hung_up, f"{effect} after hanging up"
            case events.ClearPlayout(tags=tags):
                self.clearing.append(self.buffer.clear(tags))
            case events.SetTimer(timer=timer, at_ns=at_ns):
                assert at_ns >= self.now_ns
                self.timers[timer] = at_ns
            case events.CancelTimer(timer=timer):
                self.timers.pop(timer, None)
            case events.LoadPrompt(key=key):
                self.keys.append(key)
            case events.HangUp():
                self.hung_up = True
            case events.Finish():
                self.finished = True
                self.timers.clear()
            case _:
                pass  # nothing is held against it

    def fire(self, timer: Timer) -> None:
        self.now_ns = max(self.now_ns, self.timers.pop(timer))
        self.tell(TimerFired(timer=timer))

    def event(self, kind: str, **fields: Any) -> None:
        self.made += 1
        self.tell(RealtimeEvent(event={"type": kind, "event_id": f"e{self.made}", **fields}))

    # What the telephone may do.

    @rule()
    def is_answered(self) -> None:
        self.tell(CallAnswered())

    @rule()
    def media_is_ready(self) -> None:
        self.tell(MediaReady(codec="PCMU"))

    @rule(frames=st.integers(1, 20))
    def frames_pass(self, frames: int) -> None:
        for _ in range(frames):
            _, played = self.buffer.read(480)
            self.tell(AudioReceived(pcm=FRAME, at_ns=self.now_ns))
            self.tell(FramePlayed(played=played, at_ns=self.now_ns))

    @precondition(lambda self: self.clearing)
    @rule()
    def playout_is_cleared(self) -> None:
        self.tell(PlayoutCleared(dropped=self.clearing.pop(0)))

    @precondition(lambda self: self.overflowed)
    @rule()
    def playout_overflows(self) -> None:
        self.tell(self.overflowed.pop(0))

    @rule(
        given=st.sampled_from(
            [
                MediaHeld(),
                MediaSource(what="stranger", source="192.0.2.9:4000"),
                DtmfReceived(digit="1", method="rfc4733"),
                DtmfReceived(digit="#", method="info"),
                RealtimeGarbage(reason="not JSON"),
            ]
        )
    )
    def something_small_happens(self, given: CallInput) -> None:
        self.tell(given)

    # What the Realtime API may do, in any order.

    @rule()
    def connects(self) -> None:
        self.tell(RealtimeConnected())

    @rule(code=st.sampled_from([1000, 1006, 1011]))
    def connection_is_lost(self, code: int) -> None:
        self.tell(RealtimeClosed(reason="gone", code=code))

    @rule()
    def session_is_created(self) -> None:
        self.event("session.created", session={"id": "sess", "type": "realtime"})

    @rule()
    def session_is_updated(self) -> None:
        formats = {"format": {"type": "audio/pcm", "rate": 24_000}}
        session = {"id": "sess", "type": "realtime", "audio": {"input": formats, "output": formats}}
        self.event("session.updated", session=session)

    @rule()
    def speech_starts(self) -> None:
        self.event("input_audio_buffer.speech_started", item_id="user", audio_start_ms=0)

    @rule()
    def speech_stops(self) -> None:
        self.event("input_audio_buffer.speech_stopped", item_id="user", audio_end_ms=900)

    @rule()
    def turn_is_committed(self) -> None:
        self.event("input_audio_buffer.committed", item_id="user", previous_item_id=None)

    @rule()
    def a_turn_is_taken(self) -> None:
        self.speech_starts()
        self.speech_stops()
        self.turn_is_committed()

    @rule(target=responses, purpose=st.sampled_from([None, "greeting", "turn", "nonsense"]))
    def response_is_created(self, purpose: str | None) -> str:
        self.made += 1
        response = f"resp_{self.made}"
        metadata = {"purpose": purpose} if purpose else None
        self.event("response.created", response=_response(response, "in_progress", metadata))
        return response

    @rule(target=items, response=responses, milliseconds=st.integers(1, 400))
    def a_delta_comes(self, response: str, milliseconds: int) -> tuple[str, str]:
        item = f"item_of_{response}"
        place = {"output_index": 0, "content_index": 0}
        self.event(
            "response.output_audio.delta",
            response_id=response,
            item_id=item,
            delta=bytes(48 * milliseconds),
            **place,
        )
        return response, item

    @rule(item=items)
    def audio_is_done(self, item: tuple[str, str]) -> None:
        response, name = item
        self.event(
            "response.output_audio.done",
            response_id=response,
            item_id=name,
            output_index=0,
            content_index=0,
        )

    @rule(
        response=consumes(responses),
        status=st.sampled_from(["completed", "cancelled", "failed", "incomplete"]),
    )
    def response_is_done(self, response: str, status: str) -> None:
        self.event("response.done", response=_response(response, status, None))

    @rule(named=st.sampled_from([None, "agent_1", "agent_2", "agent_3", "agent_4"]))
    def an_error_comes(self, named: str | None) -> None:
        error = {"type": "invalid_request_error", "code": "server_error", "message": "no"}
        self.event("error", error={**error, "param": None, "event_id": named})

    # What time, the cache and people may do.

    @precondition(lambda self: self.timers)
    @rule(data=st.data())
    def a_timer_fires(self, data: st.DataObject) -> None:
        self.fire(data.draw(st.sampled_from(sorted(self.timers))))

    @rule(known=st.booleans(), damage=st.sampled_from([None, "cut short"]))
    def the_cache_answers(self, known: bool, damage: str | None) -> None:
        pcm = bytes(9600) if known and not damage else None
        for key in self.keys or ["never asked for"]:
            self.tell(PromptLoaded(key=key, pcm=pcm, damage=damage))
            self.tell(PromptStored(key=key))

    @precondition(lambda self: self.made > LONG_ENOUGH)
    @rule()
    def the_end_is_asked_for(self) -> None:
        self.tell(EndRequested(reason="drain"))

    @precondition(lambda self: self.made > LONG_ENOUGH)
    @rule(by=st.sampled_from(["caller", "agent", "network"]))
    def the_leg_is_over(self, by: Any) -> None:
        self.tell(HungUp(by=by, status=200, reason="bye"))
        assert self.finished, "the leg is over, and the call is not"

    @invariant()
    def a_call_that_has_hung_up_waits_for_nothing_but_the_leg(self) -> None:
        if self.hung_up and not self.finished:
            assert set(self.timers) == {Timer.HANG_UP_LIMIT}


def _response(name: str, status: str, metadata: dict[str, str] | None) -> dict[str, Any]:
    return {
        "id": name,
        "object": "realtime.response",
        "status": status,
        "status_details": None,
        "output": [],
        "metadata": metadata,
        "usage": None,
    }


TestCallMachineStates = CallMachineModel.TestCase
TestCallMachineStates.settings = settings(
    max_examples=150, stateful_step_count=80, deadline=None, derandomize=True
)
