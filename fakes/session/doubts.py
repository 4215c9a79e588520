"""What a script has its model call, and no model would: told as a warning, and done anyway."""

import json
from collections.abc import Mapping
from typing import Any

from callerside.fakes.script.reply import FunctionCall
from callerside.json_schema import flaw_of, problem_with

_LONGEST_SCHEMA = 20_000
"""In letters of JSON: a larger one is not looked at, as all sessions would wait for that."""

_MOST_TOLD = 300
"""In letters: what does not fit may be a whole schema."""


def why_not_so(
    call: FunctionCall, functions: Mapping[str, Mapping[str, Any] | None], choice: Any
) -> str | None:
    """Why a model would not make this call, in words that follow "but"; None if one could.

    Args:
        call: as the script has it.
        functions: what may be called, each with the schema of its arguments, if it has one.
        choice: `tool_choice` in force.
    """
    if choice == "none":
        return "tool_choice is none"
    if call.name not in functions:
        return "no tool of the session has this name"
    if isinstance(choice, Mapping) and choice.get("name") != call.name:
        return f"tool_choice is {_chosen(choice)}"
    return _misfit(call, functions[call.name])


def why_not_without_a_call(choice: Any) -> str | None:
    """Why a model would not end an answer in which it calls nothing; None if one could."""
    if choice == "required":
        return "tool_choice is required"
    return f"tool_choice is {_chosen(choice)}" if isinstance(choice, Mapping) else None


def _chosen(choice: Mapping[str, Any]) -> str:
    name = choice.get("name")
    if choice["type"] == "function":
        return f"the function {name}"
    server = f"the MCP server {choice['server_label']}"
    return server if name is None else f"{name} of {server}"


def _misfit(call: FunctionCall, parameters: Mapping[str, Any] | None) -> str | None:
    """What is wrong with the arguments; what is no schema says nothing of them."""
    arguments: Any = call.arguments
    if call.raw_arguments is not None:
        try:
            arguments = json.loads(call.raw_arguments or "{}")
        except (ValueError, RecursionError):
            return "its arguments are no JSON"
    if not isinstance(arguments, Mapping):
        return "its arguments are no JSON object"
    try:
        if parameters is None or len(json.dumps(parameters)) > _LONGEST_SCHEMA:
            return None
        if flaw_of(parameters) is not None:
            return None
    except RecursionError:
        return None
    problem = problem_with(arguments, parameters)
    return None if problem is None else f"its arguments do not fit: {problem[:_MOST_TOLD]}"
