"""Each fault by its name, in memory: what the client gets, and that it is on the timeline."""

import json
import re
from collections import Counter
from typing import Any

import pytest
from in_memory import Client
from pydantic import ValidationError

from callerside.fakes.script.model import Script
from callerside.fakes.session.faults import FAULTS, Close, parse_fault, written
from callerside.fakes.session.interface import (
    AcceptConnection,
    CloseConnection,
    DropConnection,
    EmitMark,
    RefuseConnection,
    SendEvent,
    SendText,
)

REPLY = {"say": "We open at nine on Saturday.", "pace": 2, "think_ms": 100}


def client_with(*faults: str, **script: Any) -> Client:
    written = Script.model_validate({"replies": [REPLY], **script})
    parsed = tuple(parse_fault(fault) for fault in faults)
    return Client(written.model_copy(update={"faults": parsed}))


def whole_turn(*faults: str) -> Client:
    client = client_with(*faults)
    client.say()
    client.wait(5000)
    return client


def applied(client: Client) -> list[str]:
    return [mark.fields["fault"] for mark in client.marked("fault_applied")]


def test_every_fault_has_a_test() -> None:
    tested = {word for word in globals() if word.startswith("test_fault_")}
    assert {f"test_fault_{name}" for name in FAULTS} == tested


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_on_the_timeline_where_it_struck(name: str) -> None:
    places = FAULTS[name].places
    place = "connect" if places == {"connect"} else "reply 1"
    client = whole_turn(f"{name} at={place}")
    (mark,) = client.marked("fault_applied")
    assert (mark.fields["fault"], mark.fields["at"]) == (name, place)
    reached = client.marked("delta_sent")
    if place == "reply 1" and reached and FAULTS[name].delayable:
        assert mark.at_ns == reached[0].at_ns


@pytest.mark.parametrize("status", [401, 429, 500, 503])
def test_fault_refuse(status: int) -> None:
    client = client_with(f"refuse status={status}")
    assert RefuseConnection(status, "refused by the script") in client.effects
    assert client.session.over
    assert not client.events
    assert applied(client) == ["refuse"]


def test_fault_accept_late() -> None:
    client = client_with("accept_late by_ms=700")
    client.wait(699)
    assert AcceptConnection() not in client.effects
    client.wait(1)
    assert AcceptConnection() in client.effects
    assert client.time_ms("session.created") == 700
    assert applied(client) == ["accept_late"]


def test_fault_drop() -> None:
    client = client_with("drop at=reply 1 + 400ms")
    client.say()
    client.wait(5000)
    (dropped,) = client.marked("fault_applied")
    assert dropped.at_ns - client.marked("delta_sent")[0].at_ns == 400_000_000
    assert DropConnection() in client.effects
    assert "response.done" not in client.types
    assert client.marked("session_closed")[0].fields["code"] == 1006


def test_the_connection_can_be_lost_while_the_user_speaks() -> None:
    client = client_with("drop at=speech 1 + 300ms")
    client.say()
    (dropped,) = client.marked("fault_applied")
    assert dropped.at_ns - client.marked("speech_started")[0].at_ns == 300_000_000
    assert client.types[-1] == "input_audio_buffer.speech_started"
    assert client.session.over


def test_a_client_that_asks_for_ever_more_during_a_stall_is_dropped() -> None:
    client = client_with("stall for_ms=600000 at=connect")
    for _ in range(2**17 - 1):
        client.send("input_audio_buffer.clear")
    assert DropConnection() not in client.effects
    for _ in range(3):
        client.send("input_audio_buffer.clear")
    assert client.effects.count(DropConnection()) == 1


def test_fault_stall() -> None:
    client = client_with("stall for_ms=3000 at=reply 1 + 300ms")
    client.say()
    client.wait(8000)
    struck_ns = client.marked("fault_applied")[0].at_ns
    silent = [t for t in client.times_ms if struck_ns / 1e6 < t < struck_ns / 1e6 + 3000]
    assert not silent
    assert client.types[-2:] == ["response.done", "rate_limits.updated"]
    late = [mark for mark in client.marked("delta_sent") if mark.at_ns > struck_ns]
    assert late
    assert {mark.at_ns for mark in late} == {struck_ns + 3_000_000_000}


def test_a_stall_without_an_end_has_none() -> None:
    client = client_with("stall at=turn 1")
    client.say()
    client.wait(60_000)
    assert "response.created" not in client.types
    assert not client.marked("delta_sent")


