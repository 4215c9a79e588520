"""PJMEDIA's streams, driven from here: their packets as they come, their audio in and out.

PJSUA would have each stream played by its conference bridge, on a clock and in threads of its own.
Here a stream's packets are taken where its socket hands them over (`on_packet`), given to it when
they are wanted (`deliver`), and its audio is fetched (`drain`) and handed in (`put`) by whoever has
the rhythm. What PJSUA registers in its bridge instead of the stream is a port that plays nothing.

PJSUA2 offers none of this; PJMEDIA's exported functions and public structures do.
`native.self_test` tries all that is relied on before the first call.
"""

import ctypes
import fcntl
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pjsua2

from callerside.agent.telephony.errors import SipError
from callerside.agent.telephony.media.latching import Address
from callerside.agent.telephony.media.packet_reader import PacketReader
from callerside.agent.telephony.peers_filter import drop_from_others
from callerside.agent.telephony.pjsua.call import log_failure, reported

Pointer, Unsigned = ctypes.c_void_p, ctypes.c_uint


class HostName(ctypes.Structure):
    """`pj_str_t` of a buffer that is PJLIB's own."""

    _fields_ = (("ptr", Pointer), ("slen", ctypes.c_ssize_t))


_FUNCTIONS: tuple[tuple[str, Any, tuple[Any, ...]], ...] = (
    ("pj_gethostname", ctypes.POINTER(HostName), ()),
    ("pjsua_set_no_snd_dev", Pointer, ()),
    ("pjsua_get_pjmedia_endpt", Pointer, ()),
    ("pjsua_get_pjsip_endpt", Pointer, ()),
    ("pjsua_pool_create", Pointer, (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_size_t)),
    ("pj_pool_release", None, (Pointer,)),
    ("pj_pool_create", Pointer, (Pointer, ctypes.c_char_p, *[ctypes.c_size_t] * 2, Pointer)),
    ("pj_caching_pool_init", None, (Pointer, Pointer, ctypes.c_size_t)),
    ("pj_caching_pool_destroy", None, (Pointer,)),
    ("pj_init", ctypes.c_int, ()),
    ("pj_shutdown", None, ()),
    ("pj_log_get_level", ctypes.c_int, ()),
    ("pj_log_set_level", None, (ctypes.c_int,)),
    ("pjmedia_endpt_create2", ctypes.c_int, (Pointer, Pointer, Unsigned, Pointer)),
    ("pjmedia_endpt_destroy2", ctypes.c_int, (Pointer,)),
    ("pjmedia_null_port_create", ctypes.c_int, (Pointer, *[Unsigned] * 4, Pointer)),
    ("pjmedia_port_get_frame", ctypes.c_int, (Pointer, Pointer)),
    ("pjmedia_port_put_frame", ctypes.c_int, (Pointer, Pointer)),
    ("pjmedia_stream_get_port", ctypes.c_int, (Pointer, Pointer)),
    ("pjmedia_stream_get_stat_jbuf", ctypes.c_int, (Pointer, Pointer)),
    ("pjmedia_stream_get_rtp_session_info", ctypes.c_int, (Pointer, Pointer)),
    ("pjmedia_rtp_session_init", ctypes.c_int, (Pointer, ctypes.c_int, ctypes.c_uint32)),
    ("pjmedia_rtp_encode_rtp", ctypes.c_int, (Pointer, *[ctypes.c_int] * 4, Pointer, Pointer)),
    ("pjmedia_jbuf_create", ctypes.c_int, (Pointer, Pointer, *[Unsigned] * 3, Pointer)),
    ("pjmedia_jbuf_put_frame", ctypes.c_int, (Pointer, Pointer, ctypes.c_size_t, ctypes.c_int)),
    ("pjmedia_jbuf_get_state", ctypes.c_int, (Pointer, Pointer)),
    (
        "pjmedia_transport_udp_create3",
        ctypes.c_int,
        (Pointer, ctypes.c_int, ctypes.c_char_p, Pointer, ctypes.c_int, Unsigned, Pointer),
    ),
    ("pjmedia_endpt_get_ioqueue", Pointer, (Pointer,)),
    ("pjmedia_transport_srtp_create", ctypes.c_int, (Pointer, Pointer, Pointer, Pointer)),
    (
        "pjmedia_transport_srtp_decrypt_pkt",
        ctypes.c_int,
        (Pointer, ctypes.c_int, Pointer, ctypes.POINTER(ctypes.c_int)),
    ),
    ("pjmedia_endpt_stop_threads", ctypes.c_int, (Pointer,)),
    ("pj_ioqueue_poll", ctypes.c_int, (Pointer, Pointer)),
    ("pjsip_endpt_get_timer_heap", Pointer, (Pointer,)),
    ("pj_timer_heap_count", ctypes.c_size_t, (Pointer,)),
    ("pj_timer_heap_earliest_time", ctypes.c_int, (Pointer, Pointer)),
    ("pj_gettickcount", ctypes.c_int, (Pointer,)),
)

