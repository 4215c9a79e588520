"""Floods from one address, from very many, and in another's name, of all that can be sent.

A call that is up does not notice; who may call is answered; what was taken is given back.
"""

import time
from collections.abc import Iterator

import pytest
from raw_sip import RawPhone
from sip_floods import FRIEND, IS_FULL, KINDS, MANY, ONE, SPOOFED, Listener, UdpFlood, sink
from sip_rig import Facts, Phone, answer_at_once, open_phone, wait_until

from callerside.agent.service.handles import needed
from callerside.agent.telephony.engine import PROFILES, EngineName
from callerside.agent.telephony.interface import MediaReady
from callerside.agent.telephony.options import SipOptions

pytestmark = pytest.mark.e2e

GROWS_BY_MIB = 50
GROWS_BY_FILES = 4
GAP_MS = 40.0 if IS_FULL else 2_000.0
"""Beyond what the same load on the machine alone explains. The small floods are played beside
other work: of those, times say little."""
ANSWERED_MS = 1_000 if IS_FULL else 10_000
AFTER_S = 5.0 if IS_FULL else 25.0
"""Without what is done about calls that nobody acknowledges it would be 32."""
WITH_LIST = SipOptions(allowed_peers=(FRIEND,))
STRANGERS = {"one": ONE, "many": MANY}
SOME = tuple(KINDS) if IS_FULL else ("INVITE", "INVITE and CANCEL")


@pytest.fixture(params=tuple(PROFILES))
def engine(request: pytest.FixtureRequest) -> EngineName:
    name: EngineName = request.param
    return name


class Up:
    """An agent with a call that is up, and how it fares."""

    def __init__(self, agent: Phone, up: RawPhone) -> None:
        self.agent = agent
        assert up.call(up.sdp()).status == 200
        agent.wait_for(0, MediaReady)
        agent.keep_audio(False)
        self.ear = Listener(up.rtp)
        self._up = up
        self.flood("INVITE", ONE)  # what is made once is there then
        self.calm()
        self._before = agent.facts()

    def flood(self, kind: str, sources: tuple[str, ...]) -> UdpFlood:
        with UdpFlood(self.agent.port, kind, sources) as flood:
            pass
        assert self.agent.facts().open_files <= needed(SipOptions().max_calls)
        return flood

    def calm(self) -> None:
        """Until no call is left but the one that is up."""
        wait_until(lambda: self.agent.facts().active_calls == 1, "the other calls to end", 60)

    def is_unharmed(self) -> None:
        """No packet is missing, and nothing is kept that was taken."""
        self.calm()
        enough = len(self.ear.numbers) + 10
        wait_until(lambda: len(self.ear.numbers) >= enough, "the call to be heard still")
        assert self.ear.steps == {1}, "a packet of the call is missing"
        wait_until(lambda: self._files(self.agent.facts()) <= GROWS_BY_FILES, "sockets to go", 5)
        grown = self.agent.facts().resident_bytes - self._before.resident_bytes
        assert grown / 2**20 < GROWS_BY_MIB
        assert self._up.request("BYE") == 200

    def _files(self, now: Facts) -> int:
        return now.open_files - self._before.open_files


@pytest.fixture
def up(engine: EngineName, request: pytest.FixtureRequest) -> Iterator[Up]:
    options = getattr(request, "param", WITH_LIST)
    with (
        open_phone("agent", options, answer_at_once, engine=engine) as agent,
        RawPhone(agent.port) as raw,
    ):
        yield Up(agent, raw)


def takes_a_call_ms(up: Up) -> float:
    """Until an honest caller is answered."""
    began = time.monotonic()
    with RawPhone(up.agent.port) as honest:
        assert honest.call(honest.sdp()).status == 200
        took_ms = (time.monotonic() - began) * 1000
        assert honest.request("BYE") == 200
    return took_ms


def is_answered_soon(up: Up) -> bool:
    """Whether a caller who comes again after a refusal is answered in time."""
    deadline = time.monotonic() + AFTER_S
    while time.monotonic() < deadline:
        with RawPhone(up.agent.port) as honest:
            if honest.call(honest.sdp()).status == 200:
                return honest.request("BYE") == 200
        time.sleep(0.5)
    return False


@pytest.mark.parametrize("sources", STRANGERS)
def test_of_strangers_who_may_call_is_answered_meanwhile(up: Up, sources: str) -> None:
    for kind in KINDS:
        with UdpFlood(up.agent.port, kind, STRANGERS[sources]) as flood:
            took_ms = takes_a_call_ms(up)
        assert took_ms < ANSWERED_MS, f"behind a flood of {kind}"
        assert not flood.answers[503], "strangers are told nothing of it"
    up.is_unharmed()


def test_of_strangers_a_call_that_is_up_hears_no_gap(up: Up) -> None:
    for kind in SOME:
        with sink() as nobody, up.ear.longest_gap_ms() as alone:
            UdpFlood(nobody, kind, MANY).run()
        with up.ear.longest_gap_ms() as flooded:
            up.flood(kind, MANY)
        assert flooded[0] <= alone[0] + GAP_MS, kind
    up.is_unharmed()


def test_in_the_name_of_who_may_call(up: Up) -> None:
    """Nobody can tell them apart; but nothing stays of it."""
    for kind in SOME:
        up.flood(kind, SPOOFED)
        assert is_answered_soon(up), kind
        up.calm()
    up.is_unharmed()


@pytest.mark.parametrize(
    "up",
    [SipOptions(), SipOptions(over_limit="drop")],
    ids=["refused", "dropped"],
    indirect=True,
)
@pytest.mark.parametrize("sources", STRANGERS)
def test_where_everybody_may_call(up: Up, sources: str, request: pytest.FixtureRequest) -> None:
    """Calls that nobody acknowledges take the lines that are left, and give them back."""
    is_refused = "refused" in request.node.name
    for kind in SOME:
        flood = up.flood(kind, STRANGERS[sources])
        assert is_answered_soon(up), kind
        if kind == "INVITE":
            assert bool(flood.answers[503]) == is_refused or not over_limit(flood, sources)
        assert not flood.without_retry_after
        up.calm()
    up.is_unharmed()


def over_limit(flood: UdpFlood, sources: str) -> bool:
    """Whether more was sent than all buckets held."""
    options = SipOptions()
    least = options.requests_per_source_per_s if sources == "one" else options.requests_per_s
    return flood.sent > 3 * least
