"""What a caller can do, step by step: each step is declared here, and nowhere else.

A step is a mapping with one action (`say`, `expect`, `pause`, ...) and, beside it, `when` it is
done and `within` what time. An action without details may be written as a bare word: `- hang_up`.

A new step is a class with an `entry`, and a place in `AnyStep`. Its docstring is what
docs/scenarios.md says of it. It is performed in `simulator.caller.performers`.
"""

from functools import partial
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, get_args

from pydantic import (
    BeforeValidator,
    Field,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from callerside.agent.telephony.interface import DtmfMethod
from callerside.durations import Between, DurationMs, format_duration
from callerside.models import Strict, Tagged
from callerside.registry import Drawn, Entry
from callerside.simulator.scenario.expectations import WAIT, Expectation, Silence
from callerside.simulator.scenario.moments import Moment
from callerside.speech.voices import IN_WORDS


class Phrase(Strict):
    """What comes out of the caller's mouth: text that is synthesised, or a sound file."""

    text: str | None = Field(None, min_length=1, description="What to say; it is synthesised.")
    wav: str | None = Field(None, description="A sound file of any rate, beside the scenario file.")
    voice: str | None = Field(None, description=IN_WORDS)
    speed_wpm: int | None = Field(None, ge=80, le=450, description="Words a minute.")
    level_dbfs: float | None = Field(
        None, ge=-60, le=0, description="Loudness of the voiced parts; the caller's own otherwise."
    )

    @model_validator(mode="after")
    def _one_source(self) -> "Phrase":
        if (self.text is None) == (self.wav is None):
            raise PydanticCustomError("phrase", "expected either text or wav", {})
        if self.wav is not None and (self.voice or self.speed_wpm):
            raise PydanticCustomError("phrase", "voice and speed_wpm are for text, not for wav", {})
        return self

    def __str__(self) -> str:
        return self.text if self.text is not None else f"[{self.wav}]"


def _phrase_from_text(value: Any) -> Any:
    if isinstance(value, str):
        return {"text": value}
    if not isinstance(value, (dict, Phrase)):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        quoted = f'; put quotes around it: "{value}"' if number else ""
        message = f"expected text, or a mapping with text or wav{quoted}"
        raise PydanticCustomError("phrase", "{what}", {"what": message, "value": ""})
    return value


Sayable = Annotated[Phrase, BeforeValidator(_phrase_from_text, json_schema_input_type=str | Phrase)]

Sound = Literal["mm-hmm", "uh-huh", "hum", "cough", "breath"]


_Entry = partial(Entry, page="docs/scenarios.md#steps")


class Tones(NamedTuple):
    """Keys as tones in the caller's audio."""

    keys: str


class _Step(Strict):
    """What all steps share."""

    entry: ClassVar[Entry]
    may_take_turn: ClassVar[bool] = False
    """Whether the agent may answer it."""
    ends_call: ClassVar[bool] = False
    """Whether no step can follow."""

    when: Moment | None = Field(None, description="Do it at this moment; at once without it.")
    within: Annotated[DurationMs, WAIT] | None = Field(
        None, description="Fail when what is waited for takes longer, from the step's beginning."
    )

    @property
    def action(self) -> str:
        """What is done, in one word."""
        return self.entry.name

    @property
    def audible(self) -> "Phrase | Sound | Tones | None":
        """What of it the agent hears; it is made before the call."""
        return None

    @property
    def least_ms(self) -> float:
        """How long it takes at least, without its `when` and what is audible of it."""
        return 0.0

    def what(self) -> str:
        """The step in a few words, for marks and verdicts."""
        return self.action.replace("_", " ")

    def describe(self) -> str:
        """The step with its moment."""
        return f"{self.what()} (when {self.when})" if self.when else self.what()


class Voiced(_Step):
    """What comes out of the caller's mouth: it needs a call with audio that is not on hold."""

    may_take_turn = True


class Say(Voiced):
    """Speak, and take the turn; ends with the last word.

    `voice` is `heart`, or one of espeak-ng's (`de`, `en-us+f3`, ...); a sound file has any rate and
    lies beside the scenario file.
    """

    entry = _Entry(
        name="say",
        unit="text, or a sound file",
        examples=(
            'say: "Hello."',
            "say: {wav: file.wav}",
            "say: {text, voice, speed_wpm, level_dbfs}",
        ),
        fuzz=Drawn(
            {
                "say": (
                    "What time do you open?",
                    "Yes.",
                    "Sorry, I only want to know about the harbour.",
                    (
                        "Could you tell me, please, whether I can still get a table for four "
                        "people tonight?"
                    ),
                )
            },
            weight=3,
        ),
    )
    say: Sayable

    @property
    def audible(self) -> Phrase:
        """See `_Step.audible`."""
        return self.say

    def what(self) -> str:
        """See `_Step.what`."""
        return f'say "{self.say}"'


class MakeSound(Voiced):
    """Make a sound that should not take the turn: a cough, a hum, a backchannel."""

    entry = _Entry(
        name="sound",
        unit=", ".join(f"`{sound}`" for sound in get_args(Sound)),
        examples=("sound: cough",),
        fuzz=Drawn({"sound": ("mm-hmm", "cough", "breath")}),
    )
    sound: Sound

    @property
    def audible(self) -> Sound:
        """See `_Step.audible`."""
        return self.sound

    def what(self) -> str:
        """See `_Step.what`."""
        return f"make a sound: {self.sound}"


class Press(_Step):
    """Press keys of the telephone.

    `method: rfc4733` (default), `info` or `inband` (tones, which our own agent does not listen
    for).
    """

    entry = _Entry(
        name="press",
        unit="keys, of `0-9*#A-D`, in quotes",
        examples=('press: "12#"',),
        fuzz=Drawn({"press": ("1", "42#", "*")}),
    )
    may_take_turn = True
    press: str = Field(pattern=r"^[0-9*#A-D]+$", description="Keys: 0-9, *, #, A-D, in quotes.")
    method: DtmfMethod = "rfc4733"

    @property
    def audible(self) -> Tones | None:
        """See `_Step.audible`."""
        return Tones(self.press) if self.method == "inband" else None

    def what(self) -> str:
        """See `_Step.what`."""
        return f"press {self.press}"


class Pause(_Step):
    """Be silent for a while."""

    entry = _Entry(
        name="pause",
        unit="a duration, in ms",
        examples=("pause: 500ms",),
        fuzz=Drawn({"pause": range(0, 4001, 100)}, weight=0),  # behind each of the others
    )
    pause: Annotated[DurationMs, Between()]

    @property
    def least_ms(self) -> float:
        """See `_Step.least_ms`."""
        return self.pause

    def what(self) -> str:
        """See `_Step.what`."""
        return f"pause {format_duration(self.pause)}"


class Hold(_Step):
    """Put the agent on hold (re-INVITE)."""

    entry = _Entry(name="hold", examples=("hold",), fuzz=Drawn(then=("pause", "resume")))
    hold: None


class Resume(_Step):
    """Take the agent off hold (re-INVITE)."""

    entry = _Entry(name="resume", examples=("resume",), fuzz=Drawn(weight=0))  # behind each hold
    resume: None


class HangUp(_Step):
    """BYE, or CANCEL while the call is not answered. No step can follow."""

    entry = _Entry(name="hang_up", examples=("hang_up",), fuzz=Drawn(weight=0))  # an ending
    ends_call = True
    hang_up: None


class Vanish(_Step):
    """Drop the call without a word: no BYE, no RTP; before the answer, no ACK either."""

    entry = _Entry(name="vanish", examples=("vanish",), fuzz=Drawn(weight=0))  # an ending
    ends_call = True
    vanish: None


class Expect(_Step):
    """Wait until something is heard, or look it up on the timeline after the call.

    Fails if it does not come.
    """

    entry = _Entry(
        name="expect",
        unit="an expectation, see below",
        examples=("expect: reply",),
        fuzz=Drawn(weight=0),  # in the question that ends a call
    )
    expect: Expectation

    @property
    def least_ms(self) -> float:
        """See `_Step.least_ms`."""
        return self.expect.silence if isinstance(self.expect, Silence) else 0.0

    @property
    def target(self) -> str:
        """What is expected, in words."""
        return (
            str(self.expect).replace("_", " ") if isinstance(self.expect, str) else str(self.expect)
        )

    def what(self) -> str:
        """See `_Step.what`."""
        return f"expect {self.target}"


AnyStep = Say | MakeSound | Press | Pause | Hold | Resume | HangUp | Vanish | Expect
"""All that a caller can do, in the order in which people are told, and the fuzzer chooses."""

ACTIONS: dict[str, type[AnyStep]] = {model.entry.name: model for model in get_args(AnyStep)}
_WORDS = tuple(name for name, model in ACTIONS.items() if not model.entry.unit)
"""Of the actions that can stand alone."""
_ALL = ", ".join((*ACTIONS, "include"))
"""What may stand in a list of steps; files are included before the steps are read."""


def _step_tag(value: Any) -> str | None:
    if isinstance(value, _Step):
        return value.action
    return next((key for key in value if key in ACTIONS), None) if isinstance(value, dict) else None


def _step_from_word(value: Any) -> Any:
    """A bare word as a mapping; and a clear error when there is no action, or more than one."""
    if isinstance(value, _Step):
        return value
    if isinstance(value, str) and value in ACTIONS:
        value = {value: None}
    found = [key for key in value if key in ACTIONS] if isinstance(value, dict) else []
    if len(found) == 1:
        action = found[0]
        if value[action] is None and action not in _WORDS:
            example = ACTIONS[action].entry.examples[0]
            raise PydanticCustomError(
                "bare", "needs a value, as in {example}",
                {"value": "", "example": example, "key": action},
            )  # fmt: skip
        return value
    if len(found) > 1:
        raise PydanticCustomError(
            "two_actions",
            "a step does one thing, and this one has {found}: make each a step of its own",
            {"found": " and ".join(found)},
        )
    if value is None or (isinstance(value, dict) and set(value) <= {"when", "within"}):
        raise PydanticCustomError(
            "action",
            "does nothing: expected one of {actions}",
            {"actions": _ALL, "value": ""},
        )
    word = str(next(iter(value), "")) if isinstance(value, dict) else str(value)
    action, colon, rest = word.partition(":")
    if colon and action in ACTIONS:
        raise PydanticCustomError(
            "no_space",
            "{word}: a space goes behind the colon: {right}",
            {"word": word, "right": f"{action}: {rest}", "value": ""},
        )
    raise PydanticCustomError(
        "action",
        "expected a step with one of {actions}",
        {"actions": _ALL, "word": word, "words": _ALL.split(", ")},
    )


_AnyStep = Annotated[AnyStep, Tagged(ACTIONS, _step_tag)]
Step = Annotated[
    _AnyStep,
    BeforeValidator(_step_from_word, json_schema_input_type=Literal[_WORDS] | _AnyStep),
]


class Steps(Strict):
    """A list of steps that are done one after the other."""

    steps: list[Step] = Field(min_length=1)

    @field_validator("steps")
    @classmethod
    def _nothing_after_the_end(cls, steps: list[Step]) -> list[Step]:
        for number, step in enumerate(steps[:-1], start=1):
            if step.ends_call:
                raise PydanticCustomError(
                    "unreachable",
                    "{action} ends the call: no step can follow it",
                    {
                        "action": step.action,
                        "key": number,
                        "value": "",
                        "decided_by": [("steps", number - 1)],
                    },
                )
        return steps
