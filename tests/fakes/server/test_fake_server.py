import asyncio
import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from official import connected
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from callerside.audio import to_samples
from callerside.audio_files import read_wav, write_wav
from callerside.fakes.recording.format import Entry, Header, Recording
from callerside.fakes.recording.replay import ReplayOptions
from callerside.fakes.script.model import Script
from callerside.fakes.server import session_runner
from callerside.fakes.server.arrivals import Arrivals
from callerside.fakes.server.server import FakeRealtime, ServerOptions
from callerside.fakes.session.faults import parse_fault
from callerside.marks import Mark
from callerside.speech.synthesis import synthesise
from callerside.timelines import read_timeline

FLOOD = Path(__file__).parents[2] / "support" / "flood.py"
QUICK = Script.model_validate({"timing": {"think_ms": 10, "pace": 1000}})


async def receive(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(10):
        event: dict[str, Any] = json.loads(await socket.recv())
    return event


async def status_of(url: str) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as refused:
        await connect(url)
    response = refused.value.response
    return response.status_code, bytes(response.body).decode()


async def test_each_stage_has_its_own_script(tmp_path: Path) -> None:
    for name in ("hotel", "taxi"):
        (tmp_path / f"{name}.yaml").write_text(f"greeting: {{say: This is the {name}.}}\n")
    async with FakeRealtime(QUICK, options=ServerOptions(scripts=tmp_path)) as server:
        for name in ("hotel", "taxi"):
            base_url = server.base_url.replace("/v1", f"/{name}/v1")
            async with connected(base_url) as client:
                await client.connection.response.create()
                response = (await client.until("response.done"))["response"]
                transcript = response["output"][0]["content"][0]["transcript"]
                assert transcript == f"This is the {name}."


async def test_azures_path_is_served_and_takes_no_version() -> None:
    async with FakeRealtime(QUICK.model_copy(update={"dialect": "azure"})) as server:
        base = f"ws://127.0.0.1:{server.port}/openai/v1/realtime"
        async with connect(f"{base}?model=gpt-realtime") as client:
            created = await receive(client)
        assert created["session"]["audio"]["output"]["voice"] == "alloy"
        assert (await status_of(f"{base}?api-version=2025-04-01-preview"))[0] == 401


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/nobody/v1/realtime", 404, "no script 'nobody'"),
        ("/../v1/realtime", 404, "no such path"),
        ("/..%2fsecret/v1/realtime", 404, "no such path"),
        ("/%2e%2e/v1/realtime", 404, "no such path"),
        ("/.hidden/v1/realtime", 404, "no such path"),
        ("/a/b/v1/realtime", 404, "no such path"),
        ("/v1/chat", 404, "expected /v1/realtime"),
        ("/broken/v1/realtime", 500, 'broken.yaml:1:1: unknown key "greting"'),
    ],
)
async def test_other_paths_are_refused(tmp_path: Path, path: str, status: int, reason: str) -> None:
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "broken.yaml").write_text("greting: {say: Hello.}\n")
    (tmp_path / "secret.yaml").write_text("seed: 1\n")
    async with FakeRealtime(QUICK, options=ServerOptions(scripts=folder)) as server:
        got, body = await status_of(f"ws://127.0.0.1:{server.port}{path}")
        assert got == status
        assert reason in body


@pytest.mark.parametrize(
    ("origin", "admitted"),
    [
        ("https://evil.example", False),
        ("http://localhost.evil.example", False),
        ("http://127.0.0.1.evil.example", False),
        ("null", False),
        ("http://[", False),
        ("http://localhost:3000", True),
        ("http://127.0.0.1:8000", True),
        ("http://[::1]:8000", True),
        ("https://staging.example", True),
    ],
)
async def test_a_strangers_web_page_is_refused(origin: str, admitted: bool) -> None:
    options = ServerOptions(origins=["https://staging.example"])
    async with FakeRealtime(QUICK, options=options) as server:
        if admitted:
            async with connect(server.url, origin=Origin(origin)) as socket:
                assert (await receive(socket))["type"] == "session.created"
            return
        with pytest.raises(InvalidStatus) as refused:
            await connect(server.url, origin=Origin(origin))
        assert refused.value.response.status_code == 403
        assert b"--allow-origin" in bytes(refused.value.response.body)


