import random

import pytest

from callerside.simulator.lanes.virtual.packet_link import MediaLink, Network

FRAME_NS = 20_000_000
SILENCE = bytes(4)


def clean(sent_ns: int) -> tuple[int, ...]:
    return (sent_ns + 1_000_000,)


def frame(number: int) -> bytes:
    return number.to_bytes(4, "little")


def heard(network: Network, frames: int, *, phase_ns: int = 5_000_000) -> list[int]:
    """The numbers of the frames heard, one a tick; 0 is silence, frames are numbered from 1."""
    link = MediaLink(network, 4, FRAME_NS)
    out = []
    for tick in range(frames):
        link.send(frame(tick + 1), tick * FRAME_NS)
        out.append(int.from_bytes(link.receive(tick * FRAME_NS + phase_ns), "little"))
    return out


def lossy(*lost: int) -> Network:
    return lambda sent_ns: () if sent_ns // FRAME_NS + 1 in lost else clean(sent_ns)


def test_a_clean_line_delivers_every_frame_in_the_tick_after_it_arrived() -> None:
    assert heard(clean, 50) == list(range(1, 51))


def test_before_the_first_packet_there_is_silence() -> None:
    link = MediaLink(clean, 4, FRAME_NS)
    link.send(frame(1), 0)
    assert link.receive(999_999) == SILENCE
    assert link.receive(1_000_000) == frame(1)


def test_delay_only_shifts() -> None:
    assert heard(lambda sent_ns: (sent_ns + 60_000_000,), 10) == [0, 0, 0, 1, 2, 3, 4, 5, 6, 7]


def test_a_lost_frame_is_concealed_by_the_last_and_its_successor_keeps_its_place() -> None:
    assert heard(lossy(4), 8) == [1, 2, 3, 3, 5, 6, 7, 8]


def test_of_a_burst_only_the_first_is_concealed() -> None:
    assert heard(lossy(4, 5, 6), 10) == [1, 2, 3, 3, 0, 0, 7, 8, 9, 10]


def test_reordered_packets_are_put_in_order_once_something_waits_in_the_buffer() -> None:
    def swap(sent_ns: int) -> tuple[int, ...]:
        number = sent_ns // FRAME_NS + 1
        delay_ms = {20: 42, 21: 1}.get(number, 45 if number <= 5 else 1)
        return (sent_ns + delay_ms * 1_000_000,)

    out = heard(swap, 40)
    assert out[:3] == [0, 0, 1]
    assert out[2:] == list(range(1, 39))


def test_a_doubled_packet_is_heard_once() -> None:
    def double(sent_ns: int) -> tuple[int, ...]:
        return (sent_ns + 1_000_000, sent_ns + 2_000_000)

    assert heard(double, 20) == list(range(1, 21))


def test_a_spike_of_delay_never_fills_the_buffer_beyond_its_bound() -> None:
    def spike(sent_ns: int) -> tuple[int, ...]:
        return (max(sent_ns, 40 * FRAME_NS) + 1_000_000,)

    link = MediaLink(spike, 4, FRAME_NS)
    out = []
    for tick in range(400):
        link.send(frame(tick + 1), tick * FRAME_NS)
        out.append(int.from_bytes(link.receive(tick * FRAME_NS + 5_000_000), "little"))
        assert link.buffered_frames <= 10
    assert out[:40] == [0] * 40
    assert out[40] == 41 - 9
    assert out[-1] == 400 - 9 + 3  # three times 2 s have passed in which it held too much


def test_a_buffer_that_holds_more_than_it_needs_gives_it_away() -> None:
    def early_delay(sent_ns: int) -> tuple[int, ...]:
        return (max(sent_ns, 5 * FRAME_NS) + 1_000_000,)

    out = heard(early_delay, 700)
    assert out[20] == 21 - 5
    assert out[-1] == 700


@pytest.mark.parametrize("drift_ppm", [-3000, 3000])
def test_clock_drift_costs_single_frames_and_never_runs_away(drift_ppm: int) -> None:
    link = MediaLink(clean, 4, FRAME_NS)
    period_ns = FRAME_NS + FRAME_NS * drift_ppm // 1_000_000
    sends, tick, delays = 0, 0, []
    while tick < 3000:
        if sends * period_ns <= tick * FRAME_NS:
            link.send(frame(sends + 1), sends * period_ns)
            sends += 1
            continue
        number = int.from_bytes(link.receive(tick * FRAME_NS), "little")
        tick += 1
        if number:
            delays.append(sends - number)
    assert max(delays) <= 4
    assert link.lost_packets == 0


def test_measures_loss_and_jitter_as_rfc_3550_does() -> None:
    link = MediaLink(lossy(10, 20, 21), 4, FRAME_NS)
    for tick in range(100):
        link.send(frame(tick + 1), tick * FRAME_NS)
        link.receive(tick * FRAME_NS + 5_000_000)
    assert (link.received_packets, link.lost_packets, link.jitter_ms) == (97, 3, 0.0)


def test_a_doubled_packet_hides_none_that_is_lost() -> None:
    def network(sent_ns: int) -> tuple[int, ...]:
        number = sent_ns // FRAME_NS + 1
        return () if number in (10, 20) else (sent_ns,) * (2 if number % 5 == 3 else 1)

    link = MediaLink(network, 4, FRAME_NS)
    for tick in range(100):
        link.send(frame(tick + 1), tick * FRAME_NS)
        link.receive(tick * FRAME_NS + 5_000_000)
    assert (link.received_packets, link.lost_packets) == (98 + 20, 2)


def test_jitter_is_near_the_mean_difference_of_transit_times() -> None:
    seed = 7
    rng = random.Random(seed)
    link = MediaLink(lambda sent_ns: (sent_ns + rng.randrange(15_000_000),), 4, FRAME_NS)
    for tick in range(2000):
        link.send(frame(tick + 1), tick * FRAME_NS)
        link.receive(tick * FRAME_NS + 16_000_000)
    assert 3.0 < link.jitter_ms < 7.0, f"seed {seed}"  # |a - b| of two uniform 0-15 ms: 5 ms


@pytest.mark.parametrize("phase_ns", [2_000_000, 19_000_000])
@pytest.mark.parametrize("network_ns", [0, 1_000_000, 45_000_000])
def test_frames_that_are_carried_at_once_are_those_sent_one_by_one(
    network_ns: int, phase_ns: int
) -> None:
    def play(at_once: int) -> tuple[list[bytes], int, int]:
        link = MediaLink(network_ns, 4, FRAME_NS)
        out: list[bytes] = []
        while len(out) < 60:
            tick = len(out)
            sent = [frame(number) for number in range(tick + 1, tick + 1 + min(at_once, 60 - tick))]
            if len(sent) > 1 and link.in_step(tick * FRAME_NS, tick * FRAME_NS + phase_ns):
                coming = link.coming(b"".join(sent))
                heard = link.carry(b"".join(sent), len(sent))
                assert coming == heard
                out += [heard[start : start + 4] for start in range(0, len(heard), 4)]
            else:
                link.send(sent[0], tick * FRAME_NS)
                out.append(link.receive(tick * FRAME_NS + phase_ns))
        return out, link.received_packets, link.lost_packets

    assert play(5) == play(1)
