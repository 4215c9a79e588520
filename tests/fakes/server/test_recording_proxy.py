import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from official import connected
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus
from websockets.http11 import Request, Response
from websockets.typing import Origin, Subprotocol

from callerside.fakes.recording.audio_files import Sender
from callerside.fakes.recording.format import RecordingWriter, read_recording
from callerside.fakes.recording.replay import ReplayOptions
from callerside.fakes.script.model import Script
from callerside.fakes.server import proxy as proxy_module
from callerside.fakes.server.proxy import Peer, RecordingProxy
from callerside.fakes.server.server import FakeRealtime
from callerside.fakes.session.faults import parse_fault

QUICK = {"think_ms": 20, "pace": 1000}
SCRIPT = Script.model_validate({"replies": [{"say": "We open at nine."}], "timing": QUICK})
KEY_OF_AZURE = "0123456789abcdef0123456789abcdef"


def written(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.iterdir())


async def test_a_call_is_recorded_and_can_be_replayed(tmp_path: Path) -> None:
    """A client, the proxy, a server; then the recording in the server's place."""
    path = tmp_path / "call.realtime"
    async with (
        FakeRealtime(SCRIPT) as server,
        RecordingProxy(server.url, path) as proxy,
        connected(proxy.base_url) as client,
    ):
        await client.configure(instructions="Be brief.")
        await client.say()
        await client.until("rate_limits.updated")
    recording = read_recording(path)
    assert recording.header.model == "gpt-realtime-2.1"
    assert recording.header.timed
    sent = [entry.type for entry in recording.entries if entry.sender == "server"]
    assert sent == client.types

    fast = ReplayOptions(timing="fast", strict=True)
    async with (
        FakeRealtime(recording=recording, replay=fast) as replaying,
        connected(replaying.base_url) as replayed,
    ):
        await replayed.configure(instructions="Be brief.")
        await replayed.say("Do tell me when you open in the morning.")
        await replayed.until("rate_limits.updated")
    assert replayed.types == client.types


async def test_each_session_has_its_own_file(tmp_path: Path) -> None:
    path = tmp_path / "call.realtime"
    async with FakeRealtime(SCRIPT) as server, RecordingProxy(server.url, path) as proxy:
        for _ in range(2):
            async with connect(proxy.url) as socket:
                await socket.recv()
    assert len(read_recording(path).entries) == 1
    assert len(read_recording(tmp_path / "call-2.realtime").entries) == 1


async def test_no_recording_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "call.realtime"
    path.write_text("dear\n")
    async with (
        FakeRealtime(SCRIPT) as server,
        RecordingProxy(server.url, path) as proxy,
        connect(proxy.url) as socket,
    ):
        await socket.recv()
    assert path.read_text() == "dear\n"
    assert len(read_recording(tmp_path / "call-2.realtime").entries) == 1


class FillsUp(RecordingWriter):
    def write(self, at_s: float, sender: Sender, event: Mapping[str, Any]) -> None:
        if at_s > 0.1:
            raise OSError(28, "No space left on device")
        super().write(at_s, sender, event)


@pytest.mark.parametrize("full", ["at once", "later"])
async def test_a_disk_that_is_full_does_not_end_the_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, full: str
) -> None:
    path = tmp_path / "call.realtime"
    if full == "at once":
        monkeypatch.setattr(RecordingProxy, "_next_path", lambda _proxy: Path("/dev/full"))
    else:
        monkeypatch.setattr(proxy_module, "RecordingWriter", FillsUp)
    async with (
        FakeRealtime(SCRIPT) as server,
        RecordingProxy(server.url, path) as proxy,
        connected(proxy.base_url) as client,
    ):
        await asyncio.sleep(0.1)
        await client.configure(instructions="Be brief.")
        await client.say()
        await client.until("response.done")
    assert "is not recorded any further: No space left on device" in caplog.text
    if full == "later":
        assert len(read_recording(path).entries) == 1


async def test_a_browser_can_be_recorded(tmp_path: Path) -> None:
    path = tmp_path / "call.realtime"
    offered = [Subprotocol("realtime"), Subprotocol("openai-insecure-api-key.sk-1234567890")]
    async with (
        FakeRealtime(SCRIPT) as server,
        RecordingProxy(server.url, path) as proxy,
        connect(proxy.url, subprotocols=offered) as socket,
    ):
        assert socket.subprotocol == "realtime"
        await socket.recv()
    assert "sk-" not in written(tmp_path)


