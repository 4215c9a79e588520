"""A scenario: one telephone call, what is said in it, and what must be true of it.

These models are the language of the files in `scenarios/`; `scenario.loader` reads them and says
where a mistake stands, and the JSON Schema for editors is generated from them. docs/scenarios.md
teaches the language.
"""

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError, core_schema

from callerside.agent.config.settings import CallSettings
from callerside.durations import Between, DurationMs
from callerside.fakes.script.model import Script
from callerside.models import Strict
from callerside.paths import inside
from callerside.reports.verdict.budget import BudgetError, is_lifted
from callerside.reports.verdict.limit_sense import check_limit
from callerside.simulator.scenario.expectations import (
    WAIT,
    Expectation,
    LookedUp,
    Transfer,
)
from callerside.simulator.scenario.network import Network
from callerside.simulator.scenario.steps import Expect, Step, Steps
from callerside.speech.voices import DEFAULT_SPEED_WPM, DEFAULT_VOICE, IN_WORDS
from callerside.yaml import versions
from callerside.yaml.source import OldKey, Source

Lane = Literal["sip", "virtual"]
Codec = Literal["PCMU", "PCMA", "G722", "OPUS"]

MOST_OF_A_NAME = 80
"""Letters: with what repeats, callers and attempts add, it is a part of names of files, which have
room for 255, and of a SIP URI, of whose user an agent keeps 100."""


def name_of(stem: str, *values: str) -> str:
    """The name of a file's scenario, and of one with these values of a matrix, or in this row.

    Its letters are safe in SIP URIs, URLs and names of files: it is all that a call is known by, in
    reports, in `-k` and in `after`. A minus before a value stays: `gain--3` is not `gain-3`.
    """
    words = [re.sub(r"[^A-Za-z0-9_-]+", "-", word) for word in (stem, *values)]
    return "-".join([words[0].strip("-"), *(word.rstrip("-") for word in words[1:])]).strip("-")


def no_name(name: str) -> str | None:
    """Why no call can be known by what `name_of` made; None if one can."""
    if not name:
        return "a call's address is made of it: expected a letter from a to z, or a digit, in it"
    if len(name) > MOST_OF_A_NAME:
        return f"it has {len(name)} letters, at most {MOST_OF_A_NAME} are allowed"
    return None


def _checked_budget(value: Any) -> Any:
    mistakes = []
    for name, limit in value.items():
        try:
            check_limit(name, limit)
        except BudgetError as error:
            why = str(error).removeprefix(f"{name}: ")
            context = {"why": why, "key": name, "value": ""}
            kind = PydanticCustomError("budget", "{why}", context)
            mistakes.append(InitErrorDetails(type=kind, input=limit))
    if mistakes:
        raise ValidationError.from_exception_data("budget", mistakes)
    return value


_PYTESTS_OWN = frozenset(
    {"filterwarnings", "parametrize", "skip", "skipif", "timeout", "usefixtures", "xfail"}
)