async def test_a_full_server_says_so() -> None:
    async with FakeRealtime(QUICK, options=ServerOptions(max_sessions=1)) as server:
        async with connect(server.url) as first:
            await receive(first)
            assert (await status_of(server.url))[0] == 503
        async with asyncio.timeout(5):
            while True:  # the place is free again once the session has been put away
                try:
                    async with connect(server.url) as second:
                        await receive(second)
                    break
                except InvalidStatus:
                    await asyncio.sleep(0.01)


async def test_scripts_that_are_asked_for_at_once_are_all_served(tmp_path: Path) -> None:
    options = ServerOptions(scripts=tmp_path)
    async with FakeRealtime(QUICK, options=options) as server:
        for turn in range(5):
            urls = []
            for number in range(12):
                name = f"stage-{turn}-{number}"
                (tmp_path / f"{name}.yaml").write_text(f"seed: {turn * 100 + number}\n")
                urls.append(server.url.replace("/v1", f"/{name}/v1"))
            sockets = await asyncio.gather(*(connect(url) for url in urls))
            for socket in sockets:
                assert (await receive(socket))["type"] == "session.created"
                await socket.close()


async def test_no_more_sessions_than_allowed_while_scripts_are_read(tmp_path: Path) -> None:
    scripts = [tmp_path / f"s{number}.yaml" for number in range(12)]
    for number, path in enumerate(scripts):
        path.write_text(f"seed: {number}\n")
    options = ServerOptions(scripts=tmp_path, max_sessions=3)
    async with FakeRealtime(QUICK, options=options) as server:
        for path in scripts:
            path.write_text(path.read_text() + "timing: {think_ms: 1}\n")  # to be read again
        urls = [server.url.replace("/v1", f"/s{number}/v1") for number in range(12)]
        outcomes = await asyncio.gather(*(connect(url) for url in urls), return_exceptions=True)
        admitted = [one for one in outcomes if isinstance(one, ClientConnection)]
        assert len(admitted) == 3
        assert all(isinstance(one, ClientConnection | InvalidStatus) for one in outcomes)
        for socket in admitted:
            await socket.close()


@pytest.mark.parametrize("sent", [b"", b"GET /v1/realtime HTTP/1.1\r\nHost: x\r\n"])
async def test_a_connection_without_a_request_holds_up_no_shutdown(sent: bytes) -> None:
    server = FakeRealtime(QUICK)
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(sent)
    await asyncio.sleep(0.1)
    async with asyncio.timeout(5):
        await server.stop()
        assert await reader.read() == b""
    writer.close()


async def test_a_connection_that_asks_for_nothing_is_ended() -> None:
    arrivals = Arrivals(request_limit_s=0.1)

    async def serve_nobody(_socket: ServerConnection) -> None:
        raise AssertionError("nobody asked")

    create: Any = arrivals.create
    async with serve(serve_nobody, "127.0.0.1", 0, create_connection=create) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()


async def test_what_was_heard_and_when_is_written_down(tmp_path: Path) -> None:
    (tmp_path / "hotel.yaml").write_text("timing: {think_ms: 10, pace: 1000}\n")
    options = ServerOptions(scripts=tmp_path, timelines=tmp_path / "out", keep_audio=True)
    spoken = bytes(9600) + synthesise("Hello there.") + bytes(48 * 700)
    async with FakeRealtime(options=options) as server:
        name = server.base_url.replace("/v1", "/hotel/v1")
        async with connected(name) as client:
            await client.hear(spoken)
            await client.until("response.done")
    marks = read_timeline(tmp_path / "out" / "hotel.realtime.jsonl")
    assert {mark.call for mark in marks} == {"hotel"}
    assert marks[0].name == "session_opened"
    assert 0 < marks[0].fields["prepared_ms"] < 60_000
    assert marks[-1].name == "session_closed"
    received = [mark for mark in marks if mark.name == "audio_received"]
    heard = to_samples(read_wav(tmp_path / "out" / "hotel.heard.wav", 24_000))
    assert received[-1].fields["total_samples"] == len(heard) == len(spoken) // 2
    assert np.array_equal(heard, to_samples(spoken))
    sent = to_samples(read_wav(tmp_path / "out" / "hotel.sent.wav", 24_000))
    deltas = [mark for mark in marks if mark.name == "delta_sent"]
    assert deltas[-1].fields["total_samples"] == len(sent)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "hotel.heard.wav",
        "hotel.realtime.jsonl",
        "hotel.sent.wav",
    ]


