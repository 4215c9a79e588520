"""The model's side as an enemy, on the wire: given up in time, and the caller hears our own words.

Each enemy is a server of raw bytes; the key that it is sent, if it is any, is looked for.
"""

import asyncio
import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha1
from pathlib import Path

import pytest
from agent_rig import Agent, until
from raw_sip import RawPhone

from callerside.agent.call.event_bounds import MOST_EVENTS_AT_ONCE
from callerside.agent.realtime.client import (
    MAX_MESSAGE_BYTES,
    MOST_SILENT_FRAMES,
    WebSocketConnection,
)
from callerside.agent.realtime.interface import (
    RealtimeClosed,
    RealtimeConnected,
    RealtimeEvent,
    RealtimeGarbage,
    RealtimeInput,
)

KEY = "sk-of-the-test"
CERTIFICATE = Path(__file__).parent / "certificates" / "other.example.pem"
"""For another name than the one that is connected to; trusted, as far as its maker goes."""
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 §1.3."""
TEXT, PING, CONTINUED, MORE = 0x81, 0x89, 0x00, 0x01
SPEECH = {0x7F, 0xFF}
"""What \u00b5-law has for nothing."""


def frame(payload: bytes, first: int) -> bytes:
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", first, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


def shake_hands(peer: socket.socket) -> bytes:
    """Read the request, and agree; returns it."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += peer.recv(65536)
    key = head.lower().partition(b"sec-websocket-key:")[2]
    at = len(head) - len(key)
    key = head[at:].partition(b"\r\n")[0].strip()
    accept = b64encode(sha1(key + _MAGIC).digest())  # noqa: S324 - RFC 6455 has it so
    peer.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    return head


def without_end(data: bytes) -> Callable[[socket.socket], None]:
    def say(peer: socket.socket) -> None:
        shake_hands(peer)
        while True:
            peer.sendall(data)

    return say


def huge(peer: socket.socket) -> None:
    shake_hands(peer)
    while True:
        peer.sendall(frame(bytes(10 * 2**20), TEXT))


def slow(peer: socket.socket) -> None:
    """A byte of the handshake now and then."""
    for byte in b"HTTP/1.1 101 Switching Protocols\r\n" * 100:
        peer.sendall(bytes([byte]))
        time.sleep(0.2)


def never_stops(peer: socket.socket) -> None:
    """Makes a session and a response, and sends silence for ever: what is heard is not its own."""
    shake_hands(peer)
    made = {"type": "session.created", "session": {"id": "s1"}}
    updated = {"type": "session.updated", "session": {}}
    begun = {"type": "response.created", "response": {"id": "r1"}}
    for event in (made, *[updated] * 8, begun):  # of which one comes when it was asked for
        peer.sendall(frame(json.dumps(event).encode(), TEXT))
        time.sleep(0.05)
    delta = {"response_id": "r1", "item_id": "i1", "delta": b64encode(b"\xff" * 160).decode()}
    event = {"type": "response.output_audio.delta", **delta}
    endless = frame(json.dumps(event).encode(), TEXT) * 100
    while True:
        peer.sendall(endless)


def reads_nothing(peer: socket.socket) -> None:
    """Agrees, and then neither reads nor says anything."""
    shake_hands(peer)
    time.sleep(60)


ENEMIES: Mapping[str, tuple[Callable[[socket.socket], None], str]] = {
    "pings": (without_end(frame(b"", PING) * 1_000), f"more than {MOST_SILENT_FRAMES} frames"),
    "pieces of nothing": (
        without_end(frame(b"", MORE) + frame(b"", CONTINUED) * 10_000),
        f"more than {MOST_SILENT_FRAMES} frames",
    ),
    "10 MB frames": (huge, str(MAX_MESSAGE_BYTES)),
    "a slow handshake": (slow, "no handshake within"),
}


