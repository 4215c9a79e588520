"""What is true of every call, whatever happens in it: checked on every call of the virtual lane.

Each invariant is a generator over one `TracedCall` that yields a sentence for each breach. The
first are about safety (nothing wrong ever happens), `recovers` is about liveness (something right
does in the end). The audio's own invariants are in `simulator.lanes.virtual.audio_invariants`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import dropwhile
from typing import Any

from callerside.agent.call import events
from callerside.agent.call.consultation import PURPOSE
from callerside.agent.call.events import PromptLoaded, TimerFired
from callerside.agent.call.states import TRANSITIONS, State, Trigger
from callerside.agent.config.settings import CallSettings, audio_format
from callerside.agent.realtime.interface import RealtimeClosed, RealtimeConnected, RealtimeEvent
from callerside.agent.telephony.interface import AudioReceived, FramePlayed, HungUp
from callerside.audio import AudioFormat
from callerside.clock import NS_PER_S, ns_to_ms
from callerside.mark_registry import complaint
from callerside.marks import Mark
from callerside.simulator.lanes.virtual.call import VirtualCall
from callerside.simulator.lanes.virtual.trace import Step
from callerside.simulator.scenario.model import Scenario

PROTOCOL_BREAKERS = frozenset({"duplicate", "reorder", "lose"})
"""Faults that may bring an event when it is not legal."""
_AFTER_HANG_UP = (
    events.EmitMark, events.SetTimer, events.CancelTimer, events.CloseRealtime,
    events.LeaveConsulted, events.CancelTool,
)  # fmt: skip
_AFTER_ENDED = (events.EmitMark, events.CancelTimer, events.CloseRealtime, events.Finish)
_ENDS = (events.HangUp, events.Finish)
_HANG_UP_LIMIT_S = 12
"""From the agent's hanging up to the end of its call: 10 s for the leg, and messages."""
_MARGIN_MS = 100
"""Audio leaves in frames."""
_MAX_EFFECTS_A_STEP = 500
_MOST_EFFECTS_OF_A_FRAME = 2
_MAX_BREACHES = 3
"""Of one invariant in one call: the first says the most."""


@dataclass(frozen=True, kw_only=True)
class TracedCall:
    """A call that was played, with everything that is known of it."""

    scenario: Scenario
    settings: CallSettings
    call: VirtualCall

    @property
    def trace(self) -> list[Step]:
        """The agent's machine."""
        return self.call.trace

    @cached_property
    def without_appends(self) -> list[Step]:
        """The trace without the thousands of frames heard that led to nothing but an append."""
        return [
            step
            for step in self.trace
            if type(step.given) is not AudioReceived or not all(map(_is_routine, step.effects))
        ]

    @cached_property
    def turning_points(self) -> list[Step]:
        """The same without the frames that were played, and led to nothing."""
        return [
            step
            for step in self.without_appends
            if type(step.given) is not FramePlayed or not all(map(_is_routine, step.effects))
        ]

    @property
    def api_format(self) -> AudioFormat:
        """What the sound is on its way to the API and back."""
        return audio_format(self.call.recorder.rate_hz, self.scenario.caller.codec)

    @property
    def faults(self) -> frozenset[str]:
        """Names of the faults in the script."""
        return frozenset(fault.fault for fault in self.scenario.realtime.faults)

    def agent(self, name: str) -> Iterator[Mark]:
        """The agent's marks of that name."""
        return (mark for mark in self.call.agent_marks if mark.name == name)


