"""Very many INVITEs at once, from anybody: the process lives, and so does the call that is up.

PJSUA has 64 places for sockets, and aborts for want of the 65th: what is counted for that alone is
looked at on it alone.
"""

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from agent_rig import Agent, fake_realtime, until
from raw_sip import WAIT_S, Flood, RawPhone

pytestmark = pytest.mark.e2e

FRIEND, STRANGER = "127.0.0.1", "127.0.0.9"
RETRY_AFTER_S = 1
MOST_CALLS = 4
SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 9 RTP/AVP 0\r\n"
)
SDP_LINE = SDP.splitlines(keepends=True)[-1]
RATES = {"pjsua2": [(40, 100), (300, 70), (800, 200)], "baresip": [(40, 100), (800, 200)]}
FLOODS = [
    pytest.param(engine, *rate, id=f"{engine}-{rate[0]} at {rate[1]} a second")
    for engine, rates in RATES.items()
    for rate in rates
]
ON_PJSUA = pytest.mark.parametrize("engine", ["pjsua2"], indirect=True)


@pytest.fixture(scope="module", params=list(RATES))
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[Agent]:
    folder = tmp_path_factory.mktemp("flood")
    with fake_realtime(folder) as url:
        sip = {
            "engine": engine,
            "port": 0,
            "max_calls": MOST_CALLS,
            "retry_after_s": RETRY_AFTER_S,
            "allowed_peers": [FRIEND],
        }
        agent = Agent(folder, {"realtime": {"url": url}, "sip": sip})
        yield agent
        agent.close()


@pytest.fixture
def up(agent: Agent) -> Iterator[RawPhone]:
    """A call that is up before the flood; after it, it still is, and no packet of it is missing."""
    assert is_answered_within(WAIT_S, agent)
    with RawPhone(sip_port(agent)) as phone:
        assert phone.call(phone.sdp()).status == 200
        ear = Ear(phone.rtp)
        ear.hear(5)
        yield phone
        assert agent.process.poll() is None, agent.log_path.read_text()[-500:]
        ear.hear(5)
        assert ear.steps == {1}
        assert phone.request("BYE") == 200


class Ear(threading.Thread):
    """Reads RTP as it comes: what waits in a socket is thrown away when there is too much."""

    def __init__(self, rtp: socket.socket) -> None:
        super().__init__(daemon=True)
        self._rtp = rtp
        self._numbers: list[int] = []
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError):  # nothing comes any more, or the call is over
            while True:
                self._numbers.append(int.from_bytes(self._rtp.recv(2048)[2:4], "big"))

    def hear(self, more: int) -> None:
        """Until some more packets have come."""
        enough = len(self._numbers) + more
        until(lambda: len(self._numbers) >= enough, f"{more} more packets")

    @property
    def steps(self) -> set[int]:
        """From the number of each packet to that of the next: 1, if none is missing."""
        return {(after - before) % 2**16 for before, after in itertools.pairwise(self._numbers)}


def sip_port(agent: Agent) -> int:
    return int(agent.addresses[0].rpartition(":")[2])


def first_answer(agent: Agent) -> int:
    """The final status of one honest call, which is ended again."""
    with RawPhone(sip_port(agent)) as phone:
        answer = phone.call(phone.sdp())
        if answer.status == 200:
            assert phone.request("BYE") == 200
        else:
            assert answer.header("Retry-After") == str(RETRY_AFTER_S)
        return answer.status


def is_answered_within(limit_s: float, agent: Agent) -> bool:
    """A caller who comes again when told to is answered."""
    deadline_s = time.monotonic() + limit_s
    while first_answer(agent) != 200:
        if time.monotonic() > deadline_s:
            return False
        time.sleep(RETRY_AFTER_S)
    return True


@pytest.mark.parametrize("cancel", [False, True], ids=["alone", "cancelled"])
@pytest.mark.parametrize(("engine", "count", "per_s"), FLOODS, indirect=["engine"])
def test_of_strangers(
    agent: Agent, up: RawPhone, count: int, per_s: float, *, cancel: bool
) -> None:
    """With and without SDP, in turn."""
    del up  # it is looked at when all is over
    logged = len(agent.logged("sip_call_refused"))
    before = refused(agent, 403, "not_allowed") + refused(agent, 0, "rate")
    began_s = time.monotonic()
    with contextlib.closing(
        Flood(sip_port(agent), STRANGER, cancel=cancel, bodies=(SDP, ""))
    ) as flood:
        flood.run(count, per_s)
    assert flood.answers.keys() == {403}
    assert first_answer(agent) == 200
    told = refused(agent, 403, "not_allowed") + refused(agent, 0, "rate") - before
    assert told >= flood.answers[403]
    assert not refused(agent, 403, "failed"), "each is told once"
    lines = len(agent.logged("sip_call_refused")) - logged
    assert lines <= time.monotonic() - began_s + 2, "one a second"


