"""Twelve calls through a real Kamailio over three workers, one of which is killed."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_rig import Agent, fake_realtime, free_port, until
from sip_rig import Phone

from agent.audio import level_dbfs, to_samples, tone, write_wav
from agent.leg import CallAnswered, HungUp, LegInput, MediaReady, RtpMeasured
from agent.open_calls import LOST
from agent.sip.options import SipOptions

pytestmark = [pytest.mark.e2e, pytest.mark.peer]

WORKERS = 3
CALLS_EACH = 4
TONE_S = 60
QUIET_DBFS = -50
WAIT_S = 30.0


class Kamailio:
    """A real one, with the configuration that `earshot-agent kamailio` makes."""

    def __init__(self, agent: Agent, folder: Path) -> None:
        program = shutil.which("kamailio", path="/usr/sbin:/usr/local/sbin:/usr/bin")
        if program is None:
            pytest.skip("kamailio is not installed (Debian: apt install kamailio)")
        self.folder = folder
        self.port = free_port()
        self.uri = f"sip:100@127.0.0.1:{self.port}"
        arguments = ["kamailio", "--config", str(agent.config), "--workers", str(WORKERS)]
        arguments += ["--listen", f"127.0.0.1:{self.port}", "--out", str(folder)]
        subprocess.run([sys.executable, "-m", "agent.cli", *arguments], check=True, timeout=60)
        with (folder / "kamailio.log").open("w") as log:
            self.process = subprocess.Popen(
                [
                    *(program, "-f", str(folder / "kamailio.cfg"), "-Y", str(folder)),
                    *("-DD", "-E", "-m", "16", "-M", "4", "-P", str(folder / "kamailio.pid")),
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def passed_over(self) -> list[str]:
        """What its log says of workers that did not answer."""
        lines = (self.folder / "kamailio.log").read_text().splitlines()
        return [line for line in lines if "does not answer" in line]

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def free_ports(count: int) -> int:
    """The first of so many free UDP and TCP ports in a row."""
    for _ in range(100):
        first = free_port()
        try:
            for port in range(first, first + count):
                for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                    with socket.socket(socket.AF_INET, kind) as taken:
                        taken.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise RuntimeError("no free ports in a row")


@pytest.fixture
def phones() -> Iterator[list[Phone]]:
    phones = [Phone("caller", SipOptions()) for _ in range(WORKERS + 1)]
    yield phones
    for phone in phones:
        phone.close()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    sound = to_samples(tone(700, TONE_S * 1000, 24_000))
    write_wav(tmp_path / "tone.wav", sound, 24_000)
    with fake_realtime(tmp_path, {"greeting": {"wav": "tone.wav"}}) as url:
        settings = {
            "realtime": {"url": url},
            "sip": {"port": free_ports(WORKERS)},
            "logs": {"format": "json", "level": "debug"},
        }
        agent = Agent(tmp_path, settings, "--workers", str(WORKERS))
        yield agent
        agent.close()


@pytest.fixture
def kamailio(agent: Agent, tmp_path: Path) -> Iterator[Kamailio]:
    kamailio = Kamailio(agent, tmp_path / "kamailio")
    yield kamailio
    kamailio.close()


class Caller:
    """One call, from its caller's side."""

    def __init__(self, phone: Phone, uri: str) -> None:
        self.phone = phone
        self.number = phone.dial(uri)

    def wait_until_talking(self) -> None:
        self.phone.wait_for(self.number, CallAnswered, within_s=WAIT_S)
        self.phone.wait_for(self.number, MediaReady, within_s=WAIT_S)

    def is_answered(self) -> bool:
        """Wait for the outcome; false if the call was refused."""
        final: list[LegInput] = []

        def decided() -> bool:
            told = self.phone.signals(self.number)
            final[:] = [each for each in told if isinstance(each, CallAnswered | HungUp)]
            return bool(final)

        until(decided, "an answer or a refusal")
        return isinstance(final[0], CallAnswered)

    def ended(self) -> HungUp:
        return self.phone.wait_for(self.number, HungUp, within_s=WAIT_S)

    def hang_up(self) -> HungUp:
        self.phone.do(self.number, "hang_up")
        return self.ended()

    def hears(self) -> bool:
        """Whether there was sound in the last 200 ms."""
        recorded = self.phone.recorded(self.number)
        return level_dbfs(to_samples(recorded.ear)[-recorded.rate_hz // 5 :]) > QUIET_DBFS

    def lost_packets(self) -> int:
        """Of the agent's sound; told when the call is over."""
        return self.phone.wait_for(self.number, RtpMeasured).lost_packets


def calls_by_worker(agent: Agent) -> list[int]:
    return [int(agent.metric("earshot_calls_active", worker=str(n))) for n in range(WORKERS)]


def warm_the_greeting(agent: Agent, phone: Phone, uri: str) -> None:
    """Have the tone in the cache, so that it need not be made twelve times at once."""
    caller = Caller(phone, uri)
    caller.wait_until_talking()
    until(lambda: agent.logged("greeting_cached"), "the greeting is in the cache")
    assert caller.hang_up().status == 200


def dial_until_answered(phone: Phone, uri: str) -> Caller:
    """Call again when no line was free: a good-bye, or a new worker, may not be known yet."""
    callers: list[Caller] = []

    def answered() -> bool:
        callers.append(Caller(phone, uri))
        return callers[-1].is_answered()

    until(answered, "a line is free")
    return callers[-1]


def fill(agent: Agent, phones: list[Phone], uri: str) -> list[Caller]:
    """As many calls as there are lines."""
    callers = [Caller(phone, uri) for phone in phones for _ in range(CALLS_EACH)]
    for caller in callers:
        caller.wait_until_talking()
    until(lambda: calls_by_worker(agent) == [CALLS_EACH] * WORKERS, "every line is taken")
    return callers


@pytest.mark.timeout(300)
def test_twelve_calls_over_three_workers_one_killed(
    agent: Agent, kamailio: Kamailio, phones: list[Phone]
) -> None:
    *phones, spare = phones
    warm_the_greeting(agent, spare, kamailio.uri)
    callers = fill(agent, phones, kamailio.uri)
    until(lambda: all(caller.hears() for caller in callers), "the tone is heard by all")
    assert Caller(spare, kamailio.uri).ended().status == 503

    # Nobody starts a new worker yet, so that the proxy has to do without.
    pid = agent.worker_pids()[1]
    agent.signal(signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    until(lambda: sum(not caller.hears() for caller in callers) == CALLS_EACH, "four fall silent")
    lost = [caller for caller in callers if not caller.hears()]
    kept = [caller for caller in callers if caller not in lost]
    for caller in kept[:CALLS_EACH]:
        assert caller.hang_up().status == 200
    instead = [dial_until_answered(spare, kamailio.uri) for _ in range(CALLS_EACH)]
    dead = agent.addresses[1].removeprefix("sip:")
    assert any(dead in line for line in kamailio.passed_over()), "nobody was passed on"

    agent.signal(signal.SIGCONT)
    for caller in lost:
        caller.phone.do(caller.number, "vanish")
    again = [dial_until_answered(caller.phone, kamailio.uri) for caller in lost]
    assert agent.workers()[1]["restarts"] == 1
    assert calls_by_worker(agent) == [CALLS_EACH] * WORKERS
    for caller in [*kept[CALLS_EACH:], *instead, *again]:
        assert caller.hang_up().status == 200
    assert [caller.lost_packets() for caller in kept] == [0] * len(kept)
    ended_well = 1 + len(kept) + len(instead) + len(again)
    until(lambda: len(agent.records()) == ended_well + len(lost), "a record of every call")
    assert [record["ended"] for record in agent.records()].count(LOST) == len(lost)


@pytest.mark.timeout(300)
def test_a_worker_that_drains_is_passed_over(
    agent: Agent, kamailio: Kamailio, phones: list[Phone]
) -> None:
    callers = [Caller(phones[0], kamailio.uri) for _ in range(WORKERS)]
    for caller in callers:
        caller.wait_until_talking()
    os.kill(agent.worker_pids()[0], signal.SIGTERM)
    until(lambda: agent.metric("earshot_draining", worker="0") == 1, "it drains")
    more = [Caller(phones[1], kamailio.uri) for _ in range(WORKERS)]
    for caller in more:
        caller.wait_until_talking()
    assert calls_by_worker(agent)[0] == 1
    for caller in [*callers, *more]:
        assert caller.hang_up().status == 200
