"""One call's audio: from its packets to its inputs as they come, from its playout as it is paced.

`make` runs on the pacer's thread, everything else on the loop's, all of it under the stack's lock.
A call on hold goes on in time: it hears silence and what waits to be played keeps waiting, so that
nobody who counts time in audio (a voice detector, a recording) loses it.
"""

import struct
import threading
import time
from collections.abc import Callable, Collection, Iterable
from functools import partial

from callerside.agent.telephony.engine import OnArrival, OnHeard, OnLeft
from callerside.agent.telephony.input_queue import InputQueue
from callerside.agent.telephony.interface import (
    FRAME_MS,
    NOTHING_PLAYED,
    AudioReceived,
    FramePlayed,
    MediaSource,
    PlayoutCleared,
    PlayoutOverflowed,
)
from callerside.agent.telephony.media.frame_rate import FrameMaker, FrameRate
from callerside.agent.telephony.media.jitter_buffer import Gap, JitterBuffer, Packet
from callerside.agent.telephony.media.latching import Address, Latch, News
from callerside.agent.telephony.media.pacer import Pacer
from callerside.agent.telephony.media.playout_buffer import PlayoutBuffer
from callerside.agent.telephony.options import PeerList
from callerside.agent.telephony.pjsua.native.media import Stream
from callerside.audio import BYTES_PER_SAMPLE, Encoding, silence
from callerside.clock import NS_PER_MS, NS_PER_S

_RTP_HZ = 8_000
"""Of the timestamps of every codec that we have: G.722's, too (RFC 3551 §4.5.2). All three have as
many bytes in a packet as it is long in this unit."""
_KEY_NS = 200 * NS_PER_MS
"""PJMEDIA's time for a key, its three ends included; the next one follows at once."""
_HEADER = struct.Struct("!BBHII")
"""RFC 3550 §5.1, up to the SSRC."""
_EXTENSION = struct.Struct("!HH")
_VERSION_2, _VERSION = 0x80, 0xC0
_PADDING, _EXTENDED, _SOURCES, _PAYLOAD_TYPE = 0x20, 0x10, 0x0F, 0x7F

Body = tuple[bytes, int, int]
"""A packet, where what it carries begins, and when it came in."""


