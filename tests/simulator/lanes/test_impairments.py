"""The network model keeps its promises: shares, bursts, order, intervals, seeds."""

import random
from collections import Counter
from itertools import groupby, pairwise

import pytest

from callerside.clock import NS_PER_MS
from callerside.simulator.lanes.impairments import DUPLICATE_MS, REORDER_MS, Impairer
from callerside.simulator.scenario.network import Direction

PACKETS = 50_000
SEED = 7


def run(direction: Direction, packets: int = PACKETS, seed: int = SEED) -> list[tuple[int, ...]]:
    """Each packet's delays in ms, of a stream with one packet every 20 ms."""
    impairer = Impairer(direction, random.Random(seed))
    sent = [1_000_000 + n * 20 * NS_PER_MS for n in range(packets)]
    return [tuple((at - s) // NS_PER_MS for at in impairer.arrivals(s)) for s in sent]


def share_lost(fates: list[tuple[int, ...]]) -> float:
    return sum(not fate for fate in fates) / len(fates)


def test_a_clean_network_delivers_every_packet_at_once() -> None:
    assert run(Direction(), 1000) == [(0,)] * 1000


def test_random_loss_has_its_share() -> None:
    assert share_lost(run(Direction(loss=0.03))) == pytest.approx(0.03, rel=0.1)


def test_burst_loss_has_its_share_and_its_mean_length() -> None:
    fates = run(Direction(burst_loss=0.05, burst_packets=4))
    bursts = [len(list(group)) for lost, group in groupby(fates, lambda fate: not fate) if lost]
    assert share_lost(fates) == pytest.approx(0.05, rel=0.15)
    assert sum(bursts) / len(bursts) == pytest.approx(4, rel=0.1)


def test_delay_and_jitter_stay_in_their_range_and_in_order() -> None:
    fates = run(Direction(delay=40, jitter=60), 2000)
    delays = [fate[0] for fate in fates]
    assert min(delays) >= 40
    assert max(delays) <= 100
    assert max(delays) - min(delays) > 50
    arrivals = [n * 20 + delay for n, delay in enumerate(delays)]
    assert all(first <= second for first, second in pairwise(arrivals))


def test_a_reordered_packet_is_overtaken_and_delays_none_behind_it() -> None:
    fates = run(Direction(reorder=0.1), 2000)
    assert {fate[0] for fate in fates} == {0, REORDER_MS}


def test_a_duplicate_comes_shortly_after_the_first() -> None:
    fates = run(Direction(duplicate=0.2))
    doubled = [fate for fate in fates if len(fate) == 2]
    assert len(doubled) / len(fates) == pytest.approx(0.2, rel=0.1)
    assert set(doubled) == {(0, DUPLICATE_MS)}


def test_nothing_passes_in_a_dead_interval() -> None:
    fates = run(Direction(dead=[(100, 200)]), 20)
    assert [n for n, fate in enumerate(fates) if not fate] == [5, 6, 7, 8, 9]


def test_what_is_sent_in_a_stall_comes_at_its_end_in_order_and_what_follows_behind_it() -> None:
    fates = run(Direction(stalled=[(100, 340), (500, 520)], jitter=5), 60)
    arrivals = [20 * n + fate[0] for n, fate in enumerate(fates)]
    assert arrivals[5:17] == [340] * 12
    assert arrivals[17:25] == pytest.approx([20 * n for n in range(17, 25)], abs=5)
    assert arrivals[25] == 520
    assert arrivals[26:] == pytest.approx([20 * n for n in range(26, 60)], abs=5)


def test_the_same_seed_decides_the_same_and_another_does_not() -> None:
    settings = Direction(loss=0.1, jitter=30, reorder=0.1, duplicate=0.1)
    assert run(settings, 500) == run(settings, 500)
    assert run(settings, 500) != run(settings, 500, seed=SEED + 1)


def test_one_effect_leaves_the_others_decisions_alone() -> None:
    alone = run(Direction(loss=0.1), 2000)
    joined = run(Direction(loss=0.1, jitter=50, reorder=0.2, duplicate=0.2, delay=5), 2000)
    assert [not fate for fate in alone] == [not fate for fate in joined]


def counted(impairer: Impairer) -> Counter[str]:
    packets: Counter[str] = Counter()
    for struck in impairer.struck:
        packets[struck.what] += struck.packets
    return packets


def test_what_was_applied_is_counted() -> None:
    impairer = Impairer(Direction(loss=0.5, duplicate=0.5), random.Random(SEED))
    fates = [impairer.arrivals(n * 20 * NS_PER_MS) for n in range(200)]
    assert counted(impairer) == {
        "loss": sum(not fate for fate in fates),
        "duplicate": sum(len(fate) == 2 for fate in fates),
    }


def test_it_tells_when_packets_were_struck() -> None:
    impairer = Impairer(Direction(dead=[(100, 200), (700, 740)]), random.Random(SEED))
    for n in range(50):
        impairer.arrivals(n * 20 * NS_PER_MS)
    first, second = (struck.fields("to_agent") for struck in impairer.struck)
    assert first == {"what": "dead", "at": "to_agent", "packets": 5, "lasted_ms": 80.0}
    assert (second["packets"], impairer.struck[1].first_ns) == (2, 700 * NS_PER_MS)


def test_a_delay_of_every_packet_is_told_once() -> None:
    impairer = Impairer(Direction(delay=30), random.Random(SEED))
    for n in range(500):
        impairer.arrivals(n * 20 * NS_PER_MS)
    (struck,) = impairer.struck
    assert (struck.what, struck.packets, struck.last_ns) == ("delay", 500, 499 * 20 * NS_PER_MS)


def test_what_is_told_is_bounded_and_nothing_is_lost_of_the_count() -> None:
    impairer = Impairer(Direction(loss=0.5), random.Random(SEED))
    lost = sum(not impairer.arrivals(n * 200 * NS_PER_MS) for n in range(5000))
    assert len(impairer.struck) == 1000
    assert counted(impairer) == {"loss": lost}


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"loss": 1.5}, "loss"),
        ({"reorder": -0.1}, "reorder"),
        ({"burst_loss": 1.0}, "burst_loss"),
        ({"burst_loss": 0.9, "burst_packets": 1}, "burst_loss"),
        ({"burst_packets": 0}, "burst_packets"),
        ({"delay": -1}, "delay"),
        ({"dead": [(200, 100)]}, "dead"),
        ({"stalled": [(200, 200)]}, "stalled"),
    ],
)
def test_a_value_that_cannot_be_is_named(settings: dict[str, float], names: str) -> None:
    with pytest.raises(ValueError, match=names):
        Direction(**settings)  # type: ignore[arg-type]
