"""Very many short calls in a row leave nothing behind, whichever engine, whoever calls.

`CALLERSIDE_SHORT_CALLS` says how many; `nox -s soak` plays 10,000.
"""

import os
import time
from itertools import product

import psutil
import pytest
from raw_sip import RawPhone
from sip_rig import Facts, Phone, answer_at_once, open_phone, wait_until

from callerside.agent.telephony.engine import PROFILES, EngineName
from callerside.agent.telephony.interface import HungUp, MediaReady
from callerside.agent.telephony.options import SipOptions

pytestmark = pytest.mark.e2e

CALLS = int(os.environ.get("CALLERSIDE_SHORT_CALLS", "20"))
WARM_UP = 10
"""Calls, until all is loaded and every buffer is as large as it gets."""
PAUSE_S = 0.02
BYTES_A_CALL = 20_000
"""More than a call leaves of transactions, which live for 32 seconds (RFC 3261 §17)."""
SLACK_BYTES = 6_000_000


@pytest.mark.timeout(max(900, CALLS // 2))
@pytest.mark.parametrize(
    ("engine", "role"), list(product(PROFILES, ("agent", "caller"))), ids=lambda value: str(value)
)
def test_short_calls_leave_nothing_behind(engine: EngineName, role: str) -> None:
    options = SipOptions(sample_rate_hz=8_000)
    reaction = answer_at_once if role == "agent" else None
    with open_phone(role, options, reaction, engine=engine) as phone:
        phone.keep_audio(False)
        for _ in range(WARM_UP):
            one_call(phone, role)
        before = at_rest(phone)
        for _ in range(CALLS):
            one_call(phone, role)
        after = at_rest(phone)
        assert psutil.Process(phone.process.pid).children() == []
    assert after.threads == before.threads
    assert after.open_files == before.open_files
    assert after.udp_ports == before.udp_ports
    grown = after.resident_bytes - before.resident_bytes
    assert grown < SLACK_BYTES + min(CALLS, 300) * BYTES_A_CALL, f"{grown / CALLS:.0f} bytes a call"


def one_call(phone: Phone, role: str) -> None:
    call = phone.calls()
    with RawPhone(phone.port) as raw:
        if role == "agent":
            assert raw.call(raw.sdp()).status == 200
        else:
            phone.dial(f"sip:100@127.0.0.1:{raw.sip_port}")
            invite = raw.asked("INVITE")
            raw.take(invite)
            raw.reply(invite, "200 OK", body=raw.sdp())
            assert raw.asked("ACK")
        phone.wait_for(call, MediaReady)
        assert raw.request("BYE") == 200
        phone.wait_for(call, HungUp)
    wait_until(lambda: phone.facts().active_calls == 0, "the call to end")
    time.sleep(PAUSE_S)


def at_rest(phone: Phone) -> Facts:
    """What is held when all that closes late has closed: PJSUA2's sockets do so after 0.5 s."""
    time.sleep(1.0)
    return phone.facts()
