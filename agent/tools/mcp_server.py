"""Functions that a server of the Model Context Protocol offers (`tools.mcp`), by the official SDK.

A server is asked what it offers when the agent starts; its connection is kept, and made anew when
it is lost. All of them live on a loop of their own, in a thread of their own: what a server does
holds up no call's audio. What is a secret comes from the environment, and is taken out of what
comes back.
"""

import asyncio
import concurrent.futures
import functools
import json
import threading
import time
import weakref
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from callerside.agent.call.builtin_tools import Declaration
from callerside.agent.config.environment import filled
from callerside.agent.config.settings import McpServerSettings
from callerside.agent.tools.environment import FromEnvironment
from callerside.agent.tools.interface import Cancellation, CancelledError, ToolError, failed
from callerside.json_schema import problem_with

if TYPE_CHECKING:  # an extra: most agents have none
    from mcp import Client
    from mcp.client import Transport
    from mcp.client.stdio import StdioServerParameters
    from mcp_types import CallToolResult
    from mcp_types import Tool as Offered

_log = structlog.get_logger(__name__)

_MOST_PAGES = 20
"""Of the list of what a server offers."""
_MOST_OF_A_DESCRIPTION = 1024
"""Letters; what is longer, the Realtime API refuses."""
_MOST_OF_A_REFUSAL = 1_000
_RETRY_DELAY_MS = 200
_REFUSALS = (-32602, -32601)
"""What JSON-RPC calls wrong parameters, and no such method: the connection is as good as before."""
_SPARE_BYTES = 65_536
"""Of one event, around what a function says."""
_HAND_OVER_S = 1.0
"""For a result on its way between threads; how long it may take has been waited for by then."""

Result = TypeVar("Result")


