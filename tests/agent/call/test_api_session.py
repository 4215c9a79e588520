"""The connection to the API: slow, refused, lost, expired; and what the caller hears meanwhile."""

import itertools
from typing import Any

import pytest
from call_rig import NO_GREETING, CallRig, with_settings

from callerside.agent.call import events
from callerside.agent.call.events import Timer
from callerside.agent.call.prompts import prompt_key
from callerside.agent.call.states import State
from callerside.agent.config.settings import CallSettings
from callerside.agent.prompts.cache import Prompt
from callerside.agent.telephony.interface import (
    CallAnswered,
    CallReceived,
    DtmfReceived,
    HungUp,
    TransferProgressed,
)

SECOND = b"\4\0" * 24_000


def with_prompts(settings: dict[str, Any] | None = None) -> CallRig:
    resolved = CallSettings.model_validate(settings or NO_GREETING)
    failure = resolved.failure
    prompts = {
        prompt_key(resolved, failure.hold_instructions): Prompt(pcm=SECOND, transcript=""),
        prompt_key(resolved, failure.farewell_instructions): Prompt(pcm=SECOND * 2, transcript=""),
    }
    return CallRig(settings or NO_GREETING, prompts=prompts)


def after_a_failed_response() -> CallRig:
    rig = with_prompts().listening()
    rig.turn()
    rig.event("response.created", response={"id": "f"})
    rig.response_done("f", status="failed", details={"error": {"code": "rate"}})
    return rig


def prompts_played(rig: CallRig) -> list[str]:
    return [str(fields["prompt"]) for fields in rig.marks("prompt_started")]


def reconnect(rig: CallRig) -> None:
    rig.wait(250)
    rig.connect()


def test_the_url_names_the_called_number_safely() -> None:
    rig = CallRig({"realtime": {"url": "ws://h/{called}/x"}}, called="a/../b?c").ring()
    (connect,) = rig.asked(events.ConnectRealtime)
    assert connect.url == "ws://h/a%2F..%2Fb%3Fc/x"


def test_a_session_that_is_not_ready_in_time_is_tried_again() -> None:
    rig = CallRig(NO_GREETING).ring().media()
    rig.wait(5000)
    assert {"what": "connect"} in rig.marks("watchdog_fired")
    rig.wait(250)
    assert len(rig.asked(events.ConnectRealtime)) == 2
    assert rig.marks("realtime_connecting")[-1] == {"attempt": 2}


