"""From INVITE to the caller's first chance to speak: answer, beep, greeting."""

from collections.abc import Callable

import numpy as np
import pytest
from call_rig import CallRig, with_settings

from callerside.agent.call import events
from callerside.agent.call.events import PromptLoaded, Timer
from callerside.agent.call.prompts import prompt_key
from callerside.agent.call.states import State
from callerside.agent.config.settings import CallSettings
from callerside.agent.prompts.cache import Prompt
from callerside.agent.realtime.interface import RealtimeGarbage
from callerside.agent.telephony.interface import (
    CallAnswered,
    CallReceived,
    DtmfReceived,
    HungUp,
    MediaReady,
)
from callerside.audio import to_samples

NO_BEEP = {"beep": {"enabled": False}}


def cached(settings: CallSettings | None = None, transcript: str = "Good day.") -> CallRig:
    settings = settings or CallSettings()
    key = prompt_key(settings, settings.greeting.instructions)
    prompt = Prompt(pcm=b"\3\0" * 24_000, transcript=transcript)
    return CallRig(settings.model_dump(), prompts={key: prompt})


def greeting_key(rig: CallRig) -> str:
    return prompt_key(rig.settings, rig.settings.greeting.instructions)


def test_the_call_is_answered_before_anything_else_and_the_api_is_called_meanwhile() -> None:
    rig = CallRig()
    asked = rig.tell(CallReceived(called="100", caller="200", sip_call_id="s"))
    kinds = [type(effect) for effect in asked if not isinstance(effect, events.EmitMark)]
    assert kinds[0] is events.Answer
    assert events.ConnectRealtime in kinds
    assert rig.state == State.ANSWERING_CALL


def test_the_happy_order_of_states() -> None:
    rig = CallRig().ring()
    rig.media().connect()
    rig.wait(500)
    rig.respond("g1", item="gi", audio_ms=200, purpose="greeting")
    rig.wait(300)
    rig.turn()
    rig.respond("r1", audio_ms=100)
    rig.wait(200)
    rig.hang_up()
    assert rig.states() == [
        "CALL_RECEIVED",
        "ANSWERING_CALL",
        "CONNECTING_OPENAI",
        "MEDIA_READY",
        "SENDING_GREETING",
        "LISTENING",
        "RECORDING_AUDIO",
        "COMMITTING_INPUT",
        "PROCESSING",
        "STREAMING_RESPONSE",
        "LISTENING",
        "ENDED",
    ]


@pytest.mark.parametrize(
    "order", ["ack media api", "ack api media", "media ack api", "media api ack", "api ack media"]
)
def test_telephone_and_api_become_ready_in_any_order(order: str) -> None:
    rig = CallRig()
    rig.tell(CallReceived(called="100", caller="200", sip_call_id="s"))
    steps: dict[str, Callable[[], object]] = {
        "ack": lambda: rig.tell(CallAnswered()),
        "media": rig.media,
        "api": rig.connect,
    }
    for step in order.split():
        steps[step]()
    rig.wait(500)
    rig.respond("g1", item="gi", purpose="greeting")
    rig.wait(200)
    assert rig.state == State.LISTENING


def test_a_beep_of_440_hz_and_400_ms_when_media_is_up() -> None:
    rig = CallRig().ring().media()
    (play,) = rig.asked(events.Play)
    assert len(play.pcm) == 2 * 24_000 * 400 // 1000
    peak = np.abs(to_samples(play.pcm)).max() / 32768
    assert 20 * np.log10(peak) == pytest.approx(-12, abs=0.1)
    rig.wait(600)
    (started,), (ended,) = rig.mark_times_ms("beep_started"), rig.mark_times_ms("beep_ended")
    assert (started, ended) == (20, 400)


def test_the_greeting_comes_from_the_cache_500_ms_after_media_without_any_api() -> None:
    rig = cached().ring().media()
    rig.wait(2000)
    assert rig.marks("greeting_started") == [{"origin": "cache"}]
    assert rig.mark_times_ms("greeting_started") == [500]
    assert rig.marks("greeting_ended") == [{"played_ms": 1000, "interrupted": False}]
    assert not rig.sent("response.create")
    assert rig.state == State.CONNECTING_OPENAI
    rig.connect()
    assert rig.state == State.LISTENING


