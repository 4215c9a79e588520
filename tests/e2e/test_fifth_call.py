"""The call after the fourth of a process: refused at once, told when to come again, and counted."""

import contextlib
import time
from collections.abc import Iterator

import pytest
from agent_rig import Agent, fake_realtime, until
from raw_sip import RawPhone

pytestmark = pytest.mark.e2e

RETRY_AFTER_S = 7
PROMPT_S = 1.0
"""A refusal takes a few milliseconds; a machine that stalls is no reason to fail."""


@pytest.fixture
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    folder = tmp_path_factory.mktemp("fifth")
    with fake_realtime(folder) as url:
        sip = {"port": 0, "retry_after_s": RETRY_AFTER_S}
        agent = Agent(folder, {"realtime": {"url": url}, "sip": sip})
        yield agent
        agent.close()


def test_it_is_refused_with_retry_after_and_the_four_stay(agent: Agent) -> None:
    port = int(agent.addresses[0].rpartition(":")[2])
    with contextlib.ExitStack() as stack:
        phones = [stack.enter_context(RawPhone(port)) for _ in range(4)]
        for phone in phones:
            assert phone.call(phone.sdp()).status == 200
        for refused in range(1, 4):
            refuse_one(port)
            assert agent.metric("callerside_calls_refused_total", status="486") == refused
        assert agent.metric("callerside_calls_active") == 4
        assert phones[0].request("BYE") == 200
        with RawPhone(port) as again:
            assert again.call(again.sdp()).status == 200, "a place is free again"
            assert again.request("BYE") == 200
        for phone in phones[1:]:
            assert phone.request("BYE") == 200
    until(lambda: told(agent) == 3, "a line for the first, and one that counts those behind it")


def told(agent: Agent) -> int:
    """Refused calls, as the log has them."""
    lines = agent.logged("sip_call_refused")
    return sum(sum(line.get("counts", {"": 1}).values()) for line in lines)


def refuse_one(port: int) -> None:
    with RawPhone(port) as fifth:
        began_s = time.monotonic()
        answer = fifth.call(fifth.sdp())
        assert time.monotonic() - began_s < PROMPT_S
        assert answer.status == 486
        assert answer.header("Retry-After") == str(RETRY_AFTER_S)
    with RawPhone(port) as asks:
        asks.send("OPTIONS")
        assert asks.final("OPTIONS").status == 200, "only calls are refused"
