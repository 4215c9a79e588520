"""What all functions that a model may call have in common, wherever they run."""

from collections.abc import Mapping
from typing import Any, Protocol

from callerside.agent.call.builtin_tools import Declaration


class ToolError(Exception):
    """A function that cannot be offered to a model, or a module without one; says which and why."""


class Tool(Protocol):
    """One function. Many calls may run it at the same time, each in a thread of its own."""

    @property
    def declaration(self) -> Declaration:
        """What the model is told."""

    def run(self, arguments: Mapping[str, Any], keys: str = "") -> tuple[bool, str]:
        """Call it; returns whether it worked, and the output for the model. Never raises.

        Args:
            arguments: the model's.
            keys: what the caller has pressed in the call.
        """
