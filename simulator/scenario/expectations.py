"""What can be heard in a call or found on its timelines: what `expect` and `never` speak of.

An expectation is a word (`greeting`, `hang_up`), or a mapping whose first key says what it is. A
name of a mark or a state that does not exist is refused: it would be awaited in vain, or forbidden
for nothing.
"""

import re
from collections.abc import Collection
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from callerside.agent.call.states import State as AgentState
from callerside.models import Strict
from callerside.simulator.scenario.durations import DurationMs, format_duration
from callerside.simulator.scenario.known_marks import known_marks

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


class Silence(Strict):
    """The agent is silent for so long at a stretch."""

    silence: DurationMs

    def __str__(self) -> str:
        return f"{format_duration(self.silence)} of silence"


class Refused(Strict):
    """The call is refused with this status."""

    refused: int = Field(ge=300, le=699)

    def __str__(self) -> str:
        return f"a refusal with {self.refused}"


class Dtmf(Strict):
    """The agent presses these keys."""

    dtmf: str = Field(pattern=r"^[0-9*#A-D]+$")

    def __str__(self) -> str:
        return f"keys {self.dtmf}"


class Transfer(Strict):
    """The agent refers the caller to this address; `*` stands for anything."""

    transfer: str

    def __str__(self) -> str:
        return f"a transfer to {self.transfer}"


class FunctionCall(Strict):
    """The model calls this function; arguments that are listed must be equal."""

    function_call: str
    arguments: dict[str, Any] = Field(default_factory=dict)

    def __str__(self) -> str:
        return f"function call {self.function_call}"


class Transcript(Strict):
    """The fake said this, by its own marks; upper and lower case are the same."""

    transcript: str = Field(min_length=1)

    def __str__(self) -> str:
        return f'the transcript "{self.transcript}"'


class State(Strict):
    """The agent's call machine enters this state."""

    state: str = Field(json_schema_extra={"enum": [str(state) for state in AgentState]})

    @field_validator("state")
    @classmethod
    def _is_known(cls, name: str) -> str:
        return _one_of(name, "state of a call", [str(state) for state in AgentState])

    def __str__(self) -> str:
        return f"state {self.state}"


class MarkFound(Strict):
    """A mark by name (docs/marks.md); fields that are listed must be equal."""

    mark: str
    source: Literal["agent", "caller", "realtime"] | None = None
    fields: dict[str, Any] = Field(default_factory=dict)

    @field_validator("fields")
    @classmethod
    def _are_known(cls, fields: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        mark, source = info.data.get("mark"), info.data.get("source")
        marks = [known_marks()[s] for s in ([source] if source else known_marks())]
        if any(mark in names for names in marks):  # or else the mark is the mistake
            known = {field for names in marks for field in names.get(str(mark), ())}
            for field in fields:
                _one_of(field, f"field of {mark}", known, key=field)
        return fields

    @model_validator(mode="after")
    def _is_known(self) -> "MarkFound":
        sources = [self.source] if self.source else list(known_marks())
        names = {name for source in sources for name in known_marks()[source]}
        _one_of(self.mark, f"mark of {' or '.join(sources)}", names)
        return self

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

_DETAILED: tuple[type[Strict], ...] = (
    Silence,
    Refused,
    Dtmf,
    Transfer,
    FunctionCall,
    Transcript,
    State,
    MarkFound,
)
DETAILED_EXPECTATIONS = {next(iter(model.model_fields)): model for model in _DETAILED}


_EXAMPLES = {
    "silence": "{silence: 2s}",
    "refused": "{refused: 486}",
    "dtmf": '{dtmf: "12"}',
    "transfer": '{transfer: "sip:desk@*"}',
    "function_call": "{function_call: look_up}",
    "transcript": '{transcript: "we open at nine"}',
    "state": "{state: PROCESSING}",
    "mark": "{mark: truncated}",
}


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
    if word in _EXAMPLES:
        raise PydanticCustomError(
            "bare",
            "{word} needs a value, as in {example}",
            {"word": word, "example": _EXAMPLES[word], "value": ""},
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


DetailedExpectation = (
    Silence | Refused | Dtmf | Transfer | FunctionCall | Transcript | State | MarkFound
)
Expectation = Annotated[
    Annotated[Heard, Tag("word")]
    | Annotated[Silence, Tag("silence")]
    | Annotated[Refused, Tag("refused")]
    | Annotated[Dtmf, Tag("dtmf")]
    | Annotated[Transfer, Tag("transfer")]
    | Annotated[FunctionCall, Tag("function_call")]
    | Annotated[Transcript, Tag("transcript")]
    | Annotated[State, Tag("state")]
    | Annotated[MarkFound, Tag("mark")],
    Discriminator(_expectation_tag),
    BeforeValidator(_known_expectation),
]
