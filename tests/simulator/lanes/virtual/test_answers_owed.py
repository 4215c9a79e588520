"""What is owed to a caller: whoever is asked for it twice, or for nothing, is found by ids."""

from typing import Any

import pytest

from callerside.agent.call import events
from callerside.agent.call.events import Timer, TimerFired
from callerside.agent.realtime.interface import RealtimeClosed, RealtimeEvent
from callerside.agent.telephony.interface import PlayoutOverflowed
from callerside.simulator.lanes.virtual.answers_owed import AnswersOwed
from callerside.simulator.lanes.virtual.trace import Step

SOUND = b"\0\x20" * 2400
RATE_HZ = 24_000


class Account:
    """An account, and what is entered."""

    def __init__(self, *, asks: bool = False) -> None:
        self.owed = AnswersOwed(RATE_HZ, asks_for_turns=asks)
        self.sent = 0

    def enter(self, given: Any, *effects: events.Effect) -> bool:
        return self.owed.asked_for_nothing(Step(0, given, list(effects)))

    def server(self, kind: str, *effects: events.Effect, **fields: Any) -> bool:
        return self.enter(RealtimeEvent(event={"type": kind, **fields}), *effects)

    def sends(self, kind: str, **fields: Any) -> events.SendEvent:
        self.sent += 1
        return events.SendEvent(event={"type": kind, "event_id": f"e{self.sent}", **fields})

    def asks(self, purpose: str = "turn") -> bool:
        """Returns whether it is one too many."""
        response = {"metadata": {"purpose": purpose}}
        request = self.sends("response.create", response=response)
        return self.enter(TimerFired(timer=Timer.RETRY_DUE), request)

    def turn(self, item: str) -> None:
        self.server("input_audio_buffer.speech_started", item_id=item)
        self.server("input_audio_buffer.speech_stopped", item_id=item)
        self.server("input_audio_buffer.committed", item_id=item)

    def begins(self, response: str, purpose: str | None = None) -> None:
        metadata = {"purpose": purpose} if purpose else None
        self.server("response.created", response={"id": response, "metadata": metadata})

    def sounds(self, response: str, pcm: bytes = SOUND, tag: int = 1) -> None:
        play = events.Play(pcm=pcm, tag=tag)
        self.server("response.output_audio.delta", play, response_id=response, delta=pcm)

    def ends(self, response: str, status: str = "completed", *output: Any) -> None:
        told = {"id": response, "metadata": None, "status": status, "output": list(output)}
        self.server("response.done", response=told)

    def answers(self, response: str, purpose: str | None = None) -> None:
        self.begins(response, purpose)
        self.sounds(response)
        self.ends(response)


def ends(item: str) -> events.EmitMark:
    """A turn's end, by the agent's own ear."""
    fields = {"item": item, "audio_end_ms": 0}
    return events.EmitMark(name="speech_stopped", at_ns=0, fields=fields)


@pytest.fixture
def account() -> Account:
    return Account()


def test_nothing_is_owed_at_first(account: Account) -> None:
    assert account.asks()


def test_a_turn_is_owed_one_answer(account: Account) -> None:
    account.turn("u1")
    assert not account.asks()
    account.answers("r1", "turn")
    assert account.asks()


def test_what_the_server_answers_by_itself_is_not_asked_for(account: Account) -> None:
    account.turn("u1")
    account.answers("r1")
    assert account.asks()


def test_who_asks_anew_waits_no_more_for_what_was_asked(account: Account) -> None:
    account.turn("u1")
    assert not account.asks()
    assert not account.asks()


def test_one_answer_is_the_answer_to_all_that_was_owed_when_it_was_asked_for(
    account: Account,
) -> None:
    account.turn("u1")
    account.turn("u2")
    assert not account.asks()
    account.turn("u3")
    account.answers("r1", "turn")
    assert not account.asks(), "the third came later"
    account.answers("r2", "turn")
    assert account.asks()


@pytest.mark.parametrize("status", ["failed", "incomplete", "cancelled"])
def test_an_answer_that_did_not_come_is_owed_again(account: Account, status: str) -> None:
    account.turn("u1")
    account.begins("r1")
    account.sounds("r1")
    account.ends("r1", status)
    assert not account.asks()


@pytest.mark.parametrize("status", ["completed", "incomplete"])
def test_an_answer_in_which_nothing_sounds_is_owed_again(account: Account, status: str) -> None:
    account.turn("u1")
    account.begins("r1")
    account.sounds("r1", bytes(4800))
    account.ends("r1", status)
    assert not account.asks()


