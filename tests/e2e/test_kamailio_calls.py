"""Twelve calls through a real Kamailio over three workers, one of which is killed."""

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from agent_rig import Agent, fake_realtime, free_port, until
from raw_sip import RTP_FRAME_BYTES, RawPhone, Response
from sip_floods import FLOOD_S, FRIEND, IS_FULL, KINDS, MANY, ONE, Listener, UdpFlood
from sip_rig import Phone
from tcp_floods import TcpFlood, tcp_sink
from under_flood import ANSWERED_MS, GAP_MS

from callerside.agent.service.crash_records import LOST
from callerside.agent.telephony.engine import PROFILES, EngineName
from callerside.agent.telephony.interface import (
    CallAnswered,
    HungUp,
    LegInput,
    MediaReady,
    RtpMeasured,
)
from callerside.agent.telephony.options import SipOptions, Transport
from callerside.audio import level_dbfs, to_samples, tone
from callerside.audio_files import write_wav

pytestmark = [pytest.mark.e2e, pytest.mark.peer]

WORKERS = 3
CALLS_EACH = 4
TONE_S = 60
QUIET_DBFS = -50
WAIT_S = 30.0


class Kamailio:
    """A real one, with the configuration that `callerside-agent kamailio` makes."""

    def __init__(self, config: Path, folder: Path) -> None:
        program = shutil.which("kamailio", path="/usr/sbin:/usr/local/sbin:/usr/bin")
        if program is None:
            pytest.skip("kamailio is not installed (Debian: apt install kamailio)")
        self.folder = folder
        self.port = free_port()
        self.uri = f"sip:100@127.0.0.1:{self.port}"
        arguments = ["kamailio", "--config", str(config), "--workers", str(WORKERS)]
        arguments += ["--listen", f"127.0.0.1:{self.port}", "--out", str(folder)]
        subprocess.run(
            [sys.executable, "-m", "callerside.agent.cli", *arguments], check=True, timeout=60
        )
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
        """What its log says of workers that did not answer, to a call or to a probe."""
        lines = (self.folder / "kamailio.log").read_text().splitlines()
        return [line for line in lines if "does not answer" in line or "is out of turn" in line]

    def wait_until_up(self) -> None:
        """Until it takes connections."""

        def connects() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return True
            return False

        until(connects, "kamailio listens")

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
    kamailio = Kamailio(agent.config, tmp_path / "kamailio")
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
    return [int(agent.metric("callerside_calls_active", worker=str(n))) for n in range(WORKERS)]


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


def test_a_worker_that_drains_is_passed_over(
    agent: Agent, kamailio: Kamailio, phones: list[Phone]
) -> None:
    callers = [Caller(phones[0], kamailio.uri) for _ in range(WORKERS)]
    for caller in callers:
        caller.wait_until_talking()
    os.kill(agent.worker_pids()[0], signal.SIGTERM)
    until(lambda: agent.metric("callerside_draining", worker="0") == 1, "it drains")
    more = [Caller(phones[1], kamailio.uri) for _ in range(WORKERS)]
    for caller in more:
        caller.wait_until_talking()
    assert calls_by_worker(agent)[0] == 1
    for caller in [*callers, *more]:
        assert caller.hang_up().status == 200


def wire(host: str, port: int = 0) -> socket.socket:
    """Somebody who is reached over UDP."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.bind((host, port))
    opened.settimeout(WAIT_S)
    return opened


def next_but_probes(worker: socket.socket) -> str:
    """What a worker is sent next; the proxy's OPTIONS are answered."""
    while True:
        message, proxy = worker.recvfrom(65536)
        text = message.decode()
        if not text.startswith("OPTIONS"):
            return text
        worker.sendto(reply(text, "200 OK"), proxy)


