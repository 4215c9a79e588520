"""When a packet came: by the kernel's word, on the clock of the marks."""

import socket
import time

import pytest

from callerside.agent.telephony.media import packet_reader
from callerside.agent.telephony.media.packet_reader import PacketReader

MS = 1_000_000


class Preempted:
    """The two clocks, of which the thread loses its processor between readings, now and then."""

    def __init__(self, waits_ms: list[int]) -> None:
        self._waits_ms = waits_ms
        self._lost_ns = 0

    def monotonic_ns(self) -> int:
        return time.monotonic_ns() + self._lost_ns

    def time_ns(self) -> int:
        if self._waits_ms:
            self._lost_ns += self._waits_ms.pop(0) * MS
        return time.time_ns() + self._lost_ns


@pytest.mark.parametrize("waits_ms", [[], [3], [3, 5], [20]])
def test_a_wait_between_two_clocks_is_not_the_packets_age(
    monkeypatch: pytest.MonkeyPatch, waits_ms: list[int]
) -> None:
    came: list[int] = []
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        own.bind(("127.0.0.1", 0))
        reader = PacketReader(own, lambda _data, _source, at_ns: came.append(at_ns))
        before_ns = time.monotonic_ns()
        other.sendto(b"x", own.getsockname())
        monkeypatch.setattr(packet_reader, "time", Preempted(waits_ms))
        assert reader.read()
        monkeypatch.undo()
    (at_ns,) = came
    assert at_ns >= before_ns, "it came before it was sent"
