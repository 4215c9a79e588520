"""Functions of MCP servers, against a server of the official package: a program, and over HTTP."""

import asyncio
import contextlib
import gc
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from agent_rig import until
from mcp_shop import PROGRAM, Shop, serving
from pydantic import ValidationError

from callerside.agent.config.settings import McpServerSettings, Settings
from callerside.agent.tools import mcp_addresses, mcp_server
from callerside.agent.tools.interface import Cancellation, Tool, ToolError
from callerside.agent.tools.toolboxes import Toolboxes

STDIO = {"command": [sys.executable, str(PROGRAM)]}


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def url(shop: Shop) -> Iterator[str]:
    with serving(shop) as port:
        yield f"http://127.0.0.1:{port}/mcp"


def toolboxes(server: dict[str, Any], env: dict[str, str] | None = None, **more: Any) -> Toolboxes:
    tools = {"mcp": {"shop": server}, **more.pop("tools", {})}
    return Toolboxes(Settings.model_validate({"tools": tools, **more}), env=env or {})


def box_of(server: dict[str, Any], **more: Any) -> dict[str, Tool]:
    settings = {"tools": {"mcp": {"shop": server}}, "limits": more.pop("limits", {})}
    boxes = Toolboxes(Settings.model_validate(settings), env=more.pop("env", {}))
    return dict(boxes.for_call(Settings.model_validate(settings)))  # type: ignore[arg-type]


def at(url: str, **more: Any) -> dict[str, Any]:
    return {"url": url, "allow_private": True, **more}


def test_a_program_offers_its_functions_and_answers() -> None:
    box = box_of({**STDIO, "tools": ["free", "book"]})
    assert set(box) == {"free", "book"}
    declared = box["free"].declaration
    assert declared["type"] == "function"
    assert declared["description"] == "Whether a table is free."
    assert declared["parameters"]["properties"]["table"]["type"] == "integer"
    assert box["free"].run({"table": 7}) == (True, "yes")
    ok, output = box["book"].run({"day": "Sunday", "guests": 4})
    assert ok
    assert json.loads(output) == {"booked": True, "day": "Sunday"}


def test_a_server_over_http_offers_its_functions_and_answers(shop: Shop, url: str) -> None:
    box = box_of(at(url))
    assert set(box) == {"free", "book", "fail", "slow", "key", "long"}
    assert box["free"].run({"table": 12}) == (True, "no")
    assert shop.asked == ["free 12"]


@pytest.mark.parametrize("arguments", [{}, {"table": "seven"}])
def test_arguments_that_do_not_fit_are_not_sent(
    shop: Shop, url: str, arguments: dict[str, Any]
) -> None:
    ok, output = box_of(at(url))["free"].run(arguments)
    assert not ok
    assert "wrong arguments" in output
    assert not shop.asked


def test_what_a_function_fails_with_is_told_to_the_model(url: str) -> None:
    ok, output = box_of(at(url))["fail"].run({})
    assert not ok
    assert "the book is lost" in json.loads(output)["error"]


def test_a_function_that_takes_too_long_is_given_up_and_cancelled(shop: Shop, url: str) -> None:
    begun_s = time.monotonic()
    ok, output = box_of(at(url), limits={"tool_ms": 300})["slow"].run({"seconds": 30})
    assert not ok
    assert "no answer within 0.3 s" in output
    assert time.monotonic() - begun_s < 10
    until(lambda: shop.cancelled == ["slow"], "the server stopped it")


def test_an_answer_that_is_too_long_is_refused(url: str) -> None:
    box = box_of(at(url, max_response_bytes=1000))
    assert box["long"].run({"letters": 1000})[0]
    ok, output = box["long"].run({"letters": 1001})
    assert not ok
    assert "more than 1000 bytes" in output


def test_keys_come_from_the_environment_and_stay_there() -> None:
    server = {**STDIO, "tools": ["key"], "env": {"SHOP_KEY": "${SHOP_KEY}"}}
    box = box_of(server, env={"SHOP_KEY": "s3cret", "OTHER": "not its business"})
    assert box["key"].run({}) == (True, "the key is [SHOP_KEY], not None")


