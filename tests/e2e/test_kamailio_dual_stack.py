"""One proxy at addresses of both families, before workers at both: who calls hears the greeting."""

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from agent_rig import Agent, fake_realtime, free_port, until
from sip_rig import Phone, pitch_hz

from callerside.agent.telephony.engine import PROFILES
from callerside.agent.telephony.interface import AudioReceived, CallAnswered, HungUp, MediaReady
from callerside.agent.telephony.options import SipOptions
from callerside.audio import to_samples, tone
from callerside.audio_files import write_wav
from callerside.simulator.caller.recorder import CALLER_RATE_HZ

pytestmark = [pytest.mark.e2e, pytest.mark.peer]

HOSTS = ("127.0.0.1", "::1")
WORKERS = 2
TONE_HZ = 700
WAIT_S = 30.0
SHORT = "200"
"""A number whose calls end soon."""
TRANSLATED = "Creating new call"


@dataclass(frozen=True, slots=True)
class Edge:
    agent: Agent
    port: int
    """Of the proxy, in both families."""


def port_of_workers() -> int:
    """The first of as many ports in a row as there are workers, free in both families."""
    for _ in range(100):
        first = free_port()
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + WORKERS):
                for host in HOSTS:
                    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                        family = socket.AF_INET6 if ":" in host else socket.AF_INET
                        one = stack.enter_context(socket.socket(family, kind))
                        one.bind((host, port))
            return first
    raise RuntimeError("no free ports in a row")


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """Workers of both families."""
    with proxy(tmp_path_factory.mktemp("edge"), engine="baresip", second_host=HOSTS[1]) as made:
        yield made


@pytest.fixture(scope="module", params=tuple(PROFILES))
def translating(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Edge]:
    """Workers of IPv4 alone."""
    folder = tmp_path_factory.mktemp("translating")
    told, first = free_port(), free_port()
    options = ("--translate", "--rtpengine", f"127.0.0.1:{told}")
    ports = ("--media-ports", f"{first}-{first + 100}")
    with proxy(folder, *options, *ports, engine=request.param) as made:
        yield made


