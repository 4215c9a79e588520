"""Three hosts of one worker each, behind the proxy: one is killed, one drained, one upgraded.

The hosts are network namespaces on a bridge of this test's own; nothing of it leaves the machine.
"""

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from agent_rig import PYTHON, Agent, fake_realtime, free_port, until
from sip_rig import Phone

from callerside.agent.deploy.kamailio import (
    PROBE_INTERVAL_S,
    WORKER_TIMEOUT_MS,
    Proxy,
    render,
    write,
)
from callerside.agent.telephony.interface import (
    AudioReceived,
    CallAnswered,
    HungUp,
    MediaReady,
)
from callerside.agent.telephony.options import SipOptions
from callerside.audio import level_dbfs, to_samples, tone
from callerside.audio_files import write_wav

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.peer,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]

BRIDGE, HOME = "cside0", "10.213.77.1"
HOSTS = ("10.213.77.11", "10.213.77.12", "10.213.77.13")
CALLS_EACH = 4
TONE_S = 60
QUIET_DBFS = -50
FOUND_DEAD_S = 2.0
SILENT = """
import re, socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
    own.bind(("{host}", 5060))
    while True:
        print(re.search(rb"(?im)^call-id: *(.*?)\\r", own.recv(65_535))[1].decode(), flush=True)
"""
"""What has a dead worker's place, and tells which probes come; one sent again has its Call-ID."""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


