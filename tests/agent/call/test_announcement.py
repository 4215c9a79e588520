"""Callers hear that they are recorded before they are, or are not recorded."""

from typing import Any

from call_rig import CallRig, with_settings

from callerside.agent.call import events
from callerside.agent.call.prompts import prompt_key
from callerside.agent.config.settings import CallSettings
from callerside.agent.prompts.cache import Prompt

WORDS = "Say that this call is recorded."
ANNOUNCED = {"recordings": {"dir": "/recordings", "announcement_instructions": WORDS}}
LENGTH_MS = 800


def rig_with(*, is_cached: bool = True, **settings: Any) -> CallRig:
    whole = with_settings(ANNOUNCED, settings)
    made = CallSettings.model_validate(whole)
    prompt = Prompt(pcm=b"\3\0" * (24 * LENGTH_MS), transcript="This call is recorded.")
    greeting = Prompt(pcm=b"\5\0" * 24_000, transcript="Good day.")
    prompts = {prompt_key(made, made.greeting.instructions): greeting}
    if is_cached:
        prompts[prompt_key(made, WORDS)] = prompt
    return CallRig(whole, prompts=prompts)


def begins(rig: CallRig) -> int:
    return sum(isinstance(one, events.BeginRecording) for one in rig.effects)


def marks(rig: CallRig, *names: str) -> list[tuple[str, Any]]:
    emitted = [one for one in rig.effects if isinstance(one, events.EmitMark)]
    return [(one.name, one.fields.get("prompt")) for one in emitted if one.name in names]


HEARD = ("beep_ended", "prompt_started", "prompt_ended", "greeting_started")


def test_it_is_heard_between_beep_and_greeting_and_the_recording_begins_at_its_end() -> None:
    rig = rig_with().ring()
    rig.media().connect()
    rig.wait(400 + LENGTH_MS - 40)
    assert begins(rig) == 0
    rig.wait(1_000)
    assert begins(rig) == 1
    assert marks(rig, *HEARD) == [
        ("beep_ended", None),
        ("prompt_started", "announcement"),
        ("prompt_ended", "announcement"),
        ("greeting_started", None),
    ]


def test_nobodys_voice_stops_it() -> None:
    rig = rig_with(greeting={"interruptible": True}).ring()
    rig.media().connect()
    rig.wait(600)
    rig.turn()
    rig.wait(1_500)
    assert begins(rig) == 1


def test_a_caller_who_hangs_up_amid_it_was_not_recorded() -> None:
    rig = rig_with().ring()
    rig.media().connect()
    rig.wait(800)
    rig.hang_up()
    assert begins(rig) == 0


def test_where_it_is_not_there_nothing_is_recorded_and_that_is_told() -> None:
    rig = rig_with(is_cached=False).ring()
    rig.media().connect()
    rig.wait(3_000)
    rig.hang_up()
    assert begins(rig) == 0
    assert len(marks(rig, "recording_withheld")) == 1


def test_what_does_not_fit_the_playout_was_not_said() -> None:
    rig = rig_with(playout={"max_ms": 1_000}, beep={"length_ms": 600}).ring()
    rig.media().connect()
    rig.wait(3_000)
    assert begins(rig) == 0
    assert len(marks(rig, "recording_withheld")) == 1


def test_who_records_nobody_announces_nothing() -> None:
    rig = rig_with(recordings={"dir": None}).ring()
    rig.media().connect()
    rig.wait(3_000)
    assert marks(rig, "prompt_started", "recording_withheld") == []
