"""Packets in memory: when they come, and what is heard of them. See `test_jitter_buffer`, too."""

import random

import pytest

from callerside.simulator.lanes.virtual.packet_link import Heard, MediaLink, Network

FRAME_NS = 20_000_000
SAMPLES = 480
RATE_HZ = 24_000
SILENCE = bytes(2 * SAMPLES)


def clean(sent_ns: int) -> tuple[int, ...]:
    return (sent_ns + 1_000_000,)


def frame(number: int) -> bytes:
    return number.to_bytes(2 * SAMPLES, "little")


def link_of(network: Network | int) -> MediaLink:
    link = MediaLink(network, SAMPLES, RATE_HZ, FRAME_NS)
    link.open(0)
    return link


def receive_until(link: MediaLink, until_ns: int) -> list[tuple[int, Heard]]:
    """What is heard, and when, each thing when it is due."""
    out = []
    while link.due_ns < until_ns:
        now_ns = link.due_ns
        out += [(now_ns, one) for one in link.receive(now_ns)]
    return out


def heard(network: Network | int, frames: int) -> list[int]:
    """The numbers of the frames heard; 0 is silence, frames are numbered from 1."""
    link = link_of(network)
    out = []
    for tick in range(frames):
        link.send(frame(tick + 1), tick * FRAME_NS)
        out += receive_until(link, (tick + 1) * FRAME_NS)
    out += receive_until(link, (frames + 10) * FRAME_NS)
    return [int.from_bytes(one.pcm, "little") for _, one in out]


def lossy(*lost: int) -> Network:
    return lambda sent_ns: () if sent_ns // FRAME_NS + 1 in lost else clean(sent_ns)


@pytest.mark.parametrize("network_ns", [0, 1_000_000, 60_000_000])
def test_a_good_line_hands_each_frame_over_when_it_comes(network_ns: int) -> None:
    link = link_of(network_ns)
    for tick in range(10):
        link.send(frame(tick), tick * FRAME_NS)
    assert receive_until(link, 13 * FRAME_NS) == [
        (n * FRAME_NS + network_ns, Heard(frame(n), n * FRAME_NS + network_ns)) for n in range(10)
    ]


def test_what_came_before_there_was_media_is_heard_when_there_is() -> None:
    link = MediaLink(clean, SAMPLES, RATE_HZ, FRAME_NS)
    for tick in range(3):
        link.send(frame(tick), tick * FRAME_NS)
    link.open(2 * FRAME_NS)
    assert list(link.receive(2 * FRAME_NS)) == [
        Heard(frame(n), n * FRAME_NS + 1_000_000) for n in range(2)
    ]


def test_a_lost_frame_is_silence_and_its_successor_keeps_its_place() -> None:
    assert heard(lossy(4, 6, 7), 10) == [1, 2, 3, 0, 5, 0, 0, 8, 9, 10]


def test_packets_that_change_places_are_put_in_order() -> None:
    def swap(sent_ns: int) -> tuple[int, ...]:
        return (sent_ns + (31_000_000 if sent_ns == 4 * FRAME_NS else 1_000_000),)

    assert heard(swap, 10) == list(range(1, 11))


def test_a_doubled_packet_is_heard_once() -> None:
    def double(sent_ns: int) -> tuple[int, ...]:
        return (sent_ns + 1_000_000, sent_ns + 2_000_000)

    assert heard(double, 20) == list(range(1, 21))


def test_all_that_a_stall_held_back_is_there_at_once() -> None:
    def stall(sent_ns: int) -> tuple[int, ...]:
        return (max(sent_ns, 12 * FRAME_NS) + 1_000_000,)

    link = link_of(stall)
    for tick in range(20):
        link.send(frame(tick), tick * FRAME_NS)
    assert len(list(link.receive(12 * FRAME_NS + 1_000_000))) == 13


def test_on_hold_silence_is_heard_in_its_time_whatever_comes() -> None:
    link = link_of(clean)
    link.hold(FRAME_NS // 2)
    for tick in range(1, 20):
        link.send(frame(tick), tick * FRAME_NS)
    told = receive_until(link, 10 * FRAME_NS)
    assert [one for _, one in told] == [Heard(SILENCE, None)] * len(told)
    assert len(told) == 9


def test_measures_loss_and_jitter_as_rfc_3550_does() -> None:
    link = link_of(lossy(10, 20, 21))
    for tick in range(100):
        link.send(frame(tick + 1), tick * FRAME_NS)
        receive_until(link, (tick + 1) * FRAME_NS)
    assert (link.received_packets, link.lost_packets, link.jitter_ms) == (97, 3, 0.0)


def test_a_doubled_packet_hides_none_that_is_lost() -> None:
    def network(sent_ns: int) -> tuple[int, ...]:
        number = sent_ns // FRAME_NS + 1
        return () if number in (10, 20) else (sent_ns,) * (2 if number % 5 == 3 else 1)

    link = link_of(network)
    for tick in range(100):
        link.send(frame(tick + 1), tick * FRAME_NS)
        receive_until(link, (tick + 1) * FRAME_NS)
    assert (link.received_packets, link.lost_packets) == (98 + 20, 2)


def test_jitter_is_near_the_mean_difference_of_transit_times() -> None:
    seed = 7
    rng = random.Random(seed)
    link = link_of(lambda sent_ns: (sent_ns + rng.randrange(15_000_000),))
    for tick in range(2000):
        link.send(frame(tick + 1), tick * FRAME_NS)
        receive_until(link, (tick + 1) * FRAME_NS)
    assert 3.0 < link.jitter_ms < 7.0, f"seed {seed}"  # |a - b| of two uniform 0-15 ms: 5 ms


@pytest.mark.parametrize("network_ns", [0, 1_000_000, 45_000_000])
def test_frames_that_are_carried_at_once_are_those_sent_one_by_one(network_ns: int) -> None:
    def play(at_once: int) -> tuple[list[bytes], int, int, int]:
        link = link_of(network_ns)
        out: list[bytes] = []
        sent = 0
        while sent < 60:
            send_ns = sent * FRAME_NS
            numbers = range(sent + 1, sent + 1 + min(at_once, 60 - sent))
            first_ns = link.next_arrival_ns(send_ns) if at_once > 1 else None
            if first_ns is not None:
                pcm = b"".join(map(frame, numbers))
                coming = link.coming(pcm)
                carried = link.carry(pcm, len(numbers), first_ns + (len(numbers) - 1) * FRAME_NS)
                assert coming == carried
                size = len(SILENCE)
                out += [carried[start : start + size] for start in range(0, len(carried), size)]
                sent += len(numbers)
            else:
                link.send(frame(sent + 1), send_ns)
                sent += 1
                out += [one.pcm for _, one in receive_until(link, sent * FRAME_NS)]
        out += [one.pcm for _, one in receive_until(link, 64 * FRAME_NS)]
        return out, link.received_packets, link.lost_packets, link.due_ns

    assert play(5) == play(1)
