"""Durations as people write and read them: `500ms`, `1.5s`, `2min`, or a bare number of ms."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

DURATION_PATTERN = r"[0-9]+(\.[0-9]+)? ?(ms|s|min)"
_DURATION = re.compile(rf"({DURATION_PATTERN})")
_UNIT_MS = {"ms": 1.0, "s": 1000.0, "min": 60_000.0}


def parse_duration_ms(value: Any) -> float:
    """A duration as milliseconds.

    Raises:
        PydanticCustomError: it is no duration, or below zero; pydantic adds the place.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return float(value)
    if isinstance(value, str) and _DURATION.fullmatch(value.strip()):
        number, unit = re.split(r" ?(?=[a-z])", value.strip(), maxsplit=1)
        return float(number) * _UNIT_MS[unit]
    bare = isinstance(value, str) and re.fullmatch(r"[0-9.]+", value.strip())
    raise PydanticCustomError(
        "duration",
        "{value} is no duration: expected 500ms, 1.5s, 2min or a number of milliseconds{near}",
        {"value": repr(value), "near": f'; did you mean "{value.strip()}ms"?' if bare else ""},
    )


def format_duration(duration_ms: float) -> str:
    """Milliseconds as people say them: `800 ms`, `2.5 s`."""
    return f"{duration_ms:.0f} ms" if duration_ms < 1000 else f"{round(duration_ms / 1000, 2):g} s"


DurationMs = Annotated[
    float,
    BeforeValidator(parse_duration_ms),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0},
                {"type": "string", "pattern": f"^{DURATION_PATTERN}$"},
            ],
            "description": "500ms, 1.5s, 2min, or a number of milliseconds",
        }
    ),
]
