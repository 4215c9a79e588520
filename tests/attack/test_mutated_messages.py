"""Very many messages that are nearly right: no crash, no leak, no answer that is none.

CALLERSIDE_MUTATED says how many there are, CALLERSIDE_SEED which.
"""

import os
import random
import re
import socket
import time
from collections.abc import Iterator

import pytest
from mutations import mutated
from raw_sip import RawPhone
from sip_rig import Phone, open_phone, wait_until
from torture import TAKEN

from callerside.agent.telephony.engine import PROFILES
from callerside.agent.telephony.interface import CallLeg, CallReceived, LegInput
from callerside.agent.telephony.options import SipOptions

pytestmark = pytest.mark.e2e

MESSAGES = int(os.environ.get("CALLERSIDE_MUTATED", "300"))
PER_S = 250
BY_TCP = 25
"""One of so many goes over a connection of its own."""
GROWS_BY_MIB = 40
GROWS_BY_FILES = 8
_ANSWER = re.compile(
    rb"SIP/2\.0 [1-6]\d\d [^\r\n]*\r\n"
    rb"(?:[A-Za-z0-9.!%*_+`'~-]+[ \t]*:[^\r\n]*\r\n(?:[ \t]+[^\r\n]*\r\n)*)+\r\n"
)


def take_nobody(leg: CallLeg, item: LegInput) -> None:
    if isinstance(item, CallReceived):
        leg.hang_up(TAKEN)


@pytest.fixture(params=tuple(PROFILES))
def agent(request: pytest.FixtureRequest) -> Iterator[Phone]:
    with open_phone("agent", SipOptions(), take_nobody, engine=request.param) as phone:
        yield phone


def test_whatever_comes_the_agent_stays_as_it_was(agent: Phone) -> None:
    seed = int(os.environ.get("CALLERSIDE_SEED", random.randrange(2**32)))
    print(f"CALLERSIDE_SEED={seed} CALLERSIDE_MUTATED={MESSAGES}")  # noqa: T201 - for repeating it
    rng = random.Random(seed)
    send(agent, rng, min(MESSAGES, 100))  # what is made once is there then
    settle(agent)
    before = agent.facts()
    answers = send(agent, rng, MESSAGES)
    settle(agent)
    after = agent.facts()
    wrong = [one for one in answers if not _ANSWER.match(one)]
    assert not wrong, f"no answer of SIP: {wrong[0]!r}"
    assert len(answers) > MESSAGES // 10, "one in ten is whole"
    assert after.open_files - before.open_files <= GROWS_BY_FILES
    assert (after.resident_bytes - before.resident_bytes) / 2**20 < GROWS_BY_MIB
    with RawPhone(agent.port) as honest:
        honest.send("INVITE", honest.sdp())
        assert honest.final().status == TAKEN
        honest.acknowledge()


def settle(agent: Phone) -> None:
    """Until what has come is done with, and sockets that were closed are gone."""
    time.sleep(1.0)
    wait_until(lambda: agent.facts().active_calls == 0, "calls to end")


def send(agent: Phone, rng: random.Random, count: int) -> list[bytes]:
    """Send so many, and return all that comes."""
    answers: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(("127.0.0.1", 0))
        own.setblocking(False)
        own_port = own.getsockname()[1]
        began = time.monotonic()
        for number in range(count):
            wire = mutated(rng, agent.port, own_port)
            if number % BY_TCP:
                own.sendto(wire, ("127.0.0.1", agent.port))
            else:
                over_tcp(agent.port, wire)
            answers += received(own)
            time.sleep(max(0.0, began + (number + 1) / PER_S - time.monotonic()))
        time.sleep(0.5)
        answers += received(own)
    return answers


def over_tcp(port: int, wire: bytes) -> None:
    """On a connection that ends in the midst of it, for all that the agent knows."""
    with socket.create_connection(("127.0.0.1", port), 5) as own:
        own.sendall(wire)


def received(own: socket.socket) -> list[bytes]:
    """All that is there now, but for requests."""
    came = []
    try:
        while True:
            one = own.recv(65_536)
            if one.startswith(b"SIP/2.0"):
                came.append(one)
    except BlockingIOError:
        return came
