"""What a session is told that takes over from another: what was said, in its order, and no more."""

from collections.abc import Mapping
from typing import Any

from call_rig import NO_GREETING, CallRig, with_settings

from callerside.agent.call.history import MAX_ITEMS

TRANSCRIBED = with_settings(NO_GREETING, {"realtime": {"transcription_model": "whisper-1"}})


def listening() -> CallRig:
    rig = CallRig(TRANSCRIBED).listening()
    rig.forget()
    return rig


def told(rig: CallRig) -> list[str]:
    """What the next session is told, in short."""
    rig.lose()
    rig.wait(300)
    rig.forget()
    rig.connect()
    items = [event["item"] for event in rig.sent("conversation.item.create")]
    return [_in_short(item) for item in items[:-1]]  # the last says that the call goes on


def _in_short(item: Mapping[str, Any]) -> str:
    if item["type"] != "message":
        return f"{item['type']} {item['call_id']}"
    return str(item["content"][0]["text"])


def transcribed(rig: CallRig, item: str, words: str) -> None:
    rig.event(
        "conversation.item.input_audio_transcription.completed", item_id=item, transcript=words
    )


def test_a_question_stands_before_its_answer_though_its_words_come_later() -> None:
    rig = listening()
    rig.turn("u1")
    rig.respond(transcript="We are open until six.")
    transcribed(rig, "u1", "When do you close?")
    rig.wait(200)
    assert told(rig) == ["When do you close?", "We are open until six."]


def test_a_turn_whose_words_nobody_knows_is_left_out() -> None:
    rig = listening()
    rig.turn("u1")
    rig.respond(transcript="We are open until six.")
    rig.wait(200)
    assert told(rig) == ["We are open until six."]


def test_of_an_answer_that_was_cut_short_counts_what_was_heard() -> None:
    rig = listening()
    rig.turn("u1")
    rig.respond(transcript="one two three four five six seven eight", audio_ms=2_000)
    rig.wait(1_000)
    rig.event("input_audio_buffer.speech_started", item_id="u2", audio_start_ms=0)
    assert told(rig) == ["one two three four ... (the caller interrupted here)"]


def test_an_answer_of_which_nothing_was_heard_was_not_said() -> None:
    rig = listening()
    rig.held = True
    rig.turn("u1")
    rig.respond(transcript="one two three", audio_ms=2_000)
    rig.event("input_audio_buffer.speech_started", item_id="u2", audio_start_ms=0)
    assert told(rig) == []


def test_words_that_come_behind_the_interruption_are_cut_as_well() -> None:
    rig = listening()
    rig.turn("u1")
    rig.event("response.created", response={"id": "r1"})
    rig.delta(2_000)
    rig.wait(1_000)
    rig.event("input_audio_buffer.speech_started", item_id="u2", audio_start_ms=0)
    rig.event(
        "response.output_audio_transcript.done",
        response_id="r1",
        item_id="a1",
        transcript="one two three four five six seven eight",
    )
    assert told(rig) == ["one two three four ... (the caller interrupted here)"]


def test_an_answer_is_never_told_without_the_call_that_it_answers() -> None:
    rig = listening()
    call = {"type": "function_call", "status": "completed", "name": "none", "arguments": "{}"}
    rig.turn("u0")
    rig.event("response.created", response={"id": "r0"})
    rig.response_done("r0", output=[{**call, "id": "i0", "call_id": "c0"}])
    for number in range(MAX_ITEMS - 1):
        transcribed(rig, f"u{number + 1}", f"word {number}")
    kept = told(rig)
    assert len(kept) == MAX_ITEMS - 1
    assert not [one for one in kept if one.startswith("function_call")]


def test_of_an_answer_that_its_session_took_along_nothing_was_said() -> None:
    """Its words came ahead of its sound, and the next session is asked for all of it anew."""
    rig = listening()
    rig.turn("u1")
    rig.event("response.created", response={"id": "r1"})
    rig.delta(500)
    ids = {"response_id": "r1", "item_id": "a1"}
    words = "one two three four five six seven eight"
    rig.event("response.output_audio_transcript.done", **ids, transcript=words)
    rig.wait(200)
    assert told(rig) == []
    assert len(rig.sent("response.create")) == 1


def test_an_answer_that_is_all_here_is_said_though_its_session_goes_before_its_end() -> None:
    rig = listening()
    rig.turn("u1")
    rig.event("response.created", response={"id": "r1"})
    rig.delta(500)
    ids = {"response_id": "r1", "item_id": "a1"}
    rig.event("response.output_audio.done", **ids)
    rig.event("response.output_audio_transcript.done", **ids, transcript="one two three")
    assert told(rig) == ["one two three"]
