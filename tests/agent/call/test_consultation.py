"""An attended transfer: whoever is to take the caller is called, and told why, before."""

import json
from typing import Any

import pytest
from call_rig import NO_GREETING, CallRig, with_settings

from callerside.agent.call import events
from callerside.agent.call.events import ConsultReported, EndRequested
from callerside.agent.realtime.interface import RealtimeClosed
from callerside.agent.telephony.interface import (
    FramePlayed,
    HungUp,
    LegInput,
    MediaReady,
    TransferProgressed,
)

DESK = "sip:desk@example.org"
ATTENDED = with_settings(
    NO_GREETING, {"tools": {"transfer": [DESK], "transfer_kind": "attended", "wait": "off"}}
)
RATE_HZ = 24_000


def outputs(rig: CallRig) -> list[str]:
    items = [event["item"] for event in rig.sent("conversation.item.create")]
    return [item["output"] for item in items if item["type"] == "function_call_output"]


def desk(rig: CallRig, *reports: LegInput) -> None:
    """What happens in the call to the desk."""
    for report in reports:
        rig.tell(ConsultReported(event=report))


def heard(length_ms: int) -> FramePlayed:
    return FramePlayed(played=((0, RATE_HZ * length_ms // 1000),), at_ns=0)


def calling(arguments: dict[str, Any] | None = None) -> CallRig:
    """The model wants the caller transferred, and the desk is called."""
    rig = CallRig(ATTENDED).listening()
    rig.forget()
    rig.turn()
    given = {"uri": DESK, "reason": "Room 7 has lost a key."} if arguments is None else arguments
    call = {"id": "i1", "type": "function_call", "status": "completed", "call_id": "c1"}
    call |= {"name": "transfer", "arguments": json.dumps(given)}
    rig.event("response.created", response={"id": "r1"})
    rig.response_done(output=[call])
    return rig


def briefing(rig: CallRig) -> None:
    """They have answered, and the API says a second of what they are to be told."""
    desk(rig, MediaReady(codec="PCMU"))
    rig.event("response.created", response={"id": "b1", "metadata": {"purpose": "briefing"}})
    audio = {"response_id": "b1", "item_id": "i9", "delta": bytes(2 * RATE_HZ)}
    rig.event("response.output_audio.delta", **audio)


def said(rig: CallRig, status: str = "completed") -> None:
    rig.event("response.done", response={"id": "b1", "status": status, "output": []})


def test_the_model_is_asked_for_a_reason() -> None:
    rig = CallRig(ATTENDED).ring().media().connect()
    (update,) = rig.sent("session.update")
    (transfer,) = [one for one in update["session"]["tools"] if one["name"] == "transfer"]
    assert transfer["parameters"]["required"] == ["uri", "reason"]
    rig = calling({"uri": DESK})
    assert not rig.asked(events.Consult)
    assert "arguments are missing: reason" in outputs(rig)[0]


def test_they_are_called_and_told_and_the_caller_is_handed_to_that_call() -> None:
    rig = calling()
    assert [call.uri for call in rig.asked(events.Consult)] == [DESK]
    assert not rig.sent("response.create")
    briefing(rig)
    (asked,) = (event["response"] for event in rig.sent("response.create"))
    assert asked["conversation"] == "none"
    assert asked["instructions"].endswith("Room 7 has lost a key.")
    assert asked["tool_choice"] == "none"
    assert sum(len(one.pcm) for one in rig.asked(events.PlayToConsulted)) == 2 * RATE_HZ
    assert not rig.asked(events.Play), "the caller hears nothing of it"
    desk(rig, heard(500))
    said(rig)
    assert not rig.asked(events.Transfer), "they have heard half of it"
    desk(rig, heard(480))
    assert not rig.asked(events.Transfer)
    desk(rig, heard(20))
    assert rig.marks("consultation_told") == [{"audio_ms": 1000}]
    assert [(one.uri, one.attended) for one in rig.asked(events.Transfer)] == [(DESK, True)]
    rig.tell(TransferProgressed(status=200))
    assert rig.marks("hang_up_sent") == [{"reason": "transferred"}]
    assert rig.asked(events.LeaveConsulted)
    assert len(rig.sent("response.create")) == 1, "there is nobody to speak to any more"


def test_a_caller_who_is_speaking_to_the_agent_is_handed_over_after_that() -> None:
    rig = calling()
    briefing(rig)
    rig.event("response.created", response={"id": "r2"})
    rig.delta(1000, response="r2", item="a2")
    said(rig)
    desk(rig, heard(1000))
    assert rig.marks("consultation_told")
    assert not rig.asked(events.Transfer)
    rig.event("response.done", response={"id": "r2", "status": "completed", "output": []})
    rig.wait(1_020)
    assert [one.attended for one in rig.asked(events.Transfer)] == [True]


BUSY = HungUp(by="network", status=486, reason="Busy Here")


@pytest.mark.parametrize(
    ("stage", "reports", "why"),
    [
        ("ringing", (BUSY,), "SIP status 486 (Busy Here)"),
        ("told", (HungUp(by="network", status=200, reason="x"),), "SIP status 200"),
        ("heard", (heard(1000), BUSY), "SIP status 486"),
    ],
)
def test_who_does_not_take_the_caller_leaves_it_with_us(
    stage: str, reports: tuple[LegInput, ...], why: str
) -> None:
    rig = calling()
    if stage != "ringing":
        briefing(rig)
    desk(rig, *reports)
    assert "not transferred" in outputs(rig)[0]
    assert why in outputs(rig)[0]
    assert not rig.asked(events.Transfer)
    assert rig.sent("response.create")[-1]["response"]["metadata"] == {"purpose": "turn"}
    assert not rig.asked(events.LeaveConsulted), "they have left"
    said(rig)
    desk(rig, heard(1000))
    assert not rig.asked(events.Transfer), "what still comes of that is nothing any more"


def test_nobody_answers() -> None:
    rig = calling()
    rig.wait(19_980)
    assert not outputs(rig)
    rig.wait(20)
    assert rig.marks("watchdog_fired") == [{"what": "consultation"}]
    assert "nobody answered within 20 s" in outputs(rig)[0]
    assert rig.asked(events.LeaveConsulted)


def test_they_are_never_told() -> None:
    """No response comes; the function has its limit as every other has, behind the ringing."""
    rig = calling()
    desk(rig, MediaReady(codec="PCMU"))
    rig.wait(60_000)
    assert {"what": "tool"} in rig.marks("watchdog_fired")
    assert "not transferred: nobody answered there" in outputs(rig)[0]
    assert rig.asked(events.LeaveConsulted)
    said(rig)
    assert not rig.asked(events.Transfer)


@pytest.mark.parametrize("fault", ["refused", "silent", "lost"])
def test_they_cannot_be_told(fault: str) -> None:
    rig = calling()
    desk(rig, MediaReady(codec="PCMU"))
    (asked,) = rig.sent("response.create")
    if fault == "refused":
        error = {"type": "x", "code": "y", "message": "No.", "event_id": asked["event_id"]}
        rig.event("error", error=error)
    elif fault == "silent":
        rig.event("response.created", response={"id": "b1", "metadata": {"purpose": "briefing"}})
        said(rig, "failed")
    else:
        rig.tell(RealtimeClosed(code=1006, reason="lost"))
        rig.wait(1_000)
        rig.connect()
    assert rig.asked(events.LeaveConsulted)
    assert not rig.asked(events.Transfer)
    assert "not transferred" in outputs(rig)[0]


def test_a_caller_whose_telephone_refuses_stays_with_us() -> None:
    rig = calling()
    briefing(rig)
    said(rig)
    desk(rig, heard(1000))
    rig.tell(TransferProgressed(status=603))
    assert "603" in outputs(rig)[0]
    assert rig.asked(events.LeaveConsulted)
    assert not rig.marks("hang_up_sent")


@pytest.mark.parametrize("who", ["caller", "we"])
def test_they_are_left_when_the_call_ends(who: str) -> None:
    rig = calling()
    briefing(rig)
    if who == "caller":
        rig.tell(HungUp(by="caller", status=200, reason="x"))
    else:
        rig.tell(EndRequested(reason="drain", at_once=True))
        rig.tell(HungUp(by="agent", status=200, reason="x"))
    assert rig.asked(events.LeaveConsulted)
    assert rig.finished


def test_what_they_are_told_is_no_answer_of_the_callers_whenever_it_begins() -> None:
    """A `response.created` behind its own end was taken for an answer that runs."""
    rig = calling()
    desk(rig, MediaReady(codec="PCMU"))
    response = {"id": "b1", "metadata": {"purpose": "briefing"}}
    rig.event("response.done", response={**response, "status": "completed", "output": []})
    rig.event("response.created", response=response)
    desk(rig, HungUp(by="caller", status=200, reason="OK"))
    rig.event("response.created", response=response)
    assert rig.marks("response_created") == [{"response": "r1"}]
