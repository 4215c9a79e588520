"""Moments of a call, as a scenario writes them: `beep`, `reply + 800ms`, `silence 2s`.

Each is something that is heard or done in a call, and an offset.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from callerside.durations import DURATION_PATTERN, format_duration, parse_duration_ms

Event = Literal["dialed", "ringing", "answer", "beep", "greeting", "reply"]
Edge = Literal["start", "end"]

_EVENTS: dict[str, Event] = {event: event for event in get_args(Event)}
_HAVE_AN_END = ("greeting", "reply")
_MOMENT = re.compile(
    rf"(?P<event>[a-z]+)(?: (?P<edge>start|end))?(?: ?\+ ?(?P<offset>{DURATION_PATTERN}))?"
)
_SILENCE = re.compile(rf"silence (?P<length>{DURATION_PATTERN})")
MOMENT_PATTERN = (
    rf"^(silence {DURATION_PATTERN}"
    rf"|(dialed|ringing|answer|beep|(greeting|reply)( (start|end))?)( ?\+ ?{DURATION_PATTERN})?)$"
)


def _unknown(word: str, words: list[str]) -> dict[str, Any]:
    """For the nearest right word, if this one is not right itself."""
    return {} if not word or word in words else {"word": word, "words": words}


@dataclass(frozen=True, slots=True)
class Moment:
    """When something is to be done: so long after an event, or after so much silence.

    `event` is None for silence, and `offset_ms` its length then. The start of a greeting or a reply
    is meant unless `end` is written, and of the beep the end, as only then it is sure to be one;
    `reply` is the first that began after the caller's last turn.
    """

    event: Event | None
    edge: Edge = "start"
    offset_ms: float = 0.0

    def __str__(self) -> str:
        if self.event is None:
            return f"silence {format_duration(self.offset_ms)}"
        edge = " end" if self.edge == "end" else ""
        offset = f" + {format_duration(self.offset_ms)}" if self.offset_ms else ""
        return f"{self.event}{edge}{offset}"

    @classmethod
    def parse(cls, value: Any) -> "Moment":
        """A moment as it is written.

        Raises:
            PydanticCustomError: it is none; pydantic adds the place.
        """
        if isinstance(value, cls):
            return value
        text = " ".join(value.split()) if isinstance(value, str) else ""
        if silence := _SILENCE.fullmatch(text):
            return cls(None, offset_ms=parse_duration_ms(silence["length"]))
        found = _MOMENT.fullmatch(text)
        if not found or found["event"] not in _EVENTS:
            word, _, offset = text.partition("+")
            if offset and word.split(" ")[0] in _EVENTS:
                parse_duration_ms(offset.strip())
            raise PydanticCustomError(
                "moment",
                "{value} is no moment: expected {events} or silence with a length, as in "
                "'greeting end', 'reply + 800ms', 'silence 2s'",
                {
                    "value": repr(value),
                    "events": ", ".join(_EVENTS),
                    **_unknown(text.split(" ")[0], [*_EVENTS, "silence"]),
                },
            )
        event = _EVENTS[found["event"]]
        if found["edge"] and event not in _HAVE_AN_END:
            raise PydanticCustomError(
                "moment",
                "{value}: {event} has no start and end; write '{event}' or '{event} + 1s'",
                {"value": repr(value), "event": event},
            )
        edge: Edge = "end" if found["edge"] == "end" else "start"
        return cls(event, edge, parse_duration_ms(found["offset"] or 0))

    @classmethod
    def __get_pydantic_core_schema__(
        cls, _source: Any, _handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _schema: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {
            "type": "string",
            "pattern": MOMENT_PATTERN,
            "description": "beep, greeting end, reply + 800ms, silence 2s, answer + 3s, ...",
        }
