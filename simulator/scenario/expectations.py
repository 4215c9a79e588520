"""What can be heard in a call or found on its timelines: what `expect` and `never` speak of.

An expectation is a word (`greeting`, `hang_up`), or a mapping whose first key says what it is. A
name of a mark or a state that does not exist is refused: it would be awaited in vain, or forbidden
for nothing.

A new one that other parties' marks tell is a class derived from `LookedUp`, and a place in
`DetailedExpectation`. What the caller hears by itself is judged in `simulator.caller.expect`, and
found for `never` in `simulator.runner.expectations_after`, too.
"""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence, Set
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import (
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from callerside.agent.call.states import State as AgentState
from callerside.durations import Between, DurationMs, format_duration
from callerside.mark_registry import MARKS
from callerside.marks import Mark, Source
from callerside.models import Strict, Tagged
from callerside.registry import Drawn, Entry, NotDrawn

WAIT = Between(1, least_bare_ms=100)
"""For anything that is heard. Who wants less than a tenth of a second says so with its unit."""

_MOST_NAMED = 20
"""Of words, in a message: there are some eighty marks."""


def _one_of(word: str, what: str, words: Collection[str], *, key: str | None = None) -> str:
    """The word, if it is among them; `key` is where it stands, if it is one itself."""
    if word in words:
        return word
    known = sorted(words)
    told = ", ".join(known) if len(known) <= _MOST_NAMED else "one of docs/marks.md"
    raise PydanticCustomError(
        "unknown_word",
        "there is no such {what}: expected {known}",
        {"what": what, "known": told, "word": word, "words": known, "key": key},
    )


def matches(pattern: str, text: str) -> bool:
    """Whether a text fits a pattern in which `*` stands for anything, and all else for itself."""
    return bool(re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL))


def fits(wanted: Any, found: Any) -> bool:
    """Equal; of a mapping, what is listed must be; `*` in a text is anything, a number too."""
    if isinstance(wanted, Mapping):
        whole = json.loads(found) if isinstance(found, str) else found
        return isinstance(whole, Mapping) and all(
            key in whole and _equals(value, whole[key]) for key, value in wanted.items()
        )
    return _equals(wanted, found)


def _equals(wanted: Any, found: Any) -> bool:
    """As JSON has it, where `true` is no number; but that `*` in a text is anything."""
    if isinstance(wanted, str) and (
        isinstance(found, str) or ("*" in wanted and found is not None)
    ):
        return matches(wanted, str(found))
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return wanted.keys() == found.keys() and all(
            _equals(value, found[key]) for key, value in wanted.items()
        )
    if isinstance(wanted, list | tuple) and isinstance(found, list | tuple):
        return len(wanted) == len(found) and all(map(_equals, wanted, found))
    return isinstance(wanted, bool) == isinstance(found, bool) and bool(wanted == found)


def _in_words(part: str, text: str) -> bool:
    """Whether a text has a part that begins and ends where words do, in either case of letters."""
    part, text = part.lower(), text.lower()
    begin = text.find(part)
    while begin >= 0:
        end = begin + len(part)
        if not (_is_within_a_word(text, begin) or _is_within_a_word(text, end)):
            return True
        begin = text.find(part, begin + 1)
    return False


def _is_within_a_word(text: str, at: int) -> bool:
    """Whether both sides of a place are of one word, of a script that leaves space between them."""
    sides = text[max(0, at - 1) : at + 1] if 0 < at < len(text) else ""
    return bool(sides) and all(one.isalnum() and ord(one) < _WITHOUT_SPACES for one in sides)


_WITHOUT_SPACES = 0x0E00
"""Thai is the first script of Unicode whose words touch."""
_OF_EVERY_FRAME = frozenset({"audio_appended", "audio_received", "delta_sent"})
"""Marks that tell nobody what happened."""


def ended_as(response_done: Mark) -> str:
    """How a response ended, by its mark: `cancelled (turn_detected)`."""
    reason = response_done.fields.get("reason")
    return f"{response_done.fields.get('status')}{f' ({reason})' if reason else ''}"


_Entry = partial(
    Entry,
    page="docs/scenarios.md#expectations",
    fuzz=NotDrawn("what must be true of a generated call is an invariant, which knows more"),
)


class _Detailed(Strict):
    """What all expectations with details share."""

    entry: ClassVar[Entry]


class Told(_Detailed, ABC):
    """Each mark of a kind is one occurrence of it."""

    @abstractmethod
    def is_told_by(self, mark: Mark) -> bool:
        """Whether this mark is one of it."""


