"""Programs that are not ours on the other end: SIPp, baresip, and Kamailio as a PBX."""

import random
import shutil
import socket
import subprocess
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from baresip_program import write_baresip_config
from sip_rig import Phone, wait_until

from callerside.agent.telephony.interface import (
    AudioReceived,
    CallLeg,
    CallReceived,
    DtmfReceived,
    HungUp,
    LegInput,
    MediaReady,
    TransferProgressed,
)
from callerside.agent.telephony.options import Registration, SipOptions
from callerside.audio import level_dbfs, to_samples, tone
from callerside.audio_files import read_wav

pytestmark = [pytest.mark.e2e, pytest.mark.peer]

RATE_HZ = 8_000
SECRET = "correct horse"  # of a PBX that lives for one test


def needs(program: str) -> pytest.MarkDecorator:
    missing = shutil.which(program) is None
    return pytest.mark.skipif(missing, reason=f"{program} is not installed")


def answer_and_sing(leg: CallLeg, item: LegInput) -> None:
    if isinstance(item, CallReceived):
        leg.answer()
    if isinstance(item, MediaReady):
        leg.play(tone(440, 10_000, leg.sample_rate_hz))


@pytest.fixture(scope="module")
def agent() -> Iterator[Phone]:
    phone = Phone("agent", SipOptions(sample_rate_hz=RATE_HZ))
    phone.behave(answer_and_sing)
    yield phone
    assert phone.close() == 0


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts programs, and sees that none is left."""
    started: list[subprocess.Popen[str]] = []

    def start(*command: str, cwd: Path) -> subprocess.Popen[str]:
        log = (cwd / f"{Path(command[0]).name}.log").open("w")
        with log:
            process = subprocess.Popen(
                command, cwd=cwd, text=True, stdin=subprocess.PIPE, stdout=log, stderr=log
            )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()


@needs("sipp")
@pytest.mark.parametrize("transport", ["u1", "t1"], ids=["udp", "tcp"])
def test_sipp_places_ten_calls(agent: Phone, tmp_path: Path, transport: str) -> None:
    begun = agent.calls()
    done = subprocess.run(
        (
            f"sipp -sn uac 127.0.0.1:{agent.port} -i 127.0.0.1 -t {transport} -s 100"
            " -m 10 -l 3 -r 10 -d 200 -timeout 30s"
        ).split(),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2_000:]
    assert agent.calls() - begun == 10
    for call in range(begun, agent.calls()):
        assert agent.wait_for(call, HungUp).by == "caller"


@needs("baresip")
def test_baresip_is_transferred_and_tells_how_it_went(
    agent: Phone, tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """REFER and its NOTIFYs (RFC 3515); the target is a second call to the same agent."""
    write_baresip_config(tmp_path, "g711")
    call = agent.calls()
    uri = f"sip:100@127.0.0.1:{agent.port}"
    start("baresip", "-f", str(tmp_path), "-e", f"/dial {uri}", "-t", "20", cwd=tmp_path)
    agent.wait_for(call, AudioReceived, count=10)
    agent.do(call, "transfer", f"sip:operator@127.0.0.1:{agent.port}")
    assert agent.wait_for(call, TransferProgressed).status == 200
    assert agent.wait_for_call(call + 1).called == "operator"
    for number in (call, call + 1):
        agent.do(number, "hang_up")
        agent.wait_for(number, HungUp)


@needs("baresip")
@pytest.mark.parametrize("codec", ["g711", "g722"])
def test_baresip_talks_and_listens(
    agent: Phone, tmp_path: Path, start: Callable[..., subprocess.Popen[str]], codec: str
) -> None:
    write_baresip_config(tmp_path, codec)
    call = agent.calls()
    uri = f"sip:100@127.0.0.1:{agent.port}"
    baresip = start("baresip", "-f", str(tmp_path), "-e", f"/dial {uri}", "-t", "12", cwd=tmp_path)
    try:
        agent.wait_for(call, AudioReceived, count=100)
    except TimeoutError as error:
        raise AssertionError((tmp_path / "baresip.log").read_text()[-3_000:]) from error
    agent.do(call, "send_dtmf", "1")
    agent.wait_for(call, AudioReceived, count=150)
    agent.do(call, "hang_up")
    agent.wait_for(call, HungUp)
    pcm = b"".join(t.input.pcm for t in agent.told(call) if isinstance(t.input, AudioReceived))
    assert loudest_hz(pcm) == pytest.approx(1_000, abs=10)
    baresip.terminate()
    baresip.wait(10)
    assert "received event: '1'" in (tmp_path / "baresip.log").read_text()
    (heard,) = tmp_path.glob("dump-*-dec.wav")
    assert loudest_hz(read_wav(heard, RATE_HZ)) == pytest.approx(440, abs=10)


def loudest_hz(pcm: bytes) -> float:
    samples = to_samples(pcm).astype(float)
    assert level_dbfs(samples) > -40
    return float(np.abs(np.fft.rfft(samples)).argmax() * RATE_HZ / len(samples))


KAMAILIO = """\
#!KAMAILIO
debug=0
log_stderror=yes
children=1
auto_aliases=no
listen=udp:127.0.0.1:{port}
listen=tcp:127.0.0.1:{port}
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
loadmodule "siputils.so"
loadmodule "textops.so"
modparam("usrloc", "db_mode", 0)
modparam("registrar", "min_expires", 2)
request_route {{
    if (is_method("REGISTER")) {{
        if (!pv_www_authenticate("pbx", "{secret}", "0")) {{
            www_challenge("pbx", "0");
            exit;
        }}
        save("location");
        exit;
    }}
    if (is_method("INVITE") && !has_totag()) {{
        record_route();
        if (!lookup("location")) {{
            sl_send_reply("404", "Not Found");
            exit;
        }}
    }} else {{
        loose_route();
    }}
    t_relay();
}}
"""


PROBE = "\r\n".join(
    (
        "REGISTER sip:127.0.0.1:{port} SIP/2.0",
        "Via: SIP/2.0/UDP {me};rport;branch=z9hG4bK-{me}",
        "From: <sip:probe@127.0.0.1>;tag=probe",
        "To: <sip:probe@127.0.0.1>",
        "Call-ID: {me}",
        "CSeq: 1 REGISTER",
        "Max-Forwards: 70",
        "Content-Length: 0",
        "\r\n",
    )
)


class Pbx:
    """A Kamailio that lets `agent` register, and sends its calls on."""

    def __init__(self, folder: Path, start: Callable[..., subprocess.Popen[str]]) -> None:
        self.port = _free_port()
        self._folder = folder
        self._start = start
        text = KAMAILIO.format(port=self.port, secret=SECRET)
        (folder / "kamailio.cfg").write_text(textwrap.dedent(text))

    def start(self) -> subprocess.Popen[str]:
        """Start it, and wait until it answers."""
        options = ["-DD", "-E", "-m", "16", "-M", "4", "-Y", str(self._folder)]
        started = self._start(
            "kamailio", "-f", str(self._folder / "kamailio.cfg"), *options, cwd=self._folder
        )
        wait_until(lambda: started.poll() is not None or self._answers(), "Kamailio", within_s=60)
        assert started.poll() is None, "Kamailio has ended"
        return started

    def _answers(self) -> bool:
        """Whether it asks a stranger who wants to register for a password."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(0.5)
            probe.connect(("127.0.0.1", self.port))
            me = f"127.0.0.1:{probe.getsockname()[1]}"
            try:
                probe.send(PROBE.format(port=self.port, me=me).encode())
                return probe.recv(2048).startswith(b"SIP/2.0 401 ")
            except OSError:  # too early: the port is closed, or nobody reads from it
                return False

    def registration(self, password: str = SECRET, transport: str = "udp") -> SipOptions:
        registration = Registration(
            registrar=f"127.0.0.1:{self.port}",
            user="agent",
            password=password,
            transport="tcp" if transport == "tcp" else "udp",
            expires_s=8,
            retry_s=1,
        )
        return SipOptions(registration=registration)


