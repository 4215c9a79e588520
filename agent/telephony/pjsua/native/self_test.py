"""Tries what `native.media` relies on, once, at start and without a call.

Functions that are exported may still mean something else in another version, and structures may lie
otherwise in memory. Reading past them would end the process in the middle of a call; so each is
used here on objects of our own first, where it can be seen whether it says what it should.
"""

import contextlib
import ctypes
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pjsua2

from callerside.agent.telephony.pjsua.native import media

_PATTERN = 0xA5A5A5A5
_POOL_BYTES = 8_000
_PAYLOAD_TYPE = 8
_SESSION_BYTES = 1_000
"""Room for more than `pjmedia_rtp_session` has."""
_FACTORY_BYTES = 16_000
"""Room for more than `pj_caching_pool` has."""
_LOOPBACK = "127.0.0.1"
_TRIES, _TRY_S = 100, 0.001


def check(library: ctypes.PyDLL) -> None:
    """Try everything, in a PJMEDIA of our own; before PJSUA is created in this process.

    Args:
        library: see `media.functions`.

    Raises:
        SipError: something is not as it should be; says what.
    """
    with _own_media(library) as (endpoint, pool):
        _check_layouts(library, pool)
        _check_clock(library)
        _check_socket(library, endpoint)


@contextlib.contextmanager
def _own_media(library: ctypes.PyDLL) -> Iterator[tuple[int, int]]:
    """An endpoint of PJMEDIA without threads, and memory; of either nothing is left."""
    level = library.pj_log_get_level()
    library.pj_log_set_level(0)  # it would print
    library.pj_init()
    factory = ctypes.create_string_buffer(_FACTORY_BYTES)
    library.pj_caching_pool_init(factory, None, 0)
    endpoint = media.Pointer()
    pool = library.pj_pool_create(factory, b"callerside", _POOL_BYTES, _POOL_BYTES, None)
    try:
        library.pjmedia_endpt_create2(factory, None, 0, ctypes.byref(endpoint))
        if endpoint.value is None:
            raise media.unavailable("PJMEDIA does not start")
        yield endpoint.value, pool
    finally:
        if endpoint.value is not None:
            library.pjmedia_endpt_destroy2(endpoint)
        library.pj_pool_release(pool)
        library.pj_caching_pool_destroy(factory)
        library.pj_shutdown()
        library.pj_log_set_level(level)


def _check_layouts(library: ctypes.PyDLL, pool: int) -> None:
    for what, holds in (
        ("the jitter buffer's state", _jitter_state(library, pool)),
        ("frames", _frames(library, pool)),
        ("the parameters of a new stream", _new_stream(library, pool)),
    ):
        if not holds:
            raise media.unavailable(f"{what} do not lie where they should")


def _jitter_state(library: ctypes.PyDLL, pool: int) -> bool:
    """Frames go into a buffer of our own: one word of its state counts them."""
    buffer, name = media.Pointer(), media.Text(b"test", 4)
    if library.pjmedia_jbuf_create(pool, ctypes.byref(name), 17, 20, 23, ctypes.byref(buffer)):
        return False
    words = 2 * media.JITTER_STATE_WORDS
    state = (media.Unsigned * words)(*[_PATTERN] * words)
    counted = []
    for number in range(1, 6):
        library.pjmedia_jbuf_put_frame(buffer, bytes(17), 17, 100 + number)
        library.pjmedia_jbuf_get_state(buffer, state)
        counted.append(state[media.JITTER_SIZE_WORD])
    fits = all(word == _PATTERN for word in state[media.JITTER_STATE_WORDS :])
    return fits and counted == [1, 2, 3, 4, 5]


def _frames(library: ctypes.PyDLL, pool: int) -> bool:
    """A port that is silent fills as much of a frame as it says, and no more."""
    samples = ctypes.create_string_buffer(b"\x55" * 400)
    frame = media.Frame(buf=ctypes.addressof(samples), size=320, bit_info=_PATTERN)
    port = media.null_port(library, pool)
    status = library.pjmedia_port_get_frame(port, ctypes.byref(frame))
    filled = samples.raw[:320] == bytes(320) and samples.raw[320:400] == b"\x55" * 80
    says = (frame.type, frame.size, frame.bit_info) == (media.AUDIO, 320, _PATTERN)
    return bool(not status and filled and says)


def _new_stream(library: ctypes.PyDLL, pool: int) -> bool:
    """What the bindings write as the port lies where it should; only then do we write there."""
    created = pjsua2.OnStreamCreatedParam()
    place = media.Pointer.from_address(int(created.this) + media.BRIDGE_PORT_AT)
    for pattern in pjsua2.OnStreamCreatedParam(), pjsua2.OnStreamCreatedParam():
        created.pPort = pattern.this
        if place.value != int(pattern.this):
            return False
    port = media.null_port(library, pool)
    others = created.stream, created.streamIdx
    place.value = port
    created.destroyPort = True
    is_there = int(created.pPort or 0) == port
    return is_there and others == (created.stream, created.streamIdx)