async def test_a_disk_that_is_full_ends_the_timeline_and_not_the_session(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "session-1.realtime.jsonl").symlink_to("/dev/full")
    script = Script.model_validate({"timing": {"think_ms": 10, "pace": 1000, "delta_ms": 10}})
    options = ServerOptions(timelines=tmp_path)
    async with (
        FakeRealtime(script, options=options) as server,
        connected(server.base_url) as client,
    ):
        for _ in range(2):
            await client.say()
            await client.until("response.done")
    assert "session-1.realtime.jsonl ends here: No space left" in caplog.text


async def test_a_stopping_server_says_good_bye() -> None:
    server = FakeRealtime(QUICK)
    await server.start()
    async with connect(server.url) as socket:
        await receive(socket)
        await server.stop()
        with pytest.raises(ConnectionClosed):
            await receive(socket)
        assert socket.close_code == 1001


def with_fault(fault: str) -> Script:
    return QUICK.model_copy(update={"faults": (parse_fault(fault),)})


async def test_a_refused_handshake_is_on_the_timeline(tmp_path: Path) -> None:
    options = ServerOptions(timelines=tmp_path)
    async with FakeRealtime(with_fault("refuse status=401"), options=options) as server:
        assert (await status_of(server.url))[0] == 401
    names = [mark.name for mark in read_timeline(tmp_path / "session-1.realtime.jsonl")]
    assert names == ["fault_applied", "session_closed"]


async def test_a_client_that_goes_before_it_is_accepted_leaves_nothing_behind() -> None:
    marks: list[Mark] = []
    options = ServerOptions(max_sessions=1)
    late = with_fault("accept_late by_ms=400")
    async with FakeRealtime(late, options=options, on_mark=marks.append) as server:
        with pytest.raises(TimeoutError):
            await connect(server.url, open_timeout=0.2)
        async with asyncio.timeout(5):
            while "session_closed" not in [mark.name for mark in marks]:  # noqa: ASYNC110 - theirs
                await asyncio.sleep(0.01)
        async with connect(server.url) as second:
            await receive(second)


async def test_a_server_stops_while_clients_wait_to_be_accepted() -> None:
    server = FakeRealtime(with_fault("accept_late by_ms=60000"))
    await server.start()
    waiting = asyncio.create_task(status_of(server.url))
    await asyncio.sleep(0.1)
    async with asyncio.timeout(5):
        await server.stop()
        assert (await waiting)[0] == 503


async def test_the_beta_is_refused_as_the_real_one_does() -> None:
    async with FakeRealtime(QUICK) as server:
        headers = {"OpenAI-Beta": "realtime=v1"}
        async with connect(server.url, additional_headers=headers) as socket:
            error = (await receive(socket))["error"]
            assert error["code"] == "beta_api_shape_disabled"
            with pytest.raises(ConnectionClosed):
                await receive(socket)
            assert socket.close_code == 4000
            assert socket.close_reason == "invalid_request_error.beta_api_shape_disabled"


async def test_a_browser_names_the_api_and_its_key_as_subprotocols() -> None:
    key = Subprotocol("openai-insecure-api-key.none")
    async with FakeRealtime(QUICK) as server:
        async with connect(server.url, subprotocols=[Subprotocol("realtime"), key]) as socket:
            assert socket.subprotocol == "realtime"
            assert (await receive(socket))["type"] == "session.created"
        beta = [Subprotocol("realtime"), key, Subprotocol("openai-beta.realtime-v1")]
        async with connect(server.url, subprotocols=beta) as socket:
            assert (await receive(socket))["error"]["code"] == "beta_api_shape_disabled"
        async with connect(server.url, subprotocols=[Subprotocol("chat")]) as socket:
            assert socket.subprotocol is None


