"""Where the model says nothing in time, the caller hears words of ours all the same."""

from call_rig import NO_GREETING, CallRig, with_settings

from callerside.agent.call import events
from callerside.agent.call.events import Timer
from callerside.agent.call.prompts import prompt_key
from callerside.agent.config.settings import CallSettings
from callerside.agent.prompts.cache import Prompt

SECOND = b"\4\0" * 24_000


def with_prompts(settings: dict[str, object]) -> CallRig:
    failure = (resolved := CallSettings.model_validate(settings)).failure
    return CallRig(
        settings,
        prompts={
            prompt_key(resolved, failure.hold_instructions): Prompt(pcm=SECOND, transcript=""),
            prompt_key(resolved, failure.farewell_instructions): Prompt(pcm=SECOND, transcript=""),
        },
    )


def prompts(rig: CallRig) -> list[object]:
    return [fields["prompt"] for fields in rig.marks("prompt_started")]


def test_the_first_caller_whose_greeting_waits_for_a_session_is_asked_to_hold_on() -> None:
    rig = with_prompts({"beep": {"enabled": False}, "failure": {"hold_after_ms": 1500}})
    rig.ring().media()
    rig.wait(600)
    assert prompts(rig) == []
    rig.wait(1500)
    assert prompts(rig) == ["hold"]
    rig.wait(1000)
    rig.connect()
    assert rig.marks("greeting_requested")
    rig.wait(5000)
    assert prompts(rig) == ["hold"], "once, and not while the session makes the greeting"


def test_a_greeting_from_the_cache_needs_no_session() -> None:
    settings = CallSettings.model_validate({})
    key = prompt_key(settings, settings.greeting.instructions)
    rig = CallRig({}, prompts={key: Prompt(pcm=SECOND * 6, transcript="Hello.")}).ring().media()
    rig.wait(5000)
    assert rig.marks("greeting_started")
    assert prompts(rig) == []


def goodbye() -> CallRig:
    """The caller has said nothing for so long that the model is to take leave."""
    rig = with_prompts(with_settings(NO_GREETING, {"limits": {"silence_ms": 5000}}))
    rig.listening()
    rig.wait(5000)
    rig.event("response.created", response={"id": "bye", "metadata": {"purpose": "goodbye"}})
    return rig


def test_last_words_whose_sound_never_comes_are_ours() -> None:
    rig = goodbye()
    rig.wait(14_900)
    assert not rig.asked(events.HangUp)
    rig.wait(200)
    assert prompts(rig) == ["farewell"]
    assert not rig.asked(events.HangUp), "they are heard first"
    rig.wait(1100)
    assert rig.asked(events.HangUp)
    assert rig.marks("hang_up_sent") == [{"reason": "limit reached: silence"}]
    assert "farewell" in [fields["what"] for fields in rig.marks("watchdog_fired")]


def test_last_words_that_are_being_heard_are_not_said_twice() -> None:
    rig = goodbye()
    rig.wait(13_000)
    rig.delta(1000, response="bye")
    rig.wait(2500)
    assert prompts(rig) == []
    assert Timer.FAREWELL_LIMIT not in rig.timers
    assert rig.asked(events.HangUp)