def test_fault_slow() -> None:
    client = client_with("slow pace=0.5 at=reply 1")
    client.say()
    client.wait(10_000)
    deltas = client.marked("delta_sent")
    took_ms = (deltas[-1].at_ns - deltas[0].at_ns) / 1e6
    sent_ms = (deltas[-1].fields["total_samples"] - deltas[-1].fields["samples"]) / 24
    assert took_ms == pytest.approx(2 * sent_ms, abs=0.01)
    assert applied(client) == ["slow"]


def test_fault_duplicate() -> None:
    client = whole_turn("duplicate events=2 at=reply 1")
    ids = [event["event_id"] for event in client.events]
    assert len(ids) - len(set(ids)) == 2


def test_fault_reorder() -> None:
    plain, shuffled = whole_turn(), whole_turn("reorder at=turn 1")
    at = plain.types.index("response.created")
    assert shuffled.types[at : at + 2] == plain.types[at : at + 2][::-1]
    assert sorted(shuffled.types) == sorted(plain.types)


def test_fault_malformed() -> None:
    client = whole_turn("malformed at=reply 1")
    (text,) = [effect.text for effect in client.effects if isinstance(effect, SendText)]
    with pytest.raises(ValueError, match="Unterminated string"):
        json.loads(text)
    assert "response.done" in client.types


def test_fault_unknown_event() -> None:
    client = whole_turn("unknown_event at=turn 1")
    assert "session.rearranged" in client.types
    assert "response.done" in client.types


def test_fault_oversized() -> None:
    client = whole_turn("oversized size_bytes=100000 at=turn 1")
    assert len(client.only("session.padded")["padding"]) == 100_000


def test_fault_error() -> None:
    client = whole_turn("error code=server_error at=event 4")
    assert client.types[4] == "error"
    assert client.only("error")["error"]["code"] == "server_error"
    assert "response.done" in client.types


@pytest.mark.parametrize("code", ["inference_rate_limit_exceeded", "insufficient_quota"])
def test_fault_fail(code: str) -> None:
    client = whole_turn(f"fail code={code} at=reply 1")
    response = client.only("response.done")["response"]
    assert response["status"] == "failed"
    assert response["status_details"]["error"]["code"] == code
    assert response["output"] == []
    assert client.marked("response_done")[0].fields["reason"] == code


def test_fault_never_done() -> None:
    client = whole_turn("never_done at=reply 1")
    client.wait(60_000)
    assert "response.output_audio.done" in client.types
    assert "response.done" not in client.types
    client.send("response.create")
    assert client.only("error")["error"]["code"] == "conversation_already_has_active_response"


@pytest.mark.parametrize(("after_s", "told"), [(1, "1 minutes"), (5400, "90 minutes")])
def test_a_session_that_expires_tells_whole_minutes(after_s: int, told: str) -> None:
    client = Client({"timing": {"expires_after_s": after_s}})
    client.wait(after_s * 1000)
    assert client.only("error")["error"]["message"].endswith(f"maximum duration of {told}.")


@pytest.mark.parametrize("code", [1001, 1011, 4000])
def test_fault_close(code: int) -> None:
    client = client_with(f"close code={code} reason=why at=connect + 2s")
    client.wait(1999)
    assert client.closed is None
    client.wait(1)
    assert client.closed == CloseConnection(code, "why")


def test_fault_expire() -> None:
    client = whole_turn("expire at=turn 1")
    error = client.only("error")["error"]
    assert error["code"] == "session_expired"
    assert error["message"] == "Your session hit the maximum duration of 60 minutes."
    assert client.closed == CloseConnection(1001, "session_expired")


@pytest.mark.parametrize("fault", ["close at=event 6", "drop at=event 6", "expire at=event 6"])
def test_nothing_comes_after_the_end(fault: str) -> None:
    """The sixth event is one of a burst, whose others are not sent any more."""
    client = whole_turn(fault)
    assert len(client.events) == 6 + ("expire" in fault)
    last = client.effects[-1]
    assert isinstance(last, EmitMark)
    assert last.mark.name == "session_closed"


def test_a_fault_strikes_once() -> None:
    client = client_with("error at=reply 1", replies=[REPLY, REPLY])
    for _ in range(2):
        client.say()
        client.wait(5000)
    assert applied(client) == ["error"]


