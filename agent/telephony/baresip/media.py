"""One call's audio: RTP packets as they come to 20 ms frames, and frames to packets, paced.

Everything runs on the loop's thread but `send`, which is the pacer's. A call on hold goes on
ticking: it hears silence and what waits to be played keeps waiting, so that nobody who counts time
in audio loses it.
"""

import asyncio
import contextlib
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial

import structlog

from callerside.addresses import joined
from callerside.agent.telephony.baresip.codecs import codec_named, frame_samples
from callerside.agent.telephony.baresip.native import Library
from callerside.agent.telephony.baresip.srtp_packets import SrtpPackets
from callerside.agent.telephony.engine import OnArrival, OnHeard, OnLeft
from callerside.agent.telephony.input_queue import InputQueue
from callerside.agent.telephony.interface import (
    FRAME_MS,
    NOTHING_PLAYED,
    AudioReceived,
    DtmfReceived,
    FramePlayed,
    MediaSource,
    PlayoutCleared,
    PlayoutOverflowed,
    RtpMeasured,
)
from callerside.agent.telephony.invite import Described
from callerside.agent.telephony.media import rtcp, rtp
from callerside.agent.telephony.media.arrivals import Arrivals
from callerside.agent.telephony.media.frame_rate import FrameMaker, FrameRate
from callerside.agent.telephony.media.jitter_buffer import Gap, JitterBuffer, Packet, Released
from callerside.agent.telephony.media.latching import Address, Latch, News
from callerside.agent.telephony.media.pacer import Pacer
from callerside.agent.telephony.media.packet_reader import OnPacket, PacketReader, stamp
from callerside.agent.telephony.media.playout_buffer import PlayoutBuffer
from callerside.agent.telephony.options import PeerList
from callerside.agent.telephony.peers_filter import drop_from_others
from callerside.agent.telephony.srtp import SrtpKeys
from callerside.audio import BYTES_PER_SAMPLE, silence
from callerside.clock import NS_PER_MS, NS_PER_S
from callerside.families import family_of

_log = structlog.get_logger(__name__)

Body = tuple[bytes, int]
"""What a packet carries, and when it came in."""
_KEYS_FRAME = frame_samples(rtp.KEYS_CLOCK_HZ)


def lead_nowhere(*descriptors: int) -> None:
    """Close sockets of the stack's, which goes on using their numbers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nowhere:
        nowhere.setblocking(False)  # the stack empties it, too, before it begins
        for descriptor in descriptors:
            os.dup2(nowhere.fileno(), descriptor)


class RtpSocket:
    """A call's socket, which the stack has bound and does not use any more."""

    def __init__(self, rtp: int, rtcp: int, host: str) -> None:
        """Take its ports over, on the stack's thread: what it still sends there goes nowhere.

        The stack binds all addresses of the machine, we the one that we listen on.
        """
        self._early: list[tuple[bytes, Address, int]] = []
        """What has come to the stack's."""
        with socket.socket(fileno=os.dup(rtp)) as theirs:
            self.port: int = theirs.getsockname()[1]
            self._socket = _bound_beside(theirs, host, self.port)  # from now on all comes here
            PacketReader(theirs, lambda *packet: self._early.append(packet)).read_all()
        lead_nowhere(rtp, rtcp)
        self._reports: socket.socket | None = None
        """RTCP's, on the port above (RFC 3550 §11)."""
        with contextlib.suppress(OSError):
            self._reports = _bound(host, self.port + 1)

    def fileno(self) -> int:
        """Its number."""
        return self._socket.fileno()

    def reader(self, on_packet: OnPacket) -> PacketReader:
        """What reads it."""
        return PacketReader(self._socket, on_packet)

    def take_early(self) -> list[tuple[bytes, Address, int]]:
        """What came before the socket was ours; see `packet_reader.OnPacket`."""
        early, self._early = self._early, []
        return early

    def send(self, data: bytes, target: Address) -> None:
        """A packet that cannot be sent is lost, as packets are."""
        with contextlib.suppress(OSError):
            self._socket.sendto(data, target)

    def take_reports(self, take: Callable[[bytes, int], None]) -> None:
        """Tell what has come of RTCP since the last time, and when each came."""
        if self._reports is not None:
            PacketReader(self._reports, lambda data, _, at_ns: take(data, at_ns)).read_all()

    def take_reports_from(self, networks: Sequence[str]) -> None:
        """Have the kernel drop what others send: see `peers_filter.drop_from_others`."""
        if self._reports is not None:
            drop_from_others(self._reports, networks)

    def send_report(self, data: bytes, target: Address) -> None:
        """As `send`, to the RTCP of who has its RTP there."""
        if self._reports is not None:
            with contextlib.suppress(OSError):
                self._reports.sendto(data, (target[0], target[1] + 1))

    def close(self) -> None:
        """Give it up."""
        self._socket.close()
        if self._reports is not None:
            self._reports.close()