class Enemy:
    """A server that does one thing to each who connects."""

    def __init__(self, deed: Callable[[socket.socket], None], tls: ssl.SSLContext | None) -> None:
        self._deed, self._tls = deed, tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._peers: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        for one in (self._listening, *self._peers):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listening.accept()
                self._peers.append(peer)
                threading.Thread(target=self._meet, args=(peer,), daemon=True).start()

    def _meet(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self._deed(self._tls.wrap_socket(peer, server_side=True) if self._tls else peer)


@contextlib.contextmanager
def enemy(
    deed: Callable[[socket.socket], None], tls: ssl.SSLContext | None = None
) -> Iterator[Enemy]:
    one = Enemy(deed, tls)
    yield one
    one.close()


async def told(url: str, timeout_ms: int = 5_000) -> list[RealtimeInput]:
    """All that a connection tells, until it is closed."""
    inputs: list[RealtimeInput] = []
    connection = WebSocketConnection(url, model="m", api_key=KEY, timeout_ms=timeout_ms)
    connection.start(inputs.append)
    await asyncio.wait_for(connection.wait_closed(), 30)
    return inputs


@pytest.mark.parametrize("what", ENEMIES)
async def test_what_never_ends_on_the_wire_is_given_up(what: str) -> None:
    deed, why = ENEMIES[what]
    with enemy(deed) as server:
        limit_ms = 1_000 if deed is slow else 20_000
        inputs = await told(f"ws://127.0.0.1:{server.port}/v1/realtime", timeout_ms=limit_ms)
    closed = inputs[-1]
    assert isinstance(closed, RealtimeClosed)
    assert why in closed.reason
    others = [one for one in inputs if not isinstance(one, RealtimeConnected | RealtimeClosed)]
    assert len(others) <= 1
    assert all(isinstance(one, RealtimeGarbage) for one in others)


async def test_what_comes_is_told_with_its_size() -> None:
    """Of an event and of garbage."""
    texts = ['{"type":"x","text":"%s"}' % ("a" * 1_000), "[" * 500]

    def say(peer: socket.socket) -> None:
        shake_hands(peer)
        for text in texts:
            peer.sendall(frame(text.encode(), TEXT))
        peer.close()

    with enemy(say) as server:
        inputs = await told(f"ws://127.0.0.1:{server.port}/v1/realtime")
    came = [one for one in inputs if isinstance(one, RealtimeEvent | RealtimeGarbage)]
    assert [one.size_bytes for one in came] == [len(text) for text in texts]


async def test_a_certificate_of_another_name_gets_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that is trusted, for the name that it has."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(CERTIFICATE)
    heard: list[bytes] = []
    with enemy(lambda peer: heard.append(shake_hands(peer)), server_side) as server:
        (closed,) = await told(f"wss://127.0.0.1:{server.port}/v1/realtime")
        assert isinstance(closed, RealtimeClosed)
        assert "certificate is not valid for '127.0.0.1'" in closed.reason
        assert heard == []


@pytest.mark.e2e
@pytest.mark.parametrize(
    "what", ["pings", "10 MB frames", "a slow handshake", "no reader", "no end"]
)
def test_the_caller_hears_our_own_words(what: str, tmp_path: Path) -> None:
    deed = {"no reader": reads_nothing, "no end": never_stops}.get(what) or ENEMIES[what][0]
    with enemy(deed) as server:
        realtime = {
            "url": f"ws://127.0.0.1:{server.port}/v1/realtime",
            "connect_timeout_ms": 500,
            "reconnect": {"attempts": 1, "first_delay_ms": 50},
        }
        agent = Agent(tmp_path, {"realtime": realtime})
        try:
            port = int(agent.addresses[0].rpartition(":")[2])
            with RawPhone(port) as caller:
                assert caller.call(caller.sdp()).status == 200
                hears_something(caller)
                bye = caller.asked("BYE", within_s=30)
                assert bye
                caller.reply(bye, "200 OK")
            until(lambda: agent.records(), "the record of the call")
            assert agent.records()[0]["ended"]["by"] == "agent"
            if what == "no end":
                first = agent.logged("realtime_failed")[0]
                assert first["reason"].startswith(f"more than {MOST_EVENTS_AT_ONCE} events")
        finally:
            agent.close()


def hears_something(caller: RawPhone) -> None:
    """Wait for a packet that is no silence."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if set(caller.rtp.recv(2048)[12:]) - SPEECH:
            return
    raise TimeoutError("nothing but silence")
