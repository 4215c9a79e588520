"""The bad network of the sip lane: real RTP packets pass through here, and some fare badly.

Without root, and without touching SDP: the caller and the agent each advertise an address of the
loopback network at which nothing of theirs listens (`rtp_public_host`), and the relay stands there
on the same port numbers. What arrives for one side is passed on to its real address, from the
other side's advertised one, so that each sees the packets come from where it was told.

The fate of each RTP packet is `simulator.lanes.impairments`' business; RTCP (the odd port) passes.
"""

import asyncio
import itertools
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush

from callerside.clock import NS_PER_S
from callerside.simulator.lanes.impairments import Impairer, Struck

_MAX_PACKET_BYTES = 2048
_MAX_WAITING_PACKETS = 1500
"""Of a direction: more than the longest delay and jitter, six seconds, and a copy of each packet of
10 ms come to. What a flood brings beyond is dropped, and reported as `queue_full`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RelayAddresses:
    """Where the two sides say that they are, and where they are."""

    caller: str = "127.0.0.2"
    agent: str = "127.0.0.3"
    real: str = "127.0.0.1"


class RelayedCall:
    """One call's RTP and RTCP in both directions. Lives on the running loop until `close`."""

    def __init__(
        self,
        addresses: RelayAddresses,
        caller_port: int,
        *,
        to_agent: Impairer | None = None,
        to_caller: Impairer | None = None,
    ) -> None:
        self._to_agent = to_agent
        self._to_caller = to_caller
        self._streams = (
            _Pair(addresses, caller_port, to_agent, to_caller),
            _Pair(addresses, caller_port + 1, None, None),
        )

    def connect(self, agent_port: int) -> None:
        """The agent's RTP port is known: from here on its side can be reached."""
        for offset, pair in enumerate(self._streams):
            pair.connect(agent_port + offset)

    def struck(self) -> dict[str, Sequence[Struck]]:
        """What befell the packets and when, by direction: `to_agent`, `to_caller`."""
        return {
            name: impairer.struck
            for name, impairer in (("to_agent", self._to_agent), ("to_caller", self._to_caller))
            if impairer is not None
        }

    def close(self) -> None:
        """Stop; what is still on its way is lost."""
        for pair in self._streams:
            pair.close()


class _Pair:
    """One port number of the caller's against one of the agent's."""

    def __init__(
        self,
        addresses: RelayAddresses,
        caller_port: int,
        to_agent: Impairer | None,
        to_caller: Impairer | None,
    ) -> None:
        self._addresses = addresses
        self._caller_port = caller_port
        self._agent_port = 0
        self._to_agent = _Direction(to_agent)
        self._to_caller = _Direction(to_caller)
        self._at_caller = _bind(addresses.caller, caller_port)
        self._at_agent: socket.socket | None = None
        loop = asyncio.get_running_loop()
        loop.add_reader(self._at_caller, self._on_packets_for_caller)

    def connect(self, agent_port: int) -> None:
        if self._at_agent is not None:
            return
        self._agent_port = agent_port
        self._at_agent = _bind(self._addresses.agent, agent_port)
        asyncio.get_running_loop().add_reader(self._at_agent, self._on_packets_for_agent)

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        for direction in (self._to_agent, self._to_caller):
            direction.close()
        for open_socket in (self._at_caller, self._at_agent):
            if open_socket is not None:
                loop.remove_reader(open_socket)
                open_socket.close()

    def _on_packets_for_caller(self) -> None:
        for packet, source_port in _received(self._at_caller):
            self.connect(source_port)  # the agent may speak before its answer has been read
            if self._at_agent is not None:
                target = (self._addresses.real, self._caller_port)
                self._to_caller.pass_on(packet, self._at_agent, target)

    def _on_packets_for_agent(self) -> None:
        assert self._at_agent is not None  # noqa: S101 - it is its reader
        for packet, _ in _received(self._at_agent):
            target = (self._addresses.real, self._agent_port)
            self._to_agent.pass_on(packet, self._at_caller, target)


class _Direction:
    """Packets that wait for their time of arrival."""

    def __init__(self, impairer: Impairer | None) -> None:
        self._impairer = impairer
        self._waiting: set[asyncio.TimerHandle] = set()
        self._packets: list[tuple[int, int, Callable[[], None]]] = []
        """A heap: of those that arrive at one time, the first sent first (timers keep no order)."""
        self._count = itertools.count()

    def pass_on(self, packet: bytes, sender: socket.socket, target: tuple[str, int]) -> None:
        if self._impairer is None:
            _send(packet, sender, target)
            return
        now_ns = time.monotonic_ns()
        for arrival_ns in self._impairer.arrivals(now_ns):
            if arrival_ns <= now_ns:
                _send(packet, sender, target)
            elif len(self._waiting) < _MAX_WAITING_PACKETS:
                self._send_later(arrival_ns, packet, sender, target)
            else:
                self._impairer.queue_full(now_ns)

    def close(self) -> None:
        for timer in self._waiting:
            timer.cancel()
        self._waiting.clear()
        self._packets.clear()

    def _send_later(
        self, arrival_ns: int, packet: bytes, sender: socket.socket, target: tuple[str, int]
    ) -> None:
        def send_next() -> None:
            self._waiting.discard(timer)
            heappop(self._packets)[-1]()

        send: Callable[[], None] = partial(_send, packet, sender, target)
        heappush(self._packets, (arrival_ns, next(self._count), send))
        timer = asyncio.get_running_loop().call_at(arrival_ns / NS_PER_S, send_next)
        self._waiting.add(timer)


def _bind(host: str, port: int) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.setblocking(False)
    try:
        opened.bind((host, port))
    except OSError:
        opened.close()
        raise
    return opened


def _received(source: socket.socket) -> list[tuple[bytes, int]]:
    """Everything that has arrived, with the port that it came from."""
    packets: list[tuple[bytes, int]] = []
    while True:
        try:
            packet, (_, port) = source.recvfrom(_MAX_PACKET_BYTES)
        except (BlockingIOError, ConnectionRefusedError):
            return packets
        packets.append((packet, port))


def _send(packet: bytes, sender: socket.socket, target: tuple[str, int]) -> None:
    """A packet that cannot be sent is lost, as packets are."""
    try:
        sender.sendto(packet, target)
    except OSError:
        return
