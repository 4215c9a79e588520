import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from callerside.agent.service import http
from callerside.agent.service.http import JSON, FetchError, HttpServer, Page, fetch_unix


async def hello() -> Page:
    return Page(content_type=JSON, body=b'{"hello": 1}\n')


async def not_ready() -> Page:
    return Page(status=503, body=b"draining\n")


async def broken() -> Page:
    raise RuntimeError("a bug")


async def huge() -> Page:
    return Page(body=b"x" * (http.MAX_PAGE_BYTES + 1))


async def eventually(is_true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await is_true():  # noqa: ASYNC110 - the server's own bookkeeping has no event
            await asyncio.sleep(0.01)


PAGES = {"/healthz": hello, "/readyz": not_ready, "/broken": broken, "/huge": huge}


@pytest.fixture
async def port() -> AsyncIterator[int]:
    server = HttpServer(PAGES)
    yield await server.start("127.0.0.1", 0)
    await server.stop()


@pytest.fixture
async def socket(tmp_path: Path) -> AsyncIterator[Path]:
    server = HttpServer(PAGES)
    await server.start_unix(tmp_path / "s")
    yield tmp_path / "s"
    await server.stop()


async def ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def get(path: str, method: str = "GET", host: str = "127.0.0.1:9") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


async def test_a_page_is_served_whole(port: int) -> None:
    head, body = (await ask(port, get("/healthz?x=1"))).split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"application/json" in head
    assert b"Content-Length: 13" in head
    assert body == b'{"hello": 1}\n'


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:9", 200), ("[::1]:9", 200), ("evil.example", 421), ("[x", 421), ("a b", 421)],
)
async def test_a_web_page_that_leads_its_name_here_reads_nothing(
    port: int, host: str, status: int
) -> None:
    """DNS rebinding: the browser says the name that it knows."""
    answer = await ask(port, get("/healthz", host=host))
    assert answer.startswith(f"HTTP/1.1 {status}".encode())


async def test_a_status_of_its_own(port: int) -> None:
    assert (await ask(port, get("/readyz"))).startswith(b"HTTP/1.1 503")


async def test_head_has_no_body(port: int) -> None:
    answer = await ask(port, get("/healthz", "HEAD"))
    assert b"Content-Length: 13" in answer
    assert answer.endswith(b"\r\n\r\n")


async def test_an_unknown_page_says_which_there_are(port: int) -> None:
    answer = await ask(port, get("/nothing"))
    assert answer.startswith(b"HTTP/1.1 404")
    assert b"/healthz /readyz" in answer


async def test_nothing_can_be_changed(port: int) -> None:
    request = b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"
    assert (await ask(port, request)).startswith(b"HTTP/1.1 405")


@pytest.mark.parametrize(
    "garbage",
    [b"\x00\x01\x02\r\n\r\n", b"INVITE sip:x SIP/2.0\r\n\r\n", get("/" + "x" * 100_000)],
    ids=["binary", "another protocol", "too long"],
)
async def test_garbage_is_refused_and_hurts_nobody(port: int, garbage: bytes) -> None:
    answer = await ask(port, garbage)
    assert answer.startswith(b"HTTP/1.1 4")
    assert (await ask(port, get("/healthz"))).startswith(b"HTTP/1.1 200")


async def test_a_page_with_a_bug_does_not_take_the_server_along(port: int) -> None:
    assert (await ask(port, get("/broken"))).startswith(b"HTTP/1.1 500")
    assert (await ask(port, get("/healthz"))).startswith(b"HTTP/1.1 200")


async def test_who_says_nothing_is_not_waited_for(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "REQUEST_TIMEOUT_S", 0.05)
    assert await ask(port, b"GET /hea") == b""


async def is_served(port: int) -> bool:
    try:
        return (await ask(port, get("/healthz"))).startswith(b"HTTP/1.1 200")
    except ConnectionError:
        return False


async def test_whoever_holds_connections_keeps_nobody_from_being_answered(port: int) -> None:
    """The one that has been slow for longest makes room: monitoring acts on silence."""
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(http.MAX_CONNECTIONS)]
    for _ in range(3):
        assert await is_served(port)
    first, last = held[0][0], held[-1][0]
    with contextlib.suppress(ConnectionError):
        assert await first.read() == b""
    held[-1][1].write(get("/healthz"))
    assert (await last.read()).startswith(b"HTTP/1.1 200")
    for _, writer in held:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_stopping_does_not_wait_for_who_is_connected(tmp_path: Path) -> None:
    server = HttpServer(PAGES)
    port = await server.start("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await is_served(port)  # so that the connection before it has been accepted
    async with asyncio.timeout(2):
        await server.stop()
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
    writer.close()
    await server.stop()


async def test_fetching_over_a_unix_socket(socket: Path) -> None:
    page = await fetch_unix(socket, "/healthz", timeout_s=5)
    assert (page.status, page.body) == (200, b'{"hello": 1}\n')
    assert (await fetch_unix(socket, "/readyz", timeout_s=5)).status == 503


async def test_fetching_from_nobody(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="No such file"):
        await fetch_unix(tmp_path / "nobody", "/healthz", timeout_s=5)


async def test_fetching_more_than_is_sane(socket: Path) -> None:
    with pytest.raises(FetchError, match="more than"):
        await fetch_unix(socket, "/huge", timeout_s=5)


async def test_fetching_from_who_does_not_answer(tmp_path: Path) -> None:
    closing = asyncio.Event()

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await closing.wait()
        writer.close()

    server = await asyncio.start_unix_server(silent, tmp_path / "s")
    with pytest.raises(FetchError, match=r"no answer within 0\.05 s"):
        await fetch_unix(tmp_path / "s", "/healthz", timeout_s=0.05)
    closing.set()
    server.close()
    await server.wait_closed()


async def test_fetching_from_who_hangs_up(tmp_path: Path) -> None:
    async def rude(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_unix_server(rude, tmp_path / "s")
    with pytest.raises(FetchError):
        await fetch_unix(tmp_path / "s", "/healthz", timeout_s=5)
    server.close()
    await server.wait_closed()