@pytest.mark.parametrize("name", ["Authorization", "api-key"])
async def test_a_key_is_removed_wherever_it_stands(tmp_path: Path, name: str) -> None:
    seen: list[str | None] = []

    async def upstream(socket: ServerConnection) -> None:
        assert socket.request is not None
        seen.append(socket.request.headers.get(name))
        await socket.send(f'{{"type": "error", "error": {{"message": "not {KEY_OF_AZURE}"}}}}')

    async with serve(upstream, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with (
            RecordingProxy(f"ws://127.0.0.1:{port}", tmp_path / "call.realtime") as proxy,
            connect(proxy.url, additional_headers={name: KEY_OF_AZURE}) as socket,
        ):
            await socket.recv()
    assert seen == [KEY_OF_AZURE]
    assert "not [removed]" in written(tmp_path)


async def test_keys_are_passed_on_and_never_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    async def upstream(socket: ServerConnection) -> None:
        assert socket.request is not None
        seen.append(socket.request.headers["Authorization"])
        seen.append(socket.request.path)
        await socket.send('{"type": "session.created"}')

    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    path = tmp_path / "call.realtime"
    async with serve(upstream, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with RecordingProxy(
            f"ws://127.0.0.1:{port}/v1/realtime", path, lend_key=True
        ) as proxy:
            url = f"{proxy.url}?model=gpt-realtime"
            key = {"Authorization": "Bearer sk-client"}
            async with connect(url, additional_headers=key) as socket:
                await socket.recv()
            async with connect(url) as socket:
                await socket.recv()
    assert seen == [
        "Bearer sk-client",
        "/v1/realtime?model=gpt-realtime",
        "Bearer sk-environment",
        "/v1/realtime?model=gpt-realtime",
    ]
    assert "session.created" in written(tmp_path)
    assert "sk-" not in written(tmp_path)


async def test_a_refusal_is_passed_on(tmp_path: Path) -> None:
    refusing = SCRIPT.model_copy(update={"faults": (parse_fault("refuse status=429"),)})
    async with (
        FakeRealtime(refusing) as server,
        RecordingProxy(server.url, tmp_path / "call.realtime") as proxy,
    ):
        with pytest.raises(InvalidStatus) as refused:
            await connect(proxy.url)
        assert refused.value.response.status_code == 429


async def test_a_server_that_is_not_there_is_a_bad_gateway(tmp_path: Path) -> None:
    async with RecordingProxy("ws://127.0.0.1:1/v1/realtime", tmp_path / "x.realtime") as proxy:
        with pytest.raises(InvalidStatus) as refused:
            await connect(proxy.url)
        assert refused.value.response.status_code == 502


@pytest.mark.parametrize(
    ("fault", "code"),
    [("close code=4000 reason=why at=connect + 1ms", 4000), ("drop at=connect + 1ms", 1006)],
)
async def test_the_end_of_a_session_is_passed_on(tmp_path: Path, fault: str, code: int) -> None:
    ending = SCRIPT.model_copy(update={"faults": (parse_fault(fault),)})
    async with (
        FakeRealtime(ending) as server,
        RecordingProxy(server.url, tmp_path / "call.realtime") as proxy,
        connect(proxy.url) as socket,
    ):
        await socket.recv()
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == code


@pytest.mark.parametrize("code", [1000, 1005, 1006, 4001])
@pytest.mark.parametrize("ends", ["client", "server"])
async def test_an_end_looks_the_same_on_the_other_side(
    tmp_path: Path, code: int, ends: str
) -> None:
    seen: list[int | None] = []

    async def end(peer: Peer) -> None:
        if code == 1006:
            peer.transport.abort()
        else:
            await peer.close(None if code == 1005 else code)  # type: ignore[arg-type]

    async def upstream(socket: ServerConnection) -> None:
        if ends == "server":
            await end(socket)
        await socket.wait_closed()
        seen.append(socket.close_code)

    async with serve(upstream, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        url = f"ws://127.0.0.1:{port}/v1/realtime"
        async with RecordingProxy(url, tmp_path / "call.realtime") as proxy:
            client = await connect(proxy.url)
            if ends == "client":
                await end(client)
            await client.wait_closed()
            async with asyncio.timeout(5):
                while not seen:  # noqa: ASYNC110 - another's
                    await asyncio.sleep(0.01)
    assert (client.close_code, seen) == (code, [code])


@pytest.mark.parametrize("sent", [b"", b"GET /v1/realtime HTTP/1.1\r\n"])
async def test_a_connection_without_a_request_holds_up_no_proxy(
    tmp_path: Path, sent: bytes
) -> None:
    async with asyncio.timeout(5):
        async with RecordingProxy("ws://127.0.0.1:1/v1", tmp_path / "x.realtime") as proxy:
            port = int(proxy.url.split(":")[2].split("/")[0])
            _reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            await asyncio.sleep(0.05)
        writer.close()


async def test_an_upstream_that_does_not_answer_holds_up_no_proxy(tmp_path: Path) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with asyncio.timeout(5):
        proxied = RecordingProxy(f"ws://127.0.0.1:{port}/v1", tmp_path / "x.realtime")
        async with proxied as proxy:
            attempt = asyncio.create_task(connect(proxy.url).__aenter__())
            await asyncio.sleep(0.2)
        with pytest.raises((InvalidStatus, OSError, InvalidMessage)):
            await attempt
    silent.close()


async def test_what_is_no_event_is_passed_on_but_not_recorded(tmp_path: Path) -> None:
    path = tmp_path / "call.realtime"
    async with (
        FakeRealtime(SCRIPT) as server,
        RecordingProxy(server.url, path) as proxy,
        connect(proxy.url) as socket,
    ):
        await socket.recv()
        await socket.send("{")
        assert "not valid JSON" in str(await socket.recv())
    assert [entry.sender for entry in read_recording(path).entries] == ["server", "server"]


async def test_no_key_is_lent_unless_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    async def upstream(socket: ServerConnection) -> None:
        assert socket.request is not None
        seen.extend(socket.request.headers.get_all("Authorization"))
        await socket.send('{"type": "session.created"}')

    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    async with serve(upstream, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with (
            RecordingProxy(f"ws://127.0.0.1:{port}/v1/realtime", tmp_path / "x.realtime") as proxy,
            connect(proxy.url) as socket,
        ):
            await socket.recv()
    assert seen == []
    assert "--lend-key lends it OPENAI_API_KEY" in caplog.text


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_no_key_is_lent_to_whoever_reaches_the_host(tmp_path: Path, host: str) -> None:
    to = tmp_path / "x.realtime"
    with pytest.raises(ValueError, match="a key is lent on loopback only"):
        RecordingProxy("wss://example.org", to, host=host, lend_key=True)
    RecordingProxy("wss://example.org", to, host=host)


PAGES = ["https://evil.example", "http://localhost:8888", "null", "http://127.0.0.1:1, x"]


@pytest.mark.parametrize("origin", PAGES)
async def test_a_web_page_gets_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: str
) -> None:
    """With a key of its own or without."""
    connections: list[ServerConnection] = []

    async def upstream(socket: ServerConnection) -> None:
        connections.append(socket)

    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    async with serve(upstream, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with RecordingProxy(
            f"ws://127.0.0.1:{port}",
            tmp_path / "x.realtime",
            lend_key=True,
            origins=["http://my.page"],
        ) as proxy:
            for key in ({}, {"Authorization": "Bearer sk-page"}):
                with pytest.raises(InvalidStatus) as refused:
                    await connect(proxy.url, origin=Origin(origin), additional_headers=key)
                assert refused.value.response.status_code == 403
    assert connections == []
    assert written(tmp_path) == ""


async def test_a_web_page_that_is_named_is_admitted(tmp_path: Path) -> None:
    page = "http://localhost:3000"
    async with (
        FakeRealtime(SCRIPT) as server,
        RecordingProxy(server.url, tmp_path / "x.realtime", origins=[page]) as proxy,
        connect(proxy.url, origin=Origin(page)) as socket,
    ):
        assert "session.created" in str(await socket.recv())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(
    tmp_path: Path, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []

    async def other(_socket: ServerConnection, request: Request) -> Response | None:
        asked.append(str(request.headers))
        return None

    async def ignore(_socket: ServerConnection) -> None: ...

    async with serve(ignore, "127.0.0.2", 0, process_request=other) as elsewhere:
        there = f"ws://127.0.0.2:{next(iter(elsewhere.sockets)).getsockname()[1]}/v1"

        def redirect(socket: ServerConnection, _request: Request) -> Response:
            response = socket.respond(status, "")
            response.headers["Location"] = there
            return response

        async with serve(ignore, "localhost", 0, process_request=redirect) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            async with RecordingProxy(
                f"ws://localhost:{port}/v1", tmp_path / "x.realtime"
            ) as proxy:
                with pytest.raises(InvalidStatus) as refused:
                    await connect(proxy.url, additional_headers={"Authorization": "Bearer k"})
    assert asked == []
    assert refused.value.response.status_code == 502
    body = bytes(refused.value.response.body).decode()
    assert f"redirects (HTTP {status}) to" in body
    assert there in body
    assert there in caplog.text