def _checked_tag(tag: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", tag):
        raise PydanticCustomError("tag", "expected a word of letters, digits, _ and -", {})
    if tag in _PYTESTS_OWN:
        raise PydanticCustomError("tag", "pytest gives this word a meaning of its own", {})
    return tag


TagName = Annotated[str, AfterValidator(_checked_tag)]


class Noise(Strict):
    """What is heard behind the caller: noise of a kind, or a file that is played over and over."""

    kind: Literal["white", "pink", "brown", "babble"] | None = None
    wav: str | None = Field(None, description="A sound file, beside the scenario file.")
    snr_db: float = Field(ge=-10, le=60, description="How far below the caller's voice it is.")

    @model_validator(mode="after")
    def _one_source(self) -> "Noise":
        if (self.kind is None) == (self.wav is None):
            raise PydanticCustomError("noise", "expected either kind or wav", {})
        return self


class Echo(Strict):
    """The agent's own voice comes back to it, as from a loudspeaker near a microphone."""

    loss_db: float = Field(ge=0, le=60, description="How much weaker it comes back.")
    delay: Annotated[DurationMs, Between(100, 1000)] = Field(
        description="When it comes back; at least 100ms."
    )


class Target(Strict):
    """Whoever the agent calls to hand a caller over, in an attended transfer."""

    answers_after: Annotated[DurationMs, Between(0, 120_000)] = 1_000.0
    refuses: int | None = Field(
        None, ge=400, le=699, description="The SIP status that it answers with, instead of 200."
    )
    hangs_up_after: Annotated[DurationMs, Between(0, 120_000)] | None = Field(
        None, description="How long after its answer; by default it stays."
    )


class Caller(Strict):
    """Who calls, and with what telephone."""

    codec: Codec = Field("PCMU", description="The one codec that the caller offers.")
    user: str = Field("caller", pattern=r"^[A-Za-z0-9_.+-]+$", description="User part of From.")
    voice: str = Field(DEFAULT_VOICE, description=IN_WORDS)
    speed_wpm: int = Field(DEFAULT_SPEED_WPM, ge=80, le=450, description="Words a minute.")
    level_dbfs: float = Field(-20.0, ge=-60, le=0, description="Loudness of the voiced parts.")
    noise: Noise | None = None
    echo: Echo | None = None
    gain_db: float = Field(0.0, ge=-60, le=60, description="Of all that leaves the telephone.")
    clip_dbfs: float = Field(0.0, ge=-40, le=0, description="Where it is cut off, after the gain.")
    patience: Annotated[DurationMs, WAIT] = Field(
        10_000.0, description="How long to wait for whatever has no `within` of its own."
    )
    end_silence: Annotated[DurationMs, Between(200, 60_000)] = Field(
        700.0, description="Silence after which a greeting or a reply is over."
    )


class Callers(Strict):
    """Several callers at once, each with a call of its own."""

    count: int = Field(ge=1, le=200)
    spread: Annotated[DurationMs, Between()] = Field(
        0.0, description="The calls start evenly within this time."
    )


def _day(value: Any) -> Any:
    """A day as YAML has it: a date already, or text."""
    if type(value) is date:
        return value
    try:
        if isinstance(value, str) and len(value) == len("2027-03-01"):
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise PydanticCustomError("day", "expected a day, as in 2027-03-01", {})


def _not_blank(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("blank", "expected words, and these are blanks only", {})
    return text


def _stays_in_the_run(settings: CallSettings) -> None:
    """What a scenario's agent writes belongs to the run, which says where that is.

    Raises:
        ValidationError: it is to be elsewhere.
    """
    places = {
        ("greeting", "cache_dir"): settings.greeting.cache_dir,
        ("recordings", "dir"): settings.recordings.dir,
    }
    mistakes = []
    for where, folder in places.items():
        try:
            if folder is not None:
                inside(str(folder))
        except ValueError as error:
            what = f"{error}: in a scenario it is one of the run's own, such as `recordings`"
            kind = PydanticCustomError("elsewhere", "{what}", {"what": what})
            mistakes.append(InitErrorDetails(type=kind, loc=where, input=str(folder)))
    if settings.timeline.dir is not None:
        what = "each call of a run has its timeline beside its report: leave this out"
        kind = PydanticCustomError("elsewhere", "{what}", {"what": what})
        mistakes.append(
            InitErrorDetails(type=kind, loc=("timeline", "dir"), input=str(settings.timeline.dir))
        )
    if mistakes:
        raise ValidationError.from_exception_data("agent", mistakes)


class _AgentSettings:
    """Checks a mapping as the agent's settings of a call, and leaves it as it is written."""

    @classmethod
    def __get_pydantic_core_schema__(
        cls, _source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        def check(value: Any, validate: core_schema.ValidatorFunctionWrapHandler) -> Any:
            _stays_in_the_run(validate(value))
            return value

        return core_schema.no_info_wrap_validator_function(
            check,
            handler.generate_schema(CallSettings),
            serialization=core_schema.plain_serializer_function_ser_schema(dict),
        )


def _in_memory_only(*where: str) -> PydanticCustomError:
    """What is wrong with a setting that only the virtual lane can play."""
    return PydanticCustomError(
        "memory",
        "can be played in memory only: it needs lanes: [virtual]",
        {
            "key": where[1:],
            "value": "",
            "decided_by": [where, ("lanes",)],
        },
    )


def _callers_from_number(value: Any) -> Any:
    return {"count": value} if isinstance(value, int) else value


def _of_a_file(schema: dict[str, Any]) -> None:
    """The schema of a file: its version, and what the loader makes cells of before the check."""
    versions.in_schema(schema["properties"])
    schema["properties"]["matrix"] = {
        "type": "object",
        "description": "Paths into this file, and the values to play the scenario with.",
        "additionalProperties": {"type": "array", "minItems": 1},
    }
    schema["properties"]["rows"] = {
        "type": "string",
        "description": "A CSV file beside this one: a call for each row, its values for <column>.",
    }
    for track in ("steps", "meanwhile"):
        schema["properties"][track]["items"]["anyOf"].append(
            {
                "type": "object",
                "description": "The steps of another file.",
                "properties": {"include": {"type": "string", "pattern": r"\.steps\.yaml$"}},
                "required": ["include"],
                "additionalProperties": False,
            }
        )


class KnownFailure(Strict):
    """A failure that somebody knows of, and when it must be gone."""

    reason: Annotated[str, AfterValidator(_not_blank)] = Field(
        min_length=1, description="What is wrong; a link to an issue, say."
    )
    until: Annotated[date, BeforeValidator(_day)] = Field(
        description="The last day on which it may fail: 2027-03-01."
    )


class AgentEnds(Strict):
    """The agent's process is asked to end during the call, as a service is that drains."""

    after: Annotated[DurationMs, Between(0, 120_000)] = Field(
        description="When it is asked, from the call's beginning."
    )
    at_once: bool = Field(False, description="Not only when the caller has heard the last word.")


class Scenario(Steps):
    """One file of `scenarios/`, or one cell of its matrix."""

    model_config = ConfigDict(json_schema_extra=_of_a_file)

    about: str = Field(min_length=1, description="One sentence: what happens in this call.")
    after: str | None = Field(
        None, description="Name of a scenario that runs before, and shares its greeting cache."
    )
    tags: tuple[TagName, ...] = Field(
        (), strict=False, description="For -k, and markers in pytest."
    )
    lanes: tuple[Lane, ...] = Field(
        ("sip", "virtual"),
        min_length=1,
        strict=False,
        description="Where this can be played; say why in `about` if not in both.",
    )
    agent: Annotated[dict[str, Any], _AgentSettings] = Field(
        default_factory=dict, description="The agent's settings for this call, over its defaults."
    )
    realtime: Script = Field(
        default_factory=Script, description="What the fake Realtime server says and does."
    )
    caller: Caller = Field(default_factory=Caller)
    target: Target = Field(
        default_factory=Target, description="Who answers where the agent calls somebody else."
    )
    network: Network | None = Field(None, description="What the packets of the call go through.")
    agent_ends: AgentEnds | None = Field(
        None, description="The agent's process is asked to end meanwhile; in memory only."
    )
    meanwhile: tuple[Step, ...] = Field(
        (), strict=False, description="Steps done at the same time as `steps`, in their own order."
    )
    never: tuple[Expectation, ...] = Field(
        (), strict=False, description="What must not happen in this call."
    )
    budget: Annotated[dict[str, Any], AfterValidator(_checked_budget)] = Field(
        default_factory=dict, description="Limits of metrics, over the default budget."
    )
    judged_by: Literal["steps", "invariants"] = Field(
        "steps",
        description="`invariants`: in memory nothing but what is true of every call fails it, "
        "whatever its steps expect; it has no limits.",
    )
    known_failure: KnownFailure | None = Field(
        None, description="A failure that fails no run, until a day is over or the call passes."
    )
    time_limit: Annotated[DurationMs, Between(1000)] = 60_000.0
    repeat: int = Field(1, ge=1, le=1000, description="How many times to place the call.")
    callers: Annotated[
        Callers, BeforeValidator(_callers_from_number, json_schema_input_type=int | Callers)
    ] = Field(default_factory=lambda: Callers(count=1), description="A number, or {count, spread}.")

    _name: str = PrivateAttr("scenario")
    _path: Path | None = PrivateAttr(None)
    _source: Source | None = PrivateAttr(None)
    _is_one_of_many: bool = PrivateAttr(False)

    @field_validator("meanwhile")
    @classmethod
    def _background_does_not_end_the_call(cls, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        for number, step in enumerate(steps):
            if step.ends_call:
                raise PydanticCustomError(
                    "unreachable",
                    "{action} belongs into steps",
                    {"action": step.action, "key": number, "value": ""},
                )
        return steps

    @field_validator("network")
    @classmethod
    def _what_only_memory_can_do(
        cls, network: Network | None, info: ValidationInfo
    ) -> Network | None:
        lanes = info.data.get("lanes", ())  # none if they are wrong
        for name in ("drift_ppm", "media_delay"):
            if network is not None and getattr(network, name) and "sip" in lanes:
                raise _in_memory_only("network", name)
        return network

    @field_validator("agent_ends")
    @classmethod
    def _nothing_ends_over_sip(
        cls, ends: AgentEnds | None, info: ValidationInfo
    ) -> AgentEnds | None:
        if ends is not None and "sip" in info.data.get("lanes", ()):
            raise _in_memory_only("agent_ends")
        return ends

    @property
    def name(self) -> str:
        """What a call, its files and its pages are called: see `name_of`."""
        return self._name

    @property
    def is_one_of_many(self) -> bool:
        """Whether its file stands for other scenarios, too: it is a cell of a matrix."""
        return self._is_one_of_many

    @property
    def path(self) -> Path | None:
        """The file; None for a scenario that was made in code."""
        return self._path

    @property
    def text(self) -> str:
        """The whole file, as it was when it was read; empty for what was made in code."""
        return self._source.text if self._source else ""

    @property
    def folder(self) -> Path:
        """What the names of sound files are relative to."""
        return self._path.parent if self._path else Path()

    @property
    def all_steps(self) -> tuple[Step, ...]:
        """Both tracks; the position in here is a step's number in marks."""
        return (*self.steps, *self.meanwhile)

    @property
    def looked_up(self) -> tuple[LookedUp, ...]:
        """What its steps expect that marks tell after the call."""
        expected = (step.expect for step in self.all_steps if isinstance(step, Expect))
        return tuple(one for one in expected if isinstance(one, LookedUp))

    @property
    def settings(self) -> dict[str, Any]:
        """What it says of agent, caller, server and network, as JSON has it: not of its steps."""
        said = self.model_dump(
            mode="json",
            include={"agent", "caller", "target", "network", "budget", "after", "realtime"},
            exclude_unset=True,
        )
        spoken = {
            name: getattr(self.realtime, name).model_dump(mode="json", exclude_defaults=True)
            for name in ("greeting", "default_reply")
        }
        return {**said, "realtime": {**said.get("realtime", {}), **spoken}}

    @property
    def greets(self) -> bool:
        """Whether the agent is set to greet the caller."""
        return bool(self.agent.get("greeting", {}).get("enabled", True))

    @property
    def consults(self) -> bool:
        """Whether the agent may call somebody else, to hand the caller over."""
        return CallSettings.model_validate(self.agent).tools.transfer_kind == "attended"

    @property
    def expects_transfer(self) -> bool:
        """Whether the caller lets itself be transferred."""
        return any(
            isinstance(step, Expect) and isinstance(step.expect, Transfer)
            for step in self.all_steps
        )

    @property
    def goes_on(self) -> list[Literal["greeting", "answers"]]:
        """What of our agent's is meant to go on though the caller speaks into it."""
        settings = CallSettings.model_validate(self.agent)
        goes_on: list[Literal["greeting", "answers"]] = []
        if not settings.greeting.interruptible:
            goes_on.append("greeting")
        if not settings.turns.barge_in:
            goes_on.append("answers")
        return goes_on

    @property
    def own_limits(self) -> list[str]:
        """Names of the metrics that the scenario limits itself, and not its suite."""
        limited = [name for name, limit in self.budget.items() if not is_lifted(limit)]
        if self._source is None:
            return limited
        own = self._source
        return [name for name in limited if own.place(("budget", name)).path == own.path]

    @property
    def old_keys(self) -> list[OldKey]:
        """What the file and its suite call by a name that it has no more."""
        return self._source.old_keys if self._source else []

    def at(self, *where: str | int) -> str:
        """Where something stands in the file, as `file:line:column`; the name, if it is in none."""
        if self._source is None:
            return self._name
        return str(self._source.place(where))

    def named(
        self,
        name: str,
        path: Path | None = None,
        source: Source | None = None,
        *,
        is_one_of_many: bool = False,
    ) -> Self:
        """The same scenario under a name, as if read from `path`, where `source` knows places."""
        copy = self.model_copy()
        copy._name, copy._path, copy._source = name, path, source  # noqa: SLF001 - our own copy
        copy._is_one_of_many = is_one_of_many  # noqa: SLF001 - our own copy
        return copy