Invariant = Callable[[TracedCall], Iterator[str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Breach:
    """An invariant that did not hold, and how."""

    invariant: str
    detail: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.detail}"


def check(traced: TracedCall, invariants: Mapping[str, Invariant]) -> list[Breach]:
    """Every breach of every invariant, at most a few of each."""
    found = []
    for name, invariant in invariants.items():
        for _, detail in zip(range(_MAX_BREACHES), invariant(traced), strict=False):
            found.append(Breach(invariant=name, detail=detail))
    return found


def only_legal_transitions(traced: TracedCall) -> Iterator[str]:
    """States follow one another as the table says, and no event is out of place without a fault."""
    state = State.CALL_RECEIVED
    for mark in traced.agent("state_changed"):
        source, target = mark.fields["from"], mark.fields["to"]
        if source != state:
            yield f"left {source} while in {state}, at {_at(mark)}"
        if target not in TRANSITIONS[State(source)].values():
            yield f"went from {source} to {target}, which no trigger does, at {_at(mark)}"
        state = State(target)
    if traced.faults & PROTOCOL_BREAKERS:
        return
    triggers = {trigger.value for trigger in Trigger}
    for mark in traced.agent("event_dropped"):
        if mark.fields["type"] in triggers:
            yield f"{mark.fields['reason']}, at {_at(mark)}"


def ends_in_bounded_time(traced: TracedCall) -> Iterator[str]:
    """The caller comes to a verdict, and no call outlives its hanging up."""
    call = traced.call
    if call.finish is None:
        yield "the caller came to no verdict"
    if not call.agent_ended:
        yield "the agent's call was not over two minutes after the caller had left"
    hung_up_ns = next((mark.at_ns for mark in traced.agent("hang_up_sent")), None)
    ended_ns = next((mark.at_ns for mark in traced.agent("call_ended")), None)
    if hung_up_ns is not None and ended_ns is not None:
        took_s = (ended_ns - hung_up_ns) / NS_PER_S
        if took_s > _HANG_UP_LIMIT_S:
            yield f"hanging up took {took_s:.1f} s"
    told_ns = next((step.at_ns for step in traced.trace if isinstance(step.given, HungUp)), None)
    if told_ns is not None and ended_ns != told_ns:
        yield f"the leg was over at {at_ms(told_ns)}, the call at {ended_ns and at_ms(ended_ns)}"


def gives_up_in_bounded_time(traced: TracedCall) -> Iterator[str]:
    """Once there is no hope of the API any more, the caller is let go, or sent elsewhere."""
    settings = traced.settings
    limit_ms = settings.realtime.reconnect.max_delay_ms + settings.limits.farewell_ms
    lost_ns: int | None = None
    for step in [*traced.turning_points, *traced.trace[-1:]]:
        if isinstance(step.given, RealtimeClosed) or _is_out_of_quota(server_event(step)):
            lost_ns = step.at_ns
        for effect in step.effects:
            if isinstance(effect, events.CloseRealtime):
                lost_ns = step.at_ns
            elif isinstance(effect, events.ConnectRealtime):
                lost_ns = None
            elif isinstance(effect, events.HangUp | events.Transfer):
                return
        if lost_ns is not None and ns_to_ms(step.at_ns - lost_ns) > limit_ms + _MARGIN_MS:
            yield f"no hope since {at_ms(lost_ns)}, and the call goes on at {at_ms(step.at_ns)}"
            return


def nothing_after_the_end(traced: TracedCall) -> Iterator[str]:
    """After hanging up nothing is played or sent, and after ENDED nothing is done at all."""
    hung_up = ended = finished = False
    first = next((one for one in traced.turning_points if any(map(_is_end, one.effects))), None)
    for step in dropwhile(lambda step: step is not first, traced.trace):
        for effect in step.effects:
            name = type(effect).__name__
            if finished:
                yield f"{name} after Finish, at {at_ms(step.at_ns)}"
            elif ended and not isinstance(effect, _AFTER_ENDED):
                yield f"{name} after ENDED, at {at_ms(step.at_ns)}"
            elif hung_up and not isinstance(effect, (*_AFTER_HANG_UP, events.Finish)):
                yield f"{name} after hanging up, at {at_ms(step.at_ns)}"
            hung_up |= isinstance(effect, events.HangUp)
            finished |= isinstance(effect, events.Finish)
            ended |= _is_ended(effect)


def _is_ended(effect: events.Effect) -> bool:
    return isinstance(effect, events.EmitMark) and effect.fields.get("to") == "ENDED"


def _is_end(effect: events.Effect) -> bool:
    return isinstance(effect, _ENDS) or _is_ended(effect)


def is_of_briefing(step: Step) -> bool:
    """Of a response that is not the caller's: it is out of band, and runs beside others."""
    responses = [event.get("response") for event in (server_event(step), *client_events(step))]
    return any((one.get("metadata") or {}).get("purpose") == PURPOSE for one in responses if one)


def one_response_at_a_time(traced: TracedCall) -> Iterator[str]:
    """No `response.create` while one runs or is asked for, as far as the agent can know."""
    asked: str | None = None
    running: str | None = None
    begun: set[str] = set()
    steps = (step for step in traced.turning_points if not is_of_briefing(step))
    for step in steps:
        event = server_event(step)
        if isinstance(step.given, RealtimeConnected):
            asked = running = None
        elif event.get("type") in ("response.created", "response.done"):
            response = event["response"]["id"]
            is_new = response not in begun  # its end may be the first that is told of it
            begun.add(response)
            asked = None if is_new else asked
            running = _running_after(event, response if is_new else running)
        elif event.get("type") == "error" and event["error"].get("event_id") == asked:
            asked = None
        elif isinstance(step.given, TimerFired):
            # A watchdog gives up what it has waited for.
            asked = None if step.given.timer == "response" else asked
            running = None if step.given.timer in ("response_end", "farewell") else running
        for sent in client_events(step):
            if sent["type"] == "response.create":
                if running or asked:
                    what = f"{running} runs" if running else f"{asked} is not answered"
                    yield f"response.create while {what}, at {at_ms(step.at_ns)}"
                asked = sent["event_id"]


def _running_after(event: Mapping[str, Any], running: str | None) -> str | None:
    is_over = event["type"] == "response.done" and event["response"]["id"] == running
    return None if is_over else running


def one_commit_a_turn(traced: TracedCall) -> Iterator[str]:
    """A turn is committed once; again only after a watchdog has waited in vain."""
    is_local = traced.settings.turns.policy == "local"  # the agent's own ear ends the turn
    may_commit = False
    for step in traced.turning_points:
        kind = server_event(step).get("type")
        if kind == "input_audio_buffer.speech_stopped":
            may_commit = True
        elif kind == "input_audio_buffer.committed":
            may_commit = False
        elif isinstance(step.given, TimerFired) and step.given.timer == "commit":
            may_commit = True
        for effect in step.effects:  # in their order: what was kept may bring several turns at once
            if isinstance(effect, events.EmitMark):
                may_commit |= is_local and effect.name == "speech_stopped"
            elif _is_commit(effect):
                if not may_commit:
                    yield f"a commit with nothing to commit, at {at_ms(step.at_ns)}"
                may_commit = False


def _is_commit(effect: events.Effect) -> bool:
    if not isinstance(effect, events.SendEvent):
        return False
    return bool(effect.event["type"] == "input_audio_buffer.commit")


def greets_first(traced: TracedCall) -> Iterator[str]:
    """Where there is to be a greeting, no turn is answered on our asking before it is settled.

    It is when it has been asked for, came from the cache, or can no more be made.
    """
    if not traced.settings.greeting.enabled:
        return
    given_up_ns = next((mark.at_ns for mark in traced.agent("realtime_failed")), None)
    for step in traced.turning_points:
        if given_up_ns is not None and step.at_ns >= given_up_ns:
            return
        if isinstance(step.given, PromptLoaded) and step.given.pcm:
            return
        for sent in client_events(step):
            if sent["type"] == "response.create":
                purpose = sent["response"]["metadata"]["purpose"]
                if purpose == "turn":
                    when = at_ms(step.at_ns)
                    yield f"a turn's answer was asked for before the greeting, at {when}"
                return


def queues_stay_bounded(traced: TracedCall) -> Iterator[str]:
    """No input leads to a flood, and what is kept for a session stays within its limit."""
    interval_ms = traced.settings.turns.append_interval_ms
    most_ms = traced.settings.limits.capture_ms + interval_ms
    for step in traced.trace:
        if len(step.effects) <= _MOST_EFFECTS_OF_A_FRAME:
            continue
        if len(step.effects) > _MAX_EFFECTS_A_STEP:
            yield f"{len(step.effects)} effects of one input, at {at_ms(step.at_ns)}"
        appended = sum(
            len(effect.audio) for effect in step.effects if isinstance(effect, events.AppendAudio)
        )
        waited_ms = appended / 2 * 1000 / traced.call.recorder.rate_hz
        if waited_ms > most_ms:
            yield f"{waited_ms:.0f} ms had waited to be appended, at {at_ms(step.at_ns)}"


def every_mark_is_declared(traced: TracedCall) -> Iterator[str]:
    """Each mark has an entry in the registry of marks, and is as that says."""
    call = traced.call
    for mark in (*call.agent_marks, *call.caller_marks, *call.realtime_marks):
        if wrong := complaint(mark.source, mark.name, mark.fields):
            yield f"{wrong}, at {_at(mark)}"


def recovers(traced: TracedCall) -> Iterator[str]:
    """Liveness: once the faults have stopped, the caller is answered, or the call has ended."""
    finish = traced.call.finish
    if finish is None or finish.verdict == "passed":
        return
    if not _agent_hung_up(traced) and not _was_answered(traced):
        yield finish.detail


SAFETY: Mapping[str, Invariant] = {
    "only_legal_transitions": only_legal_transitions,
    "ends_in_bounded_time": ends_in_bounded_time,
    "gives_up_in_bounded_time": gives_up_in_bounded_time,
    "nothing_after_the_end": nothing_after_the_end,
    "one_response_at_a_time": one_response_at_a_time,
    "one_commit_a_turn": one_commit_a_turn,
    "greets_first": greets_first,
    "queues_stay_bounded": queues_stay_bounded,
    "every_mark_is_declared": every_mark_is_declared,
}


def _is_out_of_quota(event: Mapping[str, Any]) -> bool:
    """A response failed for a reason that lasts."""
    details = event.get("response", {}).get("status_details") or {}
    return (details.get("error") or {}).get("code") == "insufficient_quota"


def _is_routine(effect: events.Effect) -> bool:
    if isinstance(effect, events.EmitMark):
        return effect.name == "audio_appended"
    return isinstance(effect, events.AppendAudio)


def _agent_hung_up(traced: TracedCall) -> bool:
    return any(traced.agent("hang_up_sent"))


def _was_answered(traced: TracedCall) -> bool:
    """Whether an answer began after the last question, or the caller was told that it is lost.

    The caller cannot distinguish one that follows other words of the agent without a pause.
    """
    spoken = [m.at_ns for m in traced.call.caller_marks if m.name == "utterance_ended"]
    answers = [
        *traced.agent("playout_started"),
        *(m for m in traced.agent("answer_repaired") if m.fields.get("by") == "apology"),
    ]
    return any(mark.at_ns > max(spoken, default=0) for mark in answers)


def server_event(step: Step) -> Mapping[str, Any]:
    """What the server told the machine in this step; empty if it was something else."""
    return step.given.event if isinstance(step.given, RealtimeEvent) else {}


def client_events(step: Step) -> Iterator[Mapping[str, Any]]:
    """What the machine sent to the server, but for audio."""
    return (effect.event for effect in step.effects if isinstance(effect, events.SendEvent))


def _at(mark: Mark) -> str:
    return at_ms(mark.at_ns)


def at_ms(at_ns: int) -> str:
    """Since the beginning of the run, whose clock starts at one second."""
    return f"{ns_to_ms(at_ns - NS_PER_S):.1f} ms"