async def test_two_sessions_of_a_path_do_not_share_their_ids() -> None:
    async with FakeRealtime(QUICK) as server:
        seen = set()
        for _ in range(2):
            async with connect(server.url) as socket:
                seen.add((await receive(socket))["session"]["id"])
        assert len(seen) == 2


@pytest.mark.parametrize(
    ("message", "part"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "nested deeper"),
        ("3", "Expected a JSON object"),
        ("{}", "Missing required parameter: 'type'."),
        (b"\x00\xff\xfe", "not valid JSON"),
        ('{"type": "input_audio_buffer.append", "audio": "%%%"}', "base64"),
        ('{"type": "input_audio_buffer.append"}', "Missing required parameter"),
        ('{"type": "input_audio_buffer.append", "audio": 5}', "an integer"),
        ('{"type": ["session.update"]}', "an array"),
        ('{"type": "session.update", "session": 5}', "session"),
        ('{"type": "conversation.item.create", "item": {"type": "message"}}', "item.role"),
        (
            '{"type": "input_audio_buffer.append", "audio": "AAAA", "x": 1}',
            "Unknown parameter: 'x'",
        ),
        ('{"type": "session.update", "session": {"instructions": NaN}}', "not valid JSON"),
        ('{"type": "session.update", "session": ' + "[" * 60 + "]" * 60 + "}", "nested deeper"),
        ('{"type": "session.\\ud800"}', "Invalid value"),
        ('{"type": "input_audio_buffer.append", "audio": "' + "A" * 2**18 + '%AAA"}', "base64"),
        (
            '{"type": "input_audio_buffer.append", "audio": "' + "A" * (20 * 2**20 + 4) + '"}',
            "15 MiB",
        ),
    ],
)
async def test_garbage_is_answered_and_the_session_goes_on(message: str | bytes, part: str) -> None:
    async with FakeRealtime(QUICK) as server, connect(server.url) as socket:
        await receive(socket)
        await socket.send(message)
        assert part in (await receive(socket))["error"]["message"]
        await socket.send('{"type": "input_audio_buffer.clear"}')
        assert (await receive(socket))["type"] == "input_audio_buffer.cleared"


async def test_an_append_that_is_far_too_large_ends_its_own_session_only() -> None:
    async with FakeRealtime(QUICK) as server, connected(server.base_url) as good:
        async with connect(server.url) as huge:
            await receive(huge)
            length = (27 * 2**20).to_bytes(8, "big")  # 20 MiB of audio as base64
            huge.transport.write(b"\x81\xff" + length + bytes(4))  # the frame's header alone
            with pytest.raises(ConnectionClosed):
                await receive(huge)
            assert huge.close_code == 1009
        await good.say()
        await good.until("response.done")


async def test_a_flood_of_tiny_appends_does_not_keep_others_waiting() -> None:
    """Turns go on while it floods; `tests/bench/test_bench_fake.py` measures how well."""
    async with FakeRealtime(QUICK) as server, connected(server.base_url) as good:
        flood = await asyncio.create_subprocess_exec(
            sys.executable, str(FLOOD), str(server.port), "60000", stdout=subprocess.PIPE
        )
        for _ in range(2):
            await good.say()
            await good.until("response.done")
            assert flood.returncode is None
        printed, _ = await asyncio.wait_for(flood.communicate(), 60)
        assert flood.returncode == 0
        assert float(printed) > 0


