"""The page of all settings, made from the models themselves: `callerside-agent settings`.

`docs/settings.md` is this page; `nox -s reference` writes it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from callerside.agent.config.settings import CallSettings, Route, Settings
from callerside.models import descriptions

_INTRODUCTION = """\
# Settings of the agent

`callerside-agent serve --config FILE` reads YAML. Everything has a default; what is written here is
all there is, and anything else is an error that names the line. The environment overrides the
file: `CALLERSIDE_SIP__PORT=5070` is `sip.port`, two underscores step into a section. A value is
YAML, but where text is expected it is that text as it stands (`4711`, `on`), without quotes. What a
route says itself goes before both. Secrets are in the environment only: `OPENAI_API_KEY`, and
`CALLERSIDE_SIP_PASSWORD` where a registrar asks for it.

`version: 2` says which version of these settings a file is written in; without it, that is 1. An
older file goes on working, and the log says at the start what is called otherwise by now, or
means nothing any more:
`callerside migrate FILE` (of the harness) rewrites it, comments and order kept. A file of a newer
version than this callerside knows is refused. The environment has the names of the newest version.

What concerns one call can differ by the number that was called:

```yaml
version: 2
voice: marin
routes:
  - called: "4930*"          # a number, a name, or a pattern; the first that matches holds
    instructions: You are the receptionist in Berlin.
    turns: {policy: local}   # merged into the settings of the file
```
"""


def render() -> str:
    """The page, as Markdown."""
    sections = [_INTRODUCTION]
    call_fields = set(CallSettings.model_fields)
    texts = [name for name in Settings.model_fields if _model(Settings.model_fields[name]) is None]
    sections.append(
        _table("The file itself", Settings, [name for name in texts if name != "routes"])
    )
    for name, field in Settings.model_fields.items():
        model = _model(field)
        if model is not None and model is not Route:
            scope = "a route may override it" if name in call_fields else "of the whole process"
            sections += _sections(name, model, scope)
    return "\n".join(sections)


def _sections(path: str, model: type[BaseModel], scope: str) -> Iterator[str]:
    summary = " ".join((model.__doc__ or "").split())
    plain = [name for name, field in model.model_fields.items() if _model(field) is None]
    title = f"`{path}`"
    yield f"{_table(title, model, plain, f'{summary} ({scope[0].upper()}{scope[1:]}.)')}"
    for name, field in model.model_fields.items():
        inner = _model(field)
        if inner is not None:
            by_name = ".NAME" if get_origin(field.annotation) is dict else ""
            yield from _sections(f"{path}.{name}{by_name}", inner, scope)


def _table(title: str, model: type[BaseModel], names: list[str], summary: str = "") -> str:
    lines = [f"## {title}", ""]
    if summary:
        lines += [summary, ""]
    if names:
        lines += ["| setting | type | default | |", "|---|---|---|---|"]
        told = descriptions(model)
        lines += [_row(name, model.model_fields[name], told.get(name, "")) for name in names]
        lines.append("")
    return "\n".join(lines)


def _row(name: str, field: FieldInfo, told: str) -> str:
    meaning = " ".join(told.split()).replace("|", "\\|")
    return f"| `{name}` | {_kind(field)} | {_default(field)} | {meaning} |"


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=False)
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "none"
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _kind(field: FieldInfo) -> str:
    bounds = [_bound(constraint) for constraint in field.metadata]
    bounded = ", ".join(bound for bound in bounds if bound)
    name = _type_name(field.annotation)
    return f"{name}, {bounded}" if bounded else name


def _bound(constraint: Any) -> str:
    signs = {"ge": "≥", "le": "≤", "gt": ">", "lt": "<", "multiple_of": "multiple of"}
    told = [
        f"{sign} {getattr(constraint, name)}"
        for name, sign in signs.items()
        if getattr(constraint, name, None) is not None
    ]
    return ", ".join(told)


def _type_name(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_name(inner[0])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin in (Union, UnionType):
        return _type_name(next(one for one in inner if one is not type(None)))
    if origin is list:
        return f"list of {_type_name(inner[0])}"
    if origin is dict:
        return "mapping"
    if annotation is Any:
        return "anything"
    names = {str: "text", int: "whole number", float: "number", bool: "yes or no", Path: "path"}
    return names.get(annotation, str(getattr(annotation, "__name__", annotation)))


def _model(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a section, if the field is one."""
    candidates = [field.annotation, *get_args(field.annotation)]
    candidates += [get_args(one)[0] for one in candidates if get_origin(one) is Annotated]
    models = [one for one in candidates if isinstance(one, type) and issubclass(one, BaseModel)]
    return models[0] if models else None