def reply(request: str, status: str, *headers: str) -> bytes:
    kept = [
        line
        for line in request.splitlines()
        if line.startswith(("Via:", "Record-Route:", "From:", "To:", "Call-ID:", "CSeq:"))
    ]
    lines = [f"SIP/2.0 {status}", *kept, *headers, "Content-Length: 0", "", ""]
    return "\r\n".join(lines).encode()


class Lone:
    """A proxy whose workers are sockets of the test."""

    def __init__(self, folder: Path, **sip: object) -> None:
        first = free_ports(WORKERS)
        self.workers = [wire("127.0.0.1", first + n) for n in range(WORKERS)]
        self.config = folder / "agent.yaml"
        settings = {"sip": {"port": first, "public_host": "198.51.100.7", **sip}}
        self.config.write_text(yaml.safe_dump(settings))
        self.kamailio = Kamailio(self.config, folder / "kamailio")
        self.port = self.kamailio.port
        self.kamailio.wait_until_up()

    def close(self) -> None:
        self.kamailio.close()
        for worker in self.workers:
            worker.close()


@pytest.fixture(scope="module")
def lone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lone]:
    lone = Lone(tmp_path_factory.mktemp("lone"))
    yield lone
    lone.close()


PER_S = 10
"""Of a worker's: the proxy's is as much for each."""


@pytest.mark.parametrize("over_limit", ["refuse", "drop"])
def test_the_proxy_has_the_limits_of_its_workers(tmp_path: Path, over_limit: str) -> None:
    """From one address, and from very many; whoever has not asked is served behind it."""
    sip = {"requests_per_source_per_s": PER_S, "requests_per_s": 2 * PER_S}
    lone = Lone(tmp_path, **sip, over_limit=over_limit)
    try:
        for sources in (ONE, MANY):
            with UdpFlood(lone.port, "INVITE", sources) as flood:
                pass
            assert bool(flood.over_limit) == (over_limit == "refuse")
            assert not flood.without_retry_after
        seen = sum(message.startswith("INVITE") for message in waiting(lone))
        most = WORKERS * PER_S * (2 * (FLOOD_S + 1) + 2)
        assert 0 < seen <= most * RETRANSMITTED
        time.sleep(2)  # in which what was counted is forgotten
        with RawPhone(lone.port, "127.0.0.2") as caller:
            assert caller.request("OPTIONS") == 200
    finally:
        lone.close()


RETRANSMITTED = 4
"""Times an INVITE is sent to workers that say nothing: again, and to the next ones."""


def waiting(lone: Lone) -> Iterator[str]:
    """What the workers have been sent so far."""
    for worker in lone.workers:
        worker.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                yield worker.recv(65536).decode()


@pytest.fixture
def victim() -> Iterator[socket.socket]:
    """Somebody whom the proxy does not know, at one port over UDP and TCP."""
    with wire("127.0.0.5") as udp, socket.socket() as tcp:
        tcp.bind(udp.getsockname())
        tcp.listen()
        tcp.setblocking(False)
        yield udp
        udp.settimeout(QUIET_S)
        with pytest.raises(TimeoutError):
            udp.recv(65536)
        with pytest.raises(BlockingIOError):
            tcp.accept()


QUIET_S = 0.3
"""The proxy passes a message on within milliseconds."""
FOREIGN = ["", ";transport=tcp"]
METHODS = ["MESSAGE", "INVITE", "BYE", "REFER", "OPTIONS", "REGISTER", "INFO", "ACK"]


