"""Answers that the caller cannot use, and functions that are slow, broken, or never come back."""

import json
from typing import Any

import pytest
from call_rig import NO_GREETING, CallRig, with_settings

from callerside.agent.call import events
from callerside.agent.call.events import ToolFinished
from callerside.agent.call.prompts import PromptName, own_words, prompt_key
from callerside.agent.call.states import State
from callerside.agent.config.settings import CallSettings
from callerside.agent.prompts.cache import Prompt
from callerside.agent.telephony.interface import DtmfReceived

SECOND = b"\4\0" * 24_000
DAY = {"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]}
HOURS = {"type": "function", "name": "hours", "description": "x", "parameters": DAY}
TOO_LONG = {"type": "incomplete", "reason": "max_output_tokens"}
FILTERED = {"type": "incomplete", "reason": "content_filter"}


def listening(settings: dict[str, Any] | None = None) -> CallRig:
    """A call that waits for the caller's first words, all of the agent's own words made."""
    given = with_settings(NO_GREETING, settings or {})
    resolved = CallSettings.model_validate(given)
    prompts = {
        prompt_key(resolved, text): Prompt(pcm=SECOND, transcript="")
        for text in own_words(resolved).values()
    }
    rig = CallRig(given, tools=[HOURS], prompts=prompts).listening()
    rig.forget()
    return rig


def call(arguments: str, call_id: str = "c1", **fields: Any) -> dict[str, Any]:
    item = {"id": f"i{call_id}", "type": "function_call", "status": "completed", "name": "hours"}
    return {**item, "call_id": call_id, "arguments": arguments, **fields}


def answered(
    rig: CallRig,
    *items: dict[str, Any],
    status: str = "completed",
    audio_ms: float = 0,
    details: dict[str, Any] | None = None,
    response: str = "r1",
    asked: bool = False,
) -> CallRig:
    """A response, from its creation to its end."""
    metadata = {"purpose": "turn"} if asked else None
    rig.event("response.created", response={"id": response, "metadata": metadata})
    if audio_ms:
        rig.delta(audio_ms, response=response, item=f"a{response}")
    done = {"id": response, "status": status, "status_details": details, "output": [*items]}
    rig.event("response.done", response=done)
    return rig


def prompts(rig: CallRig) -> list[str]:
    return [str(fields["prompt"]) for fields in rig.marks("prompt_started")]


def repairs(rig: CallRig) -> list[str]:
    return [str(fields["by"]) for fields in rig.marks("answer_repaired")]


def asked_for(rig: CallRig) -> list[dict[str, Any]]:
    return [dict(event["response"]) for event in rig.sent("response.create")]


def refused(rig: CallRig) -> CallRig:
    """What was asked for last meets an answer that the server has begun by itself, `own`."""
    request = rig.sent("response.create")[-1]
    rig.event("response.created", response={"id": "own"})
    code = "conversation_already_has_active_response"
    rig.event("error", error={"code": code, "message": "x", "event_id": request["event_id"]})
    return rig


# Without sound.


@pytest.mark.parametrize(
    ("turns", "asked_again"),
    [({}, 0), ({"policy": "local"}, 1), ({"vad": {"create_response": False}}, 1)],
)
def test_an_answer_that_the_server_begins_meanwhile_is_what_was_to_be_asked_for_again(
    turns: dict[str, Any], asked_again: int
) -> None:
    rig = listening({"turns": turns})
    answered(rig)
    asked = len(asked_for(refused(rig)))
    rig.delta(300, response="own", item="a2")
    rig.response_done("own", item="a2")
    assert len(asked_for(rig)) == asked + asked_again


def test_and_is_repaired_itself_where_it_has_no_sound() -> None:
    rig = listening()
    rig.turn()
    answered(rig)
    refused(rig)
    rig.response_done("own")
    assert repairs(rig) == ["asked_again", "apology"], "as any second one in a row"


def test_and_does_not_answer_the_keys_that_were_pressed() -> None:
    """The server has begun it before it was told of them."""
    rig = listening()
    rig.turn()
    answered(rig, audio_ms=300)
    rig.tell(DtmfReceived(digit="#", method="rfc4733"))
    refused(rig)
    rig.delta(300, response="own", item="a2")
    rig.response_done("own", item="a2")
    assert len(asked_for(rig)) == 2


def test_what_is_asked_for_again_waits_with_keys_and_both_are_one_request() -> None:
    """Which is for the keys, too: what the server begins meanwhile does not answer them."""
    rig = listening()
    rig.turn()
    watchdog_ms = rig.settings.turns.watchdogs.response_ms
    rig.wait(2 * watchdog_ms)
    rig.lose()
    rig.wait(rig.settings.failure.retry_delay_ms)
    rig.tell(DtmfReceived(digit="#", method="rfc4733"))
    rig.forget()
    rig.connect()
    assert len(asked_for(rig)) == 1
    refused(rig)
    rig.delta(300, response="own", item="a2")
    rig.response_done("own", item="a2")
    assert len(asked_for(rig)) == 2


def test_an_answer_that_was_only_written_is_asked_for_again_as_speech_then_given_up() -> None:
    rig = listening()
    rig.turn()
    answered(rig)
    assert rig.marks("response_silent") == [{"response": "r1"}]
    (request,) = asked_for(rig)
    assert "aloud" in request["instructions"]
    assert request["instructions"].startswith(rig.settings.instructions)
    assert request["tool_choice"] == "none"
    assert rig.state == State.PROCESSING, "the turn is not over"
    answered(rig, response="r2", asked=True)
    rig.wait(1500)
    assert repairs(rig) == ["asked_again", "apology"]
    assert prompts(rig) == ["apology"]
    assert len(asked_for(rig)) == 1
    assert rig.state == State.LISTENING


def test_audio_in_which_nothing_sounds_is_asked_for_again_and_not_waited_out() -> None:
    rig = listening()
    rig.turn()
    rig.event("response.created", response={"id": "r1", "metadata": None})
    nearly_silent = b"\4\0" * 60 * rig.rate_hz  # -78 dBFS, for a minute
    ids = {"response_id": "r1", "item_id": "a1"}
    rig.event("response.output_audio.delta", **ids, delta=nearly_silent)
    rig.wait(100)
    rig.event("response.done", response={"id": "r1", "status": "completed", "output": []})
    assert repairs(rig) == ["asked_again"]
    assert rig.marks("response_silent") == [{"response": "r1"}]
    assert not rig.sent("conversation.item.truncate"), "nothing that was said is lost"
    assert not rig.marks("playout_cleared"), "nobody has barged in"
    answered(rig, audio_ms=200, response="r2", asked=True)
    rig.wait(300)
    assert [one["item"] for one in rig.marks("playout_ended")] == ["a1", "ar2"]
    assert rig.state is State.LISTENING


def test_sound_behind_a_long_silence_is_an_answer() -> None:
    rig = listening()
    rig.turn()
    rig.event("response.created", response={"id": "r1", "metadata": None})
    ids = {"response_id": "r1", "item_id": "a1"}
    for samples in (b"\0\0" * rig.rate_hz, b"\0\2" * 60):  # the sound is shorter than a frame
        rig.event("response.output_audio.delta", **ids, delta=samples)
    rig.event("response.done", response={"id": "r1", "status": "completed", "output": []})
    assert not repairs(rig)


def test_what_is_spoken_at_last_ends_the_turn() -> None:
    rig = listening()
    rig.turn()
    answered(rig)
    answered(rig, response="r2", asked=True, audio_ms=200)
    rig.wait(400)
    assert rig.state == State.LISTENING
    rig.turn("u2")
    answered(rig, response="r3")
    assert repairs(rig) == ["asked_again", "asked_again"], "each turn has its own tries"


def test_without_retries_the_caller_is_told_at_once() -> None:
    rig = listening({"answers": {"spoken_retries": 0}})
    rig.turn()
    answered(rig)
    assert repairs(rig) == ["apology"]
    assert not asked_for(rig)


def test_a_caller_who_speaks_again_has_moved_on() -> None:
    rig = listening()
    rig.turn()
    rig.event("response.created", response={"id": "r1"})
    rig.event("input_audio_buffer.speech_started", item_id="u2", audio_start_ms=2000)
    rig.event("response.done", response={"id": "r1", "status": "completed", "output": []})
    assert not asked_for(rig)
    assert not repairs(rig)


# Cut short.


@pytest.mark.parametrize(
    ("status", "details"), [("incomplete", TOO_LONG), ("cancelled", {"reason": "turn_detected"})]
)
def test_an_answer_that_is_cut_short_is_continued_once(
    status: str, details: dict[str, Any]
) -> None:
    rig = listening()
    rig.turn()
    answered(rig, status=status, details=details, audio_ms=400)
    (request,) = asked_for(rig)
    assert "Go on" in request["instructions"]
    rig.wait(600)
    assert rig.state == State.PROCESSING
    answered(rig, status=status, details=details, audio_ms=400, response="r2", asked=True)
    rig.wait(2000)
    assert repairs(rig) == ["continued", "apology"]
    assert prompts(rig) == ["apology"]
    incomplete = [fields["response"] for fields in rig.marks("response_incomplete")]
    assert incomplete == (["r1", "r2"] if status == "incomplete" else [])


def test_an_answer_is_continued_as_often_as_the_settings_say_and_no_more() -> None:
    rig = listening({"answers": {"continuations": 2}})
    rig.turn()
    answered(rig, status="incomplete", details=TOO_LONG, audio_ms=400)
    for response in ("r2", "r3"):
        rig.wait(600)
        answered(
            rig,
            status="incomplete",
            details=TOO_LONG,
            audio_ms=400,
            response=response,
            asked=True,
        )
    rig.wait(2000)
    assert repairs(rig) == ["continued", "continued", "apology"]


def test_an_answer_that_failed_is_asked_for_again_as_it_was_and_not_as_a_greeting() -> None:
    rig = listening()
    rig.turn()
    answered(rig, status="failed", details={"error": {"code": "server_error"}})
    rig.wait(5000)
    (request,) = asked_for(rig)
    assert "instructions" not in request


def test_an_answer_of_more_items_than_anybody_says_is_heard_up_to_there() -> None:
    rig = listening()
    rig.turn()
    rig.event("response.created", response={"id": "r1"})
    for number in range(70):
        rig.delta(20, item=f"a{number}")
    dropped = [fields["reason"] for fields in rig.marks("event_dropped")]
    assert dropped == ["more than 64 items"] * 6


def test_a_response_that_calls_functions_one_after_another_is_no_stalled_one() -> None:
    rig = listening()
    rig.turn()
    rig.event("response.created", response={"id": "r1"})
    for number in range(3):
        rig.wait(rig.settings.turns.watchdogs.response_end_ms - 200)
        item = call('{"day": "Sunday"}', f"c{number}")
        rig.event("response.output_item.done", response_id="r1", item=item)
    fired = {fields["what"] for fields in rig.marks("watchdog_fired")}
    assert fired == {"tool"}  # which are not answered here; the response was not given up


def test_a_caller_who_speaks_on_waits_for_no_answer_to_what_was_said_before() -> None:
    rig = listening()
    rig.turn()
    rig.event("input_audio_buffer.speech_started", item_id="u2", audio_start_ms=2000)
    rig.wait(rig.settings.turns.watchdogs.response_ms + 100)
    assert "response" not in [fields["what"] for fields in rig.marks("watchdog_fired")]


def test_what_a_filter_has_cut_is_not_continued() -> None:
    rig = listening()
    rig.turn()
    answered(rig, status="incomplete", details=FILTERED, audio_ms=400)
    rig.wait(2000)
    assert not asked_for(rig)
    assert prompts(rig) == ["apology"]
    assert rig.marks("response_incomplete")[0]["reason"] == "content_filter"


def test_an_answer_that_the_caller_stopped_is_not_continued() -> None:
    rig = listening()
    rig.turn()
    rig.event("response.created", response={"id": "r1"})
    rig.delta(3000)
    rig.wait(200)
    rig.event("input_audio_buffer.speech_started", item_id="u2", audio_start_ms=2000)
    done = {"id": "r1", "status": "cancelled", "status_details": {"reason": "turn_detected"}}
    rig.event("response.done", response=done)
    assert not repairs(rig)


def test_a_goodbye_that_is_cut_short_is_the_last_word_all_the_same() -> None:
    rig = listening({"limits": {"silence_ms": 5000}})
    rig.wait(5100)
    rig.event("response.created", response={"id": "r1", "metadata": {"purpose": "goodbye"}})
    rig.delta(300)
    done = {"id": "r1", "status": "incomplete", "status_details": TOO_LONG}
    rig.event("response.done", response=done)
    rig.wait(500)
    assert not repairs(rig)
    assert rig.marks("hang_up_sent")


# Functions.


def test_a_sentence_before_a_function_is_heard_while_it_runs_and_the_turn_is_not_over() -> None:
    rig = listening()
    rig.turn()
    answered(rig, call('{"day": "Sunday"}'), audio_ms=600)
    assert len(rig.asked(events.RunTool)) == 1, "at once, not when it has been heard"
    assert rig.state == State.STREAMING_RESPONSE
    rig.wait(1000)
    assert rig.state == State.PROCESSING
    rig.tell(ToolFinished(call_id="c1", ok=True, output="closed"))
    assert len(asked_for(rig)) == 1
    answered(rig, response="r2", asked=True, audio_ms=200)
    rig.wait(400)
    assert rig.state == State.LISTENING


def test_a_function_of_an_incomplete_response_runs_if_its_call_is_whole() -> None:
    rig = listening()
    rig.turn()
    cut = call('{"day": "Su', "c2", status="incomplete")
    answered(rig, call('{"day": "Sunday"}'), cut, status="incomplete", details=TOO_LONG)
    assert [run.call_id for run in rig.asked(events.RunTool)] == ["c1"]
    assert not repairs(rig)
    rig.tell(ToolFinished(call_id="c1", ok=True, output="closed"))
    assert len(asked_for(rig)) == 1


def test_a_model_that_does_nothing_but_call_functions_is_to_answer_in_the_end() -> None:
    rig = listening({"tools": {"calls_in_a_row": 3}})
    rig.turn()
    for number in range(1, 7):
        fine = call('{"day": "Sunday"}', f"c{number}")
        answered(rig, fine, response=f"r{number}", asked=number > 1)
        rig.tell(ToolFinished(call_id=f"c{number}", ok=True, output="closed"))
    choices = [request.get("tool_choice") for request in asked_for(rig)]
    assert choices == [None, None, "none", None, None, "none"]
    assert rig.marks("tools_withheld") == [{"tries": 3}, {"tries": 3}]


def test_an_answer_between_calls_begins_their_count_anew() -> None:
    rig = listening({"tools": {"calls_in_a_row": 2}})
    for number in range(1, 4):
        rig.turn()
        answered(rig, call('{"day": "Sunday"}', f"c{number}"), response=f"r{number}")
        rig.tell(ToolFinished(call_id=f"c{number}", ok=True, output="closed"))
        answered(rig, audio_ms=200, response=f"s{number}", asked=True)
    assert not rig.marks("tools_withheld")


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (call("{'day': "), "not JSON"),
        (call("{}"), "arguments are missing: day"),
        (call("{}", name="weather"), "there is no function 'weather'"),
    ],
)
def test_a_model_that_calls_wrongly_may_try_once_more_then_it_answers_without(
    broken: dict[str, Any], told: str
) -> None:
    rig = listening()
    rig.turn()
    answered(rig, broken)
    (output,) = [event["item"]["output"] for event in rig.sent("conversation.item.create")]
    assert told in json.loads(output)["error"]
    answered(rig, {**broken, "call_id": "c2"}, response="r2", asked=True)
    first, second = asked_for(rig)
    assert "tool_choice" not in first
    assert second["tool_choice"] == "none"
    assert "instructions" not in second
    assert rig.marks("tools_withheld") == [{"tries": 2}]
    assert not rig.asked(events.RunTool)


