"""Faults by name: what can go wrong with a Realtime session, and where it does.

In a script each is a mapping with its name under `fault` and its place under `at` (see
`session.points`), such as `{fault: stall, at: "reply 1 + 800ms", for_ms: 3000}`. On the command
line the same is written `stall for_ms=3000 at=reply 1 + 800ms`.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self, cast, get_args

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError, model_validator

from callerside.models import ScriptModel
from callerside.yaml.errors import plain

Place = Literal["connect", "greeting", "speech", "turn", "reply", "event"]

_NUMBERED = ("speech", "turn", "reply", "event")
_PATTERN = re.compile(
    r"(?P<place>[a-z]+)(?:\s+(?P<number>\d+))?(?:\s*\+\s*(?P<offset>\d+(?:\.\d+)?)\s*(?P<unit>ms|s))?"
)
_EXPECTED = (
    "'connect', 'greeting', 'speech N', 'turn N', 'reply N' or 'event N', and perhaps '+ 800ms'"
)


@dataclass(frozen=True, slots=True)
class TriggerPoint:
    """A place, which one of its kind (from 1 on; 0: there is only one), and how long after it."""

    place: Place
    number: int = 0
    offset_ms: float = 0.0

    def __str__(self) -> str:
        text = f"{self.place} {self.number}" if self.number else self.place
        return f"{text} + {self.offset_ms:g}ms" if self.offset_ms else text


def parse_trigger_point(text: str) -> TriggerPoint:
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
    return TriggerPoint(place, number, offset)


def _numbering(place: Place) -> str:
    if place in _NUMBERED:
        return f"{place} needs a number from 1 on, as in '{place} 1'"
    return f"there is only one {place}: it takes no number"


ANYWHERE: frozenset[Place] = frozenset(get_args(Place))
AT_RESPONSE: frozenset[Place] = frozenset({"greeting", "reply"})


def _checked_point(text: str) -> str:
    parse_trigger_point(text)
    return text


At = Annotated[str, AfterValidator(_checked_point)]


class BaseFault(ScriptModel):
    """What all faults have: a place.

    `places` are those where the fault makes sense; `delayable` is one that can strike some time
    after its place.
    """

    places: ClassVar[frozenset[Place]] = ANYWHERE
    delayable: ClassVar[bool] = True

    at: At
    """Where it strikes: `connect`, `greeting`, `speech 2`, `turn 2`, `reply 1 + 1s`, `event 9`."""
    sessions: int = Field(default=1, ge=1, le=1_000_000)
    """In how many sessions of a path it strikes, from the first on: a reconnect may be spared."""

    @property
    def point(self) -> TriggerPoint:
        """`at`, read."""
        return parse_trigger_point(self.at)

    @model_validator(mode="after")
    def _fits_its_place(self) -> Self:
        if self.point.place not in self.places:
            places = ", ".join(sorted(self.places))
            raise ValueError(f"this fault cannot strike at {self.at!r}, only at: {places}")
        if self.point.offset_ms and not self.delayable:
            raise ValueError(f"this fault shapes the whole of {self.point.place}: no '+' in 'at'")
        return self


class Refuse(BaseFault):
    """The handshake is refused."""

    places: ClassVar[frozenset[Place]] = frozenset({"connect"})
    delayable: ClassVar[bool] = False

    fault: Literal["refuse"]
    at: At = "connect"
    """The handshake."""
    status: Literal[401, 403, 404, 429, 500, 502, 503] = 503
    """HTTP status."""


class AcceptLate(BaseFault):
    """The handshake is accepted, but late."""

    places: ClassVar[frozenset[Place]] = frozenset({"connect"})
    delayable: ClassVar[bool] = False

    fault: Literal["accept_late"]
    at: At = "connect"
    """The handshake."""
    by_ms: float = Field(default=3000, gt=0, le=60_000)
    """How late."""


class Drop(BaseFault):
    """The connection is lost: no close frame, no more bytes."""

    fault: Literal["drop"]


class Stall(BaseFault):
    """Nothing is sent for a while; what was due in it comes in one burst at its end."""

    fault: Literal["stall"]
    for_ms: float | None = Field(default=None, gt=0, le=600_000)
    """How long; for ever by default."""


class Slow(BaseFault):
    """The deltas of that response come so much slower than they should."""

    places: ClassVar[frozenset[Place]] = AT_RESPONSE
    delayable: ClassVar[bool] = False

    fault: Literal["slow"]
    pace: float = Field(default=0.8, gt=0, le=10)
    """Audio seconds a second: less than 1 starves the listener."""


class Duplicate(BaseFault):
    """The next server events are sent twice."""

    fault: Literal["duplicate"]
    events: int = Field(default=1, ge=1, le=10_000)
    """How many."""


class Reorder(BaseFault):
    """The next two server events change places."""

    fault: Literal["reorder"]


class Malformed(BaseFault):
    """A message that is no JSON."""

    fault: Literal["malformed"]


class UnknownEvent(BaseFault):
    """An event of a type that nobody knows."""

    fault: Literal["unknown_event"]


class Oversized(BaseFault):
    """An event that is larger than any real one."""

    fault: Literal["oversized"]
    size_bytes: int = Field(default=2**24 + 1, ge=1024, le=2**26)
    """How large."""


class SendError(BaseFault):
    """An `error` event that nobody caused."""

    fault: Literal["error"]
    code: str = "server_error"
    """`error.code`."""
    message: str = "The server had an error while processing your request."
    """`error.message`."""


class Fail(BaseFault):
    """The response fails instead of speaking."""

    places: ClassVar[frozenset[Place]] = AT_RESPONSE
    delayable: ClassVar[bool] = False

    fault: Literal["fail"]
    code: str = "inference_rate_limit_exceeded"
    """`status_details.error.code`; `insufficient_quota` is the other common one."""


class NeverDone(BaseFault):
    """The response speaks, but `response.done` never comes."""

    places: ClassVar[frozenset[Place]] = AT_RESPONSE
    delayable: ClassVar[bool] = False

    fault: Literal["never_done"]


class Close(BaseFault):
    """The server closes the connection."""

    fault: Literal["close"]
    code: int = Field(default=1011, ge=1000, le=4999)
    """WebSocket close code: 1001, 1011, 4000, ..."""
    reason: str = Field(default="", max_length=120)
    """Close reason."""


class Expire(BaseFault):
    """The session reaches its end of life: error `session_expired`, then close 1001."""

    fault: Literal["expire"]


AnyFault = (
    Refuse
    | AcceptLate
    | Drop
    | Stall
    | Slow
    | Duplicate
    | Reorder
    | Malformed
    | UnknownEvent
    | Oversized
    | SendError
    | Fail
    | NeverDone
    | Close
    | Expire
)

Fault = Annotated[AnyFault, Field(discriminator="fault")]

FAULTS: dict[str, type[BaseFault]] = {
    get_args(kind.model_fields["fault"].annotation)[0]: kind for kind in get_args(AnyFault)
}
"""All faults, by name."""

_ADAPTER: TypeAdapter[Fault] = TypeAdapter(Fault)


def parse_fault(text: str) -> Fault:
    """A fault as the command line has it: `NAME [KEY=VALUE ...] [at=POINT]`, `at` last.

    Raises:
        ValueError: it is none; the message says why.
    """
    head, _, point = text.partition(" at=")
    name, *pairs = head.split() or [""]
    if name not in FAULTS:
        raise ValueError(f"{text!r}: no such fault; expected one of {', '.join(FAULTS)}")
    known = FAULTS[name].model_fields
    fields: dict[str, Any] = {"fault": name}
    if "=" in point:
        raise ValueError(f"{text!r}: 'at' comes last, and its point has no '='")
    if point:
        fields["at"] = point
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"{text!r}: expected KEY=VALUE, not {pair!r}")
        is_text = key in known and known[key].annotation is str
        fields[key] = value if is_text else _number_or_text(value)
    try:
        return _ADAPTER.validate_python(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        what = plain(first["msg"])
        raise ValueError(f"{text!r}: {where + ': ' if where else ''}{what}") from None


def _number_or_text(value: str) -> object:
    for convert in (int, float):
        try:
            return convert(value)
        except ValueError:
            continue
    return value
