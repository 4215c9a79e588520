"""Client secrets and calls over HTTP, by the official client where it has them."""

import asyncio
import http.client
import json
import random
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import openai
import pytest
from official import check
from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from openai.types.realtime import ClientSecretCreateResponse
from openai.types.webhooks import RealtimeCallIncomingWebhookEvent
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from callerside.fakes.script.model import Script
from callerside.fakes.server import kept
from callerside.fakes.server.calls import Calls
from callerside.fakes.server.client_secrets import ClientSecrets
from callerside.fakes.server.server import FakeRealtime, ServerOptions
from callerside.fakes.session.refusals import RequestError

SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
async def server() -> AsyncIterator[FakeRealtime]:
    async with FakeRealtime(Script()) as running:
        yield running


@dataclass(frozen=True)
class Answer:
    status: int
    json: Any


def base(server: FakeRealtime) -> str:
    return server.base_url.replace("ws", "http", 1)


def client_of(server: FakeRealtime, key: str = "none") -> AsyncOpenAI:
    return AsyncOpenAI(
        api_key=key,
        base_url=base(server),
        websocket_base_url=server.base_url,
        max_retries=0,
        webhook_secret=SECRET,
    )


async def ask(
    server: FakeRealtime,
    method: str,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    def request() -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        text = response.read()
        connection.close()
        return Answer(response.status, json.loads(text) if text else None)

    return await asyncio.to_thread(request)


async def post(
    server: FakeRealtime, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> Answer:
    return await ask(server, "POST", path, body, headers)


async def make(server: FakeRealtime, **asked: Any) -> ClientSecretCreateResponse:
    async with client_of(server) as client:
        return await client.realtime.client_secrets.create(**asked)


async def first_events(url: str, key: str, count: int = 1) -> tuple[list[str], int | None]:
    """The first events of a session opened by this key, and its close code if it is closed."""
    events: list[str] = []
    async with connect(url, additional_headers={"Authorization": f"Bearer {key}"}) as socket:
        try:
            while len(events) < count:
                event = json.loads(await socket.recv())
                check(event)
                events.append(event["type"] if event["type"] != "error" else event["error"]["code"])
        except ConnectionClosed as closed:
            return events, closed.rcvd.code if closed.rcvd else None
    return events, None


async def test_a_secret_opens_the_session_that_it_was_made_with(server: FakeRealtime) -> None:
    session = {"type": "realtime", "model": "gpt-realtime-2.1", "instructions": "Be kind."}
    made = await make(server, session=session)
    assert made.value.startswith("ek_")
    assert 590 < made.expires_at - time.time() <= 600
    assert made.session.id.startswith("sess_")
    async with (
        client_of(server, made.value) as client,
        client.realtime.connect(model="gpt-realtime-2.1") as connection,
    ):
        created = await connection.recv()
    assert created.type == "session.created"
    assert created.session.to_dict()["instructions"] == "Be kind."


def test_secrets_have_a_bound_in_all_and_go_when_they_have_expired(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kept, "MOST_CHARS", 5000)
    secrets = ClientSecrets(random.Random(1))
    session = {"type": "realtime", "instructions": "x" * 2000}

    def made(now_s: int) -> str:
        value: str = secrets.create({"session": session}, now_s)["value"]
        return value

    first, second, third = made(0), made(300), made(300)
    with pytest.raises(RequestError):
        secrets.session_of(first, 300)
    assert secrets.session_of(second, 300) is not None
    assert len(secrets) == 2
    made(900)
    assert len(secrets) == 1, f"{second} and {third} have expired"


def test_calls_have_a_bound_in_all_and_what_is_over_takes_little(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kept, "MOST_CHARS", 5000)
    calls = Calls(random.Random(1), lambda _: None)
    session = {"type": "realtime", "instructions": "x" * 2000}

    def accepted() -> str:
        call_id: str = calls.ring({}, 0)["call_id"]
        calls.accept(call_id, session)
        return call_id

    for _ in range(5):  # one after another
        calls.hang_up(accepted())
    first, *others = (accepted() for _ in range(3))
    with pytest.raises(RequestError):
        calls.session_of(first)
    for call_id in others:
        assert calls.session_of(call_id).instructions == "x" * 2000


async def test_a_secret_of_a_transcription_session_opens_one(server: FakeRealtime) -> None:
    transcription = {"model": "gpt-4o-transcribe"}
    audio = {"input": {"transcription": transcription}}
    made = await make(server, session={"type": "transcription", "audio": audio})
    assert made.session.type == "transcription"
    assert await first_events(server.url, made.value) == (["session.created"], None)
    wrong = f"{server.url}?model=gpt-realtime"
    assert await first_events(wrong, made.value, 2) == (["invalid_parameter"], 4000)


async def test_a_secret_that_is_unknown_or_has_expired_is_refused(
    server: FakeRealtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = "ek_" + "0" * 32
    assert await first_events(server.url, unknown, 2) == (["invalid_api_key"], 3000)
    made = await make(server, expires_after={"anchor": "created_at", "seconds": 10})
    assert await first_events(server.url, made.value) == (["session.created"], None)
    later = time.time() + 10
    monkeypatch.setattr(time, "time", lambda: later)
    assert await first_events(server.url, made.value, 2) == (["invalid_api_key"], 3000)


async def test_a_session_goes_on_when_its_secret_has_expired(
    server: FakeRealtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await make(server)
    async with (
        client_of(server, made.value) as client,
        client.realtime.connect(model="gpt-realtime-2.1") as connection,
    ):
        await connection.recv()
        later = time.time() + 700
        monkeypatch.setattr(time, "time", lambda: later)
        await connection.session.update(session={"type": "realtime"})
        assert (await connection.recv()).type == "session.updated"


@pytest.mark.parametrize(
    ("asked", "param", "words"),
    [
        ({"expires_after": {"seconds": 5}}, "expires_after.seconds", "Expected a value >= 10"),
        ({"expires_after": {"seconds": 7201}}, "expires_after.seconds", "<= 7200"),
        ({"session": {"type": "realtime", "voice": "x"}}, "session.voice", "Unknown parameter"),
        ({"session": {}}, "session.type", "Missing required parameter"),
        ({"extra": 1}, "extra", "Unknown parameter"),
    ],
)
async def test_what_no_secret_is_made_of(
    server: FakeRealtime, asked: dict[str, Any], param: str, words: str
) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        await make(server, expires_after=openai.omit, session=openai.omit, extra_body=asked)
    assert raised.value.param == param
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("model", "code"),
    [("gpt-9", 400), ("gpt-4o-transcribe", 400), ("gpt-realtime", 200), ("gpt-realtime-2.1", 200)],
)
async def test_a_secret_is_for_a_model_that_a_session_can_have(
    server: FakeRealtime, model: str, code: int
) -> None:
    asked = json.dumps({"session": {"type": "realtime", "model": model}}).encode()
    answer = await post(server, "/v1/realtime/client_secrets", asked)
    assert answer.status == code
    if code == 400:
        assert answer.json["error"]["code"] == "invalid_model"
        assert answer.json["error"]["param"] == "session.model"


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b"[" * 100_000])
async def test_what_is_no_json_is_refused(server: FakeRealtime, body: bytes) -> None:
    answer = await post(server, "/v1/realtime/client_secrets", body)
    assert answer.status == 400
    assert answer.json["error"]["type"] == "invalid_request_error"


async def test_a_body_is_read_whatever_it_is_said_to_be(server: FakeRealtime) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}  # as curl -d sends it
    asked = b'{"expires_after": {"seconds": 5}}'
    assert (await post(server, "/v1/realtime/client_secrets", asked, headers)).status == 400
    form = {"Content-Type": "multipart/form-data; boundary=x"}  # as browsers send it
    for kind in ({"Content-Type": "application/sdp"}, form, {}):
        assert (await post(server, "/v1/realtime/calls", b"v=0", kind)).status == 501


