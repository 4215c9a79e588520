"""Nine agents that are broken in known ways, to prove that the fuzzer finds what it should.

Each changes what goes into the call machine or what comes out of it, whatever its parts are called
today, as a bug in one of them would.
"""

from collections import defaultdict
from typing import Any, TypeGuard

from callerside.agent.call import events
from callerside.agent.call.events import CallInput, Effect
from callerside.agent.realtime.interface import Event, RealtimeEvent
from callerside.simulator.lanes.virtual.trace import Step, TracedMachine

LATE_MS = 15


class BrokenMachine(TracedMachine):
    """A call machine with a bug; the trace has what it really asked for."""

    def handle(self, event: CallInput, now_ns: int) -> list[Effect]:
        broken = self.answer(event, now_ns)
        if self.trace and self.trace[-1].given is event:
            self.trace.pop()
        self.trace.append(Step(now_ns, event, broken))
        return broken

    def answer(self, event: CallInput, now_ns: int) -> list[Effect]:
        return self.change(event, super().handle(event, now_ns))

    def change(self, event: CallInput, asked: list[Effect]) -> list[Effect]:
        """What a broken agent does instead of what it should."""
        return asked


class NoFlushAtBargeIn(BrokenMachine):
    """The caller interrupts, and the agent speaks on."""

    def change(self, event: CallInput, asked: list[Effect]) -> list[Effect]:
        return [effect for effect in asked if not isinstance(effect, events.ClearPlayout)]


class TruncatesByReceived(BrokenMachine):
    """It tells the model that the caller has heard everything that had arrived."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._received: defaultdict[str, int] = defaultdict(int)

    def change(self, event: CallInput, asked: list[Effect]) -> list[Effect]:
        server_event = event.event if isinstance(event, RealtimeEvent) else {}
        if isinstance(server_event.get("delta"), bytes):
            self._received[server_event["item_id"]] += len(server_event["delta"])
        return [self._changed(effect) for effect in asked]

    def _changed(self, effect: Effect) -> Effect:
        if sends(effect, "conversation.item.truncate"):
            received_ms = self._received[effect.event["item_id"]] // 48
            return events.SendEvent(event={**effect.event, "audio_end_ms": received_ms})
        return effect


class CommitsTwice(BrokenMachine):
    """Every commit is sent twice."""

    def change(self, event: CallInput, asked: list[Effect]) -> list[Effect]:
        return [
            again
            for effect in asked
            for again in ([effect] * 2 if sends(effect, "input_audio_buffer.commit") else [effect])
        ]


class CachesACancelledGreeting(BrokenMachine):
    """The next callers will hear half a greeting."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._key = ""
        self._audio = b""
        self._first_is_done = False

    def change(self, event: CallInput, asked: list[Effect]) -> list[Effect]:
        for effect in asked:
            if isinstance(effect, events.LoadPrompt) and not self._key:
                self._key = effect.key
        server_event = event.event if isinstance(event, RealtimeEvent) else {}
        if isinstance(server_event.get("delta"), bytes):
            self._audio += server_event["delta"]
        if server_event.get("type") == "response.done" and not self._first_is_done:
            self._first_is_done = True
            if self._audio and server_event["response"]["status"] == "cancelled":
                store = events.StorePrompt(
                    key=self._key, pcm=self._audio, rate_hz=24_000, transcript="Hello, how"
                )
                return [*asked, store]
        return asked


class AsksForAResponseTooEarly(BrokenMachine):
    """It asks for another response as soon as one has begun."""

    def change(self, event: CallInput, asked: list[Effect]) -> list[Effect]:
        if received(event, "response.created"):
            return [*asked, request("too_early")]
        return asked


class LosesWhatWasSaidBeforeTheSession(BrokenMachine):
    """What the caller said while the session was not ready is forgotten."""

    def change(self, event: CallInput, asked: list[Effect]) -> list[Effect]:
        if received(event, "session.updated"):
            return [e for e in asked if not isinstance(e, events.AppendAudio)]
        return asked


class StaysStuckAfterAFailure(BrokenMachine):
    """It waits for ever for the end of a response that has failed."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._stuck = False

    def answer(self, event: CallInput, now_ns: int) -> list[Effect]:
        if received(event, "response.done") and isinstance(event, RealtimeEvent):
            self._stuck |= event.event["response"]["status"] == "failed"
        if self._stuck and isinstance(event, RealtimeEvent):
            return []
        return super().answer(event, now_ns)


class SpeaksAfterHangingUp(BrokenMachine):
    """It has hung up, and goes on playing."""

    def change(self, event: CallInput, asked: list[Effect]) -> list[Effect]:
        if any(isinstance(effect, events.HangUp) for effect in asked):
            return [*asked, events.Play(pcm=b"\x01\x02" * 480, tag=0)]
        return asked


class AnswersLate(BrokenMachine):
    """Every answer is heard 15 ms later than it could be; nothing else is wrong."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._rate_hz = int(keywords["sample_rate_hz"])
        self._begins = False

    def change(self, event: CallInput, asked: list[Effect]) -> list[Effect]:
        self._begins |= received(event, "response.created")
        return [self._late(effect) for effect in asked]

    def _late(self, effect: Effect) -> Effect:
        if not self._begins or not isinstance(effect, events.Play):
            return effect
        self._begins = False
        silence = bytes(2 * (LATE_MS * self._rate_hz // 1000))
        return events.Play(pcm=silence + effect.pcm, tag=effect.tag)


def sends(effect: Effect, kind: str) -> TypeGuard[events.SendEvent]:
    """Whether an effect sends an event of that type."""
    return isinstance(effect, events.SendEvent) and effect.event["type"] == kind


def received(event: CallInput, kind: str) -> bool:
    """Whether an input is a server event of that type."""
    return isinstance(event, RealtimeEvent) and event.event.get("type") == kind


def request(event_id: str) -> Effect:
    """A `response.create`."""
    event: Event = {"type": "response.create", "event_id": event_id}
    return events.SendEvent(event=event)


BUGS: tuple[tuple[type[BrokenMachine], str, int, int], ...] = (
    (NoFlushAtBargeIn, "interrupted_audio_stops", 50, 11),
    (TruncatesByReceived, "truncations_are_true", 50, 2),
    (CommitsTwice, "one_commit_a_turn", 50, 0),
    (CachesACancelledGreeting, "only_whole_greetings_are_kept", 250, 14),
    (AsksForAResponseTooEarly, "one_response_at_a_time", 20, 0),
    (LosesWhatWasSaidBeforeTheSession, "nothing_appended_is_lost", 150, 0),
    (StaysStuckAfterAFailure, "recovers", 200, 169),
    (SpeaksAfterHangingUp, "nothing_after_the_end", 50, 0),
)
"""Bug, the invariant that must catch it, within how many seeds (from 0 on), and one that did: it is
played first, and spares the others for as long as it does.
"""