AUDIO = 1
"""`PJMEDIA_FRAME_TYPE_AUDIO`."""
JITTER_STATE_WORDS = 32
"""Room for more than `pjmedia_jb_state` has (15)."""
JITTER_SIZE_WORD = 6
"""Where it has the number of frames that wait."""
BRIDGE_PORT_AT = 16
"""Where `pj::OnStreamCreatedParam` has `pPort`: behind a pointer, a number and a flag."""
OPERATIONS_AT = 40
"""Where `pjmedia_transport` has its table of functions: behind its name and its kind."""
GET_INFO, DETACH, MEDIA_START, DESTROY, ATTACH = 0, 2, 8, 11, 12
"""Places in that table, `pjmedia_transport_op`; the last one is `attach2`."""
ADDRESS_BYTES = 28
"""`pj_sockaddr`: room for either kind of address."""
_INFO_BYTES = 4_096
"""Room for more than `pjmedia_transport_info`, whose first word is the socket of RTP."""
_RTCP_AT = 40
"""Where it has the socket of RTCP: behind RTP's and that one's address."""
_FIRST_OWN_NUMBER = 64
"""Of our handles on sockets: PJSIP can use none from here on, so these are no loss to it."""
_MAX_PACKET_BYTES = 2_048
_NUMBERS, _GIVEN = struct.Struct("!2xHII"), struct.Struct("!HI")
"""Of a packet (RFC 3550 §5.1): its number, its timestamp and its source; and what of that is
given."""
_SEQUENCES, _TIMESTAMPS = 0xFFFF, 0xFFFFFFFF
_PAUSE = 800
"""Between what was sent by one and by the next: any time that is longer than a packet."""
_MAX_STEP = 500
"""Sequence numbers apart: more is another stream."""
_PROBATION = 2
"""Packets at the beginning, of which PJMEDIA takes only such as follow one another."""
SAME_TYPE = -1
"""Of payload: the one that the session has."""

_BRIDGE_RATE_HZ, _BRIDGE_SAMPLES = 8_000, 160
_POOL_BYTES = 1_024
_PORT_TRIES = 10
_LOOPBACK = b"127.0.0.1"


class Text(ctypes.Structure):
    """`pj_str_t`."""

    _fields_ = (("ptr", ctypes.c_char_p), ("slen", ctypes.c_ssize_t))