def _check_clock(library: ctypes.PyDLL) -> None:
    """What has no payload moves a session's timestamps on, and is no packet."""
    session = ctypes.create_string_buffer(_SESSION_BYTES)
    header, size = media.Pointer(), ctypes.c_int()
    library.pjmedia_rtp_session_init(session, _PAYLOAD_TYPE, _PATTERN)
    told = []
    for payload_bytes, duration in ((160, 160), (0, 800), (160, 160)):
        given = (media.SAME_TYPE, 0, payload_bytes, duration)
        library.pjmedia_rtp_encode_rtp(session, *given, ctypes.byref(header), ctypes.byref(size))
        if payload_bytes and header.value is not None:
            told.append(struct.unpack("!xBHII", ctypes.string_at(header.value, 12)))
    moved = [told[0][0], *(b - a for a, b in zip(*told, strict=True))] if len(told) == 2 else []
    if moved != [_PAYLOAD_TYPE, 0, 1, 960, 0]:
        raise media.unavailable("the clock of what is sent does not go by itself")


def _check_socket(library: ctypes.PyDLL, endpoint: int) -> None:
    """A packet is sent to a media socket of our own; it must come to us with all that belongs."""
    sockets = media.MediaSockets(library, endpoint, threading.RLock(), _ignore, _ignore)
    transport, port = media.open_socket(library, endpoint)
    table = media.Pointer.from_address(transport + media.OPERATIONS_AT).value
    if table is None or not _is_named(transport, b"test") or not _is_part(library, table):
        raise media.unavailable("media sockets do not lie where they should")
    _check_packets(sockets, transport, table, port)
    media.operation(table, media.DESTROY, media.Destroy)(transport)


def _check_packets(sockets: media.MediaSockets, transport: int, table: int, port: int) -> None:
    arrived: list[tuple[int, bytes, bytes]] = []

    def hear(arrival: "ctypes._Pointer[media.Arrival]") -> None:
        one = arrival.contents
        arrived.append(
            (
                one.user_data,
                ctypes.string_at(one.packet, one.size),
                ctypes.string_at(one.source, media.ADDRESS_BYTES),
            )
        )

    on_arrival = media.OnArrival(hear)
    on_control = media.OnControl(lambda *_: None)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind((_LOOPBACK, 0))
        attachment = _attachment(peer.getsockname()[1])
        attachment.on_rtp2 = ctypes.cast(on_arrival, media.Pointer)
        attachment.on_rtcp = ctypes.cast(on_control, media.Pointer)
        get_info = media.operation(table, media.GET_INFO, media.GetInfo)
        rtp, rtcp = media.sockets_of(transport, get_info)
        if not (_is_bound(rtp, port) and _is_bound(rtcp, port + 1)):
            raise media.unavailable("a media socket does not say which it is")
        media.operation(table, media.ATTACH, media.Attach)(transport, ctypes.byref(attachment))
        media.operation(table, media.MEDIA_START, media.MediaStart)(transport, None, None, None, 0)
        peer.sendto(packet := bytes(range(200)), (_LOOPBACK, port))
        for _ in range(_TRIES):
            sockets.poll()
            if arrived:
                break
            time.sleep(_TRY_S)
        media.operation(table, media.DETACH, media.Detach)(transport, _PATTERN)
        source = bytes(attachment.remote_rtp)
    if [(told, sent) for told, sent, _ in arrived] != [(_PATTERN, packet)]:
        raise media.unavailable("media sockets do not hand packets over as they should")
    if arrived[0][2][:8] != source[:8]:
        raise media.unavailable("media sockets do not say where packets come from")


def _attachment(port: int) -> media.Attachment:
    """Of somebody at a port of the loopback network."""
    address = struct.pack("=H2s4s20x", socket.AF_INET, struct.pack("!H", port), b"\x7f\0\0\1")
    parameters = media.Attachment(user_data=_PATTERN, address_bytes=16)
    parameters.remote_rtp[:] = parameters.remote_rtcp[:] = address
    return parameters


def _is_named(transport: int, name: bytes) -> bool:
    return ctypes.string_at(transport, len(name) + 1) == name + b"\0"


def _is_part(library: ctypes.PyDLL, address: int) -> bool:
    """Whether an address is in the library, as its tables are: else nothing there may be called."""
    try:
        dladdr = ctypes.CDLL(None).dladdr
    except (AttributeError, TypeError):  # not on Windows
        return True
    found = [(media.Pointer * 4)(), (media.Pointer * 4)()]
    known = ctypes.cast(library.pjmedia_port_get_frame, media.Pointer)
    for place, there in zip(found, (known, media.Pointer(address)), strict=True):
        dladdr(there, place)
    return bool(found[0][1] and found[0][1] == found[1][1])  # `dli_fbase`


def _is_bound(number: int, port: int) -> bool:
    try:
        with socket.socket(fileno=socket.dup(number)) as same:
            return bool(same.getsockname()[1] == port)
    except OSError:
        return False


def _ignore(_number: int, _callback: object = None) -> None:
    """Nothing is to be waited for here."""
