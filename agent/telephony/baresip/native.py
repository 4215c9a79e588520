"""What baresip's bindings do not offer, and its library does: its exported functions, by ctypes.

The bindings' library exports all of libre and baresip. Used here is what has a signature in their
public headers; of structures only how a list's element begins (`_Element`), which `listen`
tries, a buffer (`Mbuf`), and where a transport has its socket (`_Transport`), which is tried,
too. But for what encrypts packets, all this is called on the stack's thread: in its callbacks, and
in jobs (`Stack.run`).
"""

import ctypes
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from importlib.metadata import version
from typing import Any

from baresip import _native

from callerside.addresses import Family, family_in_sdp, joined
from callerside.agent.telephony.engine import PROFILES
from callerside.agent.telephony.errors import SipError
from callerside.agent.telephony.options import Transport, Verify

VERSION = PROFILES["baresip"].works
"""What this was written for; the bindings are of alpha quality and change."""

Pointer = ctypes.c_void_p
Text = ctypes.c_char_p
Int = ctypes.c_int

TraceHandler = ctypes.CFUNCTYPE(
    None, ctypes.c_bool, Int, Pointer, Pointer, Pointer, ctypes.c_size_t, Pointer
)
"""`sip_trace_h`: sent?, transport, source, destination, the message's address and length."""
MessageHandler = ctypes.CFUNCTYPE(ctypes.c_bool, Pointer, Pointer)
"""`sip_msg_h`: a message, which is ours to answer if true is returned."""
PacketHandler = ctypes.CFUNCTYPE(ctypes.c_bool, Pointer, Pointer, Pointer)
"""`udp_helper_recv_h`: source and packet, which nobody else gets if true is returned."""