def _bound(host: str, port: int, *, shared: bool = False) -> socket.socket:
    opened = _opened(host)
    try:
        stamp(opened)  # what comes before there is a reader, too
        if shared:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, port))
    except OSError:
        opened.close()
        raise
    return opened


def _bound_beside(theirs: socket.socket, host: str, port: int) -> socket.socket:
    """One more on a port, for which what comes is meant rather than for the first."""
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    opened = _bound(host, port, shared=True)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)  # nobody else
    return opened


def _opened(host: str) -> socket.socket:
    opened = socket.socket(family_of(host), socket.SOCK_DGRAM)
    if opened.family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    opened.setblocking(False)
    return opened


class CallMedia:
    """One call's audio, for as long as the call lasts."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        inputs: InputQueue,
        pacer: Pacer,
        *,
        rate_hz: int,
        max_playout_ms: int,
        library: Library,
        conceals: bool = False,
        peers: PeerList | None = None,
        signalled: str | None = None,
        on_left: OnLeft | None = None,
        on_heard: OnHeard | None = None,
        on_arrival: OnArrival | None = None,
    ) -> None:
        self.period_ns = FRAME_MS * NS_PER_MS
        self._loop = loop
        self._inputs = inputs
        self._pacer = pacer
        self._rate_hz = rate_hz
        self._conceals = conceals
        self._library = library
        self._srtp: SrtpPackets | None = None
        """If packets are encrypted."""
        self._peers, self._signalled = peers, signalled
        self._told: set[News] = set()
        self._silence = silence(FRAME_MS, rate_hz)
        self._playout = PlayoutBuffer(rate_hz * max_playout_ms // 1000)
        self._on_left, self._on_heard, self._on_arrival = on_left, on_heard, on_arrival
        self._lock = threading.Lock()
        """Between the loop's thread and the pacer's."""
        self._socket: RtpSocket | None = None
        self._reader: PacketReader | None = None
        self._line: _Line | None = None
        self._held = False
        self._has_ended = False
        """Whether nothing is said any more."""
        self._is_over = False
        source = random.getrandbits(32)
        self._sender = rtp.Sender(source, random.getrandbits(16), random.getrandbits(32))
        self._reporter = rtcp.Reporter(source)
        self._report_timer: asyncio.TimerHandle | None = None
        self._keys = rtp.KeySender()
        self._received = _Counter()
        self._jitter_ms = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0
        self.heard_ns = 0
        """When the other side was heard last, or might first have been."""

    @property
    def is_live(self) -> bool:
        """Whether the other side is to be heard: connected, and not on hold."""
        return self._line is not None and not self._held

    @property
    def jitter_ms(self) -> float:
        """How unevenly packets have come."""
        return self._jitter_ms if self._line is None else self._line.buffer.jitter_ms

    @property
    def port(self) -> int:
        """Of our RTP; 0: there is no socket yet."""
        return self._socket.port if self._socket is not None else 0

    def adopt(self, own: RtpSocket) -> None:
        """The call's socket, taken over from the stack; if the call is over, it is closed."""
        if self._is_over:
            own.close()
        else:
            self._socket = own

    def play(self, pcm: bytes, tag: int) -> None:
        """Queue audio; tell what found no room."""
        dropped = self._playout.write(pcm, tag)
        if dropped:
            self._inputs.post(PlayoutOverflowed(tag=tag, dropped_samples=dropped))

    def clear(self, tags: Collection[int] | None) -> None:
        """Drop what waits, and tell it behind the last `FramePlayed` of what did not."""
        with self._lock:
            self._inputs.post(PlayoutCleared(dropped=self._playout.clear(tags)))

    def press(self, digits: str) -> None:
        """Send keys by RFC 4733."""
        with self._lock:
            lost = self._keys.press(digits)
        if lost:
            _log.warning("dtmf_dropped", keys=len(lost))

    def connect(self, described: Described, keys: SrtpKeys | None = None) -> None:
        """Audio goes to and fro as the other side has described it; a new codec begins anew.

        `keys`: with which it is encrypted; the same ones go on.
        """
        if self._socket is None:
            return
        self._use_keys(keys)
        now_ns = time.monotonic_ns()
        target = (described.host, described.port)
        was = self._line
        wanted = described.codec, described.most_bits_per_s
        if was is None or was.wanted != wanted:
            line = _Line(wanted, self._rate_hz, now_ns, conceals=self._conceals)
            line.buffer.jitter_ms = self.jitter_ms
        else:
            line = was
            if self._held:
                line.begin_anew(now_ns)
        with self._lock:
            line.agree(described, Latch(target, self._peers, self._signalled, self._tell))
            self._line, self._held = line, False
        self._socket.take_reports_from(line.latch.networks)
        self.heard_ns = now_ns
        if was is None:
            self._reader = self._socket.reader(self.on_packet)
            self._reader.on_flood = lambda source: self._tell("flood", source)
            self._loop.call_soon(self._hear_early, self._socket)
            self._loop.add_reader(self._socket.fileno(), self._reader.read)
            self._pacer.add(self)
            self._report_later()
        if self._reader is not None:
            self._reader.expected = target
        self._arm()

    def _use_keys(self, keys: SrtpKeys | None) -> None:
        before = self._srtp
        if (before.keys if before is not None else None) == keys:
            return
        with self._lock:
            self._srtp = SrtpPackets(self._library, keys) if keys is not None else None
        if before is not None:
            before.close()

    def _tell(self, news: News, source: Address) -> None:
        """See `Latch`; each once, but that the other side has moved."""
        if news == "moved" or news not in self._told:
            self._told.add(news)
            self._inputs.post(MediaSource(what=news, source=joined(*source)))

    def hold(self, described: Described) -> bool:
        """Hear silence and send no more of what waits; returns whether that is news.

        Silence is sent to an other side that listens, as `described` says, and else nothing.
        """
        if self._line is None:
            return False
        with self._lock:
            was_held, self._held = self._held, True
            self._line.sends = described.listens
        if was_held:
            return False
        now_ns = time.monotonic_ns()
        self._line.begin_anew(now_ns)
        self._line.buffer.fall_silent(now_ns)
        self._arm()
        return True

    def fall_silent(self) -> None:
        """Say nothing any more; on any thread."""
        with self._lock:
            self._has_ended = True

    def disconnect(self) -> None:
        """The call is over: no packet comes or goes any more."""
        self._is_over = True
        self._pacer.remove(self)
        for timer in (self._timer, self._report_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._report_timer = None
        self._jitter_ms = self.jitter_ms
        with self._lock:
            self._line = None
        if self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = self._reader = None
        self._use_keys(None)  # now that nothing can leave without them

    def drop(self) -> None:
        """Forget what waits."""
        self._playout.clear()

    def measured(self) -> RtpMeasured:
        """What came, in numbers."""
        return self._received.measured(self.jitter_ms)

    # ---- reports of both

    def _report_later(self) -> None:
        self._report_timer = self._loop.call_later(self._reporter.wait_s(), self._report)

    def _report(self) -> None:
        """Tell the other side by RTCP; what it has told is read only then, however much it is."""
        line, own = self._line, self._socket
        if line is None or own is None:
            return
        own.take_reports(self._take_report)
        with self._lock:
            sent = rtcp.Sent(
                self._sender.sent_packets, self._sender.sent_octets, self._sender.timestamp
            )
            has_ended, target = self._has_ended, line.latch.target
        if not has_ended:
            report = self._reporter.report(
                sent,
                self._received.reported(line.buffer.jitter_ms * line.codec.clock_hz / 1000),
                now_ns=time.monotonic_ns(),
                wall_ns=time.time_ns(),
            )
            with self._lock:
                srtp = self._srtp
                sealed = srtp.protect_report(report) if srtp is not None else report
            if sealed is not None:
                own.send_report(sealed, target)
        self._report_later()

    def _take_report(self, data: bytes, at_ns: int) -> None:
        if self._srtp is not None:
            data = self._srtp.unprotect_report(data) or b""
        self._reporter.take(data, at_ns)

    # ---- what leaves, on the pacer's thread

    def pass_over(self, packets: int, at_ns: int) -> None:
        """See `Paced`."""
        with self._lock:
            if self._line is None or self._has_ended:
                return
            self._sender.pause(packets * self._line.frame)
            if self._on_left is not None:
                self._on_left(packets * self._silence, at_ns)

    def make(self, at_ns: int) -> Callable[[], object] | None:
        """See `Paced`; a frame's `FramePlayed` is told before a `clear` can be answered."""
        with self._lock:
            line = self._line
            if line is None or self._has_ended:
                return None
            pcm, played = self._silence, NOTHING_PLAYED
            is_pressing = self._keys.is_pressing and line.keys_type is not None
            if not (self._held or is_pressing):  # a key's packets leave in place of audio
                pcm, played = self._playout.read(len(self._silence) // BYTES_PER_SAMPLE)
            if self._on_left is not None:
                self._on_left(pcm, at_ns)
            self._inputs.post_soon(FramePlayed(played=played, at_ns=at_ns))
            packet = self._packet(line, pcm)
            own = self._socket
        if packet is None or own is None:
            return None
        return partial(self._send, own, packet, line.latch.target)

    def _send(self, own: RtpSocket, packet: bytes, target: Address) -> None:
        with self._lock:
            sealed = self._srtp.protect(packet) if self._srtp is not None else packet
            if not self._has_ended and sealed is not None:
                own.send(sealed, target)

    def _packet(self, line: "_Line", pcm: bytes) -> bytes | None:
        payload = line.encode(pcm)
        if not line.sends:  # keys wait, too
            self._sender.pass_time(line.frame)
            return None
        key = self._keys.next(_KEYS_FRAME) if self._keys.is_pressing else None
        if key is not None and line.keys_type is not None:
            packet = self._sender.event(line.keys_type, key)
            self._sender.pass_time(line.frame)
            return packet
        return self._sender.audio(line.payload_type, payload, line.frame)

    # ---- what comes, on the loop's thread

    def _hear_early(self, own: RtpSocket) -> None:
        """Behind the news that there is media, and before what is read."""
        for packet in own.take_early():
            self.on_packet(*packet)

    def on_packet(self, data: bytes, source: Address, at_ns: int) -> None:
        """See `packet_reader.OnPacket`."""
        if self._on_arrival is not None:
            self._on_arrival(at_ns)
        if self._srtp is not None:
            data = self._srtp.unprotect(data) or b""
        packet, line = rtp.parse(data), self._line
        if packet is not None and line is not None:
            self._take(line, packet, source, at_ns)
            self._arm()

    def _take(self, line: "_Line", packet: rtp.RtpPacket, source: Address, at_ns: int) -> None:
        is_audio = packet.payload_type == line.payload_type and bool(packet.payload)
        if not (is_audio or packet.payload_type == line.keys_type):
            return
        if not line.latch.hears(source):
            return
        if self._reader is not None:
            self._reader.expected = line.latch.target
        if is_audio:
            duration, body = line.codec.duration(packet.payload), packet.payload
        else:
            digit = line.keys.take(packet)
            if digit is not None:
                self._inputs.deliver(DtmfReceived(digit=digit, method="rfc4733"))
            duration, body = 0, b""
        self._received.note(packet)
        self.heard_ns = at_ns
        if not self._held:
            entry = Packet(
                source=packet.source,
                sequence=packet.sequence,
                timestamp=packet.timestamp,
                duration=duration,
                body=(body, at_ns),
            )
            self._hear(line, line.buffer.put(entry, at_ns), at_ns)

    def _on_timer(self) -> None:
        """Nothing came for a while, unless the loop was not there to see it."""
        self._timer = None
        if self._reader is not None:
            self._reader.read_all()
        line = self._line
        if line is not None:
            now_ns = time.monotonic_ns()
            self._hear(line, line.buffer.expire(now_ns), now_ns)
            self._arm()

    def _arm(self) -> None:
        """Have the buffer looked at when it has something to do."""
        line = self._line
        if line is None:
            return
        due_ns = line.buffer.due_ns
        if self._timer is not None:
            if due_ns >= self._timer_ns:
                return  # it looks too early, and then again
            self._timer.cancel()
        self._timer_ns = due_ns
        wait_ns = max(0, due_ns - time.monotonic_ns())
        self._timer = self._loop.call_later(wait_ns / NS_PER_S, self._on_timer)

    def _hear(self, line: "_Line", released: Released[Body], at_ns: int) -> None:
        for one in released:
            pcm, encoded, came_ns = b"", b"", None
            if isinstance(one, Gap):
                frames = line.frames.missing(one)
            else:
                encoded, came_ns = one.body
                pcm = line.codec.decode(encoded) if encoded else b""
                frames = line.frames.heard(pcm)
            encoding = line.codec.encoding
            for frame in frames:
                if self._on_heard is not None:
                    self._on_heard(frame, came_ns)
                is_whole = frame is pcm  # as it came, in one piece
                self._inputs.deliver(
                    AudioReceived(
                        pcm=frame,
                        at_ns=came_ns or at_ns,
                        encoding=encoding if is_whole else None,
                        encoded=encoded if is_whole else b"",
                    )
                )


class _Line:
    """What a call's audio is now: one codec, in both directions."""

    def __init__(
        self, wanted: tuple[str, int], rate_hz: int, now_ns: int, *, conceals: bool
    ) -> None:
        self.wanted = wanted
        """Its name, and the most bits a second."""
        self.codec = codec = codec_named(wanted[0], rate_hz, wanted[1])
        self.buffer: JitterBuffer[Body] = JitterBuffer(codec.clock_hz, now_ns)
        self.frames = FrameMaker(codec.rate_hz, codec.clock_hz, rate_hz, conceals=conceals)
        self.keys = rtp.KeyReceiver()
        self.frame = frame_samples(codec.clock_hz)
        """In the units of RTP's clock."""
        self.payload_type = 0
        self.keys_type: int | None = None
        self.latch = Latch(("", 0))
        self.sends = True
        self._out = FrameRate(rate_hz, codec.rate_hz) if codec.rate_hz != rate_hz else None

    def agree(self, described: Described, latch: Latch) -> None:
        """Take what a description says."""
        self.payload_type, self.keys_type = described.payload_type, described.keys_type
        self.latch = latch
        self.sends = described.listens

    def encode(self, pcm: bytes) -> bytes:
        """A frame, as a packet carries it."""
        return self.codec.encode(self._out.convert(pcm) if self._out is not None else pcm)

    def begin_anew(self, now_ns: int) -> None:
        """What came before has nothing to do with what comes."""
        self.buffer = self.buffer.renewed(now_ns)


class _Counter:
    """What came of a call's packets (RFC 3550 §6.4.1), kept across streams."""

    def __init__(self) -> None:
        self._received = self._lost_before = 0
        self._source: int | None = None
        self._arrivals = Arrivals()

    def note(self, packet: rtp.RtpPacket) -> None:
        """A packet has come."""
        self._received += 1
        if packet.source != self._source:
            self._lost_before += self._arrivals.lost
            self._source = packet.source
            self._arrivals = Arrivals()
            self._arrivals.came(packet.sequence)
        else:
            highest = self._arrivals.highest or 0
            step = (packet.sequence - highest + 0x8000) % 0x10000 - 0x8000
            self._arrivals.came(highest + step)

    def reported(self, jitter: float) -> rtcp.Received | None:
        """Of the stream that is heard now; None: there is none yet.

        `jitter`: in the units of its clock.
        """
        if self._source is None:
            return None
        return rtcp.Received(
            source=self._source,
            highest=self._arrivals.highest or 0,
            expected=self._arrivals.expected,
            lost=self._arrivals.lost,
            jitter=round(jitter),
        )

    def measured(self, jitter_ms: float) -> RtpMeasured:
        return RtpMeasured(
            received_packets=self._received,
            lost_packets=self._lost_before + self._arrivals.lost,
            jitter_ms=jitter_ms,
        )