class LegMedia:
    """What a call hears and says, for as long as it has media."""

    def __init__(
        self,
        inputs: InputQueue,
        pacer: Pacer,
        *,
        rate_hz: int,
        max_playout_ms: int,
        on_missing: Callable[[], None],
        conceals: bool = False,
        peers: PeerList | None = None,
        signalled: str | None = None,
        on_left: OnLeft | None = None,
        on_heard: OnHeard | None = None,
        on_arrival: OnArrival | None = None,
    ) -> None:
        self.period_ns = FRAME_MS * NS_PER_MS
        self._inputs = inputs
        self._pacer = pacer
        self._rate_hz = rate_hz
        self._codec_hz = rate_hz
        self._encoding: Encoding | None = None
        self._payload_type = -1
        self._frame_samples = rate_hz * FRAME_MS // 1000
        self._silence = silence(FRAME_MS, rate_hz)
        self._playout = PlayoutBuffer(rate_hz * max_playout_ms // 1000)
        self._on_missing = on_missing
        """A packet waits for one before it: `due_ns` may be sooner than it was."""
        self._on_left, self._on_heard, self._on_arrival = on_left, on_heard, on_arrival
        self._playing = threading.Lock()
        self._stream: Stream | None = None
        self._incoming: JitterBuffer[Body] | None = None
        """While there is media."""
        self._jitter_ms = 0.0
        self._held = False
        self._key_packets = 0
        """That PJMEDIA still sends for keys: it counts what it is given, and reads no clock."""
        self.heard_ns = 0
        """When the other side was heard last, or might first have been."""
        self._peers, self._signalled = peers, signalled
        self._told: set[News] = set()
        self._latch = Latch(("", 0))
        self._speaker: Address | None = None
        self._conceals = conceals
        self._frames = FrameMaker(rate_hz, _RTP_HZ, rate_hz, conceals=conceals)
        self._encoder_rate = _rate(rate_hz, rate_hz)
        self._said = bytearray()
        """A part of a packet, at the codec's rate: where they are no multiples of 20 ms."""
        self._packet_bytes = 0
        """At the codec's rate."""

    @property
    def is_live(self) -> bool:
        """Whether the other side is to be heard: connected, and not on hold."""
        return self._incoming is not None and not self._held

    @property
    def jitter_ms(self) -> float:
        """How unevenly packets have come."""
        return self._jitter_ms if self._incoming is None else self._incoming.jitter_ms

    @property
    def due_ns(self) -> int | None:
        """When `expire` has something to do, if there is media."""
        return None if self._incoming is None else self._incoming.due_ns

    def play(self, pcm: bytes, tag: int) -> None:
        """Queue audio; report what found no room."""
        dropped = self._playout.write(pcm, tag)
        if dropped:
            self._inputs.post(PlayoutOverflowed(tag=tag, dropped_samples=dropped))

    def press(self, keys: int) -> None:
        """So many keys go out by RFC 4733, beginning with the next packet: what is queued waits.

        PJMEDIA sends them in place of the audio that it is given, which nobody would hear: under
        the lock under which it was told of them.
        """
        self._key_packets += keys * -(-_KEY_NS // self.period_ns)

    def clear(self, tags: Collection[int] | None) -> None:
        """Drop what waits, and report it behind the last `FramePlayed` of what did not."""
        with self._playing:
            self._inputs.post(PlayoutCleared(dropped=self._playout.clear(tags)))

    def connect(
        self,
        stream: Stream,
        described: Address,
        *,
        codec_hz: int,
        encoding: Encoding | None,
        payload_type: int,
        packet_ms: int,
        piece_ms: int,
    ) -> None:
        """Join a stream, a new one or the one there was.

        Args:
            stream: attached to its socket.
            described: where the other side says that audio is to be sent.
            codec_hz: of its samples.
            encoding: if it is G.711.
            payload_type: of the audio among its packets.
            packet_ms: how long those are that it sends.
            piece_ms: what its codec makes audio of.
        """
        is_new = self._incoming is None
        if is_new or codec_hz != self._codec_hz:
            self._frames = FrameMaker(codec_hz, _RTP_HZ, self._rate_hz, conceals=self._conceals)
            self._encoder_rate = _rate(self._rate_hz, codec_hz)
            self._said.clear()
        self._codec_hz, self._encoding, self._payload_type = codec_hz, encoding, payload_type
        if stream is not self._stream:
            self._packet_bytes = codec_hz * packet_ms // 1000 * BYTES_PER_SAMPLE
            stream.open(codec_hz * packet_ms // 1000, max(1, packet_ms // piece_ms))
            stream.decode()
            stream.reader.on_packet = self.on_packet
            stream.reader.on_flood = lambda source: self._tell("flood", source)
            stream.reader.expected = self._latch.target
            self._stream = stream
        if is_new or described != self._latch.described:
            self._latch, self._speaker = self._latch_for(described), None
            stream.reader.expected = described
        stream.take_reports_from(self._latch.networks)
        self.heard_ns = time.monotonic_ns()
        if self._incoming is None:
            self._incoming = JitterBuffer(_RTP_HZ, self.heard_ns)
        elif self._held:
            self._incoming = self._incoming.renewed(self.heard_ns)
        self._held = False
        if is_new or self.period_ns != packet_ms * NS_PER_MS:
            self.period_ns = packet_ms * NS_PER_MS
            self._pacer.add(self)

    def _latch_for(self, described: Address) -> Latch:
        return Latch(described, self._peers, self._signalled, self._tell)

    def _tell(self, news: News, source: Address) -> None:
        """See `Latch`; each once, but that the other side has moved."""
        if news == "moved" or news not in self._told:
            self._told.add(news)
            self._inputs.post(MediaSource(what=news, source=f"{source[0]}:{source[1]}"))

    def hold(self) -> bool:
        """Hear silence from now on, and say nothing; returns whether that is news."""
        if self._incoming is None or self._held:
            return False
        self._held = True
        now_ns = time.monotonic_ns()
        self._incoming = self._incoming.renewed(now_ns)
        self._incoming.fall_silent(now_ns)
        return True

    def lose_stream(self) -> None:
        """It is about to be destroyed: another may follow, as after a re-INVITE."""
        self._stream = None
        self._key_packets = 0  # nor does what follows know of its keys

    def disconnect(self) -> None:
        """No more media."""
        self._pacer.remove(self)
        if self._stream is not None:
            self._stream.reader.on_packet = self._stream.pass_by
        self._jitter_ms = self.jitter_ms
        self._stream = self._incoming = None
        self._held = False

    def drop(self) -> None:
        """Forget what waits: the call is over."""
        self._playout.clear()

    def on_packet(self, packet: bytes, source: Address, at_ns: int) -> None:
        """See `packet_reader.OnPacket`."""
        if self._on_arrival is not None:
            self._on_arrival(at_ns)
        stream, incoming = self._stream, self._incoming
        if stream is None or incoming is None:
            return
        if stream.encrypter is not None:
            packet = stream.opened(packet)
        described = _described(packet, at_ns, self._payload_type)
        if described is None:
            return
        if self._held:  # music, which is not for us
            stream.decode(packet)
            return
        is_known = source == self._speaker and not self._latch.is_disturbed
        if not is_known and not self._is_theirs(source, stream):
            return
        self.heard_ns = at_ns
        released = incoming.put(described, at_ns)
        if released:
            self._hear(released, at_ns)
        else:
            self._on_missing()

    def _is_theirs(self, source: Address, stream: Stream) -> bool:
        """Whether audio from there is the call's; the latch may have moved by it."""
        before = self._latch.target
        self._speaker = source
        hears = self._latch.hears(source)
        if self._latch.target is not before:
            stream.send_to(self._latch.target)
            stream.reader.expected = self._latch.target
        return hears

    def expire(self, now_ns: int) -> None:
        """Hear what it means that nothing came, unless the loop was not there to see it."""
        if self._stream is not None:
            self._stream.reader.read_all()
        if self._incoming is not None:
            self._hear(self._incoming.expire(now_ns), now_ns)

    def _hear(self, released: Iterable[Packet[Body] | Gap], now_ns: int) -> None:
        """Hear what is in order now."""
        for item in released:
            pcm, encoded, encoding, came_ns = b"", b"", None, None
            if isinstance(item, Gap):
                frames = self._frames.missing(item)
            elif self._stream is not None:
                packet, begin, came_ns = item.body
                pcm = self._stream.decode(packet)
                frames = self._frames.heard(pcm)
                if not self._stream.pieces_left and len(pcm) == BYTES_PER_SAMPLE * item.duration:
                    encoding, encoded = self._encoding, packet[begin : begin + item.duration]
            else:
                return
            for frame in frames:
                if self._on_heard is not None:
                    self._on_heard(frame, came_ns)
                is_whole = frame is pcm
                self._inputs.deliver(
                    AudioReceived(
                        pcm=frame,
                        at_ns=came_ns or now_ns,
                        encoding=encoding if is_whole else None,
                        encoded=encoded if is_whole else b"",
                    )
                )

    def pass_over(self, packets: int, at_ns: int) -> None:
        """See `pacer.Paced`."""
        passed_ns = packets * self.period_ns
        if self._stream is not None:
            self._stream.pass_time(passed_ns * _RTP_HZ // NS_PER_S)
        if self._on_left is not None:
            self._on_left(silence(passed_ns // NS_PER_MS, self._rate_hz), at_ns)

    def make(self, at_ns: int) -> Callable[[], object] | None:
        """See `pacer.Paced`; its `FramePlayed` is reported before a `clear` can be answered."""
        said = self._said
        is_free = not (self._held or self._key_packets)
        while len(said) < self._packet_bytes:
            with self._playing:
                pcm, played = self._silence, NOTHING_PLAYED
                if self._stream is not None and is_free:
                    pcm, played = self._playout.read(self._frame_samples)
                if self._on_left is not None:
                    self._on_left(pcm, at_ns)
                self._inputs.post_soon(FramePlayed(played=played, at_ns=at_ns))
            said += self._encoder_rate(pcm) if self._encoder_rate else pcm
        packet = bytes(said[: self._packet_bytes])
        del said[: self._packet_bytes]
        self._key_packets = max(0, self._key_packets - 1)
        return None if self._stream is None else partial(self._stream.put, packet)


def _described(packet: bytes, at_ns: int, payload_type: int) -> Packet[Body] | None:
    """A packet, as far as the buffer cares; None: it is none of RTP."""
    if len(packet) < _HEADER.size or packet[0] & _VERSION != _VERSION_2:
        return None
    flags, kind, sequence, timestamp, ssrc = _HEADER.unpack_from(packet)
    duration = begin = 0
    if kind & _PAYLOAD_TYPE == payload_type:
        begin = _HEADER.size + 4 * (flags & _SOURCES)
        if flags & _EXTENDED and len(packet) >= begin + _EXTENSION.size:
            begin += _EXTENSION.size + 4 * _EXTENSION.unpack_from(packet, begin)[1]
        duration = max(0, len(packet) - begin - (packet[-1] if flags & _PADDING else 0))
    return Packet(ssrc, sequence, timestamp, duration, (packet, begin, at_ns))


def _rate(from_hz: int, to_hz: int) -> Callable[[bytes], bytes] | None:
    """What changes frames from one rate to the other, if they are two."""
    return None if from_hz == to_hz else FrameRate(from_hz, to_hz).convert