def test_the_session_learns_the_words_of_a_cached_greeting_before_it_hears_the_caller() -> None:
    rig = cached().ring().media()
    rig.caller_audio(100)
    rig.connect()
    sent = rig.sent_types()
    assert sent[:3] == ["session.update", "conversation.item.create", "input_audio_buffer.append"]
    (item,) = rig.sent("conversation.item.create")
    assert item["item"]["role"] == "assistant"
    assert item["item"]["content"] == [{"type": "output_text", "text": "Good day."}]


def test_a_cached_greeting_without_known_words_still_keeps_the_model_from_greeting() -> None:
    rig = cached(transcript="").ring().media().connect()
    (item,) = rig.sent("conversation.item.create")
    assert item["item"]["role"] == "system"


def test_a_greeting_that_is_not_cached_is_asked_for_and_stored_when_it_is_whole() -> None:
    rig = CallRig().ring().media().connect()
    rig.wait(499)
    assert not rig.sent("response.create")
    rig.wait(1)
    (request,) = rig.sent("response.create")
    assert request["response"]["instructions"] == rig.settings.greeting.instructions
    assert request["response"]["audio"]["output"]["voice"] == "marin"
    rig.respond("g1", item="gi", audio_ms=300, purpose="greeting", transcript="Welcome!")
    (prompt,) = rig.stored.values()
    assert len(prompt.pcm) == 2 * 24_000 * 300 // 1000
    assert prompt.transcript == "Welcome!"
    assert rig.marks("greeting_cached")
    rig.wait(400)
    assert rig.marks("greeting_started") == [{"origin": "generated"}]
    assert rig.state == State.LISTENING


@pytest.mark.parametrize("status", ["cancelled", "failed", "incomplete"])
def test_a_greeting_that_is_not_whole_is_not_cached(status: str) -> None:
    rig = CallRig().ring().media().connect()
    rig.wait(500)
    rig.respond("g1", item="gi", purpose="greeting", done=status)
    rig.wait(300)
    assert not rig.stored
    assert rig.state == State.LISTENING


def test_an_answer_to_the_caller_is_never_taken_for_the_greeting() -> None:
    rig = CallRig({"greeting": {"interruptible": True}}).ring().media().connect()
    rig.wait(500)
    rig.turn()
    rig.event("response.created", response={"id": "r1", "metadata": None})
    rig.event("response.created", response={"id": "g1", "metadata": {"purpose": "greeting"}})
    rig.delta(100, response="g1", item="gi")
    rig.response_done("g1", item="gi")
    rig.wait(1_000)
    assert rig.marks("greeting_ended") == [{"played_ms": 100.0, "interrupted": False}]
    assert not rig.stored