def needed(program: str, package: str) -> str:
    found = shutil.which(program, path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if found is None:
        pytest.skip(f"{program} is not installed (Debian: apt install {package})")
    return found


@contextlib.contextmanager
def proxy(folder: Path, *options: str, **sip: str) -> Iterator[Edge]:
    """A proxy at both addresses, with `options`, before workers of these settings."""
    kamailio = needed("kamailio", "kamailio")
    rtpengine = needed("rtpengine", "rtpengine-daemon") if "--translate" in options else ""
    write_wav(folder / "tone.wav", to_samples(tone(TONE_HZ, 7_000, 24_000)), 24_000)
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(fake_realtime(folder, {"greeting": {"wav": "tone.wav"}}))
        settings = {
            "realtime": {"url": url},
            "sip": {
                "host": HOSTS[0],
                "port": port_of_workers(),
                "allowed_peers": list(HOSTS),
                **sip,
            },
            "routes": [{"called": SHORT, "limits": {"call_ms": 2_000}}],
        }
        agent = Agent(folder, settings, "--workers", str(WORKERS))
        stack.callback(agent.close)
        port, out = free_port(), folder / "kamailio"
        listen = [("--listen", f"127.0.0.1:{port}"), ("--listen", f"[::1]:{port}")]
        subprocess.run(
            [
                *(sys.executable, "-m", "callerside.agent.cli", "kamailio"),
                *("--config", str(agent.config), "--workers", str(WORKERS), "--out", str(out)),
                *(one for pair in listen for one in pair),
                *options,
            ],
            check=True,
            timeout=60,
        )
        if rtpengine:
            with_file = f"--config-file={out / 'rtpengine.conf'}"
            pid = f"--pidfile={out / 'rtpengine.pid'}"
            start(stack, out, rtpengine, with_file, "--foreground", "--log-stderr", pid)
        start(
            *(stack, out, kamailio, "-f", str(out / "kamailio.cfg"), "-Y", str(out), "-DD", "-E"),
            *("-m", "16", "-M", "4", "-P", str(out / "kamailio.pid")),
        )
        until(lambda: all(listens(host, port) for host in HOSTS), "kamailio listens")
        yield Edge(agent, port)


def start(stack: contextlib.ExitStack, folder: Path, *command: str) -> None:
    with (folder / f"{Path(command[0]).name}.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    stack.callback(ended, process)


def ended(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def listens(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@pytest.mark.parametrize("over", ["udp", "tcp"])
@pytest.mark.parametrize("host", HOSTS)
def test_whoever_calls_by_either_family_hears_the_greeting(
    edge: Edge, host: str, over: str
) -> None:
    hears_the_greeting(edge, host, over)


@pytest.mark.parametrize("host", HOSTS)
def test_rtpengine_translates_for_workers_of_one_family(translating: Edge, host: str) -> None:
    """Those of their family it does not stand before."""
    log = translating.agent.config.parent / "kamailio/rtpengine.log"
    before = log.read_text().count(TRANSLATED)
    hears_the_greeting(translating, host, "udp")
    assert log.read_text().count(TRANSLATED) - before == (":" in host)


def test_a_good_bye_of_the_agents_gets_to_a_caller_of_another_family(translating: Edge) -> None:
    phone = Phone("caller", SipOptions(listen_host="::1"), engine="baresip")
    try:
        call = phone.dial(f"sip:{SHORT}@{place('::1', translating.port)}")
        phone.wait_for(call, MediaReady, within_s=WAIT_S)
        ended = phone.wait_for(call, HungUp, within_s=WAIT_S)
    finally:
        phone.close()
    assert (ended.by, ended.status) == ("agent", 200)


def pitch_heard_hz(phone: Phone, call: int) -> float:
    """Of the last half second."""
    frames = [one.input for one in phone.told(call)]
    heard = b"".join(one.pcm for one in frames if isinstance(one, AudioReceived))
    return pitch_hz(heard[-CALLER_RATE_HZ:], CALLER_RATE_HZ)


def hears_the_greeting(edge: Edge, host: str, over: str) -> None:
    """One call, put on hold and taken up again."""
    records = len(edge.agent.records())
    phone = Phone("caller", SipOptions(listen_host=host), engine="baresip")
    try:
        call = phone.dial(f"sip:100@{place(host, edge.port)};transport={over}")
        phone.wait_for(call, CallAnswered, within_s=WAIT_S)
        phone.wait_for(call, MediaReady)
        phone.wait_for(call, AudioReceived, count=100, within_s=WAIT_S)
        phone.do(call, "hold")
        phone.do(call, "resume")
        phone.wait_for(call, AudioReceived, count=200, within_s=WAIT_S)
        until(lambda: pitch_heard_hz(phone, call) == pytest.approx(TONE_HZ, abs=5), "the tone")
        phone.do(call, "hang_up")
        assert phone.wait_for(call, HungUp).status == 200
    finally:
        phone.close()
    until(lambda: len(edge.agent.records()) == records + 1, "a record of the call")


@pytest.mark.parametrize("host", HOSTS)
def test_calls_of_each_family_go_round_all_workers(edge: Edge, host: str) -> None:
    until(lambda: active(edge) == [0] * WORKERS, "no calls")
    phone = Phone("caller", SipOptions(listen_host=host), engine="baresip")
    try:
        numbers = [phone.dial(f"sip:100@{place(host, edge.port)}") for _ in range(2 * WORKERS)]
        for number in numbers:
            phone.wait_for(number, CallAnswered, within_s=WAIT_S)
        until(lambda: active(edge) == [2] * WORKERS, "two calls of each worker")
        for number in numbers:
            phone.do(number, "hang_up")
            assert phone.wait_for(number, HungUp).status == 200
    finally:
        phone.close()


def active(edge: Edge) -> list[int]:
    told = (edge.agent.metric("callerside_calls_active", worker=str(n)) for n in range(WORKERS))
    return [int(one) for one in told]


def test_a_proxy_whose_workers_have_no_address_of_its_family_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "agent.yaml"
    config.write_text(yaml.safe_dump({"sip": {"host": "192.0.2.1", "port": 5061}}))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "callerside.agent.cli", "kamailio", "--config", str(config)),
            *("--listen", "[2001:db8::1]:5060", "--out", str(tmp_path / "out")),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "no address of its family" in done.stderr
    assert "sip.second_host" in done.stderr