class Frame(ctypes.Structure):
    """`pjmedia_frame`."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("buf", Pointer),
        ("size", ctypes.c_size_t),
        ("timestamp", ctypes.c_uint64),
        ("bit_info", ctypes.c_uint32),
    )


class Attachment(ctypes.Structure):
    """`pjmedia_transport_attach_param`."""

    _fields_ = (
        ("stream", Pointer),
        ("media_type", ctypes.c_int),
        ("remote_rtp", ctypes.c_uint8 * ADDRESS_BYTES),
        ("remote_rtcp", ctypes.c_uint8 * ADDRESS_BYTES),
        ("address_bytes", Unsigned),
        ("user_data", Pointer),
        ("on_rtp", Pointer),
        ("on_rtcp", Pointer),
        ("on_rtp2", Pointer),
    )


class Arrival(ctypes.Structure):
    """`pjmedia_tp_cb_param`: a packet that a socket hands over."""

    _fields_ = (
        ("user_data", Pointer),
        ("packet", Pointer),
        ("size", ctypes.c_ssize_t),
        ("source", Pointer),
        ("switches_remote", ctypes.c_int),
    )


class Delivery(ctypes.Structure):
    """The same with bytes of ours in it."""

    _fields_ = (
        ("user_data", Pointer),
        ("packet", ctypes.c_char_p),
        ("size", ctypes.c_ssize_t),
        ("source", ctypes.c_char_p),
        ("switches_remote", ctypes.c_int),
    )


class RtpSessions(ctypes.Structure):
    """`pjmedia_stream_rtp_sess_info`."""

    _fields_ = (("received", Pointer), ("sent", Pointer), ("reports", Pointer))


class TimeValue(ctypes.Structure):
    """`pj_time_val`."""

    _fields_ = (("sec", ctypes.c_long), ("msec", ctypes.c_long))


# What they call is short and takes no lock that another thread holds (`Stack.lock`): letting other
# threads run meanwhile would cost more than they do.
OnArrival = ctypes.PYFUNCTYPE(None, ctypes.POINTER(Arrival))
OnDelivery = ctypes.PYFUNCTYPE(None, ctypes.POINTER(Delivery))
OnControl = ctypes.PYFUNCTYPE(None, Pointer, Pointer, ctypes.c_ssize_t)
Attach = ctypes.PYFUNCTYPE(ctypes.c_int, Pointer, ctypes.POINTER(Attachment))
Detach = ctypes.PYFUNCTYPE(None, Pointer, Pointer)
GetInfo = ctypes.PYFUNCTYPE(ctypes.c_int, Pointer, Pointer)
MediaStart = ctypes.PYFUNCTYPE(ctypes.c_int, Pointer, Pointer, Pointer, Pointer, Unsigned)
Destroy = ctypes.PYFUNCTYPE(ctypes.c_int, Pointer)


def address_of(source: bytes) -> Address:
    """Host and port of a `pj_sockaddr` of IPv4."""
    return socket.inet_ntoa(source[4:8]), int.from_bytes(source[2:4], "big")


def functions() -> ctypes.PyDLL:
    """The library that the bindings are, with the signatures of what is called here.

    Raises:
        SipError: it does not export one of them.
    """
    library = ctypes.PyDLL(pjsua2._pjsua2.__file__)  # noqa: SLF001 - loaded already: the bindings
    try:
        for name, result, arguments in _FUNCTIONS:
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except AttributeError as error:
        raise unavailable(str(error)) from None
    return library


def look_up_no_host_name(library: ctypes.PyDLL) -> None:
    """Have PJLIB take this host's name for an address, which it finds without asking anybody.

    It looks the name up at the start, and for the media of each call where 0.0.0.0 is listened on,
    to know an address of the host's. Where a resolver does not answer, that held all calls up for
    ten seconds. Of the host's interfaces it knows besides.
    """
    name = library.pj_gethostname().contents
    ctypes.memmove(name.ptr, _LOOPBACK + b"\0", len(_LOOPBACK) + 1)
    name.slen = len(_LOOPBACK)


def unavailable(reason: str) -> SipError:
    """What to tell whoever has another PJSUA2 than the one that this was written for."""
    return SipError(f"this build of PJSUA2 cannot carry calls ({reason})")


def operation(table: int, place: int, prototype: Any) -> Any:
    """A function of a media socket's table."""
    return prototype(Pointer.from_address(table + place * ctypes.sizeof(Pointer)).value)


def sockets_of(transport: int, get_info: Any) -> tuple[int, int]:
    """The system's numbers of a media socket: for RTP, and for RTCP."""
    info = (ctypes.c_byte * _INFO_BYTES)()
    get_info(transport, info)
    return ctypes.c_long.from_buffer(info).value, ctypes.c_long.from_buffer(info, _RTCP_AT).value