def test_a_call_that_can_be_made_ends_the_row() -> None:
    rig = listening()
    rig.turn()
    for number, arguments in enumerate(["{", '{"day": "x"}', "{"]):
        one = call(arguments, f"c{number}")
        answered(rig, one, response=f"r{number}", asked=number > 0)
        rig.tell(ToolFinished(call_id=f"c{number}", ok=True, output="y"))
    assert all("tool_choice" not in request for request in asked_for(rig))


def waiting(settings: dict[str, Any] | None = None) -> CallRig:
    limits = {"limits": {"tool_ms": 60_000}}
    rig = listening(with_settings(limits, settings or {}))
    rig.turn()
    return answered(rig, call('{"day": "Sunday"}'))


def test_a_function_that_takes_long_is_told_of_again_and_again() -> None:
    rig = waiting()
    rig.wait(3900)
    assert not prompts(rig)
    rig.wait(200)
    assert prompts(rig) == ["wait"]
    rig.wait(1000 + 7800)
    assert prompts(rig) == ["wait"]
    rig.wait(300)
    assert prompts(rig) == ["wait", "wait"]
    assert not rig.marks("playout_cleared")


def test_the_answer_cuts_off_what_only_filled_the_silence() -> None:
    rig = waiting()
    rig.wait(4200)
    rig.tell(ToolFinished(call_id="c1", ok=True, output="closed"))
    rig.event("response.created", response={"id": "r2", "metadata": {"purpose": "turn"}})
    rig.wait(100)
    assert not rig.marks("prompt_ended"), "the answer has not begun yet"
    rig.delta(400, response="r2", item="a2")
    (ended,) = rig.marks("prompt_ended")
    assert ended["prompt"] == "wait"
    assert 200 <= ended["played_ms"] < 400
    rig.wait(40)
    assert rig.marks("playout_started") == [{"item": "a2"}]
    assert not rig.marks("playout_cleared")
    assert not rig.sent("conversation.item.truncate")