def test_a_fault_spares_later_sessions_unless_told_otherwise() -> None:
    once = {"fault": "expire", "at": "connect"}
    assert Client({"faults": [once]}, session_number=1).session.over
    assert not Client({"faults": [once]}, session_number=2).session.over
    assert Client({"faults": [{**once, "sessions": 2}]}, session_number=2).session.over


def test_the_greeting_is_a_place() -> None:
    client = client_with("error at=greeting")
    client.send("response.create")
    client.wait(5000)
    assert applied(client) == ["error"]


def test_faults_are_deaf_to_responses_out_of_band() -> None:
    client = client_with("fail at=reply 1", "drop at=greeting")
    client.send("response.create", response={"conversation": "none"})
    client.wait(5000)
    assert client.only("response.done")["response"]["status"] == "completed"
    assert not applied(client)


def test_a_session_without_faults_sends_events_one_by_one() -> None:
    client = whole_turn()
    sent = [effect for effect in client.effects if isinstance(effect, SendEvent)]
    assert len({effect.event["event_id"] for effect in sent}) == len(sent)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nope at=turn 1", "no such fault; expected one of error, fail, stall"),
        ("drop", "at: is missing"),
        ("drop at=soon", "'soon' is no point of a conversation; expected 'connect'"),
        ("drop at=turn", "turn needs a number from 1 on"),
        ("drop at=turn 0", "turn needs a number from 1 on"),
        ("drop at=greeting 2", "there is only one greeting"),
        ("refuse at=turn 1", "cannot strike at 'turn 1', only at: connect"),
        ("fail at=reply 1 + 5ms", "shapes the whole of reply"),
        ("stall for_ms=soon at=turn 1", "for_ms: expected a number"),
        ("error message='x at=turn 1", "a quote is not closed"),
        ("error message=Try later. at=turn 1", "expected KEY=VALUE, not 'later.'"),
        ("stall for_ms at=turn 1", "expected KEY=VALUE, not 'for_ms'"),
        ("stall long=5 at=turn 1", "long: there is no such key"),
        ("refuse status=200", "status: expected"),
        ("stall at=turn 1 for_ms=5", "'at' comes last"),
        ("", "no such fault; expected one of"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=re.escape(expected)):
        parse_fault(text)


def test_a_value_with_blanks_stands_in_quotes() -> None:
    fault = parse_fault("close reason='Try \"later\".' at=turn 1")
    assert isinstance(fault, Close)
    assert fault.reason == 'Try "later".'
    assert parse_fault(written(fault)) == fault


def test_a_number_may_be_a_text() -> None:
    assert parse_fault("close code=4000 reason=42 at=turn 1") == Close(
        fault="close", code=4000, reason="42", at="turn 1"
    )


def test_faults_of_a_script_are_checked_too() -> None:
    with pytest.raises(ValidationError, match="cannot strike at"):
        Script.model_validate({"faults": [{"fault": "slow", "at": "turn 1"}]})


@pytest.mark.parametrize("code", [1004, 1005, 1006, 1015, 1016, 2999, 999, 5000])
def test_a_close_has_a_code_that_can_be_sent(code: int) -> None:
    with pytest.raises(ValueError, match="code"):
        parse_fault(f"close code={code} at=connect")


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 1014, 3000, 4000, 4999])
def test_codes_that_can_be_sent_are_taken(code: int) -> None:
    client = client_with(f"close code={code} at=connect")
    assert client.closed is not None
    assert client.closed.code == code


def test_a_close_says_that_dropping_is_another_fault() -> None:
    with pytest.raises(ValueError, match="'drop'"):
        parse_fault("close code=1006 at=connect")


def test_a_reason_fits_into_its_frame() -> None:
    assert parse_fault("close reason=" + "é" * 61 + " at=connect")
    with pytest.raises(ValueError, match="124 bytes"):
        parse_fault("close reason=" + "é" * 62 + " at=connect")


def test_fault_lose() -> None:
    types: list[Counter[str]] = []
    for faults in ([], ["lose events=2 at=turn 1"]):
        client = client_with(*faults, replies=[REPLY])
        client.say()
        client.wait(5000)
        types.append(Counter(client.types))
    whole, lossy = types
    assert whole - lossy == Counter(["response.created", "response.output_item.added"])
    assert lossy - whole == Counter()