class Stream:
    """One stream, from when it is attached to its socket until it is destroyed.

    Its packets are read here, not by PJMEDIA. Everything but `put` is for the loop's thread.

    Args:
        library: see `functions`.
        attachment: what it told the socket of itself.
        secured: the same of what encrypts, if something stands before the socket that does.
        numbers: the system's, of its sockets for RTP and RTCP.
        sockets: what stands between it and them.
    """

    def __init__(
        self,
        library: ctypes.PyDLL,
        attachment: Attachment,
        secured: "Secured | None",
        numbers: tuple[int, int],
        sockets: "MediaSockets",
    ) -> None:
        self.address = attachment.stream
        self.target: Address | None = None
        """Where the socket is to send, if that is elsewhere than it was told."""
        self._library = library
        self._lock = sockets.lock
        self._sockets = sockets
        rtp, self._rtcp = numbers
        own = fcntl.fcntl(rtp, fcntl.F_DUPFD_CLOEXEC, _FIRST_OWN_NUMBER)
        self._socket = socket.socket(fileno=own)
        self.reader = PacketReader(self._socket, self.pass_by)
        """Until somebody listens, packets go through the stream, and their audio nowhere."""
        described = bytes(attachment.remote_rtp)
        self.encrypter = secured.transport if secured is not None else None
        """What its packets are decrypted by, if they are encrypted: see `opened`."""
        inner = secured if secured is not None else attachment
        self._delivery = Delivery(user_data=inner.user_data, source=described)
        self._delivered = ctypes.byref(self._delivery)
        self._deliver = OnDelivery(inner.on_rtp2)
        self._source: int | None = None
        self._shift = self._given = 0, 0
        """What is added to the number and the timestamp of that source's packets, and the last that
        were given."""
        self._on_probation = _PROBATION
        self._state = (Unsigned * JITTER_STATE_WORDS)()
        self._port = Pointer()
        self._frame_bytes = 0
        self._pieces = 1
        self.pieces_left = 0
        """Of what came, that are no frame yet."""
        self._incoming, self._outgoing = Frame(type=AUDIO), Frame(type=AUDIO)

    def listen(self) -> None:
        """Have the loop wait for packets."""
        self._sockets.watch(self._socket.fileno(), self.reader.read)
        self._sockets.watch(self._rtcp, self._sockets.poll)

    def go_deaf(self) -> None:
        """Have it wait no more."""
        self._sockets.unwatch(self._socket.fileno())
        self._sockets.unwatch(self._rtcp)

    def close(self) -> None:
        """It ends; its sockets are PJMEDIA's own business again."""
        self.go_deaf()
        self._socket.close()

    def open(self, frame_samples: int, pieces: int) -> None:
        """It is up: its frames have so many samples, and the codec makes them of so many pieces."""
        self._library.pjmedia_stream_get_port(self.address, ctypes.byref(self._port))
        self._frame_bytes = 2 * frame_samples
        self._pieces = pieces
        self._heard = ctypes.create_string_buffer(self._frame_bytes)
        self._said = ctypes.create_string_buffer(self._frame_bytes)
        self._incoming.buf = ctypes.addressof(self._heard)
        self._outgoing.buf = ctypes.addressof(self._said)
        self._get_frame = partial(
            self._library.pjmedia_port_get_frame, self._port, ctypes.byref(self._incoming)
        )
        self._incoming.type, self._incoming.size = AUDIO, self._frame_bytes
        self._get_frame()  # the first one is never heard: what came before it is thrown away

    def decode(self, packet: bytes = b"") -> bytes:
        """Give the stream a packet, as from where it sends: whom it hears is not its business.

        Nor that another one begins: of whose numbers have nothing to do with those before, PJMEDIA
        would throw the first two away. So they are given on. Nor that one is missing between the
        first two of all: it would throw the second away, too (RFC 3550 A.1, probation).

        Returns all whole frames that there are now: 16-bit samples at the codec's rate.
        """
        with self._lock:
            if len(packet) >= _NUMBERS.size:
                sequence, timestamp, source = _NUMBERS.unpack_from(packet)
                ahead = (sequence + self._shift[0] - self._given[0]) & _SEQUENCES
                if source != self._source or _MAX_STEP < ahead < _SEQUENCES - _MAX_STEP:
                    if self._source is not None:
                        given, at = self._given
                        self._shift = given + 1 - sequence, at + _PAUSE - timestamp
                    self._source = source
                elif self._on_probation and ahead > 1:
                    self._shift = self._given[0] + 1 - sequence, self._shift[1]
                self._on_probation = max(0, self._on_probation - 1)
                shift, shift_at = self._shift
                self._given = (sequence + shift) & _SEQUENCES, (timestamp + shift_at) & _TIMESTAMPS
                if shift or shift_at:
                    packet = packet[:2] + _GIVEN.pack(*self._given) + packet[8:]
            if packet:
                self._delivery.packet, self._delivery.size = packet, len(packet)
                self._deliver(self._delivered)
            if not self._frame_bytes:
                return b""
            self._library.pjmedia_stream_get_stat_jbuf(self.address, self._state)
            frame, pcm = self._incoming, b""
            frames, self.pieces_left = divmod(self._state[JITTER_SIZE_WORD], self._pieces)
            for _ in range(frames):
                frame.type, frame.size = AUDIO, self._frame_bytes
                self._get_frame()
                pcm += self._heard.raw if frame.type == AUDIO else bytes(self._frame_bytes)
        return pcm

    def opened(self, packet: bytes) -> bytes:
        """A packet as it came, decrypted; empty: it is nobody's. In a plain call it is as it is."""
        if self.encrypter is None:
            return packet
        buffer, size = ctypes.create_string_buffer(packet, len(packet)), ctypes.c_int(len(packet))
        with self._lock:
            failed = self._library.pjmedia_transport_srtp_decrypt_pkt(
                self.encrypter, True, buffer, ctypes.byref(size)
            )
        return b"" if failed else buffer.raw[: size.value]

    def pass_by(self, packet: bytes, _source: Address, _at_ns: int) -> None:
        """See `packet_reader.OnPacket`: the stream counts it, and its audio is nobody's."""
        self.decode(self.opened(packet))

    def send_to(self, target: Address) -> None:
        """Have the socket send there, once PJMEDIA itself has read a packet from there."""
        self.target = target
        self._sockets.watch(self._socket.fileno(), self._sockets.poll)

    def take_reports_from(self, networks: Sequence[str]) -> None:
        """Have the kernel drop what others send to the socket for RTCP; of none: drop nothing.

        PJMEDIA believes whoever reports, and reports to whoever did so last.
        """
        with socket.socket(fileno=os.dup(self._rtcp)) as reports:
            drop_from_others(reports, networks)

    def pass_time(self, duration: int) -> None:
        """Nothing is sent for so long, in the timestamps' units."""
        sessions, header, size = RtpSessions(), Pointer(), ctypes.c_int()
        self._library.pjmedia_stream_get_rtp_session_info(self.address, ctypes.byref(sessions))
        self._library.pjmedia_rtp_encode_rtp(  # with no payload it moves the clock on, and no more
            sessions.sent, SAME_TYPE, 0, 0, duration, ctypes.byref(header), ctypes.byref(size)
        )

    def put(self, pcm: bytes) -> None:
        """Send one frame."""
        if len(pcm) != self._frame_bytes:
            raise ValueError(f"a frame is {self._frame_bytes} bytes, not {len(pcm)}")
        ctypes.memmove(self._said, pcm, self._frame_bytes)
        self._outgoing.type = AUDIO
        self._outgoing.size = self._frame_bytes
        self._library.pjmedia_port_put_frame(self._port, ctypes.byref(self._outgoing))


