"""Real RTP through the relay: what it is told to do to packets is what happens to them."""

import random
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import pytest
from numbered_frames import frames, numbers
from sip_rig import Phone, wait_until

from callerside.agent.telephony.engine import PROFILES, EngineName
from callerside.agent.telephony.interface import (
    AudioReceived,
    CallLeg,
    CallReceived,
    HungUp,
    LegInput,
    MediaReady,
    RtpMeasured,
)
from callerside.agent.telephony.options import SipOptions
from callerside.audio import level_dbfs, to_samples, tone
from callerside.simulator.lanes.impairments import Impairer
from callerside.simulator.lanes.sip.rtp_relay import RelayAddresses
from callerside.simulator.scenario.network import Direction

pytestmark = pytest.mark.e2e

SEED = 11
FRAMES = 150


def answer_and_sing(leg: CallLeg, item: LegInput) -> None:
    if isinstance(item, CallReceived):
        leg.answer()
    if isinstance(item, MediaReady):
        leg.play(tone(440, 1_000, leg.sample_rate_hz))


@pytest.fixture(scope="module")
def phones() -> Iterator[tuple[Phone, Phone]]:
    addresses = RelayAddresses()
    agent = Phone("agent", SipOptions(rtp_public_host=addresses.agent))
    caller = Phone("caller", SipOptions(), addresses)
    agent.behave(answer_and_sing)
    yield agent, caller
    assert (agent.close(), caller.close()) == (0, 0)


def call(
    phones: tuple[Phone, Phone], to_agent: Direction | None, to_caller: Direction | None
) -> tuple[int, int]:
    """One call of three seconds; its number at the agent and at the caller."""
    agent, caller = phones
    theirs = agent.calls()
    ours = caller.dial(
        f"sip:100@127.0.0.1:{agent.port}",
        to_agent=to_agent and Impairer(to_agent, random.Random(SEED)),
        to_caller=to_caller and Impairer(to_caller, random.Random(SEED)),
    )
    caller.wait_for(ours, AudioReceived, count=FRAMES)
    caller.do(ours, "hang_up")
    caller.wait_for(ours, HungUp)
    agent.wait_for(theirs, HungUp)
    return theirs, ours