@pytest.mark.parametrize("plain", [True, False])
async def test_a_large_append_is_taken_in_pieces(plain: bool) -> None:
    spoken = synthesise("What time do you open?")
    pcm = spoken + np.random.default_rng(1).bytes(2**18) + bytes(3)
    append = json.dumps(
        {"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm).decode()}
    )
    async with FakeRealtime(QUICK) as server, connect(server.url) as socket:
        await receive(socket)
        off = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
        await socket.send(json.dumps({"type": "session.update", "session": off}))
        await receive(socket)
        await socket.send(append if plain else append.replace("/", "\\/"))
        await socket.send('{"type": "input_audio_buffer.commit"}')
        item = (await receive(socket))["item_id"]
        await socket.send(json.dumps({"type": "conversation.item.retrieve", "item_id": item}))
        while (event := await receive(socket))["type"] != "conversation.item.retrieved":
            pass
        assert base64.b64decode(event["item"]["content"][0]["audio"]) == pcm[: len(pcm) // 2 * 2]


async def test_a_client_that_answers_no_ping_is_closed() -> None:
    marks: list[Mark] = []
    options = ServerOptions(ping_every_s=0.1)
    async with FakeRealtime(QUICK, options=options, on_mark=marks.append) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        key = base64.b64encode(bytes(16)).decode()
        writer.write(
            b"GET /v1/realtime HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: " + key.encode() + b"\r\n\r\n"
        )
        async with asyncio.timeout(15):
            everything = await reader.read()  # until the server hangs up
        writer.close()
    assert b"101 Switching Protocols" in everything
    assert [mark.name for mark in marks] == ["session_opened", "session_closed"]


@pytest.mark.parametrize("size", [20_000, 4_000_000])
async def test_a_client_that_does_not_read_is_dropped(size: int) -> None:
    """It asks for far more than it takes; what waits for it is bounded, in number and in size."""
    marks: list[Mark] = []
    content = [{"type": "input_text", "text": "x" * size}]
    item = {"type": "message", "role": "user", "id": "big", "content": content}
    create = json.dumps({"type": "conversation.item.create", "item": item})
    retrieve = '{"type": "conversation.item.retrieve", "item_id": "big"}'

    async def ask_for_ever(socket: ClientConnection) -> None:
        await socket.send(create)
        while True:
            await socket.send(retrieve)

    async with (
        FakeRealtime(QUICK, on_mark=marks.append) as server,
        connect(server.url, max_queue=1, max_size=None) as socket,
    ):
        await receive(socket)
        with pytest.raises(ConnectionClosed):
            await ask_for_ever(socket)
    closed = next(mark for mark in marks if mark.name == "session_closed")
    assert closed.fields == {"code": 1008, "reason": "the client does not read"}


def written_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_what_an_earlier_server_wrote_stays_alone(tmp_path: Path) -> None:
    (tmp_path / "stage.yaml").write_text("seed: 1\n")
    out = tmp_path / "out"
    out.mkdir()
    options = ServerOptions(scripts=tmp_path, timelines=out)
    for _ in range(2):
        async with FakeRealtime(QUICK, options=options) as server:
            for _ in range(2):
                async with connect(server.url.replace("/v1", "/stage/v1")) as socket:
                    await receive(socket)
    names = ["stage-2.realtime.jsonl", "stage.realtime.jsonl"]
    assert sorted(path.name for path in written_in(out)) == names
    for name in names:
        opened = [mark for mark in read_timeline(out / name) if mark.name == "session_opened"]
        assert len(opened) == 2


async def test_no_stage_has_the_name_of_a_session_without_one(tmp_path: Path) -> None:
    (tmp_path / "session-1.yaml").write_text("seed: 1\n")
    async with FakeRealtime(QUICK, options=ServerOptions(scripts=tmp_path)) as server:
        status, body = await status_of(server.url.replace("/v1", "/session-1/v1"))
    assert status == 404
    assert "sessions without a script of their own have such names" in body


async def test_a_request_for_what_is_no_url_is_not_found() -> None:
    async with FakeRealtime(QUICK) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        head = "GET //[ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        writer.write((head + key).encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 404")
        writer.close()


async def test_an_ipv6_address_has_a_url() -> None:
    async with FakeRealtime(QUICK, options=ServerOptions(host="::1")) as server:
        assert server.url.startswith("ws://[::1]:")
        async with connect(server.url) as socket:
            assert (await receive(socket))["type"] == "session.created"


async def count(socket: ClientConnection, last: str) -> int:
    """How many events come until the last."""
    events = 1
    while (await receive(socket))["type"] != last:
        events += 1
    return events


@pytest.mark.parametrize("faults", [[], ["stall for_ms=1500 at=greeting"]])
async def test_a_client_that_reads_is_not_dropped_for_a_burst(
    tmp_path: Path, faults: list[str]
) -> None:
    path = tmp_path / "long.wav"
    write_wav(path, np.zeros(24_000 * 60, dtype=np.int16), 24_000)
    greeting = {"wav": path, "delta_ms": 10, "pace": 1000, "think_ms": 10}
    timing = {"delta_spread_ms": 0}
    script = Script.model_validate({"greeting": greeting, "timing": timing})
    script = script.model_copy(update={"faults": tuple(map(parse_fault, faults))})
    async with FakeRealtime(script) as server, connect(server.url) as socket:
        await socket.send('{"type": "response.create"}')
        assert await count(socket, "response.done") > 5_500


async def test_a_fast_replay_is_no_reason_to_drop_its_client() -> None:
    delta = {"type": "response.output_text.delta", "response_id": "r", "delta": "so"}
    done = {"type": "response.done", "response": {"id": "r"}}
    entries = [Entry(0.0, "server", event) for event in [delta] * 4500 + [done]]
    recording = Recording(Header(), tuple(entries))
    fast = ReplayOptions(timing="fast")
    async with (
        FakeRealtime(recording=recording, replay=fast) as server,
        connect(server.url) as socket,
    ):
        assert await count(socket, "response.done") == 4501


async def test_the_largest_event_of_a_fault_reaches_its_client() -> None:
    faulty = with_fault("oversized size_bytes=67108864 at=connect")
    async with FakeRealtime(faulty) as server, connect(server.url, max_size=None) as socket:
        assert (await receive(socket))["type"] == "session.created"
        assert len((await receive(socket))["padding"]) == 2**26


async def test_a_client_that_is_dropped_before_it_is_served_does_not_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_runner, "_BURST_LIMIT", 3)
    monkeypatch.setattr(session_runner, "_UNREAD_LIMIT", 2)
    entries = [Entry(0.0, "server", {"type": "session.created"})] * 5
    fast = ReplayOptions(timing="fast")
    async with FakeRealtime(recording=Recording(Header(), tuple(entries)), replay=fast) as server:
        socket = await connect(server.url)
        async with asyncio.timeout(5):
            with pytest.raises(ConnectionClosed):
                await socket.recv()


