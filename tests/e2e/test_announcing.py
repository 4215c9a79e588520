"""`callerside-agent serve --announce` whose announcements nobody takes: its calls go on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_rig import Agent, fake_realtime, fill_output, until
from raw_sip import RawPhone

pytestmark = pytest.mark.e2e


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with fake_realtime(tmp_path) as url:
        agent = Agent(tmp_path, {"realtime": {"url": url}}, "--announce")
        yield agent
        agent.close()


def place_a_call(agent: Agent) -> None:
    before = len(agent.records())
    with RawPhone(int(agent.addresses[0].rpartition(":")[2])) as phone:
        assert phone.call(phone.sdp()).status == 200
        assert phone.request("BYE") == 200
    until(lambda: len(agent.records()) == before + 1, "its record")


@pytest.mark.parametrize("reader", ["gone", "asleep"])
def test_a_call_neither_waits_nor_fails(agent: Agent, reader: str) -> None:
    """A reader that has gone, as `head -1` does, or a pipe that is full."""
    assert agent.process.stdout is not None
    if reader == "gone":
        agent.process.stdout.close()
    else:
        fill_output(agent.process.pid)
    place_a_call(agent)
    place_a_call(agent)
    until(lambda: agent.metric("callerside_calls_active") == 0, "no call is left")
    assert len(agent.logged("announcements_lost")) == 1
    assert agent.logged("call_failed") == []