class LookedUp(Told, ABC):
    """Told by the other parties' marks, and so looked up when the call is over."""

    others: ClassVar[str]
    """What those are called that `likeness` shows."""

    @property
    def sources(self) -> Set[Source]:
        """Whose marks may tell it."""
        return {"realtime"}

    @property
    def details(self) -> str:
        """What is asked for besides, for a message that repeats it; begins with a blank."""
        return ""

    @abstractmethod
    def likeness(self, mark: Mark) -> str | None:
        """How a mark reads that may have been meant; None if it is of another kind."""

    def instead(self, _marks: Sequence[Mark]) -> list[tuple[int, str]]:
        """When there was what of another kind, among marks, that may be why there is none."""
        return []


class Silence(_Detailed):
    """The agent is silent for so long at a stretch.

    Counted from the step on, or from the end of the caller's turn; under `never` it is dead air:
    neither of the two speaks.
    """

    entry = _Entry(name="silence", unit="a duration, in ms", examples=("{silence: 2s}",))
    silence: Annotated[DurationMs, WAIT]

    def __str__(self) -> str:
        return f"{format_duration(self.silence)} of silence"


class Refused(Told):
    """The call is refused with this status."""

    entry = _Entry(
        name="refused", unit="a status of SIP, from 300 on", examples=("{refused: 486}",)
    )
    refused: int = Field(ge=300, le=699)

    def is_told_by(self, mark: Mark) -> bool:
        """See `Told.is_told_by`."""
        told = (mark.source, mark.name, mark.fields.get("status"))
        return told == ("caller", "call_ended", self.refused)

    def __str__(self) -> str:
        return f"a refusal with {self.refused}"


class Dtmf(_Detailed):
    """The agent presses these keys next, and no other right behind them."""

    entry = _Entry(name="dtmf", unit="keys, of `0-9*#A-D`, in quotes", examples=('{dtmf: "12"}',))
    dtmf: str = Field(pattern=r"^[0-9*#A-D]+$")

    def __str__(self) -> str:
        return f"keys {self.dtmf}"


class Transfer(Told):
    """The agent refers the caller to this address; `*` stands for anything."""

    entry = _Entry(
        name="transfer",
        unit="a URI",
        examples=('{transfer: "sip:desk@*"}',),
        fuzz=Drawn(weight=0),  # by a caller who is to be transferred
    )
    transfer: str

    def is_told_by(self, mark: Mark) -> bool:
        """See `Told.is_told_by`."""
        is_one = (mark.source, mark.name) == ("caller", "transfer_heard")
        return is_one and matches(self.transfer, str(mark.fields.get("uri")))

    def __str__(self) -> str:
        return f"a transfer to {self.transfer}"


class FunctionCall(LookedUp):
    """The model calls this function; arguments that are listed must be equal."""

    entry = _Entry(
        name="function_call",
        unit="a name",
        examples=(
            "{function_call: look_up}",
            "{function_call: look_up, arguments: {day: Saturday}}",
        ),
    )
    others = "functions called"
    function_call: str
    arguments: dict[str, Any] = Field(default_factory=dict)

    def is_told_by(self, mark: Mark) -> bool:
        """See `Told.is_told_by`."""
        is_one = self.likeness(mark) is not None and mark.fields.get("name") == self.function_call
        return is_one and (not self.arguments or fits(self.arguments, mark.fields["arguments"]))

    def likeness(self, mark: Mark) -> str | None:
        """See `LookedUp.likeness`."""
        if (mark.source, mark.name) != ("realtime", "function_called"):
            return None
        return f"{mark.fields.get('name')}({mark.fields.get('arguments')})"

    def instead(self, marks: Sequence[Mark]) -> list[tuple[int, str]]:
        """See `LookedUp.instead`: a response that was to call it may have been stopped before."""
        return [
            (mark.at_ns, f"a response that ended {ended_as(mark)}")
            for mark in marks
            if (mark.source, mark.name) == ("realtime", "response_done")
            and mark.fields.get("status") != "completed"
        ]

    @property
    def details(self) -> str:
        """See `LookedUp.details`."""
        return f" with {self.arguments}" if self.arguments else ""

    def __str__(self) -> str:
        return f"function call {self.function_call}"


class Transcript(LookedUp):
    """The fake said this, in whole words, by its own marks; upper and lower case are the same."""

    entry = _Entry(name="transcript", unit="text", examples=('{transcript: "we open at nine"}',))
    others = "what was said"
    transcript: str = Field(min_length=1)

    def is_told_by(self, mark: Mark) -> bool:
        """See `Told.is_told_by`."""
        said = str(mark.fields.get("text", ""))
        return self.likeness(mark) is not None and _in_words(self.transcript, said)

    def likeness(self, mark: Mark) -> str | None:
        """See `LookedUp.likeness`."""
        if (mark.source, mark.name) != ("realtime", "response_planned"):
            return None
        return f'"{mark.fields.get("text", "")}"'

    def __str__(self) -> str:
        return f'the transcript "{self.transcript}"'


