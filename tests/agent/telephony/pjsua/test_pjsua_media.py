"""A call's audio without a stack: what its endpoint has to be told so that it need not ask."""

import asyncio
import struct
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

from callerside.agent.telephony.input_queue import InputQueue
from callerside.agent.telephony.interface import AudioReceived, LegInput
from callerside.agent.telephony.media.jitter_buffer import PAUSE_NS
from callerside.agent.telephony.media.pacer import Pacer
from callerside.agent.telephony.pjsua.media import LegMedia
from callerside.agent.telephony.pjsua.native.media import Stream

THERE = ("127.0.0.1", 4000)
MS = 1_000_000


class FakeStream:
    """Of G.711: each packet is a frame."""

    def __init__(self) -> None:
        self.pieces_left = 0
        self.encrypter = None
        self.reader = SimpleNamespace(on_packet=None)

    def open(self, frame_samples: int, pieces: int) -> None:
        pass

    def take_reports_from(self, networks: Sequence[str]) -> None:
        pass

    def decode(self, packet: bytes = b"") -> bytes:
        return packet[12:] * 2


class FakePacer:
    def add(self, paced: object) -> None:
        pass


def packet(number: int) -> bytes:
    return struct.pack("!BBHII", 0x80, 0, number, 160 * number, 7) + bytes([number]) * 160


async def test_a_packet_that_waits_for_another_is_told_as_its_time_comes_sooner() -> None:
    inputs = InputQueue(asyncio.get_running_loop())
    got: list[LegInput] = []
    inputs.start(got.append)
    told: list[int | None] = []
    media = LegMedia(
        inputs,
        cast("Pacer", FakePacer()),
        rate_hz=8_000,
        max_playout_ms=1_000,
        on_missing=lambda: told.append(media.due_ns),
    )
    stream: Any = FakeStream()
    media.connect(
        cast("Stream", stream),
        THERE,
        codec_hz=8_000,
        encoding="pcmu",
        payload_type=0,
        packet_ms=20,
        piece_ms=20,
    )
    now_ns = time.monotonic_ns()
    for number in (1, 2):
        media.on_packet(packet(number), THERE, now_ns)
    assert told == []
    assert media.due_ns == now_ns + PAUSE_NS
    media.on_packet(packet(4), THERE, now_ns + 20 * MS)
    assert told == [media.due_ns]
    assert media.due_ns is not None
    assert media.due_ns < now_ns + PAUSE_NS
    media.on_packet(packet(3), THERE, now_ns + 30 * MS)
    assert len(told) == 1
    assert [one.pcm[0] for one in got if isinstance(one, AudioReceived)] == [1, 2, 3, 4]
