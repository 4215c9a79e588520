"""What a caller can do, step by step: the models of the steps, and nothing else.

A step is a mapping with one action (`say`, `expect`, `pause`, ...) and, beside it, `when` it is
done and `within` what time. An action without details may be written as a bare word: `- hang_up`.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from callerside.agent.telephony.interface import DtmfMethod
from callerside.models import Strict
from callerside.simulator.scenario.durations import DurationMs, Moment, format_duration
from callerside.simulator.scenario.expectations import Expectation


class Phrase(Strict):
    """What comes out of the caller's mouth: text that is synthesised, or a sound file."""

    text: str | None = Field(None, min_length=1, description="What to say; it is synthesised.")
    wav: str | None = Field(None, description="A sound file of any rate, beside the scenario file.")
    voice: str | None = Field(None, description="espeak-ng voice, as in en-gb or en-us+f3.")
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


class _Step(Strict):
    """What all steps share."""

    action: ClassVar[str]

    when: Moment | None = Field(None, description="Do it at this moment; at once without it.")
    within: DurationMs | None = Field(
        None, description="Fail when what is waited for takes longer, from the step's beginning."
    )

    def what(self) -> str:
        """The step in a few words, for marks and verdicts."""
        return self.action.replace("_", " ")

    def describe(self) -> str:
        """The step with its moment."""
        return f"{self.what()} (when {self.when})" if self.when else self.what()


class Say(_Step):
    """Speak; takes the turn. The step ends with the last frame."""

    action = "say"
    say: Sayable

    @property
    def words(self) -> str:
        """What is said."""
        return str(self.say)

    def what(self) -> str:
        """See `_Step.what`."""
        return f'say "{self.say}"'


class MakeSound(_Step):
    """Make a sound that does not take the turn: a cough, a hum, a backchannel."""

    action = "sound"
    sound: Sound

    @property
    def words(self) -> str:
        """The sound."""
        return self.sound

    def what(self) -> str:
        """See `_Step.what`."""
        return f"make a sound: {self.sound}"


class Press(_Step):
    """Press keys of the telephone."""

    action = "press"
    press: str = Field(pattern=r"^[0-9*#A-D]+$", description="Keys: 0-9, *, #, A-D, in quotes.")
    method: DtmfMethod = "rfc4733"

    def what(self) -> str:
        """See `_Step.what`."""
        return f"press {self.press}"


class Pause(_Step):
    """Be silent for a while."""

    action = "pause"
    pause: DurationMs

    def what(self) -> str:
        """See `_Step.what`."""
        return f"pause {format_duration(self.pause)}"


class Hold(_Step):
    """Put the agent on hold (re-INVITE)."""

    action = "hold"
    hold: None


class Resume(_Step):
    """Take the agent off hold."""

    action = "resume"
    resume: None


class HangUp(_Step):
    """BYE, or CANCEL while the call is not answered. No step can follow."""

    action = "hang_up"
    hang_up: None


class Vanish(_Step):
    """Drop the call without a word: no BYE, no RTP; before the answer, no ACK either."""

    action = "vanish"
    vanish: None


class Expect(_Step):
    """Wait until something is heard, or look it up on the timeline after the call."""

    action = "expect"
    expect: Expectation

    @property
    def target(self) -> str:
        """What is expected, in words."""
        return (
            str(self.expect).replace("_", " ") if isinstance(self.expect, str) else str(self.expect)
        )

    def what(self) -> str:
        """See `_Step.what`."""
        return f"expect {self.target}"


_STEPS: tuple[type[_Step], ...] = (
    Say,
    MakeSound,
    Press,
    Pause,
    Hold,
    Resume,
    HangUp,
    Vanish,
    Expect,
)
ACTIONS = {model.action: model for model in _STEPS}


_EXAMPLES = {
    "say": 'say: "Hello."',
    "sound": "sound: cough",
    "press": 'press: "12#"',
    "pause": "pause: 500ms",
    "expect": "expect: reply",
}
"""Of the actions that cannot stand alone."""


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
        if value[action] is None and action in _EXAMPLES:
            raise PydanticCustomError(
                "bare", "needs a value, as in {example}",
                {"value": "", "example": _EXAMPLES[action], "key": action},
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
            {"actions": ", ".join(ACTIONS), "value": ""},
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
        {"actions": ", ".join(ACTIONS), "word": word, "words": list(ACTIONS)},
    )


_AnyStep = Annotated[
    Annotated[Say, Tag("say")]
    | Annotated[MakeSound, Tag("sound")]
    | Annotated[Press, Tag("press")]
    | Annotated[Pause, Tag("pause")]
    | Annotated[Hold, Tag("hold")]
    | Annotated[Resume, Tag("resume")]
    | Annotated[HangUp, Tag("hang_up")]
    | Annotated[Vanish, Tag("vanish")]
    | Annotated[Expect, Tag("expect")],
    Discriminator(_step_tag),
]
_Word = Literal["hold", "resume", "hang_up", "vanish"]
Step = Annotated[
    _AnyStep, BeforeValidator(_step_from_word, json_schema_input_type=_Word | _AnyStep)
]

LAST_ACTIONS = ("hang_up", "vanish")


class Steps(Strict):
    """A list of steps that are done one after the other."""

    steps: list[Step] = Field(min_length=1)

    @field_validator("steps")
    @classmethod
    def _nothing_after_the_end(cls, steps: list[Step]) -> list[Step]:
        for number, step in enumerate(steps[:-1], start=1):
            if step.action in LAST_ACTIONS:
                raise PydanticCustomError(
                    "unreachable",
                    "{action} ends the call: no step can follow it",
                    {"action": step.action, "key": number, "value": ""},
                )
        return steps