class McpServer:
    """One server, and what it offers. Let go of, its connection is closed."""

    def __init__(self, name: str, settings: McpServerSettings, env: Mapping[str, str]) -> None:
        """`env`: the environment, for the keys that the settings name.

        Raises:
            ToolError: a key is not in the environment, or the package `mcp` is not installed.
        """
        _needs_package()
        self.name = name
        self._settings = settings
        self._secrets = FromEnvironment.read(f"tools.mcp.{name}", settings.from_environment, env)
        self._loop = _loop()
        self._connecting = asyncio.Lock()
        self._connection: _Connection | None = None
        """Looked at and changed on the loop."""
        self._finalizer: weakref.finalize[Any, McpServer] | None = None

    def offered(self) -> "Sequence[Offered]":
        """What the server offers, of what is wanted.

        Raises:
            ToolError: it cannot be reached, or lacks what is wanted.
        """
        limit_s = self._settings.connect_ms / 1000
        try:
            tools = self._run(self._list(), limit_s)
        except TimeoutError:
            raise ToolError(f"tools.mcp.{self.name}: no answer within {limit_s:g} s") from None
        except Exception as error:  # the SDK's, the transport's, the system's
            raise ToolError(f"tools.mcp.{self.name}: {_why(error)}") from None
        wanted = self._settings.tools
        if missing := set(wanted) - {tool.name for tool in tools}:
            names = ", ".join(tool.name for tool in tools) or "nothing"
            raise ToolError(
                f"tools.mcp.{self.name}: the server offers no {min(missing)}; it offers {names}"
            )
        return [tool for tool in tools if not wanted or tool.name in wanted]

    def call(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        limit_ms: float,
        cancellation: Cancellation,
        *,
        repeatable: bool,
    ) -> tuple[bool, str]:
        """Call a function, within so long; returns whether it worked, and what the model is told.

        One that is not answered is called again, as often as the settings say, if that is harmless.

        Raises:
            CancelledError: nobody waits for it any more.
        """
        until_s = time.monotonic() + limit_ms / 1000
        left = self._settings.retries if repeatable else 0
        delay_ms = _RETRY_DELAY_MS
        while True:
            try:
                ok, output = self._attempt(tool, arguments, until_s, cancellation)
                break
            except _LostError as error:
                if not left or time.monotonic() + delay_ms / 1000 >= until_s:
                    ok, output = failed(f"{self.name}: {error}")
                    break
                cancellation.sleep(delay_ms / 1000)
                left, delay_ms = left - 1, delay_ms * 2
        return ok, self._secrets.taken_out(output)

    def _attempt(
        self, tool: str, arguments: Mapping[str, Any], until_s: float, cancellation: Cancellation
    ) -> tuple[bool, str]:
        """One call.

        Raises:
            _LostError: nothing came back; another one may help.
            CancelledError: nobody waits for it any more.
        """
        from mcp import MCPError

        limit_s = min(self._settings.timeout_ms / 1000, until_s - time.monotonic())
        try:
            result = self._run(self._call(tool, dict(arguments)), max(limit_s, 0.001), cancellation)
        except CancelledError:
            raise
        except TimeoutError:
            raise _LostError(f"no answer within {limit_s:.3g} s") from None
        except MCPError as error:
            if error.code in _REFUSALS:
                return failed(f"{self.name}: {error.message[:_MOST_OF_A_REFUSAL]}")
            raise _LostError(error.message[:_MOST_OF_A_REFUSAL]) from None
        except Exception as error:  # the transport's, the system's, or a result that is none
            raise _LostError(_why(error)) from None
        return _told(result, self._settings.max_response_bytes)

    async def _call(self, tool: str, arguments: dict[str, Any]) -> "CallToolResult":
        connection = await self._connected()
        client = await connection.client()
        try:
            return await client.call_tool(tool, arguments)
        except Exception as error:
            if getattr(error, "code", None) not in _REFUSALS:
                self._lose(connection)
            raise

    async def _list(self) -> "list[Offered]":
        client = await (await self._connected()).client()
        tools: list[Offered] = []
        cursor = None
        for _ in range(_MOST_PAGES):
            page = await client.list_tools(cursor=cursor)
            tools += page.tools
            cursor = page.next_cursor
            if cursor is None:
                return tools
        raise ToolError(f"it offers more than {_MOST_PAGES} pages of functions")

    async def _connected(self) -> "_Connection":
        """The connection that there is, or a new one, once it is made."""
        async with self._connecting:
            connection = self._connection
            if connection is None or connection.is_over:
                connection = _Connection(self._transport(), self._settings.connect_ms / 1000)
                self._hold(connection)
            await connection.client()
            return connection

    def _hold(self, connection: "_Connection | None") -> None:
        """Keep this one, and close it with the server."""
        if self._finalizer is not None:
            self._finalizer.detach()
        self._connection = connection
        self._finalizer = (
            None
            if connection is None
            else weakref.finalize(self, connection.close_soon, self._loop)
        )

    def _lose(self, connection: "_Connection") -> None:
        """A connection is of no use any more; there may be another one already."""
        connection.close()
        if self._connection is connection:
            self._hold(None)

    def _transport(self) -> "Transport | StdioServerParameters":
        from mcp.client.stdio import StdioServerParameters

        settings = self._settings
        if settings.url is None:
            program, *arguments = settings.command
            return StdioServerParameters(
                command=program, args=arguments, env=filled(settings.env, self._secrets)
            )
        return _over_http(settings, settings.url, filled(settings.headers, self._secrets))

    def _run(
        self,
        work: Coroutine[Any, Any, Result],
        limit_s: float,
        cancellation: Cancellation | None = None,
    ) -> Result:
        """Do it on the servers' loop, from any other thread.

        Raises:
            TimeoutError: it is not done in that time, and has been cancelled.
            CancelledError: nobody waits for it any more.
        """
        running = asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, limit_s), self._loop)
        try:
            with (cancellation or Cancellation()).stopping(running.cancel):
                return running.result(limit_s + _HAND_OVER_S)
        except concurrent.futures.CancelledError:
            raise CancelledError("nobody waits for it any more") from None
        except (concurrent.futures.TimeoutError, CancelledError):
            running.cancel()
            raise


class McpTool:
    """One function of a server's."""

    def __init__(self, server: McpServer, offered: "Offered", limit_ms: float) -> None:
        """`limit_ms`: of one run, with all its attempts.

        Raises:
            ToolError: the Realtime API would not take it.
        """
        hints = offered.annotations
        self.declaration = _declaration(server.name, offered)
        self._repeatable = bool(hints and (hints.read_only_hint or hints.idempotent_hint))
        self._server = server
        self._name = offered.name
        self._limit_ms = limit_ms

    def run(
        self,
        arguments: Mapping[str, Any],
        keys: str = "",  # noqa: ARG002
        cancellation: Cancellation | None = None,
    ) -> tuple[bool, str]:
        """See `Tool.run`. The output is the text of the result, or what it has as JSON."""
        problem = problem_with(arguments, self.declaration["parameters"])
        if problem is not None:
            return failed(f"wrong arguments: {problem}")
        try:
            return self._server.call(
                self._name,
                arguments,
                self._limit_ms,
                cancellation or Cancellation(),
                repeatable=self._repeatable,
            )
        except CancelledError as error:
            return failed(str(error))


