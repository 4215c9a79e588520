"""Hosts of the API besides OpenAI: their headers, their query, their keys, and no others."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request

from callerside.agent.call.events import ConnectRealtime
from callerside.agent.config.loader import ConfigError, Secrets, load, load_secrets, require_keys
from callerside.agent.config.settings import Settings
from callerside.agent.observe.masking import Masking
from callerside.agent.observe.secrets import SecretFilter
from callerside.agent.realtime.client import WebSocketConnection
from callerside.agent.realtime.interface import RealtimeClosed, RealtimeEvent, RealtimeInput
from callerside.agent.service.service import _Connector
from callerside.fakes.script.model import Script
from callerside.fakes.server.server import FakeRealtime

OURS, THEIRS = "sk-ours-0123456789", "azure-key-0123456789"
ENVIRONMENT = {"OPENAI_API_KEY": OURS, "AZURE_KEY": THEIRS, "VERSION": "2026-10-01"}
AZURE = {
    "headers": {"api-key": "${AZURE_KEY}"},
    "query": {"api-version": "${VERSION}", "deployment": "gpt"},
}


def connector(settings: Settings, env: dict[str, str]) -> _Connector:
    secrets = load_secrets(env)
    require_keys(settings, secrets)
    return _Connector(secrets, SecretFilter(), Masking(), settings.for_call("1"), "x")


async def told(settings: Settings, url: str) -> list[RealtimeInput]:
    """What comes of a connection, as far as the first event or the end."""
    realtime = settings.realtime
    connection = connector(settings, ENVIRONMENT)(
        ConnectRealtime(url=url, model=realtime.model, dialect=realtime.dialect, timeout_ms=5_000)
    )
    assert isinstance(connection, WebSocketConnection)
    inputs: list[RealtimeInput] = []
    enough = asyncio.Event()

    def take(given: RealtimeInput) -> None:
        inputs.append(given)
        if isinstance(given, RealtimeClosed | RealtimeEvent):
            enough.set()

    connection.start(take)
    async with asyncio.timeout(10):
        await enough.wait()
        connection.close()
        await connection.wait_closed()
    return inputs


@pytest.mark.parametrize(
    ("realtime", "key", "bearer"),
    [
        ({}, None, f"Bearer {OURS}"),
        ({"headers": {"x-team": "voice"}}, None, f"Bearer {OURS}"),
        (AZURE, THEIRS, None),
        ({"headers": {"Authorization": "Bearer ${AZURE_KEY}"}}, None, f"Bearer {THEIRS}"),
    ],
)
async def test_a_host_gets_its_own_key_and_no_other(
    realtime: dict[str, Any], key: str | None, bearer: str | None
) -> None:
    requests: list[Request] = []

    async def once(socket: ServerConnection) -> None:
        assert socket.request is not None
        requests.append(socket.request)
        await socket.close()

    async with serve(once, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{port_of(server)}/openai/v1/realtime?kept=1&model=old"
        await told(Settings.model_validate({"realtime": realtime}), url)
    (request,) = requests
    assert request.headers.get("api-key") == key
    assert request.headers.get_all("Authorization") == ([] if bearer is None else [bearer])
    asked = parse_qs(urlsplit(request.path).query)
    own = {"api-version": ["2026-10-01"], "deployment": ["gpt"]} if realtime is AZURE else {}
    assert asked == {"kept": ["1"], "model": ["gpt-realtime-2.1"], **own}


async def test_with_headers_and_a_query_of_its_own_there_is_a_session() -> None:
    async with FakeRealtime(Script.model_validate({})) as server:
        inputs = await told(Settings.model_validate({"realtime": AZURE}), server.url)
    (created,) = (one for one in inputs if isinstance(one, RealtimeEvent))
    assert created.event["type"] == "session.created"


@pytest.mark.parametrize(
    ("realtime", "complaint"),
    [
        ({"headers": {"api-key": "azure"}}, "a key belongs in the environment: write ${NAME}"),
        ({"query": {"api_key": "azure"}}, "a key belongs in the environment: write ${NAME}"),
        ({"headers": {"Upgrade": "x"}}, "no name of a header that can be set here"),
        ({"headers": {"x-a": "b\nc"}}, "one line of ASCII"),
        ({"query": {"model": "x"}}, "realtime.model"),
        ({"query": {"": "x"}}, "no name of a query"),
        ({"headers": {"x-a": "${1}"}}, "a name of the environment's"),
    ],
)
def test_what_is_no_header_or_query_is_told_with_its_line(
    tmp_path: Path, realtime: dict[str, Any], complaint: str
) -> None:
    path = tmp_path / "agent.yaml"
    ((section, values),) = realtime.items()
    ((name, value),) = values.items()
    path.write_text(f"realtime:\n  {section}:\n    {name!r}: {value!r}\n".replace("'", '"'))
    with pytest.raises(ConfigError) as told_as:
        load(path, {})
    assert complaint in str(told_as.value)
    assert "agent.yaml:" in str(told_as.value)


@pytest.mark.parametrize(
    ("env", "complaint"),
    [
        ({}, "AZURE_KEY is not set in the environment"),
        ({**ENVIRONMENT, "AZURE_KEY": "a\nb"}, "AZURE_KEY of the environment is no line of ASCII"),
        (ENVIRONMENT, None),
        ({**ENVIRONMENT, "OPENAI_API_KEY": ""}, None),
    ],
)
def test_a_key_that_is_named_must_be_there_and_openais_need_not(
    env: dict[str, str], complaint: str | None
) -> None:
    settings = Settings.model_validate(
        {"realtime": {"url": "wss://x.openai.azure.com/openai/v1/realtime", **AZURE}}
    )
    if complaint is None:
        require_keys(settings, load_secrets(env))
    else:
        with pytest.raises(ConfigError, match=complaint):
            require_keys(settings, load_secrets(env))


def test_what_routes_name_is_kept_out_of_logs_too() -> None:
    settings = Settings.model_validate({"routes": [{"called": "1", "realtime": AZURE}]})
    secrets = load_secrets(ENVIRONMENT)
    assert set(secrets.values(settings)) == {OURS, THEIRS, "2026-10-01"}
    assert Secrets().values(Settings()) == []
    assert THEIRS not in repr(secrets)


def port_of(server: Server) -> int:
    port: int = next(iter(server.sockets)).getsockname()[1]
    return port