@dataclass(frozen=True, slots=True)
class Secured:
    """How a stream attaches to what encrypts its packets, and that to its socket."""

    transport: int
    stream: int
    user_data: int
    on_rtp2: int


class MediaSockets:
    """Stands between PJMEDIA's UDP sockets and its streams, in all of the process.

    Args:
        library: see `functions`.
        endpoint: PJMEDIA's.
        lock: `Stack.lock`.
        watch: told the system's number of a socket, and what to call when something has come there.
        unwatch: told that nothing is to be waited for there any more: before it is closed.

    They have a table of their own (`pj_ioqueue_t`), apart from SIP's, and no thread that waits for
    what comes. Packets of RTP are read here, each with the kernel's time and in one call of the
    system instead of five; RTCP's are left to PJMEDIA (`poll`).
    """

    def __init__(
        self,
        library: ctypes.PyDLL,
        endpoint: int,
        lock: threading.RLock,
        watch: Callable[[int, Callable[[], object]], None],
        unwatch: Callable[[int], None],
    ) -> None:
        self._library = library
        self._endpoint = endpoint
        self.lock = lock
        self._table = library.pjmedia_endpt_get_ioqueue(endpoint)
        library.pjmedia_endpt_stop_threads(endpoint)  # PJSUA starts one, whatever it is told
        self._take_what_came: Callable[[], object] = partial(
            library.pj_ioqueue_poll, self._table, ctypes.byref(TimeValue(0, 0))
        )
        self.watch, self.unwatch = watch, unwatch
        self._streams: dict[int, Stream] = {}
        """By what their sockets know of them."""
        self._unread: list[tuple[Stream, bytes, Address]] = []
        """Packets that PJMEDIA has read instead of us."""
        self._on_arrival = OnArrival(self._arrived)
        self._replaced = (Attach(self._attach), Detach(self._detach))
        self._secured: Secured | None = None
        """While one attaches, and through it to its socket."""
        self._attach_secured = Attach(self._attach_to_encrypter)

    def take_over(self) -> None:
        """Stand there from now on."""
        transport, _ = open_socket(self._library, self._endpoint)  # any: all have the one table
        table = Pointer.from_address(transport + OPERATIONS_AT).value
        assert table is not None  # noqa: S101 - tried by `self_test`
        self._get_info = operation(table, GET_INFO, GetInfo)
        self._attach_there = operation(table, ATTACH, Attach)
        self._detach_there = operation(table, DETACH, Detach)
        for place, replaced in zip((ATTACH, DETACH), self._replaced, strict=True):
            address = ctypes.cast(replaced, Pointer).value
            Pointer.from_address(table + place * ctypes.sizeof(Pointer)).value = address
        operation(table, DESTROY, Destroy)(transport)

    def take_over_encryption(self) -> None:
        """Stand before what encrypts, too, from now on: packets are decrypted when we hear them.

        Raises:
            SipError: it does not lie where it should.
        """
        transport, _ = open_socket(self._library, self._endpoint)
        encrypter = Pointer()
        if self._library.pjmedia_transport_srtp_create(
            self._endpoint, transport, None, ctypes.byref(encrypter)
        ):
            raise unavailable("it has no SRTP")
        assert encrypter.value is not None  # noqa: S101 - it was made
        table = Pointer.from_address(encrypter.value + OPERATIONS_AT).value
        assert table is not None  # noqa: S101 - as with sockets, tried by `self_test`
        self._attach_encrypter = operation(table, ATTACH, Attach)
        address = ctypes.cast(self._attach_secured, Pointer).value
        place = table + ATTACH * ctypes.sizeof(Pointer)
        if Pointer.from_address(place).value != address:
            Pointer.from_address(place).value = address
        operation(table, DESTROY, Destroy)(encrypter.value)  # with the socket

    def stream(self, address: int) -> Stream:
        """The stream at an address, which is attached to its socket."""
        return next(one for one in self._streams.values() if one.address == address)

    def poll(self) -> None:
        """Let PJMEDIA read: RTCP, and what comes of RTP meanwhile, which is told as ours is.

        It knows no time of arrival: what has come of RTP by now is read before, but for a stream
        whose other side has moved (`Stream.send_to`): there it must see one packet itself.
        """
        for stream in tuple(self._streams.values()):
            if stream.target is None:
                stream.reader.read_all()
        with self.lock:
            self._take_what_came()
        unread, self._unread = self._unread, []
        now_ns = time.monotonic_ns()
        for stream, packet, source in unread:
            stream.reader.on_packet(packet, source, now_ns)

    def _attach(self, transport: int, attachment: Any) -> int:
        with reported("attach"):
            wanted = attachment.contents
            secured, numbers = self._secured, sockets_of(transport, self._get_info)
            if secured is not None and secured.stream != wanted.stream:
                secured = None
            stream = Stream(self._library, wanted, secured, numbers, self)
            wanted.on_rtp2 = ctypes.cast(self._on_arrival, Pointer)
            self._streams[wanted.user_data] = stream
            stream.listen()
        return int(self._attach_there(transport, attachment))

    def _attach_to_encrypter(self, transport: int, attachment: Any) -> int:
        with reported("attach"):
            wanted = attachment.contents
            self._secured = Secured(transport, wanted.stream, wanted.user_data, wanted.on_rtp2)
        try:
            return int(self._attach_encrypter(transport, attachment))
        finally:
            self._secured = None

    def _detach(self, transport: int, user_data: int) -> None:
        with reported("detach"):
            stream = self._streams.pop(user_data, None)
            if stream is not None:
                stream.close()
        self._detach_there(transport, user_data)

    def _arrived(self, arrival: Any) -> None:
        try:
            arrived = arrival.contents
            stream = self._streams.get(arrived.user_data)
            if stream is None or not 0 < arrived.size <= _MAX_PACKET_BYTES:
                return
            source = address_of(ctypes.string_at(arrived.source, ADDRESS_BYTES))
            self._unread.append((stream, ctypes.string_at(arrived.packet, arrived.size), source))
            if source == stream.target:
                arrived.switches_remote, stream.target = True, None
                stream.listen()
        except Exception:
            log_failure("packet")


