"""Points in a conversation: where a fault strikes.

connect            the handshake
greeting           the first audio of the greeting
speech 2           the user begins to speak for the second time
turn 2             the commit of the second user turn
reply 1            the first audio of the response to the first turn
event 12           the twelfth server event
reply 1 + 800ms    that much later; seconds (`1.5s`) are understood as well
"""

import re
from dataclasses import dataclass
from typing import Literal, cast, get_args

Place = Literal["connect", "greeting", "speech", "turn", "reply", "event"]

_NUMBERED = ("speech", "turn", "reply", "event")
_PATTERN = re.compile(
    r"(?P<place>[a-z]+)(?:\s+(?P<number>\d+))?(?:\s*\+\s*(?P<offset>\d+(?:\.\d+)?)\s*(?P<unit>ms|s))?"
)
_EXPECTED = (
    "'connect', 'greeting', 'speech N', 'turn N', 'reply N' or 'event N', and perhaps '+ 800ms'"
)


@dataclass(frozen=True, slots=True)
class Point:
    """A place, which one of its kind (from 1 on; 0: there is only one), and how long after it."""

    place: Place
    number: int = 0
    offset_ms: float = 0.0

    def __str__(self) -> str:
        text = f"{self.place} {self.number}" if self.number else self.place
        return f"{text} + {self.offset_ms:g}ms" if self.offset_ms else text


def parse_point(text: str) -> Point:
    """Read a point as it is written above.

    Raises:
        ValueError: it is none.
    """
    match = _PATTERN.fullmatch(text.strip())
    if match is None or match["place"] not in get_args(Place):
        raise ValueError(f"{text!r} is no point of a conversation; expected {_EXPECTED}")
    place = cast("Place", match["place"])
    number = int(match["number"] or 0)
    if (place in _NUMBERED) != bool(number):
        raise ValueError(f"{text!r}: {_numbering(place)}")
    offset = float(match["offset"] or 0) * (1000 if match["unit"] == "s" else 1)
    return Point(place, number, offset)


def _numbering(place: Place) -> str:
    if place in _NUMBERED:
        return f"{place} needs a number from 1 on, as in '{place} 1'"
    return f"there is only one {place}: it takes no number"
