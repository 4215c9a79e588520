"""Floods from one address, from very many, and in another's name, of all that can be sent.

A call that is up does not notice; who may call is answered; what was taken is given back.
"""

from collections.abc import Iterator

import pytest
from raw_sip import RawPhone
from sip_floods import FRIEND, IS_FULL, KINDS, MANY, ONE, SPOOFED, UdpFlood, sink
from sip_rig import answer_at_once, open_phone
from under_flood import ANSWERED_MS, GAP_MS, Up, is_answered_soon, takes_a_call_ms

from callerside.agent.telephony.engine import PROFILES, EngineName
from callerside.agent.telephony.options import SipOptions

pytestmark = pytest.mark.e2e

WITH_LIST = SipOptions(allowed_peers=(FRIEND,))
STRANGERS = {"one": ONE, "many": MANY}
SOME = tuple(KINDS) if IS_FULL else ("INVITE", "INVITE and CANCEL")


@pytest.fixture(params=tuple(PROFILES))
def engine(request: pytest.FixtureRequest) -> EngineName:
    name: EngineName = request.param
    return name


@pytest.fixture
def up(engine: EngineName, request: pytest.FixtureRequest) -> Iterator[Up[UdpFlood]]:
    options = getattr(request, "param", WITH_LIST)
    with (
        open_phone("agent", options, answer_at_once, engine=engine) as agent,
        RawPhone(agent.port) as raw,
    ):
        yield Up(agent, raw, UdpFlood)


@pytest.mark.parametrize("sources", STRANGERS)
def test_of_strangers_who_may_call_is_answered_meanwhile(up: Up[UdpFlood], sources: str) -> None:
    for kind in KINDS:
        with UdpFlood(up.agent.port, kind, STRANGERS[sources]) as flood:
            took_ms = takes_a_call_ms(up)
        assert took_ms < ANSWERED_MS, f"behind a flood of {kind}"
        assert not flood.answers[503], "strangers are told nothing of it"
    up.is_unharmed()


def test_of_strangers_a_call_that_is_up_hears_no_gap(up: Up[UdpFlood]) -> None:
    for kind in SOME:
        with sink() as nobody, up.ear.longest_gap_ms() as alone:
            UdpFlood(nobody, kind, MANY).run()
        with up.ear.longest_gap_ms() as flooded:
            up.flood(kind, MANY)
        assert flooded[0] <= alone[0] + GAP_MS, kind
    up.is_unharmed()


def test_in_the_name_of_who_may_call(up: Up[UdpFlood]) -> None:
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
def test_where_everybody_may_call(
    up: Up[UdpFlood], sources: str, request: pytest.FixtureRequest
) -> None:
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