def _free_port() -> int:
    """One that is free for UDP and TCP, and that nobody gets who asks for any, or for RTP."""
    while True:
        port = random.randrange(5_100, 9_900)
        try:
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                with socket.socket(socket.AF_INET, kind) as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return port


@needs("kamailio")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_the_agent_registers_is_called_and_stays_registered(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]], transport: str
) -> None:
    pbx = Pbx(tmp_path, start)
    pbx.start()
    agent = Phone("agent", pbx.registration(transport=transport))
    caller = Phone("caller", SipOptions())
    try:
        agent.behave(answer_and_sing)
        wait_until(lambda: agent.registered() is True, "the registration")
        for _ in range(2):
            ours = caller.dial(f"sip:agent@127.0.0.1:{pbx.port}")
            caller.wait_for(ours, AudioReceived, count=25)
            caller.do(ours, "send_dtmf", "7")
            assert agent.wait_for(agent.calls() - 1, DtmfReceived).digit == "7"
            caller.do(ours, "hang_up")
            caller.wait_for(ours, HungUp)
            time.sleep(5)  # past the moment of the refresh, 5 s before the 8 s are over
        assert agent.registered() is True
    finally:
        assert agent.close() == 0
        assert caller.close() == 0


@needs("kamailio")
def test_a_wrong_password_is_told_and_the_agent_lives(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    pbx = Pbx(tmp_path, start)
    pbx.start()
    agent = Phone("agent", pbx.registration(password="wrong"))
    wait_until(lambda: agent.registered() is False, "the refusal")
    assert agent.close() == 0


@needs("kamailio")
def test_a_registrar_that_comes_late_is_found(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    pbx = Pbx(tmp_path, start)
    agent = Phone("agent", pbx.registration())
    time.sleep(1)
    assert agent.registered() is not True
    pbx.start()
    wait_until(lambda: agent.registered() is True, "the registration", within_s=30)
    assert agent.close() == 0