_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "uag_sip": (Pointer, ()),
    "uag_call_find": (Pointer, (Text,)),
    "call_audio": (Pointer, (Pointer,)),
    "call_modify": (Int, (Pointer,)),
    "call_get_ua": (Pointer, (Pointer,)),
    "call_laddr": (Pointer, (Pointer,)),
    "baresip_network": (Pointer, ()),
    "net_add_address": (Int, (Pointer, Pointer)),
    "ua_hangup": (None, (Pointer, Pointer, ctypes.c_uint16, Text)),
    "call_set_media_estdir": (None, (Pointer, Int, Int)),
    "audio_strm": (Pointer, (Pointer,)),
    "call_video": (Pointer, (Pointer,)),
    "video_strm": (Pointer, (Pointer,)),
    "audio_set_source": (Int, (Pointer, Text, Text)),
    "audio_set_player": (Int, (Pointer, Text, Text)),
    "stream_rtp_sock": (Pointer, (Pointer,)),
    "stream_sdpmedia": (Pointer, (Pointer,)),
    "sdp_media_set_laddr": (None, (Pointer, Pointer)),
    "sa_set_str": (Int, (Pointer, Text, ctypes.c_uint16)),
    "sa_ntop": (Int, (Pointer, Text, Int)),
    "sa_port": (ctypes.c_uint16, (Pointer,)),
    "sa_struct_get_size": (ctypes.c_size_t, ()),
    "rtp_sock": (Pointer, (Pointer,)),
    "rtcp_sock": (Pointer, (Pointer,)),
    "call_transfer": (Int, (Pointer, Text)),
    "call_replace_transfer": (Int, (Pointer, Pointer)),
    "tls_alloc": (Int, (Pointer, Int, Text, Text)),
    "tls_set_certificate": (Int, (Pointer, Text, ctypes.c_size_t)),
    "tls_set_certificate_chain_pem": (Int, (Pointer, Text, ctypes.c_size_t)),
    "tls_set_min_proto_version": (Int, (Pointer, Int)),
    "tls_add_cafile_path": (Int, (Pointer, Text, Text)),
    "tls_disable_verify_server": (None, (Pointer,)),
    "tls_ssl_ctx": (Pointer, (Pointer,)),
    "SSL_CTX_set_verify": (None, (Pointer, Int, Pointer)),
    "srtp_alloc": (Int, (Pointer, Int, Text, ctypes.c_size_t, Int)),
    "srtp_encrypt": (Int, (Pointer, Pointer)),
    "srtp_decrypt": (Int, (Pointer, Pointer)),
    "srtcp_encrypt": (Int, (Pointer, Pointer)),
    "srtcp_decrypt": (Int, (Pointer, Pointer)),
    "mbuf_alloc": (Pointer, (ctypes.c_size_t,)),
    "mbuf_write_mem": (Int, (Pointer, Text, ctypes.c_size_t)),
    "mem_deref": (Pointer, (Pointer,)),
    "sip_msg_decode": (Int, (Pointer, Pointer)),
    "udp_register_helper": (Int, (Pointer, Pointer, Int, Pointer, PacketHandler, Pointer)),
    "udp_send": (Int, (Pointer, Pointer, Pointer)),
    "sip_transp_flush": (None, (Pointer,)),
    "udp_sock_fd": (Int, (Pointer, Int)),
    "udp_thread_detach": (None, (Pointer,)),
    "sip_set_trace_handler": (None, (Pointer, TraceHandler)),
    "sip_listen": (Int, (Pointer, Pointer, ctypes.c_bool, MessageHandler, Pointer)),
    "list_unlink": (None, (Pointer,)),
    "list_insert_after": (None, (Pointer, Pointer, Pointer, Pointer)),
    "list_insert_before": (None, (Pointer, Pointer, Pointer, Pointer)),
    "g722_decoder_new": (Pointer, (Int, Int)),
    "g722_decoder_destroy": (None, (Pointer,)),
    "g722_decode": (Int, (Pointer, Text, Int, Pointer)),
    "g722_encoder_new": (Pointer, (Int, Int)),
    "g722_encoder_destroy": (None, (Pointer,)),
    "g722_encode": (Int, (Pointer, Text, Int, Pointer)),
    "opus_decoder_create": (Pointer, (Int, Int, Pointer)),
    "opus_decoder_destroy": (None, (Pointer,)),
    "opus_decode": (Int, (Pointer, Text, Int, Pointer, Int, Int)),
    "opus_encoder_create": (Pointer, (Int, Int, Int, Pointer)),
    "opus_encoder_destroy": (None, (Pointer,)),
    "opus_encode": (Int, (Pointer, Text, Int, Pointer, Int)),
    "opus_packet_get_nb_samples": (Int, (Text, Int, Int)),
}
_VARIADIC = (
    "sip_treplyf",
    "sip_replyf",
    "call_notify_sipfrag",
    "sip_transp_add",
    "opus_encoder_ctl",
)
"""Their arguments are given in full with each call."""

_FAMILIES = int(socket.AF_INET), int(socket.AF_INET6)
_INACTIVE, _SENDRECV = 0, 3
"""`enum sdp_dir`."""
_ADDRESS_CHARS = 64
_TLS, _OVER_TLS = 0, 2
_TRANSPORTS: Mapping[Transport, int] = {"udp": 0, "tcp": 1}
"""`enum tls_method`, `enum sip_transp`."""
_TLS_1_2 = 0x0303
_VERIFY_AND_DEMAND = 3
"""`SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT`: the latter means those who connect to us."""


class _Element(ctypes.Structure):
    """`struct le` of re_list.h, with which `struct sip_lsnr` begins."""

    _fields_ = (("prev", Pointer), ("next", Pointer), ("list", Pointer), ("data", Pointer))


class Mbuf(ctypes.Structure):
    """`struct mbuf` of re_mbuf.h."""

    _fields_ = (
        ("buf", Pointer),
        ("size", ctypes.c_size_t),
        ("pos", ctypes.c_size_t),
        ("end", ctypes.c_size_t),
    )


