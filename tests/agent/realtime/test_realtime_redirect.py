"""The key and the caller's voice go to the host that the settings name, and to no other."""

import asyncio

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from callerside.agent.realtime.client import WebSocketConnection
from callerside.agent.realtime.interface import RealtimeClosed, RealtimeInput

KEY = "sk-of-the-test"


async def ignore(_socket: ServerConnection) -> None:
    """A session in which nothing is said."""


def port_of(server: Server) -> int:
    port: int = next(iter(server.sockets)).getsockname()[1]
    return port


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
@pytest.mark.parametrize("there", ["127.0.0.2", "127.0.0.1"])
async def test_a_redirect_is_a_refusal(there: str, status: int) -> None:
    """To another host, and to another port of the same."""
    asked: list[str] = []

    def other(_socket: ServerConnection, request: Request) -> None:
        asked.append(str(request.headers))

    async with serve(ignore, there, 0, process_request=other) as elsewhere:
        location = f"ws://{there}:{port_of(elsewhere)}/v1/realtime"

        def redirect(socket: ServerConnection, request: Request) -> Response:
            assert request.headers["Authorization"] == f"Bearer {KEY}"
            response = socket.respond(status, "")
            response.headers["Location"] = location
            return response

        async with serve(ignore, "127.0.0.1", 0, process_request=redirect) as server:
            url = f"ws://127.0.0.1:{port_of(server)}/v1/realtime"
            (closed,) = await told(WebSocketConnection(url, model="m", api_key=KEY))
    assert asked == []
    assert isinstance(closed, RealtimeClosed)
    assert closed.status == status
    assert closed.reason.startswith(
        f"handshake refused: HTTP {status}, a redirect to '{location}', which is not followed"
    )


async def test_what_a_stranger_wrote_is_told_in_short_and_escaped() -> None:
    def redirect(socket: ServerConnection, _request: Request) -> Response:
        response = socket.respond(302, "")
        response.headers["Location"] = "ws://\x1b[2J" + "x" * 5000
        return response

    async with serve(ignore, "127.0.0.1", 0, process_request=redirect) as server:
        url = f"ws://127.0.0.1:{port_of(server)}/v1/realtime"
        (closed,) = await told(WebSocketConnection(url, model="m", api_key=KEY))
    assert isinstance(closed, RealtimeClosed)
    assert closed.reason.isprintable()
    assert len(closed.reason) < 500


async def told(connection: WebSocketConnection) -> list[RealtimeInput]:
    """All that a connection tells until it is over."""
    inputs: list[RealtimeInput] = []
    over = asyncio.Event()

    def take(given: RealtimeInput) -> None:
        inputs.append(given)
        if isinstance(given, RealtimeClosed):
            over.set()

    connection.start(take)
    async with asyncio.timeout(10):
        await over.wait()
        await connection.wait_closed()
    return inputs
