"""RTP packets (RFC 3550) and the key presses in them (RFC 4733): bytes in, bytes out. No I/O."""

import struct
from collections import deque
from dataclasses import dataclass

from callerside.agent.telephony.dtmf import MOST_WAITING

_HEADER = struct.Struct("!BBHII")
_EVENT = struct.Struct("!BBH")
_VERSION = 2
_MARKER = 0x80
_HAS_PADDING, _HAS_EXTENSION, _SOURCES = 0x20, 0x10, 0x0F
_TYPE = 0x7F
_RTCP_TYPES = range(64, 96)
"""Which RTCP's packets seem to have, where both come to one port (RFC 5761 §4)."""

KEYS_CLOCK_HZ = 8_000
"""Of a key's duration; its timestamp is of the clock of the audio around it. Telephones of Opus may
offer keys of its clock as well; these are what both stacks answer."""
_KEYS = "0123456789*#ABCD"
_END_OF_EVENT = 0x80
_VOLUME = 10
"""-10 dBm0, as telephones press."""


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """What a packet says."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    source: int
    payload: bytes


def parse(data: bytes) -> RtpPacket | None:
    """A packet as it came; None: it is none of RTP."""
    if len(data) < _HEADER.size or data[0] >> 6 != _VERSION:
        return None
    first, second, sequence, timestamp, source = _HEADER.unpack_from(data)
    if second & _TYPE in _RTCP_TYPES and second & _MARKER:
        return None
    begin, end = _HEADER.size + 4 * (first & _SOURCES), len(data)
    if first & _HAS_EXTENSION:
        if len(data) < begin + 4:
            return None
        begin += 4 + 4 * int.from_bytes(data[begin + 2 : begin + 4], "big")
    if first & _HAS_PADDING:
        end -= data[-1]
    if begin > end:
        return None
    return RtpPacket(
        second & _TYPE, bool(second & _MARKER), sequence, timestamp, source, data[begin:end]
    )


class Sender:
    """The numbers of a stream that is sent, and the keys that are pressed in it."""

    def __init__(self, source: int, sequence: int, timestamp: int) -> None:
        self.sent_packets = self.sent_octets = 0
        """So far; octets of payload."""
        self._source = source
        self._sequence = sequence
        self._timestamp = timestamp
        self._marks = True

    @property
    def timestamp(self) -> int:
        """Of the audio that is next."""
        return self._timestamp

    def audio(self, payload_type: int, payload: bytes, duration: int) -> bytes:
        """The next packet of audio, `duration` long in the units of its clock."""
        data = self._packet(payload_type, self._timestamp, payload, marker=self._marks)
        self._marks = False
        self._timestamp = (self._timestamp + duration) & 0xFFFFFFFF
        return data

    def pass_time(self, duration: int) -> None:
        """Time passes without audio."""
        self._timestamp = (self._timestamp + duration) & 0xFFFFFFFF

    def pause(self, duration: int) -> None:
        """Nothing is sent for so long; the audio behind it is marked (RFC 3551 §4.1)."""
        self.pass_time(duration)
        self._marks = True

    def event(self, payload_type: int, key: "PressedKey") -> bytes:
        """The next packet of a key that is being pressed."""
        begins = key.began is None
        if key.began is None:
            key.began = self._timestamp
        flags = _VOLUME | (_END_OF_EVENT if key.has_ended else 0)
        payload = _EVENT.pack(_KEYS.index(key.digit), flags, key.duration)
        return self._packet(payload_type, key.began, payload, marker=begins)

    def _packet(self, payload_type: int, timestamp: int, payload: bytes, *, marker: bool) -> bytes:
        header = _HEADER.pack(
            _VERSION << 6,
            payload_type | (_MARKER if marker else 0),
            self._sequence,
            timestamp,
            self._source,
        )
        self._sequence = (self._sequence + 1) & 0xFFFF
        self.sent_packets += 1
        self.sent_octets += len(payload)
        return header + payload


@dataclass(slots=True)
class PressedKey:
    """A key on its way out."""

    digit: str
    began: int | None = None
    """Timestamp of its first packet."""
    duration: int = 0
    has_ended: bool = False


class KeySender:
    """Keys that are pressed one after the other: in each frame's time at most one packet.

    A key is down for `TONE_FRAMES`, its end is told `ENDS` times (RFC 4733 §2.5.1.4), and then
    comes a pause.
    """

    TONE_FRAMES = 5
    ENDS = 3
    PAUSE_FRAMES = 5

    def __init__(self) -> None:
        self._waiting: deque[str] = deque()
        self._key: PressedKey | None = None
        self._frame = 0

    def press(self, digits: str) -> str:
        """Add keys; what is returned found no room."""
        room = max(0, MOST_WAITING - len(self._waiting))
        self._waiting.extend(digits[:room])
        return digits[room:]

    @property
    def is_pressing(self) -> bool:
        """Whether a key is down, or waits."""
        return self._key is not None or bool(self._waiting)

    def next(self, frame_duration: int) -> PressedKey | None:
        """The key whose packet leaves in this frame's time, in place of audio; None: none."""
        if self._key is None:
            if not self._waiting:
                return None
            self._key, self._frame = PressedKey(self._waiting.popleft()), 0
        self._frame += 1
        if self._frame <= self.TONE_FRAMES:
            self._key.duration = self._frame * frame_duration
            return self._key
        if self._frame <= self.TONE_FRAMES + self.ENDS:
            self._key.has_ended = True
            return self._key
        if self._frame >= self.TONE_FRAMES + self.PAUSE_FRAMES:
            self._key = None
        return None


class KeyReceiver:
    """Tells each key once, however many of its packets come."""

    def __init__(self) -> None:
        self._last: tuple[int, int] | None = None

    def take(self, packet: RtpPacket) -> str | None:
        """The key, if this is the first packet of its press."""
        if len(packet.payload) < _EVENT.size:
            return None
        event = packet.payload[0]
        press = (packet.source, packet.timestamp)
        if press == self._last or event >= len(_KEYS):
            return None
        self._last = press
        return _KEYS[event]