@pytest.mark.parametrize("over", ["udp", "tcp"])
@pytest.mark.parametrize("towards", FOREIGN, ids=["udp", "tcp"])
@pytest.mark.parametrize("method", METHODS)
def test_an_invented_call_goes_nowhere(
    lone: Lone, victim: socket.socket, method: str, towards: str, over: Transport
) -> None:
    """Neither by the URI, nor by what is behind our Route, nor by a Route that is not ours."""
    elsewhere = f"127.0.0.5:{victim.getsockname()[1]}{towards}"
    worker = f"127.0.0.1:{lone.workers[0].getsockname()[1]}"
    ours, theirs = f"<sip:127.0.0.1:{lone.port};lr>", f"<sip:{elsewhere};lr>"
    for target, route in (
        (f"sip:q@{elsewhere}", ours),
        (f"sip:q@{elsewhere}", theirs),
        (f"sip:q@{worker}", f"{ours}, {theirs}"),
        (f"sip:q@{worker}", theirs),
        (f"sip:127.0.0.1:{lone.port}", f"{ours}, {theirs}"),
        (f"sip:127.0.0.1:{lone.port}", theirs),
    ):
        with RawPhone(lone.port, "127.0.0.2", over) as stranger:
            stranger.target = target
            stranger._to_tag = "invented"
            stranger.send(method, headers={"Route": route})
            if method != "ACK":  # which is not answered
                assert stranger.final(method).status in (403, 481), (target, route)
            stranger.send("OPTIONS", headers={"X": "behind it"})
    for worker_ in lone.workers:
        worker_.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while message := worker_.recv(65536).decode():
                assert message.startswith("OPTIONS sip:127.0.0.1"), message
        worker_.settimeout(WAIT_S)


def test_what_names_a_worker_and_means_another_goes_to_the_worker(
    lone: Lone, victim: socket.socket
) -> None:
    worker = lone.workers[0]
    port = worker.getsockname()[1]
    with RawPhone(lone.port, "127.0.0.2") as stranger:
        stranger._to_tag = "invented"
        stranger.target = f"sip:q@127.0.0.1:{port};maddr=127.0.0.5;transport=tcp"
        stranger.send("BYE", headers={"Route": f"<sip:127.0.0.1:{lone.port};lr>"})
        assert next_but_probes(worker).startswith("BYE ")


def test_an_invite_without_an_answer_takes_no_worker_out_of_turn(lone: Lone) -> None:
    """It may be the message's fault, and whoever can send it would keep all others from calling."""
    probed(lone)
    with contextlib.ExitStack() as stack:
        for _ in range(2 * ONE_BY_ONE):  # for longer than a worker may be silent
            caller = stack.enter_context(RawPhone(lone.port, "127.0.0.2"))
            caller.send("INVITE", caller.sdp())
            deadline = time.monotonic() + 1 / ONE_BY_ONE
            while time.monotonic() < deadline:
                silent_but_for_probes(lone)
                time.sleep(0.01)
            with pytest.raises(TimeoutError):  # each still waits for its workers, one by one
                caller.final(within_s=0.01)


ONE_BY_ONE = 10
"""Calls a second."""


def silent_but_for_probes(lone: Lone) -> None:
    """Let workers answer what they have been sent, but for calls."""
    for worker in lone.workers:
        worker.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                message, proxy = worker.recvfrom(65536)
                if message.startswith(b"OPTIONS"):
                    worker.sendto(reply(message.decode(), "200 OK"), proxy)
        worker.settimeout(WAIT_S)


@pytest.mark.parametrize("user", ["{called}", "j\xfcrgen", "a|b", "a<b"])
def test_what_is_no_uri_is_told(lone: Lone, user: str) -> None:
    """Workers may drop it without a word."""
    with RawPhone(lone.port, "127.0.0.2") as caller:
        caller.target = f"sip:{user}@127.0.0.1:{lone.port}"
        caller.send("INVITE", caller.sdp())
        assert caller.final().status == 400


def test_an_answer_that_nobody_waits_for_goes_nowhere(lone: Lone, victim: socket.socket) -> None:
    host, port = victim.getsockname()
    with RawPhone(lone.port, "127.0.0.2") as stranger:
        stranger.send_bytes(
            (
                "SIP/2.0 200 OK\r\n"
                f"Via: SIP/2.0/UDP 127.0.0.1:{lone.port};branch=z9hG4bKone\r\n"
                f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bKtwo\r\n"
                "From: <sip:x@y>;tag=x\r\nTo: <sip:x@y>;tag=z\r\nCall-ID: c\r\nCSeq: 1 BYE\r\n"
                "Content-Length: 0\r\n\r\n"
            ).encode()
        )
        stranger.send("OPTIONS")
        assert stranger.final("OPTIONS").status == 200