async def test_errors_over_http_are_the_apis(server: FakeRealtime) -> None:
    for path, status in (("/v1/none", 404), ("/v1/realtime/calls/rtc_x/accept", 404)):
        answer = await post(server, path, b'{"type": "realtime"}')
        assert answer.status == status
        assert answer.json["error"]["message"]
    assert (await ask(server, "GET", "/v1/realtime/client_secrets")).status == 405


async def test_a_strangers_web_page_gets_no_secret(server: FakeRealtime) -> None:
    headers = {"Origin": "https://evil.example"}
    answer = await post(server, "/v1/realtime/client_secrets", headers=headers)
    assert answer.status == 403


async def test_requests_are_bounded_in_size(server: FakeRealtime) -> None:
    answer = await post(server, "/v1/realtime/client_secrets", b" " * (2**20 + 1))
    assert answer.status == 413
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"POST / HTTP/1.1\r\nX: " + b"x" * 2**17)
    assert (await reader.read()).startswith(b"HTTP/1.1 431 ")
    writer.close()


async def test_a_body_may_come_in_pieces_and_behind_its_head(server: FakeRealtime) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = b"POST /v1/realtime/client_secrets HTTP/1.1\r\nContent-Length: 2\r\n"
    for piece in (head[:10], head[10:] + b"Expect: 100-continue\r\n\r\n"):
        writer.write(piece)
        await asyncio.sleep(0.02)
    assert await reader.readexactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"{")
    await asyncio.sleep(0.02)
    writer.write(b"}")
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def close_code(connection: AsyncRealtimeConnection) -> int | None:
    """How a connection ends, whatever comes before."""
    try:
        while True:
            await connection.recv_bytes()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