def test_a_key_that_is_not_set_ends_the_start() -> None:
    with pytest.raises(ToolError, match=r"tools\.mcp\.shop: SHOP_KEY is not set"):
        toolboxes({**STDIO, "env": {"SHOP_KEY": "${SHOP_KEY}"}})


def test_a_lost_connection_is_made_anew(shop: Shop) -> None:
    with serving(shop) as port:
        box = box_of(at(f"http://127.0.0.1:{port}/mcp", retries=0))
        assert box["free"].run({"table": 1})[0]
    ok, output = box["free"].run({"table": 2})
    assert not ok
    assert json.loads(output)["error"].startswith("shop: ")
    with serving(Shop(), port):
        assert box["free"].run({"table": 3}) == (True, "yes")


@pytest.mark.parametrize(("function", "again"), [("free", True), ("book", False)])
def test_only_what_does_no_harm_is_called_again(
    shop: Shop, function: str, again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(shop) as port:
        box = box_of(at(f"http://127.0.0.1:{port}/mcp"))
    attempts = []
    attempt = mcp_server.McpServer._attempt

    def counted(self: mcp_server.McpServer, *arguments: Any) -> tuple[bool, str]:
        attempts.append(arguments)
        return attempt(self, *arguments)

    monkeypatch.setattr(mcp_server.McpServer, "_attempt", counted)
    arguments = {"table": 1} if function == "free" else {"day": "Sunday", "guests": 2}
    assert not box[function].run(arguments)[0]
    assert len(attempts) == (3 if again else 1)


def test_private_addresses_are_refused_unless_allowed(url: str) -> None:
    with pytest.raises(ToolError, match="private address"):
        toolboxes({"url": url})


def test_a_name_that_leads_elsewhere_by_then_is_not_followed(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection goes to what was checked: the name is looked up once for each."""
    port = int(url.split(":")[2].split("/")[0])
    looked_up = []

    def look_up(host: str, port: int) -> list[str]:
        looked_up.append((host, port))
        return ["127.0.0.1"]

    monkeypatch.setattr(mcp_addresses, "look_up", look_up)
    with pytest.raises(ToolError, match=r"shop\.example is at a private address"):
        toolboxes({"url": f"http://shop.example:{port}/mcp"})
    assert set(looked_up) == {("shop.example", port)}
    monkeypatch.setattr(mcp_addresses, "is_public", lambda _address: True)
    transport_goes_there = {"url": f"http://shop.example:{port}/mcp", "tools": ["free"]}
    # it is reached, and refuses the name: no 127.0.0.1 in `Host`
    with pytest.raises(ToolError, match="Server returned an error response"):
        toolboxes(transport_goes_there)


@pytest.mark.parametrize(
    ("server", "why"),
    [
        ({"command": ["/no/such/program"]}, "No such file"),
        ({"command": [sys.executable, "-c", ""]}, "Connection closed"),
        (
            {"command": [sys.executable, "-c", "import sys; sys.stdin.read()"], "connect_ms": 300},
            "within 0.3 s",
        ),
        ({**STDIO, "tools": ["fly"]}, "offers no fly; it offers free, book"),
    ],
)
def test_a_server_that_is_of_no_use_ends_the_start(server: dict[str, Any], why: str) -> None:
    with pytest.raises(ToolError, match=why):
        toolboxes(server)


@pytest.mark.parametrize(
    ("server", "why"),
    [
        ({}, "either a command or a url"),
        ({"command": ["x"], "url": "https://x.example/mcp"}, "either a command or a url"),
        ({"url": "ftp://x.example"}, "is no URL"),
        ({"command": ["x"], "headers": {"A": "b"}}, "are for a url"),
        ({"url": "https://x.example/mcp", "env": {"A": "b"}}, "env is for a command"),
        ({"url": "https://x.example/mcp", "headers": {"Authorization": "k"}}, "environment"),
        ({"url": "http://x.example/mcp", "headers": {"Authorization": "${K}"}}, "need https"),
    ],
)
def test_settings_that_cannot_be(server: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        McpServerSettings.model_validate(server)


def test_nothing_is_started_where_nothing_real_may_be_reached() -> None:
    boxes = toolboxes({"command": ["/no/such/program"]}, tools={"real": False})
    assert boxes is not None


def test_two_functions_of_a_name_are_refused() -> None:
    http = {"free": {"description": "x", "url": "https://x.example/"}}
    settings = {"tools": {"mcp": {"shop": {**STDIO, "tools": ["free"]}}, "http": http}}
    with pytest.raises(ToolError, match="free is there twice"):
        Toolboxes(Settings.model_validate(settings), env={})


def test_a_server_that_does_not_answer_the_start_is_ended() -> None:
    import psutil

    mute = "import sys; sys.stdin.read(); 'mute'"
    with pytest.raises(ToolError, match=r"no answer within 0\.3 s"):
        toolboxes({"command": [sys.executable, "-c", mute], "connect_ms": 300})
    gc.collect()

    def is_there() -> bool:
        with contextlib.suppress(psutil.Error):  # one that ends as it is looked at
            children = psutil.Process().children(recursive=True)
            return any(mute in child.cmdline() for child in children)
        return True

    until(lambda: not is_there(), "it has ended")


def test_a_server_that_nobody_needs_any_more_ends() -> None:
    import psutil

    box = box_of({**STDIO, "tools": ["free"]})
    ours = [
        child
        for child in psutil.Process().children(recursive=True)
        if str(PROGRAM) in " ".join(child.cmdline())
    ]
    assert ours
    del box
    gc.collect()
    until(lambda: not any(child.is_running() for child in ours), "it has ended")


def test_without_its_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(ToolError, match=r"pip install 'callerside\[mcp\]'"):
        toolboxes(STDIO)


class _Line:
    """A connection whose calls fail when they are told to."""

    made: ClassVar[list["_Line"]] = []

    def __init__(self, _transport: object, _limit_s: float = 0.0) -> None:
        self.is_over = False
        self.calls: list[asyncio.Future[None]] = []
        self.made.append(self)

    async def client(self) -> "_Line":
        return self

    async def call_tool(self, _tool: str, _arguments: object) -> None:
        call: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.calls.append(call)
        await call

    def close(self) -> None:
        self.is_over = True

    def close_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_soon_threadsafe(self.close)


def test_a_call_that_fails_late_takes_no_new_connection_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mcp_server, "_Connection", _Line)
    monkeypatch.setattr(_Line, "made", [])
    server = mcp_server.McpServer("shop", McpServerSettings.model_validate(STDIO), {})
    results: list[tuple[bool, str]] = []

    def begin() -> threading.Thread:
        def work() -> None:
            results.append(server.call("free", {}, 20_000, Cancellation(), repeatable=False))

        calling = threading.Thread(target=work)
        calling.start()
        return calling

    def fail(call: asyncio.Future[None], calling: threading.Thread) -> None:
        error = ConnectionResetError("it is gone")
        server._loop.call_soon_threadsafe(call.set_exception, error)
        calling.join(10)

    callers = [begin(), begin()]
    until(lambda: len(_Line.made) == 1 and len(_Line.made[0].calls) == 2, "both wait")
    (old,) = _Line.made
    fail(old.calls[0], callers[0])
    third = begin()
    until(lambda: len(_Line.made) == 2 and len(_Line.made[1].calls) == 1, "a new one is there")
    new = _Line.made[1]
    fail(old.calls[1], callers[1])
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0), server._loop).result(10)
    assert (old.is_over, new.is_over) == (True, False)
    fail(new.calls[0], third)
    assert [ok for ok, _ in results] == [False] * 3


def test_a_server_that_does_not_answer_a_connection_is_connected_to_anew() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        settings = at(f"http://127.0.0.1:{deaf.getsockname()[1]}/mcp", connect_ms=300, retries=0)
        server = mcp_server.McpServer("shop", McpServerSettings.model_validate(settings), {})
        for _ in range(2):
            ok, output = server.call("free", {}, 150, Cancellation(), repeatable=False)
            assert not ok
            assert "no answer within" in output
            until(lambda: server._connection is None or server._connection.is_over, "given up")