@pytest.mark.parametrize("over", ["udp", "tcp"])
@pytest.mark.parametrize("host", ["127.0.0.1", "198.51.100.7"], ids=["address", "public"])
def test_a_call_goes_both_ways_by_the_recorded_route(
    lone: Lone, over: Transport, host: str
) -> None:
    """ACK and BYE of the caller to a worker, also by its public name; what a worker asks to it."""
    with RawPhone(lone.port, "127.0.0.2", over) as caller:
        probed(lone)
        caller.send("INVITE", caller.sdp())
        worker, invite, proxy = invited(lone, caller)
        contact = f"sip:callerside@{host}:{worker.getsockname()[1]}"
        worker.sendto(
            reply(
                invite.replace("To: <sip:100@127.0.0.1>", "To: <sip:100@127.0.0.1>;tag=w"),
                "200 OK",
                f"Contact: <{contact}>",
            ),
            proxy,
        )
        answer = caller.final()
        assert answer.status == 200
        recorded = record_route(answer.message)
        back = {"Route": ", ".join(reversed(recorded))}
        caller.target = contact
        caller.send("ACK", headers=back, cseq=1)
        assert next_but_probes(worker).startswith("ACK ")
        caller.send("INFO", headers=back, cseq=2)
        request = next_but_probes(worker)
        assert request.startswith("INFO ")
        worker.sendto(reply(request, "200 OK"), proxy)
        assert caller.final("INFO").status == 200
        way = ", ".join(record_route(invite))
        worker.sendto(
            (
                f"BYE {caller.contact} SIP/2.0\r\n"
                f"Via: SIP/2.0/UDP 127.0.0.1:{worker.getsockname()[1]}"
                f";branch=z9hG4bK{over}{host}\r\n"
                f"Max-Forwards: 70\r\nRoute: {way}\r\n"
                "From: <sip:100@127.0.0.1>;tag=w\r\nTo: <sip:raw@127.0.0.2>;tag=raw\r\n"
                "Call-ID: bye\r\nCSeq: 9 BYE\r\nContent-Length: 0\r\n\r\n"
            ).encode(),
            proxy,
        )
        bye = caller.asked("BYE")
        assert bye
        caller.reply(bye, "200 OK")
        assert next_but_probes(worker).startswith("SIP/2.0 200 OK")


@pytest.mark.parametrize("engine", PROFILES)
def test_of_a_flood_over_tcp_the_workers_see_nothing(tmp_path: Path, engine: EngineName) -> None:
    """The proxy has the connections: also for an engine that does not count them (`tcp_floods`)."""
    sip = {"port": free_ports(WORKERS), "engine": engine, "allowed_peers": [FRIEND]}
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(fake_realtime(tmp_path, {"greeting": {"say": "Good morning."}}))
        limits = {"silence_ms": 0}  # nobody says a word for as long as all floods take
        settings = {"realtime": {"url": url}, "sip": sip, "limits": limits}
        agent = Agent(tmp_path, settings, "--workers", str(WORKERS))
        stack.callback(agent.close)
        kamailio = Kamailio(agent.config, tmp_path / "kamailio")
        stack.callback(kamailio.close)
        kamailio.wait_until_up()
        call_through(kamailio).hang_up()  # what is made once is there then
        up = call_through(kamailio)
        ear = Listener(up.phone.rtp, up.say)
        files = [psutil.Process(pid).num_fds() for pid in agent.worker_pids()]
        for kind, sources in itertools.product(KINDS if IS_FULL else ("INVITE",), (ONE, MANY)):
            with tcp_sink() as nobody, ear.longest_gap_ms() as alone:
                TcpFlood(nobody, kind, sources).run()
            with (
                ear.longest_gap_ms() as flooded,
                TcpFlood(kamailio.port, kind, sources) as flood,
            ):
                for over in TRANSPORTS:
                    began = time.monotonic()
                    honest = call_through(kamailio, over)
                    assert (time.monotonic() - began) * 1000 < ANSWERED_MS, (kind, over)
                    honest.hang_up()
            assert 0 < flooded[0] <= alone[0] + GAP_MS, kind
            assert flood.sent
            now = [psutil.Process(pid).num_fds() for pid in agent.worker_pids()]
            assert max(after - before for after, before in zip(now, files, strict=True)) <= MORE
        heard = len(ear.numbers)
        until(lambda: len(ear.numbers) > heard, "the call to be heard still")
        assert ear.steps == {1}, "a packet of the call is missing"
        up.hang_up()


