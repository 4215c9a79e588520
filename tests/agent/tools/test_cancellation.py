"""Functions that nobody waits for any more: they are stopped, wherever they run."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest
from agent_rig import until
from mcp_shop import Shop as McpShop
from mcp_shop import serving
from shop_server import JSON, Shop

from callerside.agent.config.settings import Settings
from callerside.agent.tools import mcp_server
from callerside.agent.tools.interface import Cancellation, CancelledError, Tool
from callerside.agent.tools.loader import PythonTool
from callerside.agent.tools.toolboxes import Toolboxes

FAR_S = 15
"""So long would each of them take."""


def cancelled_amid(
    tool: Tool, begun: Callable[[], bool], arguments: dict[str, object] | None = None
) -> tuple[bool, str]:
    """Run it, cancel it when it has begun; returns what came of it, which must be soon."""
    cancellation = Cancellation()
    results: list[tuple[bool, str]] = []
    running = threading.Thread(
        target=lambda: results.append(tool.run(arguments or {}, "", cancellation))
    )
    running.start()
    until(begun, "it has begun")
    cancelled_s = time.monotonic()
    cancellation.cancel()
    running.join(FAR_S)
    assert results, "it was not stopped"
    assert time.monotonic() - cancelled_s < FAR_S / 2
    return results[0]


STARTED: list[str] = []
STOPPED: list[str] = []


async def waits_for_ever() -> str:
    """Wait."""
    STARTED.append("it")
    try:
        await asyncio.sleep(FAR_S)
    except asyncio.CancelledError:
        STOPPED.append("it")
        raise
    return "at last"


def test_a_coroutine_function_is_stopped() -> None:
    assert cancelled_amid(PythonTool(waits_for_ever), lambda: bool(STARTED))[0] is False
    assert STOPPED


def box(tools: dict[str, object], **limits: int) -> dict[str, Tool]:
    settings = Settings.model_validate({"tools": tools, "limits": limits})
    return dict(Toolboxes(settings, env={}).for_call(settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("hangs", [True, False], ids=["amid an answer", "between attempts"])
def test_a_request_is_stopped(hangs: bool) -> None:
    shop = Shop()
    shop.answers = [(0, {}, b"")] if hangs else [(503, {**JSON, "Retry-After": "9"}, b"{}")]
    url = {"url": f"http://127.0.0.1:{shop.port}/", "allow_private": True, "description": "x"}
    tool = box({"http": {"ask": {**url, "timeout_ms": FAR_S * 1000}}})["ask"]
    try:
        ok, output = cancelled_amid(tool, lambda: bool(shop.asked))
        assert not ok
        assert "nobody waits" in output
        assert len(shop.asked) == 1
    finally:
        shop.hang.set()
        shop.close()


def test_the_call_of_an_mcp_server_is_stopped_there_too() -> None:
    shop = McpShop()
    with serving(shop) as port:
        server = {"url": f"http://127.0.0.1:{port}/mcp", "allow_private": True}
        tool = box({"mcp": {"shop": {**server, "timeout_ms": FAR_S * 1000}}})["slow"]
        ok, output = cancelled_amid(tool, lambda: bool(shop.asked), {"seconds": FAR_S})
        assert not ok
        assert "nobody waits" in output
        until(lambda: shop.cancelled == ["slow"], "the server stopped it")


def test_the_wait_before_another_call_of_an_mcp_server_is_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mcp_server, "_RETRY_DELAY_MS", FAR_S * 1000)
    with serving(McpShop()) as port:
        server = {"url": f"http://127.0.0.1:{port}/mcp", "allow_private": True, "retries": 1}
        tool = box({"mcp": {"shop": server}}, tool_ms=4 * FAR_S * 1000)["free"]
    drops: list[None] = []
    monkeypatch.setattr(mcp_server.McpServer, "_lose", lambda *_: drops.append(None))
    ok, output = cancelled_amid(tool, lambda: bool(drops), {"table": 1})
    assert not ok
    assert "nobody waits" in output


def test_what_is_cancelled_before_it_has_begun_does_not_begin() -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    begun = []

    async def work() -> None:
        begun.append(1)

    with pytest.raises(CancelledError):
        cancellation.run(work())
    with pytest.raises(CancelledError):
        cancellation.sleep(FAR_S)
    assert not begun


def test_what_runs_is_told_before_it_can_be_over() -> None:
    """Its loop would be closed by then."""
    cancellation = Cancellation()
    begun, over = threading.Event(), threading.Event()
    told_in_time: list[bool] = []

    def stop() -> None:
        begun.set()
        told_in_time.append(not over.wait(0.2))

    def work() -> None:
        with cancellation.stopping(stop):
            begun.wait(10)
        over.set()

    running = threading.Thread(target=work)
    running.start()
    until(lambda: cancellation._stop is not None, "it runs")
    cancellation.cancel()
    running.join(10)
    assert told_in_time == [True]
