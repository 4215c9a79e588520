"""Audio goes to where the other side's comes from: its own host, or one that may call; once."""

from callerside.agent.telephony.media.latching import LATCH_PACKETS, Latch
from callerside.agent.telephony.options import PeerList

SAID, NEAR, FAR, STRANGE = ("192.0.2.1", 9), ("192.0.2.1", 5), ("198.51.100.2", 5), ("10.0.0.1", 5)
ENOUGH = 3 * LATCH_PACKETS


def heard(latch: Latch, source: tuple[str, int], packets: int = ENOUGH) -> list[bool]:
    return [latch.hears(source) for _ in range(packets)]


def test_enough_packets_from_another_port_of_the_same_host() -> None:
    latch = Latch(SAID)
    assert all(heard(latch, NEAR, LATCH_PACKETS - 1)), "nobody else has spoken"
    assert latch.target == SAID
    assert latch.hears(NEAR)
    assert latch.target == NEAR


def test_what_comes_between_begins_the_count_anew() -> None:
    latch = Latch(SAID)
    assert [latch.hears(source) for source in (SAID, NEAR) * ENOUGH] == [True, False] * ENOUGH
    assert latch.target == SAID


def test_a_stranger_is_heard_while_nobody_speaks_and_is_sent_nothing() -> None:
    latch = Latch(SAID)
    assert all(heard(latch, STRANGE)), "as behind NAT, without a list of those who may call"
    assert latch.target == SAID
    assert all(heard(latch, SAID)), "at once"
    assert heard(latch, STRANGE, LATCH_PACKETS) == [False] * (LATCH_PACKETS - 1) + [True]


def test_one_who_may_call_is_sent_audio() -> None:
    latch = Latch(SAID, PeerList(("198.51.100.0/24",)))
    heard(latch, STRANGE)
    assert latch.target == SAID
    heard(latch, FAR)
    assert latch.target == FAR


def test_it_moves_once() -> None:
    latch = Latch(SAID)
    heard(latch, NEAR)
    heard(latch, SAID)
    assert latch.target == NEAR
    assert latch.is_disturbed
    assert latch.hears(NEAR)
    assert not latch.is_disturbed
