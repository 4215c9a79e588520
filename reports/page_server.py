"""A run's report over HTTP, on this machine's loopback: a call's page is written at a click.

    callerside report out/latest --serve

Of a large run only those pages are there that somebody was sure to look at. Here every row of the
list leads to a page: what is asked for and not there yet is measured from the call's evidence,
written where it belongs, and stays.

Recordings of callers are nobody else's business: it listens on the loopback only, and answers no
page of another site that has found out the port (its `Host` would be that site's name).
"""

import mimetypes
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import socket
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from callerside.reports.evidence import TIMELINE, EvidenceError
from callerside.reports.formats.rebuild import write_page_of
from callerside.reports.formats.write import CALLS, INDEX
from callerside.reports.pages.html import SERVED, UNSERVED
from callerside.reports.verdict.baselines import StoredError
from callerside.reports.verdict.budget import BudgetError
from callerside.timelines import TimelineError

HOST = "127.0.0.1"
MOST_CONNECTIONS = 32
"""At once; a browser opens six. Who comes beyond them is told to come again."""
REQUEST_LIMIT_S = 10.0
"""For whatever a client is to send or to take."""
_WRITING_LIMIT_S = 10.0
_PIECE_BYTES = 1 << 16
_PAGE = "call.html"
_NAMES = {HOST, "localhost"}
_HTML, _TEXT = "text/html; charset=utf-8", "text/plain; charset=utf-8"
_TYPES = {".html": _HTML, ".jsonl": _TEXT, ".md": _TEXT}
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")
_BUSY = b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"


class PageServer(ThreadingHTTPServer):
    """Serves the report in a directory until `serve_forever` is interrupted.

    Args:
        directory: where its `index.html` is; of a run, pages are made there.
        port: 0: any that is free.

    Raises:
        OSError: the port is in use.
    """

    daemon_threads = True

    def __init__(self, directory: Path, port: int = 0) -> None:
        self.directory = directory.resolve()  # `latest` may lead to another run tomorrow
        self._left = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._writing = threading.Lock()
        super().__init__((HOST, port), _Handler)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{HOST}:{self.server_address[1]}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """See `socketserver.ThreadingMixIn`; refuses where there are too many at once."""
        if not self._left.acquire(blocking=False):
            self._refuse(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """See `socketserver.ThreadingMixIn`."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._left.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle of an answer is nothing to speak of; else is."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        """Listen no more; a page that is being written is written to its end."""
        super().server_close()
        if self._writing.acquire(timeout=_WRITING_LIMIT_S):
            self._writing.release()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One page at a time is written: measuring takes a processor."""
        with self._writing:
            yield

    def _refuse(self, request: socket) -> None:
        request.settimeout(0)  # it is one packet
        with suppress(OSError):
            request.sendall(_BUSY)
        self.shutdown_request(request)


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    server: PageServer
    server_version = "callerside"
    sys_version = ""
    timeout = REQUEST_LIMIT_S

    def do_GET(self) -> None:
        """A file of the report."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """What is said of a file."""
        self._answer(with_body=False)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name there
        """Nobody asked for an account of each request."""

    def _answer(self, *, with_body: bool) -> None:
        if not self._is_asked_by_its_name():
            self._say(HTTPStatus.FORBIDDEN, f"this is {self.server.url}, and nothing else")
            return
        path = self._file()
        if path is None:
            self._say(HTTPStatus.NOT_FOUND, "there is no such file in this report")
            return
        try:
            self._make(path)
            file = path.open("rb")
        except (FileNotFoundError, NotADirectoryError):
            self._say(HTTPStatus.NOT_FOUND, "there is no such file in this report")
        except (StoredError, EvidenceError, TimelineError, BudgetError) as error:
            self._say(HTTPStatus.INTERNAL_SERVER_ERROR, f"this page cannot be made: {error}")
        except OSError as error:
            self._say(HTTPStatus.INTERNAL_SERVER_ERROR, f"this file cannot be read: {error}")
        else:
            with file:
                if path.name == INDEX:
                    page = file.read().replace(UNSERVED, SERVED, 1)
                    self._send_text(page, with_body=with_body)
                else:
                    self._send_file(path, file, with_body=with_body)

    def _is_asked_by_its_name(self) -> bool:
        host = self.headers.get("Host", HOST)
        return host.rpartition(":")[0] in _NAMES or host in _NAMES

    def _file(self) -> Path | None:
        """The file that is asked for, whether it is there or not; None: none of the report's."""
        asked = unquote(urlsplit(self.path).path)
        try:
            path = (self.server.directory / asked.lstrip("/")).resolve()
            path = path / INDEX if path.is_dir() else path
        except (OSError, ValueError):  # nothing can have such a name
            return None
        inside = path.is_relative_to(self.server.directory)
        return path if inside and not path.name.startswith(".") else None

    def _make(self, path: Path) -> None:
        """A page of a call that is not there yet."""
        calls = self.server.directory / CALLS
        if path.name != _PAGE or path.is_file() or not path.is_relative_to(calls):
            return
        slug = path.relative_to(calls).parts[0]
        with self.server.writing():
            if not path.is_file() and (calls / slug / TIMELINE).is_file():
                write_page_of(self.server.directory, slug)

    def _send_text(self, page: bytes, *, with_body: bool) -> None:
        self._begin(HTTPStatus.OK, _HTML, len(page))
        if with_body:
            self.wfile.write(page)

    def _send_file(self, path: Path, file: BinaryIO, *, with_body: bool) -> None:
        size = path.stat().st_size
        wanted = self._range(size)
        if wanted is None:
            first, end, status = 0, size, HTTPStatus.OK
        else:
            first, end, status = *wanted, HTTPStatus.PARTIAL_CONTENT
        kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0]
        self._begin(
            status,
            kind or "application/octet-stream",
            end - first,
            **({} if wanted is None else {"Content-Range": f"bytes {first}-{end - 1}/{size}"}),
        )
        file.seek(first)
        left = end - first if with_body else 0
        while left and (piece := file.read(min(left, _PIECE_BYTES))):
            self.wfile.write(piece)
            left -= len(piece)

    def _range(self, size: int) -> tuple[int, int] | None:
        """The first byte that is wanted, and the one after the last (RFC 9110 §14); None: all.

        A browser asks so for the sound from where somebody has clicked.
        """
        found = _RANGE.fullmatch(self.headers.get("Range", ""))
        if found is None or not any(found.groups()):
            return None
        begin, last = found.groups()
        if not begin:  # the last ones
            return max(0, size - int(last)), size
        first = int(begin)
        end = min(size, int(last) + 1) if last else size
        return (first, end) if first < end else None

    def _begin(self, status: HTTPStatus, kind: str, length: int, **more: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in more.items():
            self.send_header(name, value)
        self.end_headers()

    def _say(self, status: HTTPStatus, text: str) -> None:
        said = f"{text}\n".encode()
        self._begin(status, _TEXT, len(said))
        if self.command != "HEAD":
            self.wfile.write(said)