@pytest.fixture(scope="module")
def namespaces() -> Iterator[Sequence[str]]:
    """One of each host, which reaches the bridge and nothing else."""
    names = [f"cside-{number}" for number in range(len(HOSTS))]
    for leftover in (("link", "del", BRIDGE), *(("netns", "del", name) for name in names)):
        subprocess.run(["ip", *leftover], check=False, stderr=subprocess.DEVNULL)
    with contextlib.ExitStack() as stack:
        ip("link", "add", BRIDGE, "type", "bridge")
        stack.callback(ip, "link", "del", BRIDGE)
        ip("addr", "add", f"{HOME}/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        for number, (name, address) in enumerate(zip(names, HOSTS, strict=True)):
            ip("netns", "add", name)
            stack.callback(ip, "netns", "del", name)
            here = f"cside-v{number}"
            ip("link", "add", here, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", here, "master", BRIDGE, "up")
            for inside in (
                ("addr", "add", f"{address}/24", "dev", "eth0"),
                ("link", "set", "eth0", "up"),
                ("link", "set", "lo", "up"),
            ):
                ip("-n", name, *inside)
        yield names


class Hosts:
    """The agents, one on each."""

    def __init__(self, folder: Path, namespaces: Sequence[str], realtime: str) -> None:
        self._folder, self._namespaces, self._realtime = folder, namespaces, realtime
        self._starts = itertools.count()
        self.agents = [self._start(number) for number in range(len(HOSTS))]

    def _start(self, number: int) -> Agent:
        folder = self._folder / f"start-{next(self._starts)}"
        folder.mkdir()
        settings = {
            "realtime": {"url": self._realtime},
            "sip": {"host": HOSTS[number], "port": 5060, "engine": "baresip"},
            "http": {"host": HOSTS[number], "port": 9464},
            "greeting": {"cache_dir": str(self._folder / "greetings")},
        }
        runner = ("ip", "netns", "exec", self._namespaces[number], *PYTHON)
        return Agent(folder, settings, runner=runner)

    def renew(self, number: int) -> None:
        """What an upgrade is: another process, where the one before has ended."""
        self.agents[number].close()
        self.agents[number] = self._start(number)

    def calls(self) -> list[int]:
        """Up on each, of those that are there."""
        return [
            int(one.metric("callerside_calls_active")) if one.process.poll() is None else -1
            for one in self.agents
        ]

    @contextlib.contextmanager
    def silent(self, number: int) -> Iterator[Callable[[], set[str]]]:
        """Nobody answers on a host; gives the probes that have come to it."""
        told = self._folder / "probes.txt"
        inside = ("ip", "netns", "exec", self._namespaces[number])
        program = SILENT.format(host=HOSTS[number])
        with told.open("w") as output:
            listener = subprocess.Popen([*inside, sys.executable, "-c", program], stdout=output)
        try:
            yield lambda: set(told.read_text().split())
        finally:
            listener.kill()
            listener.wait()

    def close(self) -> None:
        for one in self.agents:
            one.close()


@pytest.fixture
def hosts(namespaces: Sequence[str], tmp_path: Path) -> Iterator[Hosts]:
    sound = to_samples(tone(700, TONE_S * 1000, 24_000))
    write_wav(tmp_path / "tone.wav", sound, 24_000)
    script = {"greeting": {"wav": "tone.wav"}}
    with fake_realtime(tmp_path, script, ["--host", HOME]) as url:
        hosts = Hosts(tmp_path, namespaces, url)
        yield hosts
        hosts.close()


class Proxied:
    """Kamailio, with the configuration that is made for it."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("kamailio", path="/usr/sbin:/usr/local/sbin:/usr/bin")
        if program is None:
            pytest.skip("kamailio is not installed (Debian: apt install kamailio)")
        self.port = free_port()
        self.uri = f"sip:100@{HOME}:{self.port}"
        workers = [f"{host}:5060" for host in HOSTS]
        write(render(Proxy(host=HOME, port=self.port, workers=workers), folder))
        self.log_path = folder / "kamailio.log"
        with self.log_path.open("w") as log:
            self._process = subprocess.Popen(
                [
                    *(program, "-f", str(folder / "kamailio.cfg"), "-Y", str(folder)),
                    *("-DD", "-E", "-m", "16", "-M", "4", "-P", str(folder / "kamailio.pid")),
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

        until(self._connects, "kamailio listens")

    def _connects(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((HOME, self.port)):
            return True
        return False

    def log(self) -> str:
        return self.log_path.read_text()

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@pytest.fixture
def proxy(hosts: Hosts, tmp_path: Path) -> Iterator[Proxied]:
    (tmp_path / "kamailio").mkdir()
    proxied = Proxied(tmp_path / "kamailio")
    yield proxied
    proxied.close()


@pytest.fixture
def phone(namespaces: Sequence[str]) -> Iterator[Phone]:
    phone = Phone("caller", SipOptions(listen_host=HOME, max_calls=12), engine="baresip")
    yield phone
    phone.close()


class Caller:
    def __init__(self, phone: Phone, uri: str) -> None:
        self.phone, self.number = phone, phone.dial(uri)
        phone.wait_for(self.number, CallAnswered, within_s=10)
        phone.wait_for(self.number, MediaReady, within_s=10)

    def frames(self) -> list[AudioReceived]:
        told = self.phone.told(self.number)
        return [one.input for one in told if isinstance(one.input, AudioReceived)]

    @property
    def is_up(self) -> bool:
        return not any(isinstance(one, HungUp) for one in self.phone.signals(self.number))

    def hang_up(self) -> None:
        self.phone.do(self.number, "hang_up")
        assert self.phone.wait_for(self.number, HungUp).status == 200


def hearing(callers: Sequence[Caller]) -> list[bool]:
    """Of each, whether there is sound in what comes within half a second."""
    since = [len(one.frames()) for one in callers]
    time.sleep(0.5)
    return [
        any(level_dbfs(to_samples(frame.pcm)) > QUIET_DBFS for frame in one.frames()[first:])
        for one, first in zip(callers, since, strict=True)
    ]


def test_one_is_killed_one_drained_one_upgraded(hosts: Hosts, proxy: Proxied, phone: Phone) -> None:
    callers = [Caller(phone, proxy.uri) for _ in range(CALLS_EACH * len(HOSTS))]
    assert hosts.calls() == [CALLS_EACH] * len(HOSTS)
    until(lambda: all(hearing(callers)), "the tone is heard by all")

    hosts.agents[0].signal(signal.SIGKILL)
    hosts.agents[0].process.wait()
    with hosts.silent(0) as probes:
        until(
            lambda: f"{HOSTS[0]}:5060;transport=udp is out of turn" in proxy.log(),
            "the proxy to find out",
        )
        # By its probes and not by the clock, which goes on where the machine stands still: the next
        # one after the last answer, and one more that may have left before that had come to an end.
        assert len(probes()) <= 2
    assert PROBE_INTERVAL_S + WORKER_TIMEOUT_MS / 1000 < FOUND_DEAD_S
    heard = hearing(callers)
    assert heard.count(False) == CALLS_EACH, "its calls die, and none of the others"
    lost = [one for one, hears in zip(callers, heard, strict=True) if not hears]
    for one in lost:
        phone.do(one.number, "vanish")
    callers = [one for one in callers if one not in lost]
    began_s = time.monotonic()
    more = [Caller(phone, proxy.uri) for _ in range(2)]
    assert time.monotonic() - began_s < 1.0, "answered elsewhere, at once"
    assert hosts.calls() == [-1, CALLS_EACH + 1, CALLS_EACH + 1]
    for one in more:
        one.hang_up()

    hosts.agents[1].signal(signal.SIGTERM)
    until(lambda: hosts.agents[1].metric("callerside_draining") == 1, "it drains")
    more = [Caller(phone, proxy.uri) for _ in range(3)]
    assert hosts.calls() == [-1, CALLS_EACH, CALLS_EACH + 3], "a drained one gets no new call"
    assert all(hearing(callers)), "and none of its own dies"
    for one in more:
        one.hang_up()

    hosts.renew(0)
    until(
        lambda: proxy.log().count(f"{HOSTS[0]}:5060;transport=udp takes calls again"),
        "it is found again",
        10,
    )
    more = [Caller(phone, proxy.uri) for _ in range(4)]
    assert hosts.calls()[0] >= 1, "the upgraded one takes its share"
    assert all(hearing(callers))
    for one in [*more, *callers]:
        assert one.is_up
        one.hang_up()
    assert hosts.agents[1].wait() == 0
    assert len(hosts.agents[1].records()) >= CALLS_EACH
