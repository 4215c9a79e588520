"""A shop with an interface over HTTP, in this process, on loopback."""

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers, body; status 0: it hangs."""
JSON = {"Content-Type": "application/json"}


class Shop:
    """A server: what it was asked, and what it answers, the last again and again."""

    def __init__(self, certificate: Path | None = None) -> None:
        """`certificate`: with its key; the shop then speaks TLS."""
        self.answers: list[Answer] = [(200, JSON, b'{"free": true}')]
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.hang = threading.Event()
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length)
                shop.asked.append((self.command, self.path, dict(self.headers), body))
                many = len(shop.answers) > 1
                status, headers, answer = shop.answers.pop(0) if many else shop.answers[0]
                if status == 0:
                    shop.hang.wait(20)
                    return
                self.send_response(status)
                for name, value in {"Content-Length": str(len(answer)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

            do_POST = do_DELETE = do_PUT = do_GET  # noqa: N815 - names of http.server

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificate is not None:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(certificate)
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self.hang.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
