"""What is lost of a stream, whatever comes twice, late or out of order."""

import random

import pytest

from callerside.agent.telephony.media.arrivals import Arrivals


def test_a_packet_that_comes_twice_makes_up_for_none_that_is_lost() -> None:
    arrivals = Arrivals()
    for number in (10, 10, 11, 13, 13, 13):
        arrivals.came(number)
    assert (arrivals.received, arrivals.lost) == (3, 1)


def test_one_that_is_overtaken_is_not_lost() -> None:
    arrivals = Arrivals()
    for number in (5, 4, 7, 6, 6, 8):
        arrivals.came(number)
    assert (arrivals.received, arrivals.lost) == (5, 0)


def test_the_first_may_be_lost_where_its_number_is_known() -> None:
    known, unknown = Arrivals(first=0), Arrivals()
    for number in (2, 3):
        known.came(number)
        unknown.came(number)
    assert (known.lost, unknown.lost) == (2, 0)


@pytest.mark.parametrize("count", [0, 1, 7, 600, 5000])
def test_many_in_order_are_those_one_by_one(count: int) -> None:
    at_once, singly = Arrivals(first=0), Arrivals(first=0)
    for one in (at_once, singly):
        one.came(1)
    at_once.came_in_order(count)
    for number in range(2, 2 + count):
        singly.came(number)
    for one in (at_once, singly):
        one.came(count + 3)
        one.came(count + 1)
    assert (at_once.received, at_once.lost) == (singly.received, singly.lost)
    assert singly.lost == 2


def test_on_a_line_that_loses_and_doubles_each_packet_counts_once() -> None:
    seed = 3
    rng = random.Random(seed)
    arrivals, coming = Arrivals(first=0), []
    kept = [number for number in range(4000) if rng.random() > 0.05] + [4000]
    for number in kept:
        times = 2 if rng.random() < 0.05 else 1
        coming += [(number + rng.uniform(0, 30), number) for _ in range(times)]
    for _, number in sorted(coming):
        arrivals.came(number)
    assert (arrivals.received, arrivals.lost) == (len(kept), 4001 - len(kept)), f"seed {seed}"