class _Transport(ctypes.Structure):
    """What follows the address in a `struct sip_transport` (libre's sip/transp.c)."""

    _fields_ = (
        ("sip", Pointer),
        ("tls", Pointer),
        ("http_cli", Pointer),
        ("sock", Pointer),
        ("transport", Int),
    )


class Library:
    """The functions, by their names."""

    def __init__(self, path: str) -> None:
        library = ctypes.CDLL(path)
        missing = [name for name in (*_FUNCTIONS, *_VARIADIC) if not hasattr(library, name)]
        if missing:
            raise SipError(f"its library has no {', '.join(missing)}")
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        self._library = library
        self._text = ctypes.create_string_buffer(_ADDRESS_CHARS)
        self.listeners: list[ctypes.c_void_p] = []
        """Where the library was told to write its listeners' addresses, and writes zero when they
        are gone: it must be ours until then."""

    def __getattr__(self, name: str) -> Any:
        """A function of the library."""
        return getattr(self._library, name)

    def address(self, at: int) -> tuple[str, int]:
        """Host and port of a `struct sa`; the host without brackets."""
        self.sa_ntop(at, self._text, _ADDRESS_CHARS)
        return self._text.value.decode(), int(self.sa_port(at))

    def refuse(self, message: int, status: int, reason: str, headers: str = "") -> None:
        """Answer a request with a final status; within its callback."""
        self.sip_treplyf(
            Pointer(None),
            Pointer(None),
            Pointer(self.uag_sip()),
            Pointer(message),
            ctypes.c_bool(False),
            ctypes.c_uint16(status),
            Text(reason.encode()),
            Text(b"%s"),
            Text(f"{headers}Content-Length: 0\r\n\r\n".encode()),
        )

    def turn_away(self, message: int, status: int, reason: str, headers: str = "") -> None:
        """The same, and remember nothing of it (RFC 3261 §8.2.7); within its callback.

        A transaction of an INVITE whose refusal nobody acknowledges sends it for 32 s.
        """
        self.sip_replyf(
            Pointer(self.uag_sip()),
            Pointer(message),
            ctypes.c_uint16(status),
            Text(reason.encode()),
            Text(b"%s"),
            Text(f"{headers}Content-Length: 0\r\n\r\n".encode()),
        )

    def listen_with_tls(
        self, host: str, port: int, *, pem: bytes, ca: str, verify: Verify, alone: bool
    ) -> None:
        """Have the stack take and make connections of TLS, too.

        Args:
            host: an address.
            port: to listen at.
            pem: our certificate and its key; empty: none.
            ca: file of those who sign the other side's.
            verify: see `TlsOptions`.
            alone: and nothing besides.

        Raises:
            SipError: it cannot; says what it could not do.
        """
        context, address = Pointer(), ctypes.create_string_buffer(self.sa_struct_get_size())
        steps: list[tuple[str, Callable[[], int]]] = [
            ("no address", lambda: self.sa_set_str(address, host.encode(), port)),
            ("no TLS", lambda: self.tls_alloc(ctypes.byref(context), _TLS, None, None)),
            ("no TLS 1.2", lambda: self.tls_set_min_proto_version(context, _TLS_1_2)),
        ]
        if pem:
            steps += [
                ("certificate", lambda: self.tls_set_certificate(context, pem, len(pem))),
                (
                    "what it was signed with",
                    lambda: self.tls_set_certificate_chain_pem(context, pem, len(pem)),
                ),
            ]
        if verify != "nobody":
            steps.append(("CAs", lambda: self.tls_add_cafile_path(context, ca.encode(), None)))
        for what, step in steps:
            if error := step():
                raise SipError(f"baresip has no TLS: {what}: error {error}")
        if verify == "nobody":
            self.tls_disable_verify_server(context)
        if verify == "everybody":  # the stack's own way takes those, too, who show none
            self.SSL_CTX_set_verify(self.tls_ssl_ctx(context), _VERIFY_AND_DEMAND, None)
        if alone:
            self.sip_transp_flush(self.uag_sip())
        error = self.sip_transp_add(
            Pointer(self.uag_sip()), Int(_OVER_TLS), ctypes.byref(address), context
        )
        if error:
            raise SipError(f"SIP cannot listen on {joined(host, port)}/tls: error {error}")

    def listen_also(self, host: str, port: int, transports: Sequence[Transport]) -> None:
        """Have the stack know one more address as its own, and listen there.

        Raises:
            SipError: it cannot.
        """
        address = ctypes.create_string_buffer(self.sa_struct_get_size())
        steps: list[Callable[[], int]] = [
            lambda: self.sa_set_str(address, host.encode(), port),
            lambda: self.net_add_address(self.baresip_network(), address),
            *(partial(self._listen_by, address, transport) for transport in transports),
        ]
        for step in steps:
            if error := step():
                raise SipError(f"SIP cannot listen on {joined(host, port)}: error {error}")

    def sip_datagram_sockets(self) -> list[int]:
        """`struct udp_sock *` of each address at which SIP comes by UDP.

        Raises:
            SipError: a transport is not what it was.
        """
        sip, found = int(self.uag_sip()), []
        at = ctypes.sizeof(_Element) + self.sa_struct_get_size()
        at += -at % ctypes.alignment(_Transport)
        element = Pointer.from_address(sip).value
        while element:
            transport = _Transport.from_address(element + at)
            link = _Element.from_address(element)
            if link.data != element or link.list != sip or transport.sip != sip:
                raise SipError(f"its transports are not those of {VERSION}")
            if transport.transport == _TRANSPORTS["udp"]:
                found.append(transport.sock)
            element = link.next
        return found

    def look_first(self, sock: int, handler: Any) -> None:
        """Have what comes to a socket go to a handler (`PacketHandler`) before anybody has it.

        It is the socket's until that is closed.
        """
        if error := self.udp_register_helper(ctypes.byref(Pointer()), sock, 0, None, handler, None):
            raise SipError(f"baresip does not show what comes: error {error}")

    def can_read(self, packet: Mbuf, at: int) -> bool:
        """Whether a packet is a message that the stack can read; it is as it was behind that."""
        message, begin = Pointer(), packet.pos
        failed = self.sip_msg_decode(ctypes.byref(message), at)
        packet.pos = begin
        if not failed:
            self.mem_deref(message)
        return not failed

    def send_datagram(self, sock: int, wire: bytes, where: tuple[str, int]) -> None:
        """By a socket of the stack's. Where there is no way to, it is lost, as any datagram."""
        host, port = where
        address = ctypes.create_string_buffer(self.sa_struct_get_size())
        if self.sa_set_str(address, host.encode(), port):
            return
        packet = self.mbuf_alloc(len(wire))
        self.mbuf_write_mem(packet, wire, len(wire))
        Mbuf.from_address(packet).pos = 0
        self.udp_send(sock, address, packet)
        self.mem_deref(packet)

    def listen_last(self, handler: Any, *, requests: bool) -> None:
        """Have what nobody has taken go to `handler`: of each the stack would write a line.

        Raises:
            SipError: it cannot.
        """
        listener = Pointer()
        self.listeners.append(listener)
        if error := self.sip_listen(
            ctypes.byref(listener), self.uag_sip(), requests, handler, None
        ):
            raise SipError(f"baresip does not listen: error {error}")

    def _listen_by(self, address: Any, transport: Transport) -> int:
        by, add = Int(_TRANSPORTS[transport]), self.sip_transp_add
        return int(add(Pointer(self.uag_sip()), by, ctypes.byref(address)))

    def family_of_call(self, call: int) -> Family:
        """Of our address that a call's descriptions name."""
        return family_in_sdp(self.address(self.call_laddr(call))[0])

    def find(self, sip_call_id: str) -> int:
        """The stack's object of a call; 0: it has none any more."""
        return int(self.uag_call_find(sip_call_id.encode()) or 0)

    def notify_transfer(self, call: int, status: int, reason: str) -> None:
        """Tell the other side what became of its REFER."""
        self.call_notify_sipfrag(
            Pointer(call), ctypes.c_uint16(status), Text(b"%s"), Text(reason.encode())
        )

    def listen(self, handler: Any, *, requests: bool) -> None:
        """Have requests, or responses, go to `handler` before the stack's own users hear of them.

        Of requests first come those who know transactions: what is sent again, and ACK, is theirs.

        Raises:
            SipError: the list of listeners is not what it was.
        """
        listener = Pointer()
        self.listeners.append(listener)
        failed = self.sip_listen(ctypes.byref(listener), self.uag_sip(), requests, handler, None)
        if failed or not listener.value:
            raise SipError(f"baresip does not listen: error {failed}")
        element = _Element.from_address(listener.value)
        if element.data != listener.value or not element.list:
            raise SipError(f"its listeners are not those of {VERSION}")
        everybody, first = element.list, element
        while first.prev:
            first = _Element.from_address(first.prev)
        before, second = first.data, first.next
        self.list_unlink(listener)
        if requests:
            self.list_insert_after(everybody, second, listener, listener)
        else:
            self.list_insert_before(everybody, before, listener, listener)

    def has_rtp_socket(self, call: int) -> bool:
        """Whether a call's sound has one yet: while a name is looked up, it has not."""
        both = self.stream_rtp_sock(self.audio_strm(self.call_audio(call)))
        return self._number(self.rtp_sock(both)) >= 0

    def take_rtp_sockets(self, call: int) -> tuple[int, int]:
        """Have the stack leave a call's RTP and RTCP alone; returns their sockets, still open."""
        return self._take_sockets(self.audio_strm(self.call_audio(call)))

    def take_video_sockets(self, call: int) -> tuple[int, ...]:
        """The same of its video, which is opened before there is an answer, whoever wants it."""
        video = self.call_video(call)
        numbers = self._take_sockets(self.video_strm(video)) if video else ()
        return tuple(number for number in numbers if number >= 0)

    def _take_sockets(self, stream: int) -> tuple[int, int]:
        both = self.stream_rtp_sock(stream)
        rtp, rtcp = self.rtp_sock(both), self.rtcp_sock(both)
        numbers = self._number(rtp), self._number(rtcp)
        for one in (rtp, rtcp):
            self.udp_thread_detach(one)
        return numbers

    def _number(self, sock: int) -> int:
        """Of a socket, of whichever family it is."""
        numbers = (int(self.udp_sock_fd(sock, family)) for family in _FAMILIES)
        return next((number for number in numbers if number >= 0), -1)

    def want_audio_alone(self, call: int) -> None:
        """What the stack takes for agreed; else it offers anew, for the sake of its video."""
        self.call_set_media_estdir(call, _SENDRECV, _INACTIVE)

    def be_silent(self, call: int) -> None:
        """Stop the stack's own audio of a call, which it starts with each description."""
        audio = self.call_audio(call)
        self.audio_set_source(audio, b"", b"")
        self.audio_set_player(audio, b"", b"")

    def advertise_rtp(self, call: int, host: str, port: int) -> None:
        """Have a call's description name another host for its audio than the one listened on."""
        address = ctypes.create_string_buffer(self.sa_struct_get_size())
        if self.sa_set_str(address, host.encode(), port):
            raise SipError(f"sip.rtp_public_host: {host!r} is no address")
        stream = self.audio_strm(self.call_audio(call))
        self.sdp_media_set_laddr(self.stream_sdpmedia(stream), address)


@cache
def open_library() -> Library:
    """The library of the bindings that are installed.

    Raises:
        SipError: they are not those that this was written for.
    """
    installed = version("baresip-python")
    if installed != VERSION:
        raise SipError("its bindings are of alpha quality, and change with each version")
    return Library(_native.__file__)
