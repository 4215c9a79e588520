"""The user's own Python functions, as tools that a model may call.

A tool is a public, plain typed function of the user's module. Its name, its docstring and its
signature are what the model sees; pydantic checks what the model sends before the function runs:

    def opening_hours(day: str) -> str:
        \"\"\"When the shop is open.

Args:
            day: Name of the weekday, in English.
        \"\"\"
"""

import importlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, ValidationError, create_model

from callerside.agent.call.builtin_tools import HANG_UP, SEND_DTMF, TRANSFER, Declaration
from callerside.agent.tools.interface import Cancellation, ToolError, failed


class KeysPressed(str):
    """The keys that the caller has pressed in the call so far: the last 64.

    A parameter of this type is filled by the agent. The model does not know of it, and, with
    `dtmf.to_model: false`, of the keys neither: for numbers that are nobody else's business.
    """


class PythonTool:
    """One function of the user's."""

    def __init__(self, function: Callable[..., Any]) -> None:
        """Read the signature and the docstring.

        Raises:
            ToolError: a parameter lacks a type that JSON can express, or there is no docstring.
        """
        self._function = function
        self.name = function.__name__
        summary, notes = _read_docstring(function)
        if not summary:
            raise ToolError(f"{_where(function)}: no docstring to tell the model what it is for")
        hints = _type_hints(function)
        self._for_keys = [
            name for name, hint in hints.items() if hint is KeysPressed and name != "return"
        ]
        self._model = _arguments_model(function, hints, notes)
        schema = self._model.model_json_schema()
        self.declaration: Declaration = {
            "type": "function",
            "name": self.name,
            "description": summary,
            "parameters": _without_titles(schema),
        }

    def run(
        self,
        arguments: Mapping[str, Any],
        keys: str = "",
        cancellation: Cancellation | None = None,
    ) -> tuple[bool, str]:
        """See `Tool.run`. A plain function runs to its end; one that is a coroutine is stopped."""
        try:
            checked = self._model.model_validate(arguments)
        except ValidationError as error:
            return failed(f"wrong arguments: {_first_problem(error)}")
        values = {name: getattr(checked, name) for name in type(checked).model_fields}
        values |= {name: KeysPressed(keys) for name in self._for_keys}
        try:
            result = self._function(**values)
            if inspect.isawaitable(result):
                result = (cancellation or Cancellation()).run(result)
            return True, result if isinstance(result, str) else json.dumps(result, default=str)
        except (Exception, SystemExit) as error:
            return failed(f"{type(error).__name__}: {error}")


def load_tools(module_name: str | None) -> dict[str, PythonTool]:
    """The public functions that the user's module defines, by name.

    The module is looked for where Python looks, and in the working directory.

    Raises:
        ToolError: the module cannot be imported, or a function in it cannot be offered.
    """
    if module_name is None:
        return {}
    working_directory = str(Path.cwd())
    if working_directory not in sys.path:
        sys.path.append(working_directory)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise ToolError(f"tools.module {module_name!r} cannot be imported: {reason}") from None
    functions = [
        member
        for name, member in vars(module).items()
        if inspect.isfunction(member)
        and member.__module__ == module.__name__
        and not name.startswith("_")
    ]
    if not functions:
        raise ToolError(f"tools.module {module_name!r} defines no public function")
    tools = {function.__name__: PythonTool(function) for function in functions}
    taken = tools.keys() & {HANG_UP, TRANSFER, SEND_DTMF}
    if taken:
        raise ToolError(
            f"tools.module {module_name!r}: {taken.pop()} is the name of a built-in tool"
        )
    return tools


def _type_hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except Exception as error:  # a type in quotes is code, too
        raise ToolError(f"{_where(function)}: its types cannot be read: {error}") from None


def _arguments_model(
    function: Callable[..., Any], hints: Mapping[str, Any], notes: Mapping[str, str]
) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ToolError(f"{_where(function)}: the model cannot fill {parameter}")
        if parameter.name not in hints:
            raise ToolError(f"{_where(function)}: parameter {parameter.name} has no type")
        if hints[parameter.name] is KeysPressed:
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        note = notes.get(parameter.name)
        fields[parameter.name] = (hints[parameter.name], Field(default, description=note))
    try:
        model = create_model(
            function.__name__, __config__=ConfigDict(extra="forbid"), __base__=None, **fields
        )
        model.model_json_schema()
    except (PydanticUserError, TypeError, NameError) as error:
        reason = str(error).splitlines()[0]
        raise ToolError(f"{_where(function)}: not a type for JSON: {reason}") from None
    return model


def _read_docstring(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """What the function does, and what its parameters mean (a Google-style `Args:` section)."""
    text = inspect.getdoc(function) or ""
    before, _, after = text.partition("\nArgs:\n")
    section = re.split(r"\n(?=\S)", after)[0]
    notes = {
        name: " ".join(note.split())
        for name, note in re.findall(
            r"^ {2,4}(\w+)(?: \([^)]*\))?: (.+(?:\n {6,}.+)*)", section, flags=re.MULTILINE
        )
    }
    summary = re.split(r"\n(?:Returns|Raises):\n", before)[0]
    return " ".join(summary.split()), notes


def _without_titles(schema: Any) -> Any:
    """The schema without pydantic's titles, which mean nothing to a model."""
    if isinstance(schema, list):
        return [_without_titles(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {k: v for k, v in schema.items() if not (k == "title" and isinstance(v, str))}
    return {key: _without_titles(value) for key, value in kept.items()}


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])


def _where(function: Callable[..., Any]) -> str:
    code = function.__code__
    return f"{code.co_filename}:{code.co_firstlineno}: {function.__name__}"