async def ring(server: FakeRealtime, client: AsyncOpenAI) -> str:
    """A call comes in; its webhook is what the official client takes."""
    asked = json.dumps({"webhook_secret": SECRET}).encode()
    rung = (await post(server, "/control/calls", asked)).json
    event = client.webhooks.unwrap(rung["body"], rung["headers"])
    assert isinstance(event, RealtimeCallIncomingWebhookEvent)
    assert event.data.call_id == rung["call_id"]
    return event.data.call_id


async def state(server: FakeRealtime, call_id: str) -> dict[str, str]:
    return dict((await ask(server, "GET", f"/control/calls/{call_id}")).json)


async def test_a_call_is_accepted_joined_and_hung_up(server: FakeRealtime) -> None:
    async with client_of(server) as client:
        call_id = await ring(server, client)
        await client.realtime.calls.accept(call_id, type="realtime", instructions="Be kind.")
        async with client.realtime.connect(call_id=call_id) as connection:
            created = await connection.recv()
            assert created.type == "session.created"
            assert created.session.to_dict()["instructions"] == "Be kind."
            await connection.response.create()
            assert (await connection.recv()).type == "response.created"
            await client.realtime.calls.hangup(call_id)
            assert await close_code(connection) == 1000
        assert (await state(server, call_id))["state"] == "over"


async def test_no_call_rings_for_another_name_of_this_machine(server: FakeRealtime) -> None:
    answer = await post(server, "/control/calls", b"{}", {"Host": "rebound.example"})
    assert answer.status == 403


async def test_a_call_is_rejected_with_a_status_of_sip(server: FakeRealtime) -> None:
    async with client_of(server) as client:
        call_id = await ring(server, client)
        await client.realtime.calls.reject(call_id, status_code=486)
        assert (await state(server, call_id))["detail"] == "486"
        with pytest.raises(openai.BadRequestError, match="is rejected"):
            await client.realtime.calls.accept(call_id, type="realtime")
        assert (await first_events(f"{server.url}?call_id={call_id}", "none", 2))[1] == 4000


async def test_a_call_is_transferred(server: FakeRealtime) -> None:
    async with client_of(server) as client:
        call_id = await ring(server, client)
        with pytest.raises(openai.BadRequestError, match="is ringing"):
            await client.realtime.calls.hangup(call_id)
        await client.realtime.calls.accept(call_id, type="realtime")
        await client.realtime.calls.refer(call_id, target_uri="tel:+15550101")
        told = await state(server, call_id)
        assert (told["state"], told["detail"]) == ("transferred", "tel:+15550101")


async def test_a_call_that_is_none_is_refused(server: FakeRealtime) -> None:
    async with client_of(server) as client:
        with pytest.raises(openai.NotFoundError, match="No call found with id 'rtc_none'"):
            await client.realtime.calls.hangup("rtc_none")


async def test_a_slow_request_keeps_no_server_from_stopping() -> None:
    server = FakeRealtime(Script(), options=ServerOptions())
    await server.start()
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n")
    await asyncio.sleep(0.05)
    async with asyncio.timeout(5):
        await server.stop()
    writer.close()