class Bridge:
    """PJSUA's conference, in which nothing is heard; it must still be looked after."""

    def __init__(self, library: ctypes.PyDLL) -> None:
        self._library = library
        self._master = library.pjsua_set_no_snd_dev()
        self._pools: dict[int, int] = {}
        """The memory of the port that stands for a stream, by the stream's address."""
        self._going: list[int] = []
        self._gone: list[int] = []
        self._buffer = ctypes.create_string_buffer(2 * _BRIDGE_SAMPLES)
        self._frame = Frame(buf=ctypes.addressof(self._buffer))

    def keep_out(self, created: Any) -> None:
        """A stream was created (`OnStreamCreatedParam`): the bridge gets a port that is no stream.

        A new one each time, which goes with the stream: one for all would be added again and again.
        """
        pool = self._library.pjsua_pool_create(b"callerside-port", _POOL_BYTES, _POOL_BYTES)
        self._pools[int(created.stream)] = pool
        created.destroyPort = True
        Pointer.from_address(int(created.this) + BRIDGE_PORT_AT).value = null_port(
            self._library, pool
        )

    def stream_ends(self, address: int) -> None:
        """So does the port that stands for it, in a later tick."""
        pool = self._pools.pop(address, None)
        if pool is not None:
            self._going.append(pool)

    def sweep(self) -> None:
        """Let it do what waits to be done: ports come and go only in its tick."""
        self._frame.type = AUDIO
        self._frame.size = 2 * _BRIDGE_SAMPLES
        self._library.pjmedia_port_get_frame(self._master, ctypes.byref(self._frame))
        for pool in self._gone:
            self._library.pj_pool_release(pool)
        self._gone, self._going = self._going, []


