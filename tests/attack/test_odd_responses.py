"""Whoever calls survives what it is answered: responses with one thing wrong in each.

CALLERSIDE_MUTATED says how many there are, CALLERSIDE_SEED which.
"""

import os
import random
import time

import pytest
from odd_peer import OddPeer, Row, rows
from sip_rig import Phone, wait_until

from callerside.agent.telephony.engine import PROFILES, EngineName
from callerside.agent.telephony.interface import CallAnswered, HungUp
from callerside.agent.telephony.options import SipAccount, SipOptions

pytestmark = pytest.mark.e2e

RESPONSES = int(os.environ.get("CALLERSIDE_MUTATED", "300")) // 4
SOON_S = 0.03
WAIT_S = 1.5
"""For a call to come to its end by itself."""
RATE_HZ = 16_000


@pytest.mark.parametrize("engine", PROFILES)
def test_whatever_is_answered_the_caller_lives_and_the_call_ends(engine: EngineName) -> None:
    seed = int(os.environ.get("CALLERSIDE_SEED", random.randrange(2**32)))
    print(f"CALLERSIDE_SEED={seed} CALLERSIDE_MUTATED={4 * RESPONSES}")  # noqa: T201 - to repeat it
    every = rows()
    chosen = random.Random(seed).sample(every, min(RESPONSES, len(every)))
    honest = Row(name="an honest one", at="INVITE", status="200 OK", change=bytes)
    peer = OddPeer([*chosen, honest])
    options = SipOptions(account=SipAccount(user="me", password="secret"), sample_rate_hz=RATE_HZ)
    phone = Phone("caller", options, engine=engine)
    try:
        for number, row in enumerate(chosen):
            assert played(phone, peer.uri(number), row), f"{row.name}: has no end"
        call = phone.dial(peer.uri(len(chosen)))
        phone.wait_for(call, CallAnswered)
        phone.do(call, "hang_up")
        assert phone.wait_for(call, HungUp).by == "caller"
        wait_until(lambda: phone.facts().active_calls == 0, "all calls to end")
    finally:
        code = phone.close()
        peer.close()
    assert code == 0


def played(phone: Phone, uri: str, row: Row) -> bool:
    """Play a call, and whether it has come to an end."""
    call = phone.dial(uri)
    has_acted = False
    until_s = time.monotonic() + WAIT_S
    while time.monotonic() < until_s:
        told = phone.signals(call)
        if any(isinstance(one, HungUp) for one in told):
            return True
        if not has_acted and any(isinstance(one, CallAnswered) for one in told):
            has_acted = True
            act(phone, call, row)
        time.sleep(SOON_S / 10)
    phone.do(call, "hang_up")  # of what came nothing was an answer
    return isinstance(phone.wait_for(call, HungUp), HungUp)


def act(phone: Phone, call: int, row: Row) -> None:
    """Ask what the row is an answer to, and then hang up."""
    if row.at == "re-INVITE":
        phone.do(call, "hold")
    if row.at == "INFO":
        phone.do(call, "send_dtmf", "5", "info")
    time.sleep(SOON_S)
    phone.do(call, "hang_up")
