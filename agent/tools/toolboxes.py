"""The functions of each call, by its settings: Python's, over HTTP, of MCP servers, stubs.

What can fail is done at the start and at a reload: modules are imported, and keys read from the
environment.
"""

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from callerside.agent.call.builtin_tools import BUILT_IN, Declaration
from callerside.agent.config.settings import CallSettings, Settings, StubSettings, ToolSettings
from callerside.agent.tools.http_tool import HttpTool
from callerside.agent.tools.interface import Tool, ToolError
from callerside.agent.tools.loader import load_tools
from callerside.agent.tools.mcp_server import McpServer, McpTool
from callerside.agent.tools.stub import OutOfReach, Stub

if TYPE_CHECKING:
    from mcp_types import Tool as Offered

Toolbox = Mapping[str, Tool | Stub | OutOfReach]
"""Name -> what a model may call in one telephone call."""


class Toolboxes:
    """What there is for the calls of some settings."""

    def __init__(self, settings: Settings, env: Mapping[str, str] = os.environ) -> None:
        """Import every module that the settings name, and read the keys that requests need.

        Raises:
            ToolError: a function cannot be offered; says which and why.
        """
        modules = {route.tools.module for route in settings.routes}
        self._modules = {module: load_tools(module) for module in modules}
        self._env = env
        self._servers: dict[tuple[str, str], tuple[McpServer, Sequence[Offered]]] = {}
        """By name and settings: servers, and what they offer."""
        for route in settings.routes:
            self._connect(route.tools)
        for route in settings.routes:
            self.for_call(route)

    def for_call(self, settings: CallSettings) -> Toolbox:
        """The functions of one call, whose stubs have not been called yet.

        Raises:
            ToolError: one of them cannot be offered; never for a route of the settings given.
        """
        tools = settings.tools
        real = self._real(settings)
        _check_names(tools, self._modules[tools.module])
        box: dict[str, Tool | Stub | OutOfReach] = {
            name: tool if tools.real else OutOfReach(tool.declaration)
            for name, tool in real.items()
        }
        for name, stub in tools.stub.items():
            declared = real[name].declaration if name in real else _declaration(name, stub)
            box[name] = Stub(declared, stub)
        return box

    def _real(self, of_call: CallSettings) -> dict[str, Tool]:
        tools, limit_ms = of_call.tools, of_call.limits.tool_ms
        real: dict[str, Tool] = {**self._modules[tools.module]}
        for name, http in tools.http.items():
            reached = tools.real and name not in tools.stub
            real[name] = HttpTool(name, http, self._env if reached else None, limit_ms=limit_ms)
        for name, settings in tools.mcp.items() if tools.real else ():
            server, offered = self._servers[name, settings.model_dump_json()]
            for tool in (McpTool(server, one, limit_ms) for one in offered):
                if tool.declaration["name"] in (taken := {*real, *BUILT_IN}):
                    raise ToolError(
                        f"tools.mcp.{name}: {tool.declaration['name']} is there twice; known: "
                        f"{', '.join(sorted(taken))}"
                    )
                real[tool.declaration["name"]] = tool
        return real

    def _connect(self, tools: ToolSettings) -> None:
        """Ask servers what they offer; where nothing real may be reached, none is asked."""
        for name, settings in tools.mcp.items() if tools.real else ():
            key = name, settings.model_dump_json()
            if key not in self._servers:
                server = McpServer(name, settings, self._env)
                self._servers[key] = server, server.offered()


def stubs(settings: CallSettings) -> Toolbox:
    """What there is for a call of settings in which nothing is real."""
    return {
        name: Stub(_declaration(name, stub), stub) for name, stub in settings.tools.stub.items()
    }


def reload_toolboxes(settings: Settings) -> Toolboxes:
    """The same from the files as they are now. Calls that have older functions keep those.

    Raises:
        ToolError: one cannot be offered; what was imported before is as it was.
    """
    modules = {route.tools.module for route in settings.routes} - {None}
    before = {
        name: module
        for name, module in sys.modules.items()
        if any(name == root or name.startswith(f"{root}.") for root in modules)
    }
    for name in before:
        del sys.modules[name]
    importlib.invalidate_caches()
    try:
        return Toolboxes(settings)
    except ToolError:
        sys.modules.update(before)
        raise


def _check_names(tools: ToolSettings, of_module: Mapping[str, Tool]) -> None:
    for where, names in (("http", tools.http.keys()), ("stub", tools.stub.keys())):
        if taken := names & BUILT_IN:
            raise ToolError(f"tools.{where}: {min(taken)} is the name of a built-in tool")
    if twice := tools.http.keys() & of_module.keys():
        raise ToolError(f"tools.http: {min(twice)} is a function of tools.module, too")


def _declaration(name: str, stub: StubSettings) -> Declaration:
    return {
        "type": "function",
        "name": name,
        "description": stub.description,
        "parameters": stub.parameters,
    }