class _LostError(Exception):
    """No answer came; says why."""


class _Connection:
    """A client, entered and left in one task, as the SDK wants it. For the servers' loop."""

    def __init__(self, transport: "Transport | StdioServerParameters", limit_s: float) -> None:
        """`limit_s`: for making it; who waits for it may give up before."""
        self._limit_s = limit_s
        self._ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._closing = asyncio.Event()
        self._task = asyncio.create_task(self._hold(transport))

    @property
    def is_over(self) -> bool:
        """Whether it has been closed, or has never been made."""
        return self._task.done() or self._closing.is_set()

    async def client(self) -> "Client":
        """The client, once it is connected; raises why it is not."""
        return await asyncio.shield(self._ready)

    def close_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close it, or stop trying to connect; from any thread."""
        if not loop.is_closed():
            loop.call_soon_threadsafe(self.close)

    def close(self) -> None:
        """The same, on the loop."""
        self._closing.set()
        if not self._ready.done():
            self._task.cancel()

    async def _hold(self, transport: "Transport | StdioServerParameters") -> None:
        from mcp import Client

        try:
            async with asyncio.timeout(self._limit_s) as limit, Client(transport) as client:
                limit.reschedule(None)
                self._ready.set_result(client)
                await self._closing.wait()
        except Exception as error:  # whoever waits is told; a connection that is over just ends
            if not self._ready.done():
                self._ready.set_exception(error)
                self._ready.exception()  # perhaps nobody waits any more
        finally:
            if not self._ready.done():
                self._ready.cancel()


@asynccontextmanager
async def _over_http(
    settings: McpServerSettings, url: str, headers: Mapping[str, str]
) -> AsyncIterator[Any]:
    """Streamable HTTP, to allowed addresses only; proxies of the environment are not used."""
    import httpx2
    from mcp.client.streamable_http import streamable_http_client

    from callerside.agent.tools.mcp_addresses import checked_transport

    timeout = httpx2.Timeout(settings.timeout_ms / 1000, read=None)  # a call's limit bounds it
    async with (
        httpx2.AsyncClient(
            transport=checked_transport(allow_private=settings.allow_private),
            headers=dict(headers),
            timeout=timeout,
            trust_env=False,
        ) as client,
        streamable_http_client(
            url,
            http_client=client,
            max_sse_event_size=settings.max_response_bytes + _SPARE_BYTES,
        ) as streams,
    ):
        yield streams


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="mcp", daemon=True).start()
    return loop


def _needs_package() -> None:
    try:
        import mcp  # noqa: F401
    except ImportError:
        raise ToolError(
            "tools.mcp needs a package that is not installed: pip install 'callerside[mcp]'"
        ) from None


def _declaration(server: str, offered: "Offered") -> Declaration:
    from callerside.agent.config.settings import TOOL_NAME

    name, schema = offered.name, offered.input_schema
    if not TOOL_NAME.fullmatch(name):
        raise ToolError(
            f"tools.mcp.{server}: {name!r} is no name of a function (letters, digits, _ and -, at "
            f"most 64): name those that you want in tools.mcp.{server}.tools"
        )
    if schema.get("type") != "object":
        raise ToolError(f"tools.mcp.{server}: {name}: its arguments are no object")
    said = offered.description or offered.title or name
    return {
        "type": "function",
        "name": name,
        "description": said[:_MOST_OF_A_DESCRIPTION],
        "parameters": schema,
    }


def _told(result: "CallToolResult", most_bytes: int) -> tuple[bool, str]:
    """Whether it is a result, and what the model is told of it."""
    text = "\n".join(_texts(result.content))
    if not text and result.structured_content is not None:
        text = json.dumps(result.structured_content)
    if len(text.encode()) > most_bytes:
        return failed(f"an answer of more than {most_bytes} bytes")
    if result.is_error:
        return failed(text[:_MOST_OF_A_REFUSAL] or "it failed")
    if result.content and not text:
        return failed("the answer is no text")
    return True, text


def _texts(content: Iterable[Any]) -> list[str]:
    return [block.text for block in content if block.type == "text"]


def _why(error: BaseException) -> str:
    """What an error says, of several the first one."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)[:_MOST_OF_A_REFUSAL] or type(error).__name__