@pytest.mark.parametrize(("wait", "heard"), [("tone", ["tone"]), ("off", [])])
def test_a_tone_or_nothing_if_it_is_set_so(wait: str, heard: list[str]) -> None:
    rig = waiting({"tools": {"wait": wait}})
    rig.wait(6000)
    assert prompts(rig) == heard


def test_nobody_is_told_to_wait_while_speaking() -> None:
    rig = waiting()
    rig.wait(3000)
    rig.event("input_audio_buffer.speech_started", item_id="u2", audio_start_ms=2000)
    rig.wait(6000)
    assert not prompts(rig)


def test_a_sentence_before_the_function_is_no_silence() -> None:
    rig = listening({"limits": {"tool_ms": 60_000}})
    rig.turn()
    answered(rig, call('{"day": "Sunday"}'), audio_ms=3000)
    rig.wait(3000 + 3900)
    assert not prompts(rig)
    rig.wait(300)
    assert prompts(rig) == ["wait"]


def test_a_function_that_outlives_the_call_is_marked_and_its_result_dropped() -> None:
    rig = waiting()
    rig.wait(700)
    rig.hang_up()
    assert rig.marks("tool_cancelled") == [{"name": "hours", "call_id": "c1", "ran_ms": 700.0}]
    assert not rig.tell(ToolFinished(call_id="c1", ok=True, output="late"))


def test_a_function_that_has_answered_is_not_cancelled() -> None:
    rig = waiting()
    rig.tell(ToolFinished(call_id="c1", ok=True, output="closed"))
    rig.hang_up()
    assert not rig.marks("tool_cancelled")


# What is said.


def test_words_that_are_the_same_are_one_prompt_and_serve_both() -> None:
    hold, wait = {"hold_instructions": "Say: wait."}, {"wait_instructions": "Say: wait."}
    limits = {"limits": {"tool_ms": 60_000}}
    rig = listening(with_settings(limits, {"failure": hold}, {"tools": wait}))
    rig.turn()
    answered(rig, call('{"day": "Sunday"}'))
    rig.wait(4500)
    assert prompts(rig) == [PromptName.WAIT]


def test_an_overloaded_server_is_given_time() -> None:
    rig = listening({"failure": {"rate_limit_delay_ms": 5000}})
    rig.turn()
    details = {"error": {"code": "rate_limit_exceeded"}}
    answered(rig, status="failed", details=details)
    rig.wait(4900)
    assert prompts(rig) == ["hold"]
    assert not asked_for(rig)
    rig.wait(200)
    assert len(asked_for(rig)) == 1
