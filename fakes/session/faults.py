"""Faults by name: what can go wrong with a Realtime session, and where it does.

In a script each is a mapping with its name under `fault` and its place under `at` (`TriggerPoint`),
such as `{fault: stall, at: "reply 1 + 800ms", for_ms: 3000}`. On the command line the same is
written `stall for_ms=3000 at=reply 1 + 800ms`.

A new fault is a class with `apply`, which does it, and a place in `AnyFault`. Its docstrings are
what docs/fake-realtime.md says of it and of its keys, whose names carry their units.
"""

import re
import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from inspect import isabstract
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, cast, get_args

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError, model_validator

from callerside.clock import ms_to_ns
from callerside.fakes.session.interface import RefuseConnection, SendText
from callerside.models import Strict
from callerside.registry import Drawn, NotDrawn, refuse_unperformed
from callerside.yaml.errors import in_words

if TYPE_CHECKING:  # both know the script, which knows faults
    from callerside.fakes.session.context import SessionOutput
    from callerside.fakes.session.response_plan import ResponseSpec

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


def _checked_point(text: str) -> str:
    parse_trigger_point(text)
    return text


At = Annotated[str, AfterValidator(_checked_point)]


@dataclass(kw_only=True, slots=True)
class Handshake:
    """What becomes of a client's handshake."""

    late_ms: float = 0.0
    refusal: RefuseConnection | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FaultySession:
    """What a fault can do to the session that it strikes."""

    out: "SessionOutput"
    close: Callable[[int, str], None]
    """With code and reason."""
    drop: Callable[[], None]
    expire: Callable[[], None]


class BaseFault(Strict):
    """What all faults have: a place.

    `places` are those where the fault makes sense; `delayable` is one that can strike some time
    after its place; `fuzz` is its place in the fuzzer.
    """

    places: ClassVar[frozenset[Place]] = ANYWHERE
    delayable: ClassVar[bool] = True
    fuzz: ClassVar[Drawn | NotDrawn] = Drawn()

    at: At
    """Where it strikes: `connect`, `greeting`, `speech 2`, `turn 2`, `reply 1 + 1s`, `event 9`."""
    sessions: int = Field(default=1, ge=1, le=1_000_000)
    """In how many sessions of a path it strikes, from the first on: a reconnect may be spared."""

    @property
    def point(self) -> TriggerPoint:
        """`at`, read."""
        return parse_trigger_point(self.at)

    @property
    def detail(self) -> str:
        """What of it belongs on the timeline, beside its name and place."""
        return ""

    @model_validator(mode="after")
    def _fits_its_place(self) -> Self:
        if self.point.place not in self.places:
            places = ", ".join(sorted(self.places))
            raise ValueError(f"this fault cannot strike at {self.at!r}, only at: {places}")
        if self.point.offset_ms and not self.delayable:
            raise ValueError(f"this fault shapes the whole of {self.point.place}: no '+' in 'at'")
        return self


def _can_be_sent(code: int) -> int:
    """RFC 6455 §7.4: the rest only says what was missing, or belongs to nobody yet."""
    if code not in _CLOSE_CODES:
        raise ValueError(
            f"{code} is no code that a close can carry: expected 1000 to 1003, 1007 to 1014 or "
            "3000 to 4999; a connection that ends without a close is 'drop'"
        )
    return code


def _fits_a_frame(reason: str) -> str:
    """RFC 6455 §5.5: a close frame has room for that much."""
    size_bytes = len(reason.encode())
    if size_bytes > _MOST_REASON_BYTES:
        raise ValueError(
            f"{size_bytes} bytes, but a close frame holds {_MOST_REASON_BYTES} of its reason"
        )
    return reason


_CLOSE_CODES = frozenset((*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)))
_MOST_REASON_BYTES = 123
CloseCode = Annotated[int, Field(ge=1000, le=4999), AfterValidator(_can_be_sent)]
CloseReason = Annotated[str, Field(max_length=_MOST_REASON_BYTES), AfterValidator(_fits_a_frame)]


class HandshakeFault(BaseFault, ABC):
    """Befalls the handshake."""

    places: ClassVar[frozenset[Place]] = frozenset({"connect"})
    delayable: ClassVar[bool] = False
    decides: ClassVar[bool] = False
    """Whether it says how the handshake ends: the others do not matter then."""

    at: At = "connect"
    """The handshake."""

    @abstractmethod
    def apply(self, handshake: Handshake) -> None:
        """Change what becomes of the handshake."""