@pytest.mark.parametrize(("engine", "count", "per_s"), FLOODS, indirect=["engine"])
def test_of_callers_who_change_their_minds(
    agent: Agent, up: RawPhone, count: int, per_s: float
) -> None:
    """As many as have sockets are let in; the others are told when to come again, and counted."""
    del up
    before = refused(agent, 503, "closing") + refused(agent, 503, "rate")
    with contextlib.closing(Flood(sip_port(agent), FRIEND, cancel=True, bodies=(SDP,))) as flood:
        flood.run(count, per_s)
    assert flood.answers.keys() <= {200, 486, 487, 503}
    assert flood.answers[487]
    assert not flood.without_retry_after
    told = refused(agent, 503, "closing") + refused(agent, 503, "rate") - before
    assert told >= flood.answers[503]
    assert is_answered_within(WAIT_S, agent)


@pytest.mark.parametrize(("engine", "count", "per_s"), FLOODS, indirect=["engine"])
def test_of_callers_who_say_nothing_more(
    agent: Agent, up: RawPhone, count: int, per_s: float
) -> None:
    """They take all lines that there are, as callers do, and give them back when they hang up.

    Those that they do not acknowledge are given up after 4 s: so it is a shorter flood.
    """
    del up
    count = min(count, int(2 * per_s))
    with contextlib.closing(Flood(sip_port(agent), FRIEND, bodies=(SDP, ""))) as flood:
        flood.run(count, per_s)
        assert 0 < flood.answers[200] < MOST_CALLS
        assert flood.answers.keys() <= {200, 486, 503}
        assert not flood.without_retry_after
        assert first_answer(agent) == 486, "at once"
        flood.end_calls()
        assert is_answered_within(WAIT_S, agent)


def refused(agent: Agent, status: int, reason: str) -> float:
    return agent.metric("callerside_calls_refused_total", status=str(status), reason=reason)


@ON_PJSUA
@pytest.mark.parametrize("host", [STRANGER, FRIEND])
def test_of_connections(agent: Agent, up: RawPhone, host: str) -> None:
    """They are closed at once, without a word; each takes a place for half a second more."""
    del up
    logged = len(agent.logged("sip_tcp_connections_held_off"))
    for _ in range(100):
        knock(agent, host).close()
        time.sleep(0.005)
    assert call_over_tcp(agent) == 200
    assert len(agent.logged("sip_tcp_connections_held_off")) > logged


def test_of_connections_that_stay(agent: Agent, up: RawPhone) -> None:
    """Those of strangers take no place from those who may call."""
    del up
    with contextlib.ExitStack() as kept:
        for _ in range(70):
            kept.enter_context(knock(agent, STRANGER))
            time.sleep(0.005)
        assert call_over_tcp(agent) == 200
    assert call_over_tcp(agent) == 200


def knock(agent: Agent, host: str) -> socket.socket:
    """A connection that nobody waits for."""
    caller = socket.socket()
    caller.bind((host, 0))
    caller.setblocking(False)
    caller.connect_ex((FRIEND, sip_port(agent)))
    return caller


def call_over_tcp(agent: Agent) -> int:
    """A SYN that is dropped is sent again: that is waited for."""
    with RawPhone(sip_port(agent), over="tcp") as phone:
        status = phone.call(phone.sdp()).status
        assert phone.request("BYE") == 200
        return status


@ON_PJSUA
@pytest.mark.parametrize("lines", [16, 17, 20])
def test_of_lines(agent: Agent, up: RawPhone, lines: int) -> None:
    """Each line of audio would take two of the 64."""
    del up
    with contextlib.closing(
        Flood(sip_port(agent), FRIEND, bodies=(SDP + SDP_LINE * (lines - 1),))
    ) as flood:
        flood.run(10, 100)
    assert set(flood.answers) == {488}
    assert first_answer(agent) == 200


@ON_PJSUA
@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_of_offers_within_a_call(agent: Agent, up: RawPhone, method: str) -> None:
    """Lines that come and go take sockets as calls do."""
    line, without = SDP_LINE, SDP_LINE.replace(" 9 ", " 0 ")
    offers = [line * 15] * 20 + [line * 3, without * 3] * 20
    logged = len(agent.logged("sip_offer_refused"))
    for version, lines in enumerate(offers, 2):
        assert offer(up, method, version, lines) in (200, 488)
    assert len(agent.logged("sip_offer_refused")) >= logged + 20
    until(lambda: offer(up, method, next(VERSIONS), without * 3) == 200, "an offer to be met")
    assert is_answered_within(WAIT_S, agent), "when what was closed is free again"


VERSIONS = itertools.count(1_000)


def test_of_requests_within_a_call_that_are_refused(agent: Agent, up: RawPhone) -> None:
    """The log has the first of each kind, and no more than so many kinds."""

    def told() -> list[tuple[str, int]]:
        return [(line["method"], line["status"]) for line in agent.logged("sip_request_refused")]

    before = len(told())
    for _ in range(3):
        assert up.ask("INFO", "x", {"Content-Type": "text/plain"}).status == 415
        assert up.ask("MESSAGE", "hello", {"Content-Type": "text/plain"}).status == 405
    for number in range(30):
        assert up.ask(f"X{number}").status == 501
    until(lambda: len(told()) >= before + 16, "the refusals to be told")
    kinds = [("INFO", 415), ("MESSAGE", 405), *((f"X{number}", 501) for number in range(14))]
    assert told()[before:] == kinds


def offer(phone: RawPhone, method: str, version: int, lines: str) -> int:
    body = phone.sdp().replace(" 1 1 ", f" 1 {version} ") + lines
    return phone.request(method, body, {"Content-Type": "application/sdp"})
