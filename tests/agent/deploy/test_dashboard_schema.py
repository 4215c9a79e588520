"""The dashboard is one to Grafana: by the types that Grafana publishes, made of its schemas."""

import enum
import json
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

DASHBOARD = Path(__file__).resolve().parents[3] / "agent" / "deploy" / "grafana.json"


def faults(dashboard: Mapping[str, Any]) -> list[str]:
    """Where a dashboard is not as Grafana's types have it."""
    plugins.register_default_plugins()
    read = Dashboard.from_json(dict(dashboard))
    kept = json.loads(JSONEncoder().encode(read))
    return [*_unknown(dashboard, kept, "dashboard"), *_mistyped(read, Dashboard, "dashboard")]


def _unknown(ours: Any, kept: Any, at: str) -> Iterator[str]:
    """What Grafana's types have no place for does not come back out of them."""
    if isinstance(ours, dict) and isinstance(kept, dict):
        for name, value in ours.items():
            if name not in kept:
                yield f"{at}.{name} is not known"
            else:
                yield from _unknown(value, kept[name], f"{at}.{name}")
    elif isinstance(ours, list) and isinstance(kept, list) and len(ours) == len(kept):
        for number, (one, other) in enumerate(zip(ours, kept, strict=True)):
            yield from _unknown(one, other, f"{at}[{number}]")
    elif ours != kept:
        yield f"{at} is {ours!r}, of which {kept!r} is left"


def _mistyped(value: Any, hint: Any, at: str) -> Iterator[str]:
    """What is of another type than stands in the class that it was read into."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint in (object, Any):
        return
    if origin in (typing.Union, types.UnionType):
        told = [list(_mistyped(value, one, at)) for one in inner]
        if all(told):  # that of the member that is nearest: whose fault is deepest within it
            yield from max(told, key=lambda faults: len(faults[0].partition(" ")[0]))
    elif not _is_one(value, origin or hint, inner):
        yield f"{at} is {value!r}, no {hint}"
    else:
        for one, of_it, where in _within(value, origin or hint, inner):
            yield from _mistyped(one, of_it, f"{at}{where}")


def _within(value: Any, kind: Any, inner: tuple[Any, ...]) -> Iterator[tuple[Any, Any, str]]:
    """What there is in a value, of which type it has to be, and where it is."""
    if kind is list:
        yield from ((one, inner[0], f"[{number}]") for number, one in enumerate(value))
    elif kind is dict:
        yield from ((one, inner[1], f".{name}") for name, one in value.items())
    elif not inner and kind.__module__.startswith("grafana_foundation_sdk."):
        for name, of_it in typing.get_type_hints(type(value)).items():
            if hasattr(value, name):
                yield getattr(value, name), of_it, f".{name}"


def _is_one(value: Any, kind: Any, inner: tuple[Any, ...]) -> bool:
    if kind is typing.Literal:
        return value in inner
    if issubclass(kind, enum.Enum):
        return value in [one.value for one in kind]
    if kind is float:
        return isinstance(value, int | float)
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))


@pytest.fixture
def dashboard() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return read


def test_the_dashboard_is_as_grafana_has_it(dashboard: dict[str, Any]) -> None:
    assert faults(dashboard) == []


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ((), {"pannels": []}, "dashboard.pannels is not known"),
        ((), {"graphTooltip": 7}, "dashboard.graph_tooltip"),
        ((), {"schemaVersion": "39"}, "dashboard.schema_version"),
        (("panels", 1), {"tittle": "x"}, "dashboard.panels[1].tittle is not known"),
        (("panels", 1, "gridPos"), {"w": "4"}, "dashboard.panels[1]"),
        (("panels", 1, "fieldConfig", "defaults"), {"min": "0"}, "dashboard.panels[1]"),
        (("panels", 1, "targets", 0), {"exprr": "up"}, "exprr is not known"),
        (("templating", "list", 0), {"type": "datasources"}, "dashboard.templating.list"),
        (("templating", "list", 1), {"refresh": 9}, "dashboard.templating.list"),
    ],
)
def test_a_dashboard_that_is_not_is_told(
    dashboard: dict[str, Any], place: tuple[str | int, ...], value: dict[str, Any], told: str
) -> None:
    found: Any = dashboard
    for step in place:
        found = found[step]
    found.update(value)
    assert told in "\n".join(faults(dashboard))
