"""The user's modules of tools, each loaded once for all calls whose settings name it."""

import importlib
import sys
from collections.abc import Mapping

from callerside.agent.config.settings import Settings
from callerside.agent.tools.loader import Tool, ToolError, load_tools

Toolboxes = Mapping[str | None, Mapping[str, Tool]]
"""Module (None: no tools) -> its tools by name."""


def load_toolboxes(settings: Settings) -> Toolboxes:
    """Every module that the settings name, imported.

    Raises:
        ToolError: one cannot be; says which and why.
    """
    modules = {route.settings.tools.module for route in settings.routes}
    return {module: load_tools(module) for module in modules}


def reload_toolboxes(settings: Settings) -> Toolboxes:
    """The same from the files as they are now. Calls that have older functions keep those.

    Raises:
        ToolError: one cannot be imported; what was imported before is as it was.
    """
    modules = {route.settings.tools.module for route in settings.routes} - {None}
    before = {
        name: module
        for name, module in sys.modules.items()
        if any(name == root or name.startswith(f"{root}.") for root in modules)
    }
    for name in before:
        del sys.modules[name]
    importlib.invalidate_caches()
    try:
        return load_toolboxes(settings)
    except ToolError:
        sys.modules.update(before)
        raise