def test_delays_between_tries_double_up_to_a_bound_and_end() -> None:
    reconnect_settings = {"attempts": 4, "first_delay_ms": 100, "max_delay_ms": 300}
    rig = CallRig(
        with_settings(NO_GREETING, {"realtime": {"reconnect": reconnect_settings}})
    ).ring()
    times = []
    while Timer.FAREWELL_LIMIT not in rig.timers:
        times.append(rig.now_ns // 1_000_000)
        rig.lose("refused", status=503)
        if Timer.RECONNECT_DUE in rig.timers:
            rig.wait((rig.timers[Timer.RECONNECT_DUE] - rig.now_ns) / 1e6)
    assert [later - earlier for earlier, later in itertools.pairwise(times)] == [100, 200, 300, 300]
    assert rig.marks("realtime_failed")[0] == {"reason": "refused", "status": 503}


def test_wrong_audio_formats_are_never_played() -> None:
    rig = CallRig(NO_GREETING).ring().media().connect(update=False)
    wrong = {"audio": {"output": {"format": {"type": "audio/pcmu"}}}}
    rig.event("session.updated", session=wrong)
    assert rig.marks("realtime_failed")
    assert rig.state == State.MEDIA_READY


def test_a_server_that_speaks_another_format_only_ends_the_call_with_words() -> None:
    rig = CallRig(rate_hz=8_000).ring().media()
    wrong = {"audio": {"input": {"format": {"type": "audio/pcm"}}}}
    for _ in range(1 + rig.settings.realtime.reconnect.attempts):
        rig.connect(update=False)
        rig.event("session.updated", session=wrong)
        rig.wait(rig.settings.realtime.reconnect.max_delay_ms)
    rig.wait(30_000)
    assert rig.marks("prompt_started")
    assert rig.marks("hang_up_sent") == [{"reason": "no connection to the Realtime API"}]


def test_an_error_about_an_update_that_has_worked_does_not_cost_the_session() -> None:
    rig = CallRig(NO_GREETING).listening()
    (update,) = rig.sent("session.update")
    rig.event("error", error={"code": "invalid_value", "event_id": update["event_id"]})
    rig.tell(DtmfReceived(digit="#", method="rfc4733"))
    assert rig.sent("response.create"), "the session goes on"


def test_who_waits_for_the_session_that_is_to_make_the_greeting_is_told() -> None:
    """The first caller of all: nothing is cached, and the connection is slow."""
    rig = CallRig({"failure": {"hold_after_ms": 1500}, "realtime": {"connect_timeout_ms": 20_000}})
    rig.ring().media()
    rig.wait(5_000)
    assert prompts_played(rig) == ["tone"]
    rig.connect()
    assert rig.sent("response.create"), "and greeted, when there is somebody to do it"


def test_an_error_that_names_nothing_does_not_cost_a_session_that_works() -> None:
    rig = CallRig(NO_GREETING).listening()
    rig.event("error", error={"code": "server_error", "message": "Something went wrong."})
    assert not rig.marks("realtime_failed")
    rig.tell(DtmfReceived(digit="#", method="rfc4733"))
    assert rig.sent("response.create"), "the session goes on"


def test_a_refused_session_update_is_a_failed_connection() -> None:
    rig = CallRig(NO_GREETING).ring().media().connect(update=False)
    (update,) = rig.sent("session.update")
    error = {"code": "invalid_value", "message": "voice?", "event_id": update["event_id"]}
    rig.event("error", error=error)
    assert rig.marks("realtime_failed") == [{"reason": "session.update was refused: voice?"}]
    assert Timer.RECONNECT_DUE in rig.timers


def test_a_lost_session_is_replaced_and_told_the_conversation() -> None:
    rig = CallRig(NO_GREETING).listening()
    rig.turn()
    transcribed = "conversation.item.input_audio_transcription.completed"
    rig.event(transcribed, item_id="u1", content_index=0, transcript="Are you open?")
    rig.respond(transcript="Yes, until six.")
    rig.wait(200)
    rig.lose("gone", code=1006)
    assert rig.state == State.CONNECTING_OPENAI
    rig.forget()
    rig.caller_audio(500)
    assert not rig.sent("input_audio_buffer.append")
    reconnect(rig)
    assert rig.state == State.LISTENING
    items = [item["item"] for item in rig.sent("conversation.item.create")]
    texts = [(item["role"], item["content"][0]["text"]) for item in items]
    assert texts[:2] == [("user", "Are you open?"), ("assistant", "Yes, until six.")]
    assert texts[2][0] == "system"
    assert sum(len(a["audio"]) for a in rig.sent("input_audio_buffer.append")) == 2 * 24 * 500
    assert not rig.sent("response.create"), "nothing was owed"


@pytest.mark.parametrize("moment", ["committing", "committed", "created", "speaking"])
def test_an_answer_that_the_lost_session_owed_is_asked_of_the_next(moment: str) -> None:
    rig = CallRig(NO_GREETING).listening()
    if moment == "committing":
        rig.event("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
        rig.event("input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=900)
    else:
        rig.turn()
    if moment == "created":
        rig.event("response.created", response={"id": "r1"})
    if moment == "speaking":
        rig.respond(audio_ms=100, done=None)
    rig.forget()
    rig.lose("gone")
    reconnect(rig)
    assert len(rig.sent("response.create")) == 1
    rig.respond("r2", item="a2", purpose="turn")
    rig.wait(300)
    assert rig.state == State.LISTENING


def test_items_of_a_lost_session_are_not_truncated_in_the_next() -> None:
    rig = CallRig(NO_GREETING).listening()
    rig.turn()
    rig.respond(audio_ms=1000, done=None)
    rig.lose("gone")
    reconnect(rig)
    rig.event("input_audio_buffer.speech_started", item_id="u9", audio_start_ms=0)
    assert [fields["item"] for fields in rig.marks("playout_cleared")] == ["a1"]
    assert not rig.sent("conversation.item.truncate")


def test_a_short_loss_is_not_worth_words_a_longer_one_is() -> None:
    rig = with_prompts().listening()
    rig.lose("gone")
    rig.wait(250)
    rig.connect()
    rig.wait(5000)
    assert not prompts_played(rig)
    rig.lose("gone")
    rig.wait(2100)
    assert prompts_played(rig) == ["hold"]


def test_a_caller_who_waits_for_the_first_session_is_told_too() -> None:
    rig = with_prompts().ring().media()
    rig.wait(3000)
    assert prompts_played(rig) == ["hold"]


def test_when_no_session_can_be_had_the_call_ends_with_words_and_in_bounded_time() -> None:
    rig = with_prompts().ring().media()
    for _ in range(5):
        rig.lose("refused", status=500)
        if Timer.RECONNECT_DUE in rig.timers:
            rig.wait((rig.timers[Timer.RECONNECT_DUE] - rig.now_ns) / 1e6)
    rig.wait(10_000)
    assert prompts_played(rig)[-1] == "farewell"
    ended = [fields for fields in rig.marks("prompt_ended") if fields["prompt"] == "farewell"]
    assert ended == [{"prompt": "farewell", "played_ms": 2000.0}]
    assert rig.marks("hang_up_sent") == [{"reason": "no connection to the Realtime API"}]
    rig.tell(HungUp(by="agent", status=200, reason="bye"))
    assert rig.finished


@pytest.mark.parametrize("step", ["committed", "created"])
def test_a_caller_whose_turn_is_given_up_hears_words_and_the_call_ends_in_bounded_time(
    step: str,
) -> None:
    rig = with_prompts().listening()
    if step == "created":
        rig.turn()
        rig.wait(2 * 3000)
    else:
        rig.event("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
        rig.event("input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=900)
        rig.wait(2 * 1500)
    assert len(rig.marks("watchdog_fired")) == 2
    assert prompts_played(rig) == ["hold"]
    rig.forget()
    rig.wait(1000)
    assert len(rig.sent("response.create")) == 1, "asked once more"
    rig.wait(3000)
    assert prompts_played(rig) == ["farewell"]
    rig.wait(2000)
    assert rig.marks("hang_up_sent") == [{"reason": "no answer from the Realtime API"}]


@pytest.mark.parametrize("heard", [False, True])
def test_a_response_that_stalls_before_anything_of_it_was_heard_is_asked_for_again(
    heard: bool,
) -> None:
    rig = with_prompts().listening()
    rig.turn()
    rig.event("response.created", response={"id": "r1"})
    if heard:
        rig.delta(400)
    rig.forget()
    rig.wait(20_000)
    assert rig.marks("watchdog_fired")[0]["what"] == "response_end"
    assert (prompts_played(rig) == []) is heard
    assert (rig.sent("response.create") == []) is heard


def test_an_answer_that_comes_after_the_words_is_heard_and_the_call_goes_on() -> None:
    rig = with_prompts().listening()
    rig.turn()
    rig.wait(2 * 3000 + 1000)
    rig.respond("r1", purpose="turn")
    rig.wait(5000)
    assert prompts_played(rig) == ["hold"]
    assert rig.state == State.LISTENING
    assert not rig.marks("hang_up_sent")


def test_a_caller_who_speaks_again_is_not_told_of_the_turn_that_was_given_up() -> None:
    rig = with_prompts().listening()
    rig.turn()
    rig.wait(3000)
    rig.event("input_audio_buffer.speech_started", item_id="u2", audio_start_ms=4000)
    rig.wait(6000)
    assert len(rig.marks("watchdog_fired")) == 2
    assert not prompts_played(rig)


def test_without_cached_words_a_tone_tells_that_something_is_wrong() -> None:
    settings = with_settings(NO_GREETING, {"realtime": {"reconnect": {"attempts": 0}}})
    rig = CallRig(settings).ring().media()
    rig.wait(0)
    rig.lose("refused")
    rig.wait(3000)
    assert prompts_played(rig) == ["tone"]
    assert rig.marks("hang_up_sent")


def test_a_caller_can_be_sent_to_somebody_else_instead() -> None:
    failure = {"failure": {"transfer_to": "sip:desk@example.org"}}
    settings = with_settings(NO_GREETING, failure, {"realtime": {"reconnect": {"attempts": 0}}})
    rig = with_prompts(settings).ring().media()
    rig.wait(0)
    rig.lose("refused")
    rig.wait(1500)
    assert prompts_played(rig) == ["hold"]
    assert [transfer.uri for transfer in rig.asked(events.Transfer)] == ["sip:desk@example.org"]
    assert not rig.marks("hang_up_sent")
    rig.tell(TransferProgressed(status=200))
    assert rig.marks("hang_up_sent")


def test_a_transfer_that_is_never_answered_ends_the_call_all_the_same() -> None:
    failure = {"failure": {"transfer_to": "sip:desk@example.org"}}
    settings = with_settings(NO_GREETING, failure, {"realtime": {"reconnect": {"attempts": 0}}})
    rig = with_prompts(settings).ring().media()
    rig.wait(0)
    rig.lose("refused")
    rig.wait(40_000)
    assert prompts_played(rig) == ["hold", "farewell"]
    assert rig.marks("hang_up_sent")


def test_a_caller_whom_nobody_else_takes_hears_the_last_words() -> None:
    failure = {"failure": {"transfer_to": "sip:desk@example.org"}}
    settings = with_settings(NO_GREETING, failure, {"realtime": {"reconnect": {"attempts": 0}}})
    rig = with_prompts(settings).ring().media()
    rig.wait(0)
    rig.lose("refused")
    rig.wait(1500)
    rig.tell(TransferProgressed(status=486))
    rig.wait(1900)
    assert not rig.marks("hang_up_sent")
    rig.wait(200)
    assert prompts_played(rig) == ["hold", "farewell"]
    assert rig.marks("hang_up_sent") == [{"reason": "no connection to the Realtime API"}]


def test_a_minute_that_waits_to_be_heard_does_not_cost_the_last_words() -> None:
    settings = with_settings(NO_GREETING, {"realtime": {"reconnect": {"attempts": 0}}})
    rig = with_prompts(settings).listening()
    rig.turn()
    rig.respond(audio_ms=60_000)
    rig.lose("gone")
    rig.wait(61_900)
    assert not rig.marks("hang_up_sent")
    rig.wait(100)
    assert rig.marks("prompt_ended") == [{"prompt": "farewell", "played_ms": 2000.0}]
    assert rig.marks("hang_up_sent")


def test_a_caller_who_is_being_transferred_is_not_heard_by_a_session_that_is_gone() -> None:
    failure = {"failure": {"transfer_to": "sip:desk@example.org"}}
    rig = CallRig(with_settings(NO_GREETING, failure)).listening()
    details = {"type": "failed", "error": {"code": "insufficient_quota"}}
    rig.event("response.created", response={"id": "r1"})
    done = {"id": "r1", "status": "failed", "status_details": details, "output": []}
    rig.event("response.done", response=done)
    rig.wait(2_000)
    assert rig.marks("transfer_sent")
    rig.forget()
    rig.caller_audio(200)
    assert not rig.sent("input_audio_buffer.append")


def test_a_session_that_dies_again_and_again_is_given_up() -> None:
    rig = CallRig(NO_GREETING).listening()
    for _ in range(20):
        if rig.marks("hang_up_sent"):
            break
        rig.lose("crashed")
        rig.wait(4000)
        if rig.asked(events.ConnectRealtime) and not rig.marks("hang_up_sent"):
            rig.connect()
    assert rig.marks("hang_up_sent")
    assert len(rig.asked(events.ConnectRealtime)) == 5


def test_a_session_that_lasted_makes_the_failures_before_it_count_no_more() -> None:
    settings = with_settings(NO_GREETING, {"limits": {"silence_ms": 0}})
    rig = CallRig(settings).listening()
    for _ in range(20):
        rig.lose("lost")
        reconnect(rig)
        rig.wait(10_000)
    assert rig.state == State.LISTENING


def test_a_failed_response_is_asked_for_again_then_the_call_ends_with_words() -> None:
    rig = with_prompts().listening()
    rig.turn()
    rig.event("response.created", response={"id": "r1"})
    details = {"error": {"code": "inference_rate_limit_exceeded"}}
    rig.response_done("r1", status="failed", details=details)
    assert rig.marks("response_done")[-1]["reason"] == "inference_rate_limit_exceeded"
    assert rig.state == State.LISTENING
    rig.wait(2900)
    assert prompts_played(rig) == ["hold"]
    assert not rig.sent("response.create"), "what is asked too much is not asked again at once"
    rig.wait(200)
    assert len(rig.sent("response.create")) == 1
    rig.event("response.created", response={"id": "r2", "metadata": {"purpose": "turn"}})
    rig.response_done("r2", status="failed", details=details)
    rig.wait(4000)
    assert prompts_played(rig) == ["hold", "farewell"]
    reason = "response failed: inference_rate_limit_exceeded"
    assert rig.marks("hang_up_sent") == [{"reason": reason}]


def test_no_quota_is_hopeless_at_once() -> None:
    rig = with_prompts().listening()
    rig.turn()
    rig.event("response.created", response={"id": "r1"})
    rig.response_done("r1", status="failed", details={"error": {"code": "insufficient_quota"}})
    rig.wait(4000)
    assert prompts_played(rig) == ["farewell"]
    assert rig.marks("hang_up_sent")


def test_a_response_that_works_makes_the_failure_before_it_forgotten() -> None:
    rig = with_prompts().listening()
    for number in range(5):
        rig.turn(f"u{number}")
        rig.event("response.created", response={"id": f"f{number}"})
        rig.response_done(f"f{number}", status="failed", details={"error": {"code": "rate"}})
        rig.wait(1500)
        rig.respond(f"r{number}", item=f"a{number}", purpose="turn")
        rig.wait(500)
    assert rig.state == State.LISTENING
    assert not rig.marks("hang_up_sent")


def test_the_call_moves_to_a_new_session_before_the_old_one_expires_and_in_a_quiet_moment() -> None:
    settings = with_settings(
        NO_GREETING, {"realtime": {"session_move_ms": 60_000}, "limits": {"silence_ms": 0}}
    )
    rig = CallRig(settings).listening()
    rig.wait(59_000)
    rig.turn()
    rig.respond(audio_ms=3000, transcript="Long story.")
    rig.wait(2000)
    assert len(rig.asked(events.ConnectRealtime)) == 1, "somebody is speaking"
    rig.wait(2000)
    assert len(rig.asked(events.ConnectRealtime)) == 2
    rig.caller_audio(100)
    rig.connect()
    assert rig.state == State.LISTENING
    assert "Long story." in str(rig.sent("conversation.item.create"))
    assert not rig.marks("realtime_failed")


def test_a_session_moves_as_soon_as_a_key_press_has_made_it_quiet() -> None:
    settings = with_settings(
        NO_GREETING, {"realtime": {"session_move_ms": 60_000}, "limits": {"silence_ms": 0}}
    )
    rig = CallRig(settings).listening()
    rig.wait(59_000)
    rig.turn()
    rig.respond(audio_ms=0, done=None)
    rig.wait(2000)
    rig.tell(DtmfReceived(digit="1", method="rfc4733"))
    assert len(rig.asked(events.ConnectRealtime)) == 1, "a response still runs"
    rig.response_done(status="cancelled", transcript="")
    assert len(rig.asked(events.ConnectRealtime)) == 2, "whatever event comes next"


def test_the_history_is_bounded() -> None:
    rig = CallRig(NO_GREETING).listening()
    for number in range(250):
        rig.turn(f"u{number}")
        rig.respond(f"r{number}", item=f"a{number}", audio_ms=20, transcript=f"answer {number}")
        rig.wait(40)
    rig.lose("gone")
    rig.forget()
    reconnect(rig)
    items = rig.sent("conversation.item.create")
    assert len(items) == 201
    assert "answer 249" in str(items[-2])


def test_the_callers_voice_stops_what_waits_behind_a_prompt_too() -> None:
    rig = after_a_failed_response()
    rig.wait(100)
    rig.respond("r1", item="a1", audio_ms=3000)
    rig.event("input_audio_buffer.speech_started", item_id="u2", audio_start_ms=0)
    assert len(rig.asked(events.ClearPlayout)) == 1
    rig.wait(5000)
    assert not rig.marks("playout_started")


def test_the_last_words_are_said_even_if_the_caller_speaks() -> None:
    rig = with_prompts().listening()
    rig.turn()
    rig.respond("r1", audio_ms=2000)
    rig.wait(100)
    rig.event("response.created", response={"id": "f"})
    rig.response_done("f", status="failed", details={"error": {"code": "insufficient_quota"}})
    rig.wait(100)
    rig.event("input_audio_buffer.speech_started", item_id="u2", audio_start_ms=0)
    assert [fields["item"] for fields in rig.marks("playout_cleared")] == ["a1"]
    rig.event("input_audio_buffer.speech_started", item_id="u2", audio_start_ms=0)
    rig.wait(2500)
    assert rig.marks("prompt_ended") == [{"prompt": "farewell", "played_ms": 2000.0}]
    assert rig.marks("hang_up_sent")


def test_an_answer_to_the_invite_may_be_acknowledged_at_any_moment() -> None:
    rig = CallRig(NO_GREETING)
    rig.tell(CallReceived(called="100", caller="200", sip_call_id="s1"))
    rig.media()
    rig.wait(10)
    assert rig.state == State.CONNECTING_OPENAI
    rig.tell(CallAnswered())
    rig.connect()
    assert rig.state == State.LISTENING


def test_a_greeting_that_was_cut_by_a_lost_session_is_not_begun_again() -> None:
    rig = CallRig({"beep": {"enabled": False}}).ring().media().connect()
    rig.wait(500)
    rig.respond("g1", item="gi", audio_ms=400, purpose="greeting", done=None)
    rig.wait(100)
    rig.lose("gone")
    reconnect(rig)
    rig.wait(1000)
    assert len(rig.sent("response.create")) == 1
    assert rig.marks("greeting_ended") == [{"played_ms": 400.0, "interrupted": True}]
    assert not rig.stored
    assert rig.state == State.LISTENING


def test_a_greeting_of_which_nothing_had_arrived_is_asked_of_the_next_session() -> None:
    rig = CallRig({"beep": {"enabled": False}}).ring().media().connect()
    rig.wait(500)
    rig.lose("gone")
    reconnect(rig)
    assert len(rig.sent("response.create")) == 2
    rig.respond("g2", item="gi", audio_ms=400, purpose="greeting")
    rig.wait(500)
    assert rig.marks("greeting_started") == [{"origin": "generated"}]
    assert rig.state == State.LISTENING


def test_nothing_is_asked_again_over_a_caller_who_is_speaking() -> None:
    rig = after_a_failed_response()
    rig.event("input_audio_buffer.speech_started", item_id="u2", audio_start_ms=4000)
    rig.wait(3000)
    assert not rig.sent("response.create")
    rig.event("input_audio_buffer.speech_stopped", item_id="u2", audio_end_ms=7000)
    rig.event("input_audio_buffer.committed", item_id="u2")
    rig.respond("r2", purpose=None)
    rig.wait(5000)
    assert not rig.sent("response.create"), "it was answered"


def test_a_noise_delays_what_is_asked_again_and_no_more() -> None:
    rig = after_a_failed_response()
    rig.event("input_audio_buffer.speech_started", item_id="u2", audio_start_ms=4000)
    rig.wait(1500)
    assert not rig.sent("response.create")
    rig.event("input_audio_buffer.speech_stopped", item_id="u2", audio_end_ms=4100)
    rig.wait(2 * 1500 + 1500)
    assert rig.sent("response.create")


def test_a_caller_who_speaks_again_needs_no_retry() -> None:
    rig = after_a_failed_response()
    rig.turn("u2")
    rig.respond("r2")
    rig.wait(5000)
    assert not rig.sent("response.create")


def test_no_audio_goes_to_a_session_that_does_not_know_its_format_yet() -> None:
    rig = CallRig(NO_GREETING).ring().media().connect(update=False)
    rig.caller_audio()
    assert not rig.asked(events.AppendAudio)
    rig.event("session.updated", session={})
    assert rig.asked(events.AppendAudio)
