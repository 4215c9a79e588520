"""An answer to an offer within a call comes when that call is over, and others have its place."""

import pytest
from raw_sip import RawPhone
from sip_rig import Phone, open_phone, wait_until

from callerside.agent.telephony.engine import PROFILES, EngineName
from callerside.agent.telephony.interface import HungUp, MediaReady
from callerside.agent.telephony.options import SipOptions

pytestmark = pytest.mark.e2e

PLACES = 4
"""Of PJSUA, which takes them in turn."""
OPTIONS = SipOptions(sample_rate_hz=8_000)


@pytest.mark.parametrize("answer", ["488 Not Acceptable Here", "200 OK", "491 Request Pending"])
@pytest.mark.parametrize("who", ["caller", "agent"])
@pytest.mark.parametrize("engine", PROFILES)
def test_it_is_no_answer_to_another_call(engine: EngineName, who: str, answer: str) -> None:
    """PJSUA took the media of the call that has the place, and an assertion ended the process."""
    with (
        open_phone("caller", OPTIONS, engine=engine) as phone,
        RawPhone(phone.port) as old,
    ):
        offer, call = held_without_an_answer(phone, old)
        if who == "caller":
            phone.do(call, "hang_up")
            old.reply(old.asked("BYE"), "200 OK")
        else:
            old.request("BYE")
        phone.wait_for(call, HungUp)
        for number in range(PLACES):
            with RawPhone(phone.port) as other:
                called(phone, other, old if number == PLACES - 1 else None, offer, answer)


def held_without_an_answer(phone: Phone, raw: RawPhone) -> tuple[str, int]:
    """Of a call that is up: our offer to hold, and its number."""
    call = phone.dial(f"sip:100@127.0.0.1:{raw.sip_port}")
    invite = raw.asked("INVITE")
    raw.take(invite)
    raw.reply(invite, "200 OK", body=raw.sdp())
    assert raw.asked("ACK")
    phone.wait_for(call, MediaReady)
    phone.do(call, "hold")
    offer = raw.asked("INVITE")
    assert "a=sendonly" in offer
    return offer, call


def called(phone: Phone, raw: RawPhone, late: RawPhone | None, offer: str, answer: str) -> None:
    """One more call: it is answered behind what comes late."""
    call = phone.dial(f"sip:100@127.0.0.1:{raw.sip_port}")
    invite = raw.asked("INVITE")
    raw.take(invite)
    if late is not None:
        late.reply(offer, answer, body=late.sdp(attributes="a=recvonly") * answer.startswith("2"))
    raw.reply(invite, "200 OK", body=raw.sdp())
    assert raw.asked("ACK")
    assert phone.wait_for(call, MediaReady).codec == "PCMU"
    assert raw.packets(0.2) > 5
    phone.do(call, "hang_up")
    raw.reply(raw.asked("BYE"), "200 OK")
    phone.wait_for(call, HungUp)
    wait_until(lambda: phone.facts().active_calls == 0, "the call to end")
