"""The one transition table: whole, reachable, and true to the mission's picture."""

import pytest

from callerside.agent.call.states import (
    TRANSITIONS,
    IllegalTransitionError,
    State,
    Trigger,
    next_state,
)


def test_every_state_has_a_row_and_every_target_is_a_state() -> None:
    assert set(TRANSITIONS) == set(State)
    for row in TRANSITIONS.values():
        assert set(row) <= set(Trigger)
        assert set(row.values()) <= set(State)


def test_every_state_can_be_reached_and_every_one_can_end() -> None:
    reached, edge = {State.CALL_RECEIVED}, [State.CALL_RECEIVED]
    while edge:
        targets = set(TRANSITIONS[edge.pop()].values()) - reached
        reached |= targets
        edge += targets
    assert reached == set(State)
    for state in set(State) - {State.ENDED}:
        assert next_state(state, Trigger.ENDED) is State.ENDED


def test_nothing_leaves_the_end() -> None:
    assert not TRANSITIONS[State.ENDED]


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[State.ENDED] = {}  # type: ignore[index]


def test_the_happy_order_is_legal() -> None:
    state = State.CALL_RECEIVED
    for trigger, expected in (
        (Trigger.ANSWER_SENT, State.ANSWERING_CALL),
        (Trigger.ANSWERED, State.CONNECTING_OPENAI),
        (Trigger.MEDIA_UP, State.MEDIA_READY),
        (Trigger.GREETING_BEGUN, State.SENDING_GREETING),
        (Trigger.TURNS_OPENED, State.LISTENING),
        (Trigger.SPEECH_STARTED, State.RECORDING_AUDIO),
        (Trigger.SPEECH_STOPPED, State.COMMITTING_INPUT),
        (Trigger.COMMITTED, State.PROCESSING),
        (Trigger.RESPONSE_CREATED, State.PROCESSING),
        (Trigger.RESPONSE_HEARD, State.STREAMING_RESPONSE),
        (Trigger.RESPONSE_OVER, State.LISTENING),
        (Trigger.ENDED, State.ENDED),
    ):
        state = next_state(state, trigger)
        assert state is expected


def test_a_missing_key_is_a_clear_error() -> None:
    with pytest.raises(IllegalTransitionError) as error:
        next_state(State.CALL_RECEIVED, Trigger.COMMITTED)
    assert str(error.value) == (
        "committed is not legal in CALL_RECEIVED, which knows: answer_sent, ended"
    )
