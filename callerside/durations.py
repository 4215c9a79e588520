"""Durations as people write and read them: `500ms`, `1.5s`, `2min`, or a bare number of ms."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Annotated, Any

from pydantic import BeforeValidator, GetCoreSchemaHandler, WithJsonSchema
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

DURATION_PATTERN = r"[0-9]+(\.[0-9]+)? ?(ms|s|min)"
_DURATION = re.compile(rf"({DURATION_PATTERN})")
LONGEST_MS = 3_600_000.0
"""Of a call, and so of whatever happens in one: an hour."""
_LEAST_BARE_MS = 20.0
"""A text without a unit that names less is meant as seconds: nothing is shorter than a packet."""
_UNIT_MS = {"ms": 1.0, "s": 1000.0, "min": 60_000.0}


def parse_duration_ms(value: Any) -> float:
    """A duration as milliseconds.

    Raises:
        PydanticCustomError: it is no duration, below zero, or a bare number that is meant as
            seconds, most likely; pydantic adds the place.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and 0 < value < 1:
        raise PydanticCustomError(
            "duration",
            "{value} is less than a millisecond, and bare numbers are milliseconds: expected "
            '500ms, 1.5s or 2min; did you mean "{value}s"?',
            {"value": f"{value:g}"},
        )
    if is_number and value >= 0 and isfinite(value):
        return float(value)
    if isinstance(value, str) and _DURATION.fullmatch(value.strip()):
        number, unit = re.split(r" ?(?=[a-z])", value.strip(), maxsplit=1)
        return float(number) * _UNIT_MS[unit]
    bare = isinstance(value, str) and re.fullmatch(r"[0-9.]+", value.strip())
    raise PydanticCustomError(
        "duration",
        "{value} is no duration: expected 500ms, 1.5s, 2min or a number of milliseconds{near}",
        {"value": repr(value), "near": _with_unit(value.strip()) if bare else ""},
    )


def _with_unit(number: str) -> str:
    """What a bare number in quotes means, most likely: nobody writes a few milliseconds."""
    try:
        value = float(number)
    except ValueError:
        return ""
    return f'; did you mean "{number}{"s" if value < _LEAST_BARE_MS else "ms"}"?'


def format_duration(duration_ms: float) -> str:
    """Milliseconds as people say them: `800 ms`, `2.5 s`."""
    return f"{duration_ms:.0f} ms" if duration_ms < 1000 else f"{round(duration_ms / 1000, 2):g} s"


@dataclass(frozen=True, slots=True)
class Between:
    """Says of a `DurationMs` how short and how long it may be: `Annotated[DurationMs, Between()]`.

    Attributes:
        least_ms: what is shorter can only be a mistake.
        most_ms: what is longer can only be a mistake.
        least_bare_ms: likewise of a number without a unit, which was meant as seconds then.
    """

    least_ms: float = 0.0
    most_ms: float = LONGEST_MS
    least_bare_ms: float = 0.0

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """For pydantic: the duration first, then its limits."""
        return core_schema.no_info_wrap_validator_function(self._checked, handler(source))

    def _checked(self, value: Any, parse: Callable[[Any], float]) -> float:
        duration_ms = parse(value)
        bare = not isinstance(value, str)
        least_ms = max(self.least_ms, self.least_bare_ms if bare else 0.0)
        if least_ms <= duration_ms <= self.most_ms:
            return duration_ms
        is_short = duration_ms < least_ms
        in_seconds = bare and least_ms <= duration_ms * 1000 <= self.most_ms
        raise PydanticCustomError(
            "duration_range",
            "{length} is too {what}: expected {bound} or {more}{near}",
            {
                "length": format_duration(duration_ms),
                "what": "short" if is_short else "long",
                "bound": format_duration(least_ms if is_short else self.most_ms),
                "more": "more" if is_short else "less",
                "near": f'; did you mean "{duration_ms:g}s"?' if is_short and in_seconds else "",
                "value": "",
            },
        )


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