class Timers:
    """When the stack wants to be looked at next, if nothing arrives before."""

    def __init__(self, library: ctypes.PyDLL) -> None:
        self._library = library
        self._heap = library.pjsip_endpt_get_timer_heap(library.pjsua_get_pjsip_endpt())
        self._now, self._due = TimeValue(), TimeValue()

    def wait_ms(self) -> int | None:
        """Until the next timer; None: there is none."""
        if not self._library.pj_timer_heap_count(self._heap):  # or the next call would abort
            return None
        self._library.pj_timer_heap_earliest_time(self._heap, ctypes.byref(self._due))
        self._library.pj_gettickcount(ctypes.byref(self._now))
        wait = (self._due.sec - self._now.sec) * 1000 + self._due.msec - self._now.msec
        return max(0, int(wait))


def open_socket(library: ctypes.PyDLL, endpoint: int) -> tuple[int, int]:
    """A media socket of our own (`pjmedia_transport *`), and its port."""
    transport = Pointer()
    for _ in range(_PORT_TRIES):  # the port for RTCP, the next one, may be taken
        port = _free_port()
        status = library.pjmedia_transport_udp_create3(
            endpoint, socket.AF_INET, b"test", None, port, 0, ctypes.byref(transport)
        )
        if not status and transport.value is not None:
            return transport.value, port
    raise unavailable("no media socket can be made")


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def null_port(library: ctypes.PyDLL, pool: int) -> int:
    """A port that hears and says nothing."""
    port = Pointer()
    status = library.pjmedia_null_port_create(
        pool, _BRIDGE_RATE_HZ, 1, _BRIDGE_SAMPLES, 16, ctypes.byref(port)
    )
    if status or port.value is None:
        raise MemoryError(f"PJMEDIA has no port (status {status})")
    return port.value
