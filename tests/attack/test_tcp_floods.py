"""Floods over TCP: what was over UDP in test_many_sources.py, and connections without number."""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator

import pytest
from raw_sip import RawPhone
from sip_floods import FRIEND, IS_FULL, KINDS, MANY, ONE, SPOOFED
from sip_rig import answer_at_once, open_phone, wait_until
from tcp_floods import TcpFlood, tcp_sink
from under_flood import ANSWERED_MS, GAP_MS, Up, is_answered_soon, takes_a_call_ms

from callerside.agent.telephony.engine import PROFILES, EngineName
from callerside.agent.telephony.options import SipOptions
from callerside.agent.telephony.quiet_connections import KEPT

pytestmark = pytest.mark.e2e

STRANGERS = {"one": ONE, "many": MANY}
SOME = tuple(KINDS) if IS_FULL else ("INVITE", "garbage")


@pytest.fixture(params=tuple(PROFILES))
def engine(request: pytest.FixtureRequest) -> EngineName:
    name: EngineName = request.param
    return name


@pytest.fixture
def up(engine: EngineName, request: pytest.FixtureRequest) -> Iterator[Up[TcpFlood]]:
    options = getattr(request, "param", SipOptions(allowed_peers=(FRIEND,)))
    with (
        open_phone("agent", options, answer_at_once, engine=engine) as agent,
        RawPhone(agent.port) as raw,
    ):
        yield Up(agent, raw, TcpFlood)


@pytest.mark.parametrize("sources", STRANGERS)
def test_of_strangers_who_may_call_is_answered_meanwhile(up: Up[TcpFlood], sources: str) -> None:
    for kind in SOME:
        with TcpFlood(up.agent.port, kind, STRANGERS[sources]) as flood:
            over_udp_ms, over_tcp_ms = takes_a_call_ms(up), takes_a_call_ms(up, "tcp")
        assert max(over_udp_ms, over_tcp_ms) < ANSWERED_MS, f"behind a flood of {kind}"
        assert flood.sent or sources == "many", "of many, nobody may have been let in"
        assert not flood.answers[503], "strangers are told nothing of it"
    up.is_unharmed()


def test_of_strangers_a_call_that_is_up_hears_no_gap(up: Up[TcpFlood]) -> None:
    for kind in SOME:
        with tcp_sink() as nobody, up.ear.longest_gap_ms() as alone:
            TcpFlood(nobody, kind, MANY).run()
        with up.ear.longest_gap_ms() as flooded:
            up.flood(kind, MANY)
        assert flooded[0] <= alone[0] + GAP_MS, kind
    up.is_unharmed()


@pytest.mark.parametrize(
    "up",
    [SipOptions(allowed_peers=(FRIEND,)), SipOptions(over_limit="drop")],
    ids=["refused", "dropped"],
    indirect=True,
)
def test_of_who_may_call(up: Up[TcpFlood], request: pytest.FixtureRequest) -> None:
    """Their calls that nobody acknowledges take the lines that are left, and give them back."""
    is_dropped = "dropped" in request.node.name
    for kind in SOME:
        flood = up.flood(kind, ONE if is_dropped else SPOOFED)
        assert flood.sent
        assert is_answered_soon(up), kind
        if is_dropped:
            told = up.agent.refused()
            assert (503, "rate") not in told, "who asks too often is told nothing"
            assert flood.answers[503] <= told.count((503, "closing")), "a call within the rate is"
        elif kind == "INVITE" and flood.sent > 3 * SipOptions().requests_per_source_per_s:
            assert flood.answers[503], "who asks too often is told so"
        up.calm()
    up.is_unharmed()


AT_ONCE: dict[EngineName, int] = {"pjsua2": 5, "baresip": 100}
"""Whoever comes one too many asks again a second later. PJSIP has few places, and lets few wait."""


def test_who_comes_while_the_stack_is_busy_is_connected_at_once(engine: EngineName) -> None:
    with (
        open_phone("agent", SipOptions(), answer_at_once, engine=engine) as agent,
        contextlib.ExitStack() as connections,
    ):
        assert agent.process.pid is not None
        os.kill(agent.process.pid, signal.SIGSTOP)
        try:
            for _ in range(AT_ONCE[engine]):
                one = connections.enter_context(socket.socket())
                one.settimeout(0.9)  # before it would ask again
                one.connect(("127.0.0.1", agent.port))
        finally:
            os.kill(agent.process.pid, signal.SIGCONT)
        connections.close()
        with RawPhone(agent.port, over="tcp") as honest:
            assert honest.call(honest.sdp()).status == 200
            assert honest.request("BYE") == 200


IDLE = 60
"""More than PJSIP has places for, with its own."""


@pytest.mark.parametrize("hosts", [ONE, MANY[:IDLE]], ids=["one", "many"])
def test_who_connects_and_says_nothing_makes_room(
    engine: EngineName, hosts: tuple[str, ...]
) -> None:
    """Even where everybody may call; a call that is up keeps its connection, however quiet."""
    with (
        open_phone("agent", SipOptions(), answer_at_once, engine=engine) as agent,
        RawPhone(agent.port, over="tcp") as up,
        contextlib.ExitStack() as idle,
    ):
        assert up.call(up.sdp()).status == 200
        before = agent.facts().open_files
        for number in range(IDLE):
            one = idle.enter_context(socket.socket())
            one.bind((hosts[number % len(hosts)], 0))
            one.settimeout(0.2)
            with contextlib.suppress(TimeoutError):  # from then on nobody is let in
                one.connect(("127.0.0.1", agent.port))
        # Whoever waits to be taken is connected already, and no file of the agent's yet.
        wait_until(lambda: agent.facts().open_files - before > 2 * KEPT, "them to be let in", 20)
        with RawPhone(agent.port, over="tcp") as honest:
            assert honest.call(honest.sdp()).status == 200
            assert honest.request("BYE") == 200
        wait_until(lambda: agent.facts().open_files - before <= KEPT, "the idle to be ended", 20)
        assert up.request("BYE") == 200, "by the connection that it came over"