class ResponseEnded(LookedUp):
    """A response ended so, and is meant to: no call fails by it.

    Of one turn. Without this a call with an answer that ended so, was silent or never came fails,
    unless the agent made up for it. `withheld`: the script sends nothing of it (`sends_only`).
    """

    entry = _Entry(
        name="response",
        unit="`incomplete`, `failed`, `cancelled`, `silent` or `withheld`",
        examples=("{response: failed}", "{response: incomplete, reason: content_filter}"),
    )
    others = "responses that ended"
    response: Literal["incomplete", "failed", "cancelled", "silent", "withheld"]
    reason: str | None = None

    @property
    def sources(self) -> Set[Source]:
        """See `LookedUp.sources`."""
        return {"agent", "realtime"} if self.response == "silent" else {"realtime"}

    def is_told_by(self, mark: Mark) -> bool:
        """See `Told.is_told_by`."""
        if self.response == "withheld":
            return (mark.source, mark.name) == ("realtime", "response_withheld")
        if self.response == "silent":  # nothing was sent, or what was is no sound
            is_done = (mark.source, mark.name) == ("realtime", "response_done")
            is_silent = (mark.source, mark.name) == ("agent", "response_silent")
            return is_silent or (is_done and bool(mark.fields.get("inaudible")))
        wanted = {"status": self.response} | ({"reason": self.reason} if self.reason else {})
        return self.likeness(mark) is not None and fits(wanted, mark.fields)

    def likeness(self, mark: Mark) -> str | None:
        """See `LookedUp.likeness`."""
        if (mark.source, mark.name) != ("realtime", "response_done"):
            return None
        return ended_as(mark)

    @property
    def details(self) -> str:
        """See `LookedUp.details`."""
        return f" ({self.reason})" if self.reason else ""

    def __str__(self) -> str:
        return f"a response that ends {self.response}"


class State(LookedUp):
    """The agent's call machine enters this state."""

    entry = _Entry(
        name="state", unit="a state ([call](call.md))", examples=("{state: PROCESSING}",)
    )
    others = "states entered"
    state: str = Field(json_schema_extra={"enum": [str(state) for state in AgentState]})

    @field_validator("state")
    @classmethod
    def _is_known(cls, name: str) -> str:
        return _one_of(name, "state of a call", [str(state) for state in AgentState])

    @property
    def sources(self) -> Set[Source]:
        """See `LookedUp.sources`."""
        return {"agent"}

    def is_told_by(self, mark: Mark) -> bool:
        """See `Told.is_told_by`."""
        return self.likeness(mark) == self.state

    def likeness(self, mark: Mark) -> str | None:
        """See `LookedUp.likeness`."""
        is_one = (mark.source, mark.name) == ("agent", "state_changed")
        return str(mark.fields.get("to")) if is_one else None

    def __str__(self) -> str:
        return f"state {self.state}"