@pytest.mark.parametrize("refused", ["before it is heard", "after it is done", "never"])
def test_an_answer_that_crosses_the_request_for_the_greeting_is_nobodys_greeting(
    refused: str,
) -> None:
    """The server's own answer says nothing of its purpose, whatever we have asked for meanwhile."""
    rig = CallRig({"greeting": {"interruptible": True}}).ring().media().connect()
    rig.wait(490)
    rig.event("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
    rig.wait(10)
    (request,) = rig.sent("response.create")
    error = {
        "code": "conversation_already_has_active_response",
        "event_id": request["event_id"],
    }
    rig.event("input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=9)
    rig.event("input_audio_buffer.committed", item_id="u1")
    rig.event("response.created", response={"id": "r1", "metadata": None})
    if refused == "before it is heard":
        rig.event("error", error=error)
    rig.delta(2_000)
    rig.response_done(transcript="Your balance is 400 euros.")
    if refused == "after it is done":
        rig.event("error", error=error)
    rig.wait(5_500)
    assert not rig.stored
    assert not rig.marks("greeting_started")
    assert rig.marks("playout_ended") == [{"item": "a1", "played_ms": 2000.0}]
    assert rig.state == State.LISTENING, "the call goes on without a greeting"
    assert Timer.SILENCE_LIMIT in rig.timers


def test_the_greeting_that_comes_behind_an_answer_is_the_greeting_all_the_same() -> None:
    rig = CallRig({"greeting": {"interruptible": True}}).ring().media().connect()
    rig.wait(490)
    rig.turn()
    rig.wait(10)
    rig.respond("r1", audio_ms=500, transcript="Your balance is 400 euros.")
    rig.respond("g1", item="gi", audio_ms=300, purpose="greeting", transcript="Welcome!")
    rig.wait(2_000)
    assert rig.marks("greeting_ended") == [{"played_ms": 300.0, "interrupted": False}]
    assert {"item": "a1", "played_ms": 500.0} in rig.marks("playout_ended")
    assert not rig.stored, "it may repeat what this caller said"
    assert rig.state == State.LISTENING


@pytest.mark.parametrize("told", ["turn", "unanswered turn", "uncommitted turn", "keys", "nothing"])
def test_a_greeting_that_knows_of_this_caller_is_heard_and_not_cached(told: str) -> None:
    settings = {**NO_BEEP, "greeting": {"delay_ms": 2_500, "interruptible": True}}
    rig = CallRig(settings).ring().media().connect()
    rig.wait(300)
    if told in ("turn", "unanswered turn"):
        rig.turn()
    if told == "turn":
        rig.respond("r1", audio_ms=300, transcript="Mrs. Smith, your balance is 400 euros.")
    if told == "keys":
        for digit in "1234#":
            rig.tell(DtmfReceived(digit=digit, method="rfc4733"))
    rig.wait(2_200)
    if told == "uncommitted turn":
        rig.event("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
        rig.event("input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=900)
    rig.respond("g1", item="gi", audio_ms=500, purpose="greeting", transcript="Hello again!")
    rig.wait(1_000)
    assert rig.marks("greeting_ended") == [{"played_ms": 500.0, "interrupted": False}]
    assert bool(rig.stored) is (told == "nothing")


def test_keys_that_come_between_the_request_and_the_greeting_keep_it_from_the_cache() -> None:
    rig = CallRig(NO_BEEP).ring().media().connect()
    rig.wait(500)
    assert rig.sent("response.create")
    rig.tell(DtmfReceived(digit="#", method="rfc4733"))
    rig.respond("g1", item="gi", audio_ms=100, purpose="greeting")
    rig.wait(300)
    assert rig.marks("greeting_ended") == [{"played_ms": 100.0, "interrupted": False}]
    assert not rig.stored


def test_a_damaged_cache_file_is_marked_and_the_greeting_made_again() -> None:
    rig = CallRig()
    key = greeting_key(rig)
    machine_effects = rig.machine.handle(
        CallReceived(called="100", caller="200", sip_call_id="s"), rig.now_ns
    )
    assert any(isinstance(effect, events.LoadPrompt) for effect in machine_effects)
    rig.tell(PromptLoaded(key=key, pcm=None, damage="cut short"))
    rig.media().connect()
    rig.wait(500)
    assert rig.marks("greeting_damaged") == [{"key": key, "reason": "cut short"}]
    assert rig.sent("response.create")


def test_the_greeting_waits_for_a_slow_session() -> None:
    rig = CallRig().ring().media()
    rig.wait(3000)
    assert rig.state == State.SENDING_GREETING
    rig.connect()
    assert rig.sent("response.create")


def test_a_refused_greeting_does_not_stop_the_call() -> None:
    rig = CallRig().ring().media().connect()
    rig.wait(500)
    (request,) = rig.sent("response.create")
    error = {"code": "invalid_value", "message": "no such voice", "event_id": request["event_id"]}
    rig.event("error", error=error)
    assert rig.marks("realtime_error") == [{"code": "invalid_value", "message": "no such voice"}]
    assert rig.state == State.LISTENING
    rig.wait(20_000)
    assert len(rig.sent("response.create")) == 1, "nothing is asked that nobody wants"


def test_a_greeting_that_never_comes_is_given_up() -> None:
    rig = CallRig().ring().media().connect()
    rig.wait(500 + 3000)
    assert rig.marks("watchdog_fired") == [{"what": "response"}]
    assert rig.state == State.LISTENING


def test_the_callers_voice_is_held_back_while_an_uninterruptible_greeting_is_made() -> None:
    rig = CallRig().ring().media().connect()
    rig.wait(500)
    rig.forget()
    rig.caller_audio(100)
    assert not rig.sent("input_audio_buffer.append")
    rig.respond("g1", item="gi", audio_ms=1000, purpose="greeting")
    (append,) = rig.sent("input_audio_buffer.append")
    assert len(append["audio"]) == 2 * 2400
    rig.caller_audio(20)
    assert len(rig.sent("input_audio_buffer.append")) == 2


def test_speaking_over_an_uninterruptible_greeting_is_a_turn_behind_it() -> None:
    rig = cached().ring().media().connect()
    rig.wait(600)
    rig.turn()
    assert rig.state == State.SENDING_GREETING
    assert not rig.asked(events.ClearPlayout)
    rig.respond("r1", audio_ms=200)
    rig.wait(1500)
    assert rig.marks("greeting_ended") == [{"played_ms": 1000, "interrupted": False}]
    assert rig.marks("playout_ended") == [{"item": "a1", "played_ms": 200}]
    assert rig.state == State.LISTENING


def test_an_interruptible_greeting_stops_at_the_callers_voice() -> None:
    settings = CallSettings.model_validate({"greeting": {"interruptible": True}})
    rig = cached(settings).ring().media().connect()
    rig.wait(1020)
    rig.event("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
    assert rig.marks("greeting_ended") == [{"played_ms": 540, "interrupted": True}]
    assert not rig.sent("conversation.item.truncate"), "the server has no audio of it"
    assert rig.state == State.RECORDING_AUDIO


def test_a_generated_greeting_that_is_interrupted_is_truncated_and_not_cached() -> None:
    rig = CallRig({"greeting": {"interruptible": True}, **NO_BEEP}).ring().media().connect()
    rig.wait(500)
    rig.respond("g1", item="gi", audio_ms=1000, purpose="greeting", done=None)
    rig.wait(200)
    rig.event("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
    rig.response_done("g1", item="gi", status="cancelled")
    (truncate,) = rig.sent("conversation.item.truncate")
    assert (truncate["item_id"], truncate["audio_end_ms"]) == ("gi", 200)
    assert not rig.stored
    assert rig.state == State.RECORDING_AUDIO


def test_a_turn_behind_a_greeting_that_is_slowly_made_waits_for_its_end() -> None:
    rig = CallRig({"greeting": {"interruptible": True}, **NO_BEEP}).ring().media().connect()
    rig.event("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
    rig.wait(500)
    rig.respond("g1", item="gi", audio_ms=100, purpose="greeting", done=None)
    rig.event("input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=900)
    rig.event("input_audio_buffer.committed", item_id="u1")
    rig.wait(4_000)
    assert rig.state == State.SENDING_GREETING
    rig.response_done("g1", item="gi")
    assert len(rig.sent("response.create")) == 1, "the greeting's: the server may answer the turn"
    rig.wait(4_000)
    assert len(rig.sent("response.create")) == 2, "it did not"


def test_without_a_greeting_the_call_listens_at_once() -> None:
    rig = CallRig({"greeting": {"enabled": False}}).ring().media().connect()
    rig.wait(0)
    assert rig.state == State.LISTENING
    assert greeting_key(rig) not in [load.key for load in rig.asked(events.LoadPrompt)]


def test_a_greeting_that_is_not_to_be_cached_is_neither_looked_up_nor_stored() -> None:
    rig = CallRig({"greeting": {"cached": False}}).ring().media().connect()
    rig.wait(500)
    rig.respond("g1", item="gi", purpose="greeting")
    assert greeting_key(rig) not in [load.key for load in rig.asked(events.LoadPrompt)]
    assert not rig.stored


def test_caller_audio_from_before_the_session_is_kept_and_sent() -> None:
    rig = CallRig(with_settings(NO_BEEP, {"greeting": {"enabled": False}})).ring().media()
    rig.caller_audio(2500)
    assert not rig.sent("input_audio_buffer.append")
    rig.connect()
    appends = rig.sent("input_audio_buffer.append")
    assert sum(len(append["audio"]) for append in appends) == 2 * 24 * 2500
    assert len(appends) == 3, "in large appends: one a second"


def test_kept_caller_audio_is_bounded_and_the_oldest_is_lost() -> None:
    settings = {"greeting": {"enabled": False}, "limits": {"capture_ms": 1000}}
    rig = CallRig(settings).ring().media()
    rig.caller_audio(500, b"\7\0")
    rig.caller_audio(1000, b"\1\0")
    rig.connect()
    audio = b"".join(append["audio"] for append in rig.sent("input_audio_buffer.append"))
    assert audio == b"\1\0" * 24_000
    assert rig.marks("capture_overflowed") == [{"dropped_ms": 500}]


def test_a_reinvite_does_not_beep_again() -> None:
    rig = CallRig().ring().media()
    rig.wait(100)
    rig.forget()
    rig.tell(MediaReady(codec="PCMA"))
    assert rig.marks("media_resumed") == [{}]
    assert not rig.asked(events.Play)


def test_a_call_that_never_gets_media_is_ended() -> None:
    rig = CallRig().ring()
    rig.wait(10_000)
    assert rig.marks("hang_up_sent") == [{"reason": "limit reached: media"}]
    rig.tell(HungUp(by="agent", status=200, reason="bye"))
    assert rig.state == State.ENDED
    assert rig.finished


@pytest.mark.parametrize("moment", ["ring", "media", "connect", "greeting", "turn", "reply"])
def test_hanging_up_at_any_moment_ends_everything(moment: str) -> None:
    rig = CallRig().ring()
    if moment != "ring":
        rig.media()
    if moment in ("connect", "greeting", "turn", "reply"):
        rig.connect()
        rig.wait(500)
    if moment in ("turn", "reply"):
        rig.respond("g1", item="gi", purpose="greeting")
        rig.wait(300)
        rig.turn()
    if moment == "reply":
        rig.respond("r1", audio_ms=5000, done=None)
        rig.wait(100)
    rig.hang_up()
    assert rig.finished
    assert not rig.timers
    assert rig.asked(events.CloseRealtime)
    assert rig.marks("call_ended") == [{"by": "caller", "status": 200, "reason": "OK"}]
    assert rig.caller_audio(20) == [], "nothing matters after the end"


def test_a_greeting_that_stalls_is_told_as_cut() -> None:
    rig = CallRig(NO_BEEP).ring().media().connect()
    rig.wait(500)
    rig.respond("g1", item="gi", audio_ms=400, purpose="greeting", done=None)
    rig.wait(20_000)
    assert rig.marks("greeting_ended") == [{"played_ms": 400.0, "interrupted": True}]
    assert not rig.stored
    assert rig.state == State.LISTENING


def test_a_disk_that_hangs_does_not_silence_the_call() -> None:
    rig = CallRig(NO_BEEP)
    rig.loads_prompts = False
    rig.ring().media().connect()
    rig.wait(1_499)
    assert not rig.sent("response.create")
    rig.wait(1)
    assert rig.marks("watchdog_fired") == [{"what": "greeting_due"}]
    assert len(rig.sent("response.create")) == 1
    rig.respond("g1", item="gi", purpose="greeting")
    rig.wait(200)
    assert rig.state == State.LISTENING
    greeting = PromptLoaded(key=greeting_key(rig), pcm=b"\3\0" * 24_000, transcript="Late.")
    rig.tell(greeting)
    rig.wait(1_000)
    assert len(rig.marks("greeting_started")) == 1, "what comes late is not played as well"


@pytest.mark.parametrize("is_cached", [True, False])
def test_a_key_pressed_before_the_greeting_is_answered_after_it(is_cached: bool) -> None:
    rig = cached() if is_cached else CallRig()
    rig.ring().media().connect()
    rig.wait(100)
    rig.tell(DtmfReceived(digit="#", method="rfc4733"))
    assert "I pressed #" in str(rig.sent("conversation.item.create")), "the model knows at once"
    assert not rig.sent("response.create")
    rig.wait(400)
    purposes = [
        request["response"]["metadata"]["purpose"] for request in rig.sent("response.create")
    ]
    assert purposes == ["turn" if is_cached else "greeting"]
    if not is_cached:
        rig.respond("g1", item="gi", audio_ms=100, purpose="greeting")
        assert len(rig.sent("response.create")) == 2
    rig.respond("r1", item="a1", audio_ms=100, purpose="turn")
    rig.wait(1_500)
    (greeted_ms,), started_ms = (
        rig.mark_times_ms("greeting_ended"),
        rig.mark_times_ms("playout_started"),
    )
    assert started_ms[-1] >= greeted_ms
    assert rig.state == State.LISTENING


@pytest.mark.parametrize("policy", ["server", "local"])
def test_neither_a_key_nor_a_voice_cuts_a_greeting_that_is_being_made(policy: str) -> None:
    rig = CallRig({**NO_BEEP, "turns": {"policy": policy}}).ring().media().connect()
    rig.wait(500)
    rig.respond("g1", item="gi", audio_ms=400, purpose="greeting", done=None)
    rig.tell(DtmfReceived(digit="1", method="rfc4733"))
    if policy == "local":
        rig.caller_audio(200, b"\0\0")
        rig.caller_audio(400, b"\0\x40")
        assert rig.marks("speech_started")
    assert not rig.marks("cancel_sent")
    rig.delta(400, response="g1", item="gi")
    rig.response_done("g1", item="gi")
    rig.wait(1_000)
    assert rig.marks("greeting_ended") == [{"played_ms": 800, "interrupted": False}]
    assert rig.stored


def test_a_greeting_behind_an_answer_that_a_key_stops_is_heard_and_the_call_is_not_mute() -> None:
    settings = {**NO_BEEP, "greeting": {"delay_ms": 2_500}}
    rig = CallRig(settings).ring().media().connect()
    rig.turn()
    rig.respond("r1", item="a1", audio_ms=6_000)
    rig.wait(2_500)
    rig.respond("g1", item="gi", audio_ms=500, purpose="greeting", done=None)
    rig.wait(400)
    rig.tell(DtmfReceived(digit="1", method="rfc4733"))
    rig.delta(500, response="g1", item="gi")
    rig.response_done("g1", item="gi")
    rig.wait(2_000)
    assert rig.marks("greeting_ended") == [{"played_ms": 1_000.0, "interrupted": False}]
    rig.turn("u2")
    rig.respond("r2", item="a2", audio_ms=300, purpose="turn")
    rig.wait(1_000)
    assert rig.marks("playout_ended")[-1] == {"item": "a2", "played_ms": 300.0}
    assert rig.state == State.LISTENING


def test_a_greeting_that_comes_while_an_answer_arrives_slowly_waits_for_its_end() -> None:
    settings = CallSettings.model_validate(NO_BEEP)
    greeting = Prompt(pcm=b"\3\0" * 24_000, transcript="Good day.")
    key = prompt_key(settings, settings.greeting.instructions)
    rig = CallRig(NO_BEEP, prompts={key: greeting}).ring().media().connect()
    rig.turn()
    rig.respond("r1", item="a1", audio_ms=200, done=None)
    rig.wait(1_000)
    rig.delta(200)
    rig.response_done("r1")
    rig.wait(2_000)
    assert rig.marks("playout_ended") == [{"item": "a1", "played_ms": 400.0}]
    assert rig.marks("greeting_ended") == [{"played_ms": 1_000.0, "interrupted": False}]
    assert rig.state == State.LISTENING


def test_a_greeting_with_a_hole_is_not_cached() -> None:
    rig = CallRig().ring().media().connect()
    rig.wait(500)
    rig.event("response.created", response={"id": "r1", "metadata": {"purpose": "greeting"}})
    rig.delta(500)
    rig.tell(RealtimeGarbage(reason="not JSON"))
    rig.delta(500)
    rig.response_done()
    assert not rig.stored


def test_a_greeting_that_waits_as_the_session_is_lost_is_asked_for_once() -> None:
    rig = CallRig().ring().media().connect()
    rig.event("response.created", response={"id": "r0"})  # of the server's own: ours waits
    rig.wait(500)
    rig.lose()
    rig.wait(300)
    rig.forget()
    rig.connect()
    rig.respond("r1", purpose="greeting", audio_ms=40)
    rig.wait(2_000)
    asked = [one["response"]["metadata"]["purpose"] for one in rig.sent("response.create")]
    assert asked == ["greeting"]
