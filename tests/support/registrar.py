"""A registrar of a test's own: wants a digest, grants little time, and fails as it is told to."""

import hashlib
import re
import socketserver
import threading
from io import BufferedIOBase
from typing import TypeVar

from callerside.addresses import joined
from callerside.agent.telephony.options import Registration, Transport
from callerside.families import family_of

Server = TypeVar("Server", bound=socketserver.TCPServer)

SECRET = "correct horse"  # of a registrar that lives for one test
GRANTED_S = 6
"""PJSIP refreshes before the end, and not sooner than after 5 s."""


class Registrar:
    """As much of RFC 3261 §10 and RFC 2617 as a user agent notices."""

    def __init__(self, over: Transport = "tcp", host: str = "127.0.0.1", port: int = 0) -> None:
        self.accepted = 0
        self.knows_us = False
        """Since the last REGISTER that it took."""
        self.refuses = False
        """Answers 403, as a PBX may while it restarts."""
        self.dies_in_the_middle = False
        """Asks for the digest, and is gone when it comes."""
        self.hears_goodbyes = True
        """Or says nothing to them."""
        self.sees_at = ""
        """What a NAT before it makes of our address: `HOST:PORT`."""
        self.contacts: list[str] = []
        self.asked = self.digests = 0
        """How often it asked for one, and got one."""
        if over == "tcp":
            server = _of(socketserver.ThreadingTCPServer, host)((host, port), self._connection())
            server.daemon_threads = True
            self._server: socketserver.TCPServer = server
        else:
            self._server = _of(socketserver.UDPServer, host)((host, port), self._datagram())
        self.port: int = self._server.server_address[1]
        self.registration = Registration(
            registrar=joined(host, self.port),
            user="200",
            password=SECRET,
            transport=over,
            retry_s=1,
        )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,))
        self._thread.start()

    def close(self) -> None:
        """For good."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _datagram(self) -> type[socketserver.DatagramRequestHandler]:
        registrar = self

        class Handler(socketserver.DatagramRequestHandler):
            def handle(self) -> None:
                """One message."""
                message = _next_message(self.rfile)
                answer = registrar._answer(message)
                if answer:
                    self.wfile.write(_reply(message, answer, registrar.sees_at))

        return Handler

    def _connection(self) -> type[socketserver.StreamRequestHandler]:
        registrar = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                """Messages of one connection; a REGISTER has no body."""
                while message := _next_message(self.rfile):
                    answer = registrar._answer(message)
                    if answer is None:
                        return
                    if not answer:
                        continue
                    self.wfile.write(_reply(message, answer, registrar.sees_at))

        return Handler

    def _answer(self, message: str) -> str | None:
        if self.refuses:
            return "403 Forbidden"
        digest = re.search(r"^Authorization: Digest (.*)$", message, re.MULTILINE)
        if digest is None:
            self.asked += 1
            challenge = f'Digest realm="pbx", nonce="n{self.asked}", algorithm=MD5'
            return f"401 Unauthorized\r\nWWW-Authenticate: {challenge}"
        self.digests += 1
        if self.dies_in_the_middle:
            return None
        if not _is_right(dict(re.findall(r'(\w+)="([^"]*)"', digest[1]))):
            return "403 Forbidden"
        if "expires=0" in message.lower() or re.search(r"^Expires: 0", message, re.MULTILINE):
            if not self.hears_goodbyes:
                return ""
            self.knows_us = False
            return "200 OK"
        self.accepted += 1
        self.knows_us = True
        contact = re.search(r"^Contact: (<[^>]*>)", message, re.MULTILINE)
        assert contact is not None
        self.contacts.append(contact[1])
        return f"200 OK\r\nContact: {contact[1]};expires={GRANTED_S}"


def _of(server: type[Server], host: str) -> type[Server]:
    """A server of the family of its host."""
    return type(server.__name__, (server,), {"address_family": family_of(host)})


def _next_message(stream: BufferedIOBase) -> str:
    """Up to its empty line; nothing when the connection is over."""
    lines: list[str] = []
    while line := stream.readline().decode():
        if line.strip():
            lines.append(line)
        elif lines:
            return "".join(lines)
    return ""


def _is_right(digest: dict[str, str]) -> bool:
    """RFC 2617 §3.2.2, without qop."""

    def md5(text: str) -> str:
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    who = md5(f"200:pbx:{SECRET}")
    what = md5(f"REGISTER:{digest['uri']}")
    return digest["response"] == md5(f"{who}:{digest['nonce']}:{what}")


def _reply(request: str, answer: str, sees_at: str) -> bytes:
    if sees_at:
        host, _, port = sees_at.partition(":")
        request = request.replace(";rport", f";rport={port};received={host}", 1)
    kept = re.findall(r"^((?:Via|From|To|Call-ID|CSeq):.*?)\r?$", request, re.MULTILINE)
    kept = [f"{line};tag=registrar" if line.startswith("To:") else line for line in kept]
    return "\r\n".join([f"SIP/2.0 {answer}", *kept, "Content-Length: 0", "", ""]).encode()