class MarkFound(LookedUp):
    """There is a mark of that name; fields that are listed must be equal, texts may hold `*`."""

    entry = _Entry(
        name="mark",
        unit="a name ([marks](marks.md))",
        examples=("{mark: truncated}", "{mark: truncated, source: realtime, fields: {...}}"),
    )
    others = "marks of that name"
    mark: str
    source: Literal["agent", "caller", "realtime"] | None = None
    fields: dict[str, Any] = Field(default_factory=dict)

    @field_validator("fields")
    @classmethod
    def _are_known(cls, fields: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        mark, source = str(info.data.get("mark")), info.data.get("source")
        marks = [MARKS[one] for one in ([source] if source else MARKS)]
        kinds = [of_source[mark] for of_source in marks if mark in of_source]
        if kinds:  # or else the mark is the mistake
            known = {field for kind in kinds for field in kind.fields}
            for field in fields:
                _one_of(field, f"field of {mark}", known, key=field)
        return fields

    @model_validator(mode="after")
    def _is_known(self) -> "MarkFound":
        sources = [self.source] if self.source else list(MARKS)
        names = {name for source in sources for name in MARKS[source]}
        _one_of(self.mark, f"mark of {' or '.join(sources)}", names)
        return self

    @property
    def sources(self) -> Set[Source]:
        """See `LookedUp.sources`."""
        if self.source is not None:
            return {self.source}
        return {source for source, marks in MARKS.items() if self.mark in marks}

    def is_told_by(self, mark: Mark) -> bool:
        """See `Told.is_told_by`."""
        is_one = mark.name == self.mark and self.source in (None, mark.source)
        return is_one and all(fits(one, mark.fields.get(key)) for key, one in self.fields.items())

    def likeness(self, mark: Mark) -> str | None:
        """See `LookedUp.likeness`."""
        is_one = mark.name == self.mark and self.source in (None, mark.source)
        return f"{mark.source}'s {dict(mark.fields)}" if is_one else None

    def instead(self, marks: Sequence[Mark]) -> list[tuple[int, str]]:
        """See `LookedUp.instead`: what its source marked of the same thing, or else marked last."""
        if any(self.likeness(mark) is not None for mark in marks):
            return []
        others = [
            mark
            for mark in marks
            if self.source in (None, mark.source) and self.mark in MARKS[mark.source]
        ]
        thing = self.mark.partition("_")[0]  # of `tool_cancelled` as of `tool_called`
        alike = [mark for mark in others if mark.name.partition("_")[0] == thing]
        rest = [mark for mark in others if mark.name not in _OF_EVERY_FRAME]
        return [(mark.at_ns, f"{mark.source}'s {mark.name}") for mark in alike or rest]

    @property
    def details(self) -> str:
        """See `LookedUp.details`."""
        of = f" of {self.source}" if self.source else ""
        return f"{of} with {self.fields}" if self.fields else of

    def __str__(self) -> str:
        return f"mark {self.mark}"


Heard = Literal[
    "answer",
    "beep",
    "greeting",
    "greeting start",
    "reply",
    "reply start",
    "hang_up",
]
"""What the caller notices by itself, in one word. A greeting or reply is awaited to its end."""

_BEGUN_AND_ENDED = "It has begun `within` its time, and has ended, and not because the call has."
_HEARD: tuple[Entry, ...] = (
    _Entry(name="answer", examples=("answer",), says="The call is answered."),
    _Entry(name="beep", examples=("beep",), says="A beep has been heard to its end."),
    _Entry(name="greeting", examples=("greeting",), says=_BEGUN_AND_ENDED),
    _Entry(name="greeting start", examples=("greeting start",), says="It has begun."),
    _Entry(
        name="reply",
        examples=("reply",),
        says=_BEGUN_AND_ENDED,
        fuzz=Drawn(weight=0),  # the question that ends a call is answered
    ),
    _Entry(name="reply start", examples=("reply start",), says="It has begun."),
    _Entry(name="hang_up", examples=("hang_up",), says="The agent ends the call."),
)

DetailedExpectation = (
    Silence
    | Refused
    | Dtmf
    | Transfer
    | FunctionCall
    | Transcript
    | ResponseEnded
    | State
    | MarkFound
)
DETAILED_EXPECTATIONS: dict[str, type[DetailedExpectation]] = {
    model.entry.name: model for model in get_args(DetailedExpectation)
}
EXPECTATIONS: dict[str, Entry] = {
    entry.name: entry
    for entry in (*_HEARD, *(model.entry for model in DETAILED_EXPECTATIONS.values()))
}
"""All that `expect` and `never` know, by name."""


def _details(value: Any) -> list[str]:
    """Which of the detailed expectations a mapping names."""
    keys: Any = type(value).model_fields if isinstance(value, Strict) else value
    return [key for key in DETAILED_EXPECTATIONS if isinstance(keys, dict) and key in keys]


def _expectation_tag(value: Any) -> str | None:
    return "word" if isinstance(value, str) else next(iter(_details(value)), None)


def _known_expectation(value: Any) -> Any:
    found = _details(value)
    if len(found) > 1:
        raise PydanticCustomError(
            "two_happenings",
            "this has {found}: make each one of its own",
            {"found": " and ".join(found), "value": ""},
        )
    word = value.split(" ")[0] if isinstance(value, str) else ""
    if word in DETAILED_EXPECTATIONS:
        example = DETAILED_EXPECTATIONS[word].entry.examples[0]
        raise PydanticCustomError(
            "bare",
            "{word} needs a value, as in {example}",
            {"word": word, "example": example, "value": ""},
        )
    if found or isinstance(value, str):
        return value
    keys = list(value) if isinstance(value, dict) else []
    raise PydanticCustomError(
        "expectation",
        "expected one of {heard}, or a mapping with one of {keys}",
        {
            "heard": ", ".join(get_args(Heard)),
            "keys": ", ".join(DETAILED_EXPECTATIONS),
            **({"word": str(keys[0]), "words": [*DETAILED_EXPECTATIONS]} if keys else {}),
        },
    )


Expectation = Annotated[
    Heard | DetailedExpectation,
    Tagged({"word": Heard, **DETAILED_EXPECTATIONS}, _expectation_tag),
    BeforeValidator(_known_expectation),
]
