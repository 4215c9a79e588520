"""The states of a call and every legal way from one to another, in one table.

The telephone and the Realtime session become ready independently, and the caller may speak at any
time, so a state names what the call is waiting for or doing now, and a trigger names what happened:

    CALL_RECEIVED → ANSWERING_CALL → CONNECTING_OPENAI → MEDIA_READY → SENDING_GREETING → LISTENING
    → RECORDING_AUDIO → COMMITTING_INPUT → PROCESSING → STREAMING_RESPONSE → LISTENING … → ENDED

is the happy order. `CONNECTING_OPENAI` is every wait for the session that the caller can notice:
before the media is up, after a cached greeting that the session did not keep up with, and in
mid-call when the connection was lost. A trigger that is missing in a state's row is illegal there.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from callerside.agent.call.context import CallContext


class State(StrEnum):
    """What a call is doing."""

    CALL_RECEIVED = "CALL_RECEIVED"
    ANSWERING_CALL = "ANSWERING_CALL"
    CONNECTING_OPENAI = "CONNECTING_OPENAI"
    MEDIA_READY = "MEDIA_READY"
    SENDING_GREETING = "SENDING_GREETING"
    LISTENING = "LISTENING"
    RECORDING_AUDIO = "RECORDING_AUDIO"
    COMMITTING_INPUT = "COMMITTING_INPUT"
    PROCESSING = "PROCESSING"
    STREAMING_RESPONSE = "STREAMING_RESPONSE"
    ENDED = "ENDED"


class Trigger(StrEnum):
    """What moves a call."""

    ANSWER_SENT = "answer_sent"
    ANSWERED = "answered"
    MEDIA_UP = "media_up"
    GREETING_BEGUN = "greeting_begun"
    TURNS_OPENED = "turns_opened"
    """The greeting is over (or there is none) and the session is ready."""
    SESSION_MISSED = "session_missed"
    """The call could go on, but there is no session: not yet, or not any more."""
    SPEECH_STARTED = "speech_started"
    SPEECH_STOPPED = "speech_stopped"
    SPEECH_DISMISSED = "speech_dismissed"
    """What sounded like speech led to nothing: a cough, or a commit that came to nothing."""
    COMMITTED = "committed"
    RESPONSE_CREATED = "response_created"
    RESPONSE_HEARD = "response_heard"
    """The first audio of a response is here."""
    RESPONSE_OVER = "response_over"
    """The response is done and all of it that will ever be heard has been heard."""
    ANSWER_TO_COME = "answer_to_come"
    """The same, but its turn is not over: functions run, or another response is asked for."""
    ENDED = "ended"


class IllegalTransitionError(Exception):
    """A trigger came where it cannot: a bug of ours, or a server that breaks its protocol."""

    def __init__(self, state: State, trigger: Trigger) -> None:
        legal = ", ".join(TRANSITIONS[state]) or "nothing"
        super().__init__(f"{trigger} is not legal in {state}, which knows: {legal}")
        self.state = state
        self.trigger = trigger


_TALKING = {
    Trigger.SESSION_MISSED: State.CONNECTING_OPENAI,
    Trigger.ENDED: State.ENDED,
}

TRANSITIONS: Mapping[State, Mapping[Trigger, State]] = MappingProxyType(
    {
        State.CALL_RECEIVED: {
            Trigger.ANSWER_SENT: State.ANSWERING_CALL,
            Trigger.ENDED: State.ENDED,
        },
        State.ANSWERING_CALL: {
            Trigger.ANSWERED: State.CONNECTING_OPENAI,
            # Media needs the offer and the answer only: it may beat the caller's ACK.
            Trigger.MEDIA_UP: State.MEDIA_READY,
            Trigger.ENDED: State.ENDED,
        },
        State.CONNECTING_OPENAI: {
            # Media was up before the caller's ACK, and there was nothing to play.
            Trigger.ANSWERED: State.CONNECTING_OPENAI,
            Trigger.MEDIA_UP: State.MEDIA_READY,
            Trigger.TURNS_OPENED: State.LISTENING,
            Trigger.ENDED: State.ENDED,
        },
        State.MEDIA_READY: {
            Trigger.ANSWERED: State.MEDIA_READY,
            Trigger.GREETING_BEGUN: State.SENDING_GREETING,
            Trigger.TURNS_OPENED: State.LISTENING,
            Trigger.SESSION_MISSED: State.CONNECTING_OPENAI,
            Trigger.SPEECH_STARTED: State.MEDIA_READY,
            Trigger.SPEECH_STOPPED: State.MEDIA_READY,
            Trigger.SPEECH_DISMISSED: State.MEDIA_READY,
            Trigger.COMMITTED: State.MEDIA_READY,
            Trigger.RESPONSE_CREATED: State.MEDIA_READY,
            Trigger.RESPONSE_HEARD: State.MEDIA_READY,
            Trigger.RESPONSE_OVER: State.MEDIA_READY,
            Trigger.ANSWER_TO_COME: State.MEDIA_READY,
            Trigger.ENDED: State.ENDED,
        },
        # A caller who talks over a greeting that cannot be interrupted takes an ordinary turn,
        # whose events come and go behind the greeting.
        State.SENDING_GREETING: {
            Trigger.ANSWERED: State.SENDING_GREETING,
            Trigger.TURNS_OPENED: State.LISTENING,
            Trigger.SESSION_MISSED: State.CONNECTING_OPENAI,
            Trigger.SPEECH_STARTED: State.SENDING_GREETING,
            Trigger.SPEECH_STOPPED: State.SENDING_GREETING,
            Trigger.SPEECH_DISMISSED: State.SENDING_GREETING,
            Trigger.COMMITTED: State.SENDING_GREETING,
            Trigger.RESPONSE_CREATED: State.SENDING_GREETING,
            Trigger.RESPONSE_HEARD: State.SENDING_GREETING,
            Trigger.RESPONSE_OVER: State.SENDING_GREETING,
            Trigger.ANSWER_TO_COME: State.SENDING_GREETING,
            Trigger.ENDED: State.ENDED,
        },
        State.LISTENING: {
            **_TALKING,
            Trigger.SPEECH_STARTED: State.RECORDING_AUDIO,
            # Without speech before them: an idle timeout of the server, a result of a function, a
            # key press, or the answer to a turn that was dismissed too early.
            Trigger.SPEECH_STOPPED: State.COMMITTING_INPUT,
            Trigger.COMMITTED: State.PROCESSING,
            Trigger.RESPONSE_CREATED: State.PROCESSING,
            Trigger.RESPONSE_HEARD: State.STREAMING_RESPONSE,
            Trigger.RESPONSE_OVER: State.LISTENING,
            Trigger.ANSWER_TO_COME: State.PROCESSING,
            # A request that was no turn's led to nothing.
            Trigger.SPEECH_DISMISSED: State.LISTENING,
        },
        State.RECORDING_AUDIO: {
            **_TALKING,
            Trigger.SPEECH_STARTED: State.RECORDING_AUDIO,
            Trigger.SPEECH_STOPPED: State.COMMITTING_INPUT,
            # What belongs to the turn before, and lost a race against the caller's voice.
            Trigger.SPEECH_DISMISSED: State.RECORDING_AUDIO,
            Trigger.COMMITTED: State.RECORDING_AUDIO,
            Trigger.RESPONSE_CREATED: State.RECORDING_AUDIO,
            Trigger.RESPONSE_HEARD: State.RECORDING_AUDIO,
            Trigger.RESPONSE_OVER: State.RECORDING_AUDIO,
            Trigger.ANSWER_TO_COME: State.RECORDING_AUDIO,
        },
        State.COMMITTING_INPUT: {
            **_TALKING,
            Trigger.SPEECH_STARTED: State.RECORDING_AUDIO,
            Trigger.SPEECH_DISMISSED: State.LISTENING,
            Trigger.COMMITTED: State.PROCESSING,
            Trigger.RESPONSE_CREATED: State.PROCESSING,
            Trigger.RESPONSE_HEARD: State.STREAMING_RESPONSE,
            Trigger.RESPONSE_OVER: State.COMMITTING_INPUT,
            Trigger.ANSWER_TO_COME: State.COMMITTING_INPUT,
        },
        State.PROCESSING: {
            **_TALKING,
            Trigger.SPEECH_STARTED: State.RECORDING_AUDIO,
            Trigger.SPEECH_DISMISSED: State.LISTENING,
            Trigger.COMMITTED: State.PROCESSING,
            Trigger.RESPONSE_CREATED: State.PROCESSING,
            Trigger.RESPONSE_HEARD: State.STREAMING_RESPONSE,
            Trigger.RESPONSE_OVER: State.LISTENING,
            Trigger.ANSWER_TO_COME: State.PROCESSING,
        },
        State.STREAMING_RESPONSE: {
            **_TALKING,
            Trigger.SPEECH_STARTED: State.RECORDING_AUDIO,
            Trigger.SPEECH_DISMISSED: State.STREAMING_RESPONSE,
            Trigger.COMMITTED: State.STREAMING_RESPONSE,
            Trigger.RESPONSE_CREATED: State.STREAMING_RESPONSE,
            Trigger.RESPONSE_HEARD: State.STREAMING_RESPONSE,
            Trigger.RESPONSE_OVER: State.LISTENING,
            Trigger.ANSWER_TO_COME: State.PROCESSING,
        },
        State.ENDED: {},
    }
)


def next_state(state: State, trigger: Trigger) -> State:
    """Where `trigger` leads from `state`.

    Raises:
        IllegalTransitionError: it does not lead anywhere from there.
    """
    try:
        return TRANSITIONS[state][trigger]
    except KeyError:
        raise IllegalTransitionError(state, trigger) from None


class StateChart:
    """The call's state; every move is looked up in the table and marked."""

    def __init__(self, context: CallContext, *, strict: bool) -> None:
        self.state = State.CALL_RECEIVED
        self._context = context
        self._strict = strict

    def move(self, trigger: Trigger) -> None:
        """Follow the table; what it does not know is dropped with a mark.

        Raises:
            IllegalTransitionError: the table does not know it, and the chart is strict (in tests).
        """
        try:
            target = next_state(self.state, trigger)
        except IllegalTransitionError as error:
            if self._strict:
                raise
            self._context.mark("event_dropped", {"type": trigger.value, "reason": str(error)})
            return
        if target is not self.state:
            self._context.mark("state_changed", {"from": self.state.value, "to": target.value})
            self.state = target