class ResponseFault(BaseFault, ABC):
    """Shapes the whole of a response, from before it is planned."""

    places: ClassVar[frozenset[Place]] = frozenset({"greeting", "reply"})
    delayable: ClassVar[bool] = False

    @abstractmethod
    def apply(self, spec: "ResponseSpec") -> "ResponseSpec":
        """What becomes of the response."""


class SessionFault(BaseFault, ABC):
    """Befalls the session at a moment of it."""

    @abstractmethod
    def apply(self, session: FaultySession) -> None:
        """Do it to the session."""


class Refuse(HandshakeFault):
    """The handshake is refused."""

    fuzz = Drawn({"status": (503, 429, 401)})

    fault: Literal["refuse"]
    status: Literal[401, 403, 404, 429, 500, 502, 503] = 503
    """HTTP status: 401, 403, 404, 429, 500, 502 or 503."""

    @property
    def detail(self) -> str:
        """See `BaseFault.detail`."""
        return f"status {self.status}"

    def apply(self, handshake: Handshake) -> None:
        """See `HandshakeFault.apply`."""
        handshake.refusal = RefuseConnection(self.status, "refused by the script")


class AcceptLate(HandshakeFault):
    """The handshake is accepted, but late."""

    fuzz = Drawn({"by_ms": (500, 1500, 4000)})

    fault: Literal["accept_late"]
    by_ms: float = Field(default=3000, gt=0, le=60_000)
    """How late."""

    @property
    def detail(self) -> str:
        """See `BaseFault.detail`."""
        return f"{self.by_ms:g} ms"

    def apply(self, handshake: Handshake) -> None:
        """See `HandshakeFault.apply`."""
        handshake.late_ms += self.by_ms


class Slow(ResponseFault):
    """The deltas of that response come as slowly as `pace` says."""

    fuzz = Drawn({"pace": (0.8, 0.3)})

    fault: Literal["slow"]
    pace: float = Field(default=0.8, gt=0, le=10)
    """Audio seconds a second: less than 1 starves the listener."""

    def apply(self, spec: "ResponseSpec") -> "ResponseSpec":
        """See `ResponseFault.apply`."""
        return replace(spec, pace=self.pace)


class Fail(ResponseFault):
    """The response fails instead of speaking."""

    fuzz = Drawn({"code": ("inference_rate_limit_exceeded", "insufficient_quota")})

    fault: Literal["fail"]
    code: str = "inference_rate_limit_exceeded"
    """`status_details.error.code`; `insufficient_quota` is the other common one."""

    def apply(self, spec: "ResponseSpec") -> "ResponseSpec":
        """See `ResponseFault.apply`."""
        return replace(spec, fails_with=self.code)


class NeverDone(ResponseFault):
    """The response speaks, but `response.done` never comes."""

    fault: Literal["never_done"]

    def apply(self, spec: "ResponseSpec") -> "ResponseSpec":
        """See `ResponseFault.apply`."""
        return replace(spec, never_done=True)


class SendError(SessionFault):
    """An `error` event that nobody caused."""

    fault: Literal["error"]
    code: str = "server_error"
    """`error.code`."""
    message: str = "The server had an error while processing your request."
    """`error.message`."""

    def apply(self, session: FaultySession) -> None:
        """See `SessionFault.apply`."""
        session.out.error(self.code, self.message, kind="server_error")


class Stall(SessionFault):
    """Nothing is sent for a while; what was due in it comes in one burst at its end."""

    fuzz = Drawn({"for_ms": (500, 2000, 6000)})

    fault: Literal["stall"]
    for_ms: float | None = Field(default=None, gt=0, le=600_000)
    """How long; for ever by default."""

    def apply(self, session: FaultySession) -> None:
        """See `SessionFault.apply`."""
        session.out.delivery.stall(keeps=self.for_ms is not None)
        if self.for_ms is not None:
            session.out.set_timer("stall", session.out.now_ns + ms_to_ns(self.for_ms))


class Drop(SessionFault):
    """The connection is lost: no close frame, no more bytes."""

    fault: Literal["drop"]

    def apply(self, session: FaultySession) -> None:
        """See `SessionFault.apply`."""
        session.drop()


class Close(SessionFault):
    """The server closes the connection."""

    fuzz = Drawn({"code": (1011, 1001, 4000)})

    fault: Literal["close"]
    code: CloseCode = 1011
    """WebSocket close code: 1001, 1011, 4000, ..."""
    reason: CloseReason = ""
    """Close reason: at most 123 bytes."""

    def apply(self, session: FaultySession) -> None:
        """See `SessionFault.apply`."""
        session.close(self.code, self.reason)


class Expire(SessionFault):
    """The session reaches its end of life: error `session_expired`, then close 1001."""

    fault: Literal["expire"]

    def apply(self, session: FaultySession) -> None:
        """See `SessionFault.apply`."""
        session.expire()


