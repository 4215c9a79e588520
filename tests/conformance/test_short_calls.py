"""Very many short calls in a row leave nothing behind, whichever engine, whoever calls.

`CALLERSIDE_SHORT_CALLS` says how many; `nox -s soak` plays 10,000.
"""

import logging
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
LAST_CALLS = 10
PAUSE_S = 0.02
TRANSACTION_S = 33.0
"""Longer than its transactions outlive a call (RFC 3261 §17)."""
MANY_CALLS = 300
"""From which on we wait for that; with fewer, they may hold what they do."""
BYTES_A_CALL = 25_000
"""More than transactions hold of a call."""
SLACK_BYTES = 6_000_000
WARM_UP = min(CALLS, MANY_CALLS)
"""Calls, until all is loaded and every buffer is as large as it gets."""


@pytest.mark.timeout(max(900, CALLS // 2))
@pytest.mark.parametrize(
    ("engine", "role"), list(product(PROFILES, ("agent", "caller"))), ids=lambda value: str(value)
)
def test_short_calls_leave_nothing_behind(engine: EngineName, role: str) -> None:
    options = SipOptions(sample_rate_hz=8_000)
    reaction = answer_at_once if role == "agent" else None
    with open_phone(role, options, reaction, engine=engine) as phone:
        phone.keep_audio(False)
        phone.keep_calls(LAST_CALLS)
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
    logging.getLogger(__name__).info(
        "%s as %s: %d calls, %.0f bytes a call", engine, role, CALLS, grown / CALLS
    )
    allowed = SLACK_BYTES + (0 if CALLS >= MANY_CALLS else CALLS * BYTES_A_CALL)
    assert grown < allowed, f"{grown / CALLS:.0f} bytes a call"


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
    time.sleep(TRANSACTION_S if CALLS >= MANY_CALLS else 1.0)
    phone.give_back()
    return phone.facts()