TRANSPORTS: tuple[Transport, ...] = ("udp", "tcp")
MORE = 8
"""Files of a worker: of calls that are just over."""


class Through:
    """A call by way of the proxy, and along the route that it took."""

    def __init__(self, phone: RawPhone, answer: Response) -> None:
        self.phone = phone
        self._rtp_port = answer.audio_port
        self._back = {"Route": ", ".join(reversed(record_route(answer.message)))}
        contact = answer.header("Contact").partition("<")[2].partition(">")[0]
        phone.target = contact
        phone.send("ACK", headers=self._back, cseq=1)

    def say(self) -> None:
        """One packet of silence."""
        self.phone.send_rtp(b"\xff" * RTP_FRAME_BYTES, self._rtp_port)

    def hang_up(self) -> None:
        """And be gone."""
        with self.phone:
            assert self.phone.request("BYE", headers=self._back) == 200


def call_through(kamailio: Kamailio, over: Transport = "udp") -> Through:
    """One that is answered."""
    phone = RawPhone(kamailio.port, FRIEND, over)
    phone.send("INVITE", phone.sdp())
    answer = phone.final()
    assert answer.status == 200
    return Through(phone, answer)


def record_route(message: str) -> list[str]:
    """The route that a message has taken, the last hop first."""
    lines = [line for line in message.splitlines() if line.startswith("Record-Route: ")]
    return [hop for line in lines for hop in line.partition(": ")[2].split(", ")]


def probed(lone: Lone) -> None:
    """Answer a probe at each worker: one that was silent during other tests is taken for dead."""
    waiting = list(lone.workers)
    for worker in waiting:
        worker.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while worker.recv(65536):  # what came earlier has been given up
                pass

    def answered() -> bool:
        for worker in list(waiting):
            with contextlib.suppress(BlockingIOError):
                message, proxy = worker.recvfrom(65536)
                if message.startswith(b"OPTIONS"):
                    worker.sendto(reply(message.decode(), "200 OK"), proxy)
                    waiting.remove(worker)
        return not waiting

    until(answered, "a probe at each worker")
    time.sleep(QUIET_S)  # in which the proxy reads the answers


def invited(lone: Lone, caller: RawPhone) -> tuple[socket.socket, str, tuple[str, int]]:
    """The worker that has a caller's INVITE, the INVITE, and where it comes from.

    Those of other tests, which no worker has answered, the proxy still tries at one after another.
    """
    found: list[tuple[socket.socket, str, tuple[str, int]]] = []

    def came() -> bool:
        for worker in lone.workers:
            worker.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    message, proxy = worker.recvfrom(65536)
                    text = message.decode()
                    if text.startswith("INVITE") and caller.call_id in text:
                        found.append((worker, text, proxy))
                        worker.sendto(reply(text, "100 Trying"), proxy)
                        break
                    if text.startswith("OPTIONS"):
                        worker.sendto(reply(text, "200 OK"), proxy)
            worker.settimeout(WAIT_S)
        return bool(found)

    until(came, "an INVITE at a worker")
    return found[0]