def test_the_fixture_serves_other_projects(tmp_path: Path) -> None:
    (tmp_path / "test_elsewhere.py").write_text(
        "import pytest\n"
        "from websockets.sync.client import connect\n"
        "from callerside.fakes.recording.format import Entry, Header, Recording\n"
        "from callerside.fakes.recording.replay import ReplayOptions\n"
        "def test_it(fake_realtime):\n"
        "    server = fake_realtime({'greeting': {'say': 'Hello.'}})\n"
        "    with connect(server.url) as socket:\n"
        "        assert 'session.created' in socket.recv(timeout=10)\n"
        '        socket.send(\'{"type": "response.create"}\')\n'
        "        assert server.wait_for('response_done')[0].fields['status'] == 'completed'\n"
        "    assert server.marked('session_opened')\n"
        "def test_what_does_not_come(fake_realtime):\n"
        "    server = fake_realtime()\n"
        "    with connect(server.url), pytest.raises(TimeoutError, match='0 of 1 .*opened'):\n"
        "        server.wait_for('committed', within_s=0.5)\n"
        "def test_a_replay(fake_realtime):\n"
        "    entry = Entry(0, 'server', {'type': 'session.created', 'session': {'id': 'theirs'}})\n"
        "    strict = ReplayOptions(strict=True)\n"
        "    server = fake_realtime(recording=Recording(Header(), (entry,)), replay=strict)\n"
        "    with connect(server.url) as socket:\n"
        "        assert 'theirs' in socket.recv(timeout=10)\n"
    )
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "callerside.fakes.pytest_plugin", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