def voiced_from_to_ms(pcm: bytes) -> tuple[int, int]:
    blocks = to_samples(pcm)
    blocks = blocks[: len(blocks) // 160 * 160].reshape(-1, 160)
    loud = np.flatnonzero([level_dbfs(block) > -40 for block in blocks])
    return 10 * int(loud[0]), 10 * int(loud[-1] + 1)


def test_a_clean_relay_passes_everything_both_ways(phones: tuple[Phone, Phone]) -> None:
    agent, caller = phones
    theirs, ours = call(phones, None, None)
    for phone, number in ((agent, theirs), (caller, ours)):
        measured = phone.wait_for(number, RtpMeasured)
        assert measured.received_packets >= FRAMES - 30
        assert measured.lost_packets == 0
    begin, end = voiced_from_to_ms(caller.recorded(ours).ear)
    assert end - begin == pytest.approx(1_000, abs=100)
    assert caller.impaired(ours) == {}


def test_each_direction_loses_its_own_share(phones: tuple[Phone, Phone]) -> None:
    agent, caller = phones
    theirs, ours = call(phones, Direction(loss=0.3), Direction(loss=0.1))
    applied = caller.impaired(ours)
    at_agent = agent.wait_for(theirs, RtpMeasured)
    at_caller = caller.wait_for(ours, RtpMeasured)
    assert at_agent.lost_packets == pytest.approx(applied["to_agent"]["loss"], abs=4)
    assert at_caller.lost_packets == pytest.approx(applied["to_caller"]["loss"], abs=4)
    assert at_agent.lost_packets > 1.5 * at_caller.lost_packets > 0


def test_delay_arrives_as_delay(phones: tuple[Phone, Phone]) -> None:
    """A process that waits for a processor only makes a call later: of two the earlier counts."""

    def first_sound_ms(to_caller: Direction | None) -> float:
        _, ours = call(phones, None, to_caller)
        return voiced_from_to_ms(phones[1].recorded(ours).ear)[0]

    at_once, delayed = (
        min(first_sound_ms(network) for _ in range(2)) for network in (None, Direction(delay=200))
    )
    assert delayed - at_once == pytest.approx(200, abs=60)


def test_in_a_dead_interval_nothing_is_heard(phones: tuple[Phone, Phone]) -> None:
    _, caller = phones
    _, ours = call(phones, None, Direction(dead=[(300, 800)]))
    assert caller.impaired(ours)["to_caller"]["dead"] == pytest.approx(25, abs=2)
    pcm = to_samples(caller.recorded(ours).ear)
    blocks = pcm[: len(pcm) // 160 * 160].reshape(-1, 160)
    quiet = [level_dbfs(block) < -60 for block in blocks[:110]]
    assert sum(quiet) >= 35  # the decoder conceals the first of the 500 ms


def test_jitter_is_measured_as_jitter(phones: tuple[Phone, Phone]) -> None:
    agent, _ = phones
    theirs, _ = call(phones, Direction(jitter=40), None)
    assert agent.wait_for(theirs, RtpMeasured).jitter_ms > 5


def test_without_a_relay_packets_cannot_be_impaired() -> None:
    caller = Phone("caller", SipOptions())
    with pytest.raises(RuntimeError, match="without a relay"):
        caller.dial("sip:100@127.0.0.1", to_agent=Impairer(Direction(), random.Random(SEED)))
    wait_until(lambda: caller.facts().active_calls == 0, "nothing")
    assert caller.close() == 0


NUMBERED = 150
NETWORKS = {
    "loss": Direction(loss=0.05),
    "jitter": Direction(jitter=30, duplicate=0.05),
    "reordering": Direction(jitter=30, reorder=0.1),
    "stalls": Direction(stalled=[(700, 940), (1_500, 1_740)]),
}
MAY_BE_LATE = {"reordering": 3}
"""Packets that came when their time had been filled: of a line that is not known yet."""
NORMAL_MS = 15
"""In the last second no more than this later than ever, as for the soonest of its packets."""


def answer_and_count(leg: CallLeg, item: LegInput) -> None:
    if isinstance(item, CallReceived):
        leg.answer()
    if isinstance(item, MediaReady):
        leg.play(frames(NUMBERED, leg.sample_rate_hz))


@pytest.mark.parametrize(
    ("agents", "callers"), list(product(PROFILES, PROFILES)), ids=lambda engine: str(engine)
)
def test_what_the_line_does_is_made_good_whoever_calls_whom(
    agents: EngineName, callers: EngineName
) -> None:
    """Both ways: none is made up, none lost but by the line, and the delay is soon as before.

    A call for each network, all at once.
    """
    addresses = RelayAddresses()
    options = SipOptions(sample_rate_hz=8_000, rtp_public_host=addresses.agent)
    agent = Phone("agent", options, engine=agents)
    caller = Phone("caller", SipOptions(), addresses, engine=callers)
    agent.behave(answer_and_count)
    caller.behave(answer_and_count)
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - shown by pytest when the test fails
    calls = []
    for network in NETWORKS.values():
        theirs = agent.calls()
        dice = random.Random(seed), random.Random(seed)
        ours = caller.dial(
            f"sip:100@127.0.0.1:{agent.port}",
            to_agent=Impairer(network, dice[0]),
            to_caller=Impairer(network, dice[1]),
        )
        agent.wait_for_call(theirs)
        calls.append((theirs, ours))
    for name, (theirs, ours) in zip(NETWORKS, calls, strict=True):
        for phone, number in ((agent, theirs), (caller, ours)):
            wait_until(lambda p=phone, n=number: _all_heard(p, n), f"{name}: all of it")  # type: ignore[misc]
    for _, ours in calls:
        caller.do(ours, "hang_up")
    for name, (theirs, ours) in zip(NETWORKS, calls, strict=True):
        for phone, number in ((agent, theirs), (caller, ours)):
            _is_made_good(name, phone, number, seed)
    assert (agent.close(), caller.close()) == (0, 0)


def _heard(phone: Phone, number: int) -> list[tuple[int, float]]:
    """Which frames, and when each came, in ms."""
    told = [t.input for t in phone.told(number) if isinstance(t.input, AudioReceived)]
    which = numbers(one.pcm for one in told)
    return [(n, one.at_ns / 1e6) for n, one in zip(which, told, strict=True) if n is not None]


def _all_heard(phone: Phone, number: int) -> bool:
    heard = _heard(phone, number)
    return bool(heard) and heard[-1][0] >= NUMBERED - 3  # the last ones may be lost


def _is_made_good(name: str, phone: Phone, number: int, seed: int) -> None:
    heard = _heard(phone, number)
    which = [n for n, _ in heard]
    assert which == sorted(set(which)), f"{name}: in order, and once"
    missing = sorted(set(range(which[-1])) - set(which))
    if name == "loss":
        assert missing in _lost(seed, which[-1]), f"{name}: others than the line has lost"
    else:
        assert len(missing) <= MAY_BE_LATE.get(name, 0), f"{name}: {missing} were thrown away"
    late_ms = [at_ms - 20 * n for n, at_ms in heard]
    assert min(late_ms[-50:]) - min(late_ms) < NORMAL_MS, f"{name}: the delay has grown"


def _lost(seed: int, count: int) -> Sequence[list[int]]:
    """What the line can have lost of so many numbered frames: of packets that silence precedes."""
    impairer = Impairer(NETWORKS["loss"], random.Random(seed))
    fates = [not impairer.arrivals(0) for _ in range(count + 500)]
    return [[n for n in range(count) if fates[n + first]] for first in range(500)]