class Duplicate(SessionFault):
    """The next server events are sent twice."""

    fuzz = Drawn({"events": (1, 5)})

    fault: Literal["duplicate"]
    events: int = Field(default=1, ge=1, le=10_000)
    """How many."""

    def apply(self, session: FaultySession) -> None:
        """See `SessionFault.apply`."""
        session.out.delivery.double(self.events)


class Reorder(SessionFault):
    """The next two server events change places."""

    fault: Literal["reorder"]

    def apply(self, session: FaultySession) -> None:
        """See `SessionFault.apply`."""
        session.out.delivery.swap()


class Lose(SessionFault):
    """The server leaves out the next events that it would have sent."""

    # Later there may be no event left but those of the question that must be answered: that the
    # server never tells of it is nothing that an agent recovers from.
    fuzz = Drawn({"events": (1, 3)}, later=False)

    fault: Literal["lose"]
    events: int = Field(default=1, ge=1, le=10_000)
    """How many."""

    def apply(self, session: FaultySession) -> None:
        """See `SessionFault.apply`."""
        session.out.delivery.lose(self.events)


class Malformed(SessionFault):
    """A message that is no JSON."""

    fault: Literal["malformed"]

    def apply(self, session: FaultySession) -> None:
        """See `SessionFault.apply`."""
        session.out.delivery.push(SendText(_MALFORMED))


class UnknownEvent(SessionFault):
    """An event of a type that nobody knows."""

    fault: Literal["unknown_event"]

    def apply(self, session: FaultySession) -> None:
        """See `SessionFault.apply`."""
        session.out.send("session.rearranged", detail="an event of a type that nobody knows")


class Oversized(SessionFault):
    """An event that is larger than any real one."""

    fault: Literal["oversized"]
    size_bytes: int = Field(default=2**24 + 1, ge=1024, le=2**26)
    """How large."""

    def apply(self, session: FaultySession) -> None:
        """See `SessionFault.apply`."""
        session.out.send("session.padded", padding="x" * self.size_bytes)


_MALFORMED = '{"type": "response.output_audio.delta", "delta": "AAAA'

AnyFault = (
    SendError
    | Fail
    | Stall
    | Drop
    | Close
    | Expire
    | Refuse
    | AcceptLate
    | NeverDone
    | Slow
    | Duplicate
    | Reorder
    | Lose
    | Malformed
    | UnknownEvent
    | Oversized
)
"""All that can go wrong; the likeliest to explain a failure come first."""

Fault = Annotated[AnyFault, Field(discriminator="fault")]

FAULTS: dict[str, type[AnyFault]] = {
    get_args(kind.model_fields["fault"].annotation)[0]: kind for kind in get_args(AnyFault)
}
"""All faults, by name."""

PAGE = "docs/fake-realtime.md#faults"
"""Where they are taught."""
_KINDS = (HandshakeFault, ResponseFault, SessionFault)
refuse_unperformed(
    FAULTS,
    {kind for kind in FAULTS.values() if issubclass(kind, _KINDS) and not isabstract(kind)},
    f"{__name__}.{'/'.join(kind.__name__ for kind in _KINDS)}.apply",
)


_ADAPTER: TypeAdapter[Fault] = TypeAdapter(Fault)
_NAMES: dict[type[BaseFault], str] = {kind: name for name, kind in FAULTS.items()}


def name_of(kind: type[BaseFault]) -> str:
    """What such faults are called: the key `fault` of them."""
    return _NAMES[kind]


def parse_fault(text: str) -> Fault:
    """A fault as the command line has it: `NAME [KEY=VALUE ...] [at=POINT]`, `at` last.

    A value with blanks stands in quotes.

    Raises:
        ValueError: it is none; the message says why.
    """
    head, _, point = text.partition(" at=")
    try:
        name, *pairs = shlex.split(head) or [""]
    except ValueError:
        raise ValueError(f"{text!r}: a quote is not closed") from None
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
        what = in_words(first)
        raise ValueError(f"{text!r}: {where + ': ' if where else ''}{what}") from None


def written(fault: BaseFault) -> str:
    """A fault as `parse_fault` reads it, with whatever it has been given."""
    given = fault.model_dump(exclude_unset=True, exclude={"fault", "at"})
    pairs = [f"{key}={shlex.quote(str(value))}" for key, value in given.items()]
    return " ".join([name_of(type(fault)), *pairs, f"at={fault.at}"])


def _number_or_text(value: str) -> object:
    for convert in (int, float):
        try:
            return convert(value)
        except ValueError:
            continue
    return value
