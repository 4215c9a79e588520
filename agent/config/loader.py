"""Reads the settings: a YAML file, overridden by the environment, where alone the secrets are.

`CALLERSIDE_SIP__PORT=5070` overrides `sip.port`: two underscores step into a section, and the value
is read as YAML. What is wrong is reported in one line: where it stands, what was expected, and the
nearest right word.
"""

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from callerside.agent.config.settings import CallSettings, Route, Settings, merge
from callerside.files import read_text
from callerside.yaml.errors import plain
from callerside.yaml.source import said_twice

ENV_PREFIX = "CALLERSIDE_"
_MAX_PLACES = 100_000
"""Of keys and values in a file: a dozen lines of aliases to aliases would be read for hours."""
SECRET_NAMES = ("OPENAI_API_KEY", "CALLERSIDE_SIP_PASSWORD")

_Path = tuple[str | int, ...]


class ConfigError(ValueError):
    """Settings that cannot be used: one line that says where, what, and what was expected."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Secrets:
    """What must never be written anywhere; not even shown by `repr`."""

    api_key: str | None = field(default=None, repr=False)
    sip_password: str | None = field(default=None, repr=False)


def load(path: Path, env: Mapping[str, str] = os.environ) -> Settings:
    """The settings of a file and the environment.

    Raises:
        ConfigError: the file cannot be read, or something in it or in the environment is wrong.
    """
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(f"{path}: cannot be read: {reason}") from None
    lines, data = _parse(path, text)
    overrides, names = _from_environment(env)
    try:
        return Settings.model_validate(merge(data, overrides))
    except ValidationError as error:
        raise ConfigError(_explain(error, path, lines, names)) from None


def load_secrets(env: Mapping[str, str] = os.environ) -> Secrets:
    """The secrets that are set."""
    key, password = (env.get(name) or None for name in SECRET_NAMES)
    return Secrets(api_key=key, sip_password=password)


def require_api_key(settings: Settings, secrets: Secrets) -> None:
    """Check that there is a key if some call needs one: every `wss` server asks for it.

    Raises:
        ConfigError: there is none.
    """
    urls = {settings.realtime.url, *(route.settings.realtime.url for route in settings.routes)}
    needy = sorted(url for url in urls if url.startswith("wss:"))
    if needy and secrets.api_key is None:
        raise ConfigError(
            f"OPENAI_API_KEY is not set in the environment, and {needy[0]} asks for it"
        )


def _parse(path: Path, text: str) -> tuple[dict[_Path, int], dict[str, Any]]:
    """Line numbers of every key, and the data."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
        places = list(itertools.islice(_line_numbers(node, ()), _MAX_PLACES))
        if len(places) == _MAX_PLACES:
            raise ConfigError(f"{path}:1: too many values (aliases count again)")
        lines, twice = dict(places), said_twice(node)
    except RecursionError:
        raise ConfigError(f"{path}:1: too much is within one another, or within itself") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}:{line}: not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if data is None:
        return {}, {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}:1: expected settings (`name: value`), found a {_kind(data)}")
    if twice is not None:
        line = twice.start_mark.line + 1
        raise ConfigError(
            f"{path}:{line}: {twice.value} is there twice: only one of them could hold"
        )
    return lines, data


def _line_numbers(node: yaml.Node | None, path: _Path) -> Iterator[tuple[_Path, int]]:
    if node is None:
        return
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, str(key.value))
            yield from _line_numbers(value, inner)
            yield inner, key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _line_numbers(value, (*path, index))


def _from_environment(env: Mapping[str, str]) -> tuple[dict[str, Any], dict[_Path, str]]:
    """Settings from the environment, and which variable set which."""
    overrides: dict[str, Any] = {}
    names: dict[_Path, str] = {}
    for name in sorted(env):
        if not name.startswith(ENV_PREFIX) or name in SECRET_NAMES:
            continue
        keys = name.removeprefix(ENV_PREFIX).lower().split("__")
        if keys[0] not in Settings.model_fields:
            continue  # somebody else's variable: tests and other commands have some of that prefix
        try:
            value: Any = yaml.safe_load(env[name])
        except yaml.YAMLError:
            raise ConfigError(f"{name}: its value is not YAML") from None
        names[tuple(keys)] = name
        for key in reversed(keys):
            value = {key: value}
        overrides = merge(overrides, value)
    return overrides, names


def _explain(
    error: ValidationError, path: Path, lines: Mapping[_Path, int], names: Mapping[_Path, str]
) -> str:
    """The first of the errors, in one line."""
    first = error.errors(include_url=False)[0]
    model_path: _Path = first["loc"]
    file_path = _as_written(model_path)
    variable = next((name for keys, name in names.items() if file_path[: len(keys)] == keys), None)
    where = variable or f"{path}:{_line(file_path, lines)}"
    name = ".".join(str(part) for part in file_path) or "the file"
    return f"{where}: {name}: {_problem(first, model_path)}"


def _as_written(model_path: _Path) -> _Path:
    """A route's settings are written beside its `called`, not in a section of their own."""
    if len(model_path) > 2 and model_path[0] == "routes" and model_path[2] == "settings":
        return (*model_path[:2], *model_path[3:])
    return model_path


def _line(path: _Path, lines: Mapping[_Path, int]) -> int:
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _problem(error: Mapping[str, Any], path: _Path) -> str:
    kind, value = error["type"], error.get("input")
    if kind == "extra_forbidden":
        known = _known_keys(path[:-1])
        nearest = get_close_matches(str(path[-1]), known, n=1)
        hint = f"did you mean `{nearest[0]}`?" if nearest else f"known: {', '.join(known)}"
        return f"no such setting; {hint}"
    if kind == "missing":
        return "is missing"
    if kind == "literal_error":
        expected = error["ctx"]["expected"]
        nearest = get_close_matches(str(value), expected.replace("'", "").split(" or "), n=1)
        return f"is {value!r}, expected {expected}" + (
            f"; did you mean {nearest[0]!r}?" if nearest else ""
        )
    if kind == "value_error":
        return str(error["msg"]).removeprefix("Value error, ")
    found = repr(value) if isinstance(value, str | int | float | bool) else f"a {_kind(value)}"
    return f"is {found}, {plain(error['msg'])}"


def _known_keys(path: Sequence[str | int]) -> list[str]:
    """The keys that a section knows."""
    model: Any = Settings
    for part in path:
        if isinstance(part, int):
            continue
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return []
        model = _model_of(model.model_fields[part].annotation)
    if model is Route:
        return sorted({"called", *CallSettings.model_fields})
    known = isinstance(model, type) and issubclass(model, BaseModel)
    return sorted(model.model_fields) if known else []


def _model_of(annotation: Any) -> Any:
    """The model inside `Model | None`, `list[Model]` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    models = (_model_of(inner) for inner in get_args(annotation))
    return next((model for model in models if model is not None), None)


def _kind(value: object) -> str:
    names = {dict: "section", list: "list", str: "text", type(None): "empty value"}
    return names.get(type(value), type(value).__name__)