def test_an_answer_for_which_there_was_no_room_is_owed_again(account: Account) -> None:
    account.turn("u1")
    account.begins("r1")
    account.sounds("r1", tag=7)
    account.enter(PlayoutOverflowed(tag=7, dropped_samples=len(SOUND) // 2))
    account.ends("r1")
    assert not account.asks()


def test_an_answer_that_the_caller_stops_has_been_given(account: Account) -> None:
    account.turn("u1")
    account.begins("r1")
    account.sounds("r1")
    account.server("input_audio_buffer.speech_started", item_id="u2")
    account.ends("r1", "cancelled")
    assert account.asks()


@pytest.mark.parametrize(
    "lost",
    [RealtimeClosed(reason="lost"), TimerFired(timer=Timer.RESPONSE_END_LIMIT)],
    ids=["session", "watchdog"],
)
def test_an_answer_that_was_lost_in_the_middle_is_owed_again(account: Account, lost: Any) -> None:
    account.begins("r1")
    account.sounds("r1")
    account.enter(lost)
    assert not account.asks(), "whatever it answered"


def test_a_function_that_was_called_is_owed_an_answer_when_it_has_answered(
    account: Account,
) -> None:
    account.turn("u1")
    account.begins("r1")
    account.ends("r1", "completed", {"type": "function_call"})
    assert account.asks(), "the call was the answer"
    output = {"type": "function_call_output", "call_id": "c1", "output": "open"}
    account.enter(
        TimerFired(timer=Timer.HOLD_DUE), account.sends("conversation.item.create", item=output)
    )
    assert not account.asks()


def test_what_a_new_session_is_told_again_is_not_owed_again(account: Account) -> None:
    def keys(digit: str) -> events.SendEvent:
        content = [{"type": "input_text", "text": f"I pressed {digit}."}]
        item = {"type": "message", "role": "user", "content": content}
        return account.sends("conversation.item.create", item=item)

    account.enter(TimerFired(timer=Timer.DTMF_GAP), keys("1"))
    assert not account.asks()
    account.answers("r1", "turn")
    account.server("session.updated", keys("1"))
    assert account.asks()
    account.enter(TimerFired(timer=Timer.DTMF_GAP), keys("1"))
    assert not account.asks(), "pressed once more"


@pytest.mark.parametrize("order", ["start stop commit", "start commit stop", "stop start commit"])
def test_a_turn_is_one_in_whatever_order_it_is_told(account: Account, order: str) -> None:
    kinds = {"start": "speech_started", "stop": "speech_stopped", "commit": "committed"}
    account.server("input_audio_buffer.speech_started", item_id="u0")
    for word in order.split():
        account.server(f"input_audio_buffer.{kinds[word]}", item_id="u1")
    assert not account.asks()
    account.answers("r1", "turn")
    account.server("input_audio_buffer.speech_stopped", item_id="u1")
    assert account.asks()


def test_what_a_commit_of_the_agents_makes_of_silence_is_no_turn(account: Account) -> None:
    account.turn("u1")
    account.enter(TimerFired(timer=Timer.COMMIT_LIMIT), account.sends("input_audio_buffer.commit"))
    account.answers("r1")
    account.server("input_audio_buffer.committed", item_id="junk")
    assert account.asks()


def test_a_response_whose_end_comes_before_its_beginning_is_one(account: Account) -> None:
    account.turn("u1")
    account.ends("r1", "failed")
    account.begins("r1")
    assert not account.asks()
    account.answers("r2", "turn")
    assert account.asks()


def test_a_request_that_was_refused_is_owed_but_for_what_the_server_answers(
    account: Account,
) -> None:
    account.turn("u1")
    assert not account.asks()
    account.begins("r1")
    error = {"code": "conversation_already_has_active_response", "event_id": "e1"}
    account.server("error", error=error)
    account.sounds("r1")
    account.ends("r1")
    assert account.asks(), "the server was only late"


def test_where_the_agent_asks_what_the_server_begins_by_itself_is_no_answer() -> None:
    account = Account(asks=True)
    account.turn("u1")
    account.answers("r1")
    assert not account.asks()
    account.answers("r2", "turn")
    assert account.asks()


def test_a_turn_that_ends_behind_the_request_of_the_same_step_is_owed_another_answer() -> None:
    """Two turns of before there was a session: the second's commit comes behind the request."""
    account = Account(asks=True)
    request = account.sends("response.create", response={"metadata": {"purpose": "turn"}})
    assert not account.server("session.updated", ends("local_1"), request, ends("local_2"))
    account.answers("r1", "turn")
    assert not account.asks()
    account.answers("r2", "turn")
    assert account.asks(), "nothing is owed any more"


def test_turns_that_end_before_the_request_of_their_step_are_owed_one_answer() -> None:
    account = Account(asks=True)
    request = account.sends("response.create", response={"metadata": {"purpose": "turn"}})
    assert not account.server("session.updated", ends("local_1"), ends("local_2"), request)
    account.answers("r1", "turn")
    assert account.asks()


def test_there_is_one_greeting(account: Account) -> None:
    assert not account.asks("greeting")
    account.begins("g1", "greeting")
    account.ends("g1", "failed")
    assert not account.asks(), "as whatever the model has to say"
    account.begins("g2", "greeting")
    account.sounds("g2")
    told = {"id": "g2", "metadata": {"purpose": "greeting"}, "status": "completed", "output": []}
    account.server("response.done", response=told)
    assert account.asks("greeting")
