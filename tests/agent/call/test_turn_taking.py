"""Turns by every policy, their watchdogs, and barge-in: with `strict`, an illegal move raises."""

import itertools
from typing import Any

import pytest
from call_rig import FRAME_NS, NO_GREETING, CallRig, with_settings

from callerside.agent.call import events
from callerside.agent.call.states import State
from callerside.agent.realtime.interface import RealtimeEvent
from callerside.agent.telephony.interface import DtmfReceived, HungUp
from callerside.agent.telephony.media.playout_buffer import PlayoutBuffer

CLIENT = with_settings(NO_GREETING, {"turns": {"policy": "client"}})


def listening(settings: dict[str, Any] | None = None, **options: Any) -> CallRig:
    rig = CallRig(settings or NO_GREETING, **options).listening()
    rig.forget()
    return rig


def speaking(rig: CallRig) -> CallRig:
    rig.event("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
    return rig


# Policies.


def test_under_the_server_policy_the_agent_neither_commits_nor_asks() -> None:
    rig = listening()
    rig.turn()
    assert rig.state == State.PROCESSING
    rig.respond()
    rig.wait(200)
    assert rig.state == State.LISTENING
    assert not rig.sent("input_audio_buffer.commit")
    assert not rig.sent("response.create")


def test_under_the_client_policy_the_agent_commits_when_speech_stops_and_once_only() -> None:
    rig = listening(CLIENT)
    speaking(rig)
    rig.event("input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=900)
    assert len(rig.sent("input_audio_buffer.commit")) == 1
    assert rig.marks("commit_sent") == [{}]
    rig.event("input_audio_buffer.committed", item_id="u1")
    assert len(rig.sent("input_audio_buffer.commit")) == 1
    assert not rig.sent("response.create"), "the server creates it"


def test_a_start_that_its_own_stop_has_overtaken_does_not_keep_the_turn_from_being_committed() -> (
    None
):
    rig = listening()
    rig.event("input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=900)
    speaking(rig)
    assert rig.state == State.COMMITTING_INPUT
    rig.wait(2_000)
    assert rig.marks("watchdog_fired") == [{"what": "commit"}]
    assert len(rig.sent("input_audio_buffer.commit")) == 1


@pytest.mark.parametrize("policy", [NO_GREETING, CLIENT])
def test_a_turn_whose_commit_has_come_before_its_stop_is_committed(policy: dict[str, Any]) -> None:
    """It was committed again after a while, and the caller answered twice."""
    rig = listening(policy)
    speaking(rig)
    rig.event("input_audio_buffer.committed", item_id="u1")
    rig.event("input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=900)
    assert rig.state == State.PROCESSING
    rig.respond("r1", audio_ms=300)
    rig.wait(10_000)
    assert not rig.marks("watchdog_fired")
    assert not rig.sent("input_audio_buffer.commit")
    assert not rig.sent("response.create")


def test_a_client_commit_goes_out_after_audio_that_waits_for_its_interval() -> None:
    rig = listening(with_settings(CLIENT, {"turns": {"append_interval_ms": 100}}))
    speaking(rig)
    rig.caller_audio(40)
    assert not rig.sent("input_audio_buffer.append")
    rig.event("input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=900)
    kinds = rig.sent_types()
    assert kinds == ["input_audio_buffer.append", "input_audio_buffer.commit"]


def test_a_server_that_commits_by_itself_makes_the_clients_commit_a_harmless_error() -> None:
    rig = listening(CLIENT)
    speaking(rig)
    rig.event("input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=900)
    (commit,) = rig.sent("input_audio_buffer.commit")
    rig.event("input_audio_buffer.committed", item_id="u1")
    rig.event("response.created", response={"id": "r1"})
    error = {"code": "input_audio_buffer_commit_empty", "message": "too small"}
    rig.event("error", error={**error, "event_id": commit["event_id"]})
    assert rig.state == State.PROCESSING
    rig.delta(100)
    assert rig.state == State.STREAMING_RESPONSE


def test_a_commit_that_comes_to_a_turn_which_the_server_has_committed_is_no_new_turn() -> None:
    """At a round trip of 100 ms or more our commit finds enough audio to make an item of."""
    rig = listening(CLIENT)
    rig.turn("u1")
    rig.event("response.created", response={"id": "r1", "metadata": None})
    rig.event("input_audio_buffer.committed", item_id="junk")
    rig.delta(300)
    rig.response_done("r1")
    rig.wait(10_000)
    assert len(rig.marks("committed")) == 2
    assert not rig.marks("watchdog_fired")
    assert not rig.sent("response.create"), "one turn, one answer"
    assert rig.state == State.LISTENING


def test_such_a_commit_may_come_after_the_next_turn_has_begun() -> None:
    rig = listening(CLIENT)
    rig.turn("u1")
    rig.respond("r1")
    speaking(rig)
    rig.event("input_audio_buffer.committed", item_id="junk1")
    rig.event("input_audio_buffer.speech_stopped", item_id="u2", audio_end_ms=900)
    rig.event("input_audio_buffer.committed", item_id="u2")
    rig.respond("r2", item="a2")
    rig.event("input_audio_buffer.committed", item_id="junk2")
    rig.wait(10_000)
    assert not rig.sent("response.create")
    assert rig.state == State.LISTENING


def test_a_turn_is_not_asked_for_twice_where_the_server_leaves_the_asking_to_us() -> None:
    settings = with_settings(CLIENT, {"turns": {"vad": {"create_response": False}}})
    rig = listening(settings)
    rig.turn("u1")
    rig.respond("r1", purpose="turn")
    rig.event("input_audio_buffer.committed", item_id="junk")
    rig.wait(5_000)
    assert len(rig.sent("response.create")) == 1


def test_a_watchdogs_commit_that_the_server_has_overtaken_is_no_new_turn() -> None:
    rig = listening()
    rig.event("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
    rig.event("input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=900)
    rig.wait(1_500)
    assert len(rig.sent("input_audio_buffer.commit")) == 1
    rig.event("input_audio_buffer.committed", item_id="u1")
    rig.event("response.created", response={"id": "r1", "metadata": None})
    rig.event("input_audio_buffer.committed", item_id="junk")
    rig.delta(300)
    rig.response_done("r1")
    rig.wait(10_000)
    assert not rig.sent("response.create")


def test_a_turn_that_is_answered_needs_no_commit() -> None:
    """The server's `committed` was lost; what it answered would be answered twice."""
    rig = listening()
    rig.event("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
    rig.event("input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=900)
    rig.respond("r1", audio_ms=300)
    rig.wait(10_000)
    assert not rig.marks("watchdog_fired")
    assert not rig.sent("input_audio_buffer.commit")
    assert not rig.sent("response.create")


def test_an_answer_to_the_turn_before_does_not_end_the_wait_for_a_commit() -> None:
    rig = listening()
    rig.turn("u1")
    speaking(rig)
    rig.event("input_audio_buffer.speech_stopped", item_id="u2", audio_end_ms=900)
    rig.respond("r1")
    rig.wait(1_500)
    assert len(rig.sent("input_audio_buffer.commit")) == 1


def test_an_idle_timeout_long_after_a_commit_of_ours_is_a_turn() -> None:
    rig = listening(CLIENT)
    rig.turn("u1")
    rig.respond("r1")
    rig.wait(6_000)
    rig.event("input_audio_buffer.committed", item_id="idle")
    rig.wait(3_000)
    assert rig.marks("watchdog_fired") == [{"what": "response"}]


def test_a_refused_commit_that_we_wait_for_dismisses_the_turn() -> None:
    rig = listening(CLIENT)
    speaking(rig)
    rig.event("input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=900)
    (commit,) = rig.sent("input_audio_buffer.commit")
    error = {"code": "input_audio_buffer_commit_empty", "message": "too small"}
    rig.event("error", error={**error, "event_id": commit["event_id"]})
    assert rig.state == State.LISTENING
    rig.wait(10_000)
    assert not rig.marks("watchdog_fired")


def test_when_the_server_does_not_answer_by_itself_the_agent_asks() -> None:
    settings = with_settings(NO_GREETING, {"turns": {"vad": {"create_response": False}}})
    rig = listening(settings)
    rig.turn()
    (request,) = rig.sent("response.create")
    assert "instructions" not in request["response"]
    rig.respond(purpose="turn")
    rig.wait(200)
    assert rig.state == State.LISTENING


@pytest.mark.parametrize("frames", [1, 5])
def test_a_traced_append_tells_when_the_last_of_its_frames_was_heard(frames: int) -> None:
    settings = {"turns": {"append_interval_ms": 20 * frames}, "timeline": {"trace_audio": True}}
    rig = listening(with_settings(NO_GREETING, settings))
    heard_ns = []
    for _ in range(10):
        rig.now_ns += FRAME_NS
        heard_ns.append(rig.now_ns)
        rig.caller_audio(20)
    told = rig.marks("audio_appended")
    assert [fields["heard_ns"] for fields in told] == heard_ns[frames - 1 :: frames]
    assert [fields["samples"] for fields in told] == [480 * frames] * (10 // frames)


def test_what_was_kept_tells_when_it_was_heard_too() -> None:
    settings = {"timeline": {"trace_audio": True}}
    rig = CallRig(with_settings(NO_GREETING, settings)).ring().media()
    for _ in range(75):
        rig.now_ns += FRAME_NS
        rig.caller_audio(20)
    heard_ns = rig.now_ns
    rig.connect()
    first, second = rig.marks("audio_appended")
    assert (first["samples"], second["samples"]) == (24_000, 12_000)
    assert (first["heard_ns"], second["heard_ns"]) == (heard_ns - 25 * FRAME_NS, heard_ns)


@pytest.mark.parametrize("interval_ms", [20, 40, 60, 100])
def test_appends_leave_at_the_interval_that_was_set(interval_ms: int) -> None:
    rig = listening(with_settings(NO_GREETING, {"turns": {"append_interval_ms": interval_ms}}))
    rig.caller_audio(600)
    appends = rig.sent("input_audio_buffer.append")
    assert len(appends) == 600 // interval_ms
    assert {len(append["audio"]) for append in appends} == {2 * 24 * interval_ms}


def test_a_leg_of_8_khz_sends_g711_straight_through() -> None:
    rig = CallRig(NO_GREETING, rate_hz=8000).ring().media("PCMA").connect()
    (update,) = rig.sent("session.update")
    audio = update["session"]["audio"]
    assert audio["input"]["format"] == audio["output"]["format"] == {"type": "audio/pcma"}
    rig.caller_audio(20)
    assert len(rig.sent("input_audio_buffer.append")[-1]["audio"]) == 160
    rig.event("response.created", response={"id": "r1"})
    wire = bytes(1600)
    rig.event("response.output_audio.delta", response_id="r1", item_id="a1", delta=wire)
    assert len(rig.asked(events.Play)[-1].pcm) == 3200


# Watchdogs.


def test_no_commit_by_the_server_then_the_agent_commits_then_gives_up() -> None:
    rig = listening()
    speaking(rig)
    rig.event("input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=900)
    rig.wait(1499)
    assert not rig.sent("input_audio_buffer.commit")
    rig.wait(1)
    assert len(rig.sent("input_audio_buffer.commit")) == 1
    assert rig.state == State.COMMITTING_INPUT
    rig.wait(1500)
    assert rig.marks("watchdog_fired") == [{"what": "commit"}] * 2
    assert rig.state == State.LISTENING


def test_no_response_then_the_agent_asks_then_gives_up() -> None:
    rig = listening()
    rig.turn()
    rig.wait(2999)
    assert not rig.sent("response.create")
    rig.wait(1)
    assert len(rig.sent("response.create")) == 1
    rig.wait(3000)
    assert rig.marks("watchdog_fired") == [{"what": "response"}] * 2
    assert rig.state == State.LISTENING
    rig.turn("u2")
    rig.respond()
    rig.wait(200)
    assert rig.state == State.LISTENING, "the turns after it are as ever"


@pytest.mark.parametrize("policy", ["server", "client", "local"])
@pytest.mark.parametrize("code", ["conversation_already_has_active_response", "invalid_value"])
def test_a_request_that_is_refused_leaves_a_limit_on_the_callers_silence(
    code: str, policy: str
) -> None:
    """A key press stops an answer that is being made, and what it asks for is refused."""
    rig = listening(with_settings(NO_GREETING, {"turns": {"policy": policy}}))
    rig.turn() if policy != "local" else None
    rig.respond("r1", audio_ms=3_000, done=None)
    rig.wait(200)
    rig.tell(DtmfReceived(digit="#", method="rfc4733"))
    rig.response_done("r1", status="cancelled")
    for tries in range(1, 4):
        refused = rig.sent("response.create")[-1]
        assert len(rig.sent("response.create")) == (tries if "active" in code else 1)
        rig.event("error", error={"code": code, "event_id": refused["event_id"]})
    rig.wait(1)
    assert rig.state == State.LISTENING
    rig.wait(rig.settings.limits.silence_ms)
    assert rig.marks("watchdog_fired") == [{"what": "silence"}]


def test_an_answer_of_the_servers_own_does_not_stop_the_watch_on_what_we_asked_for() -> None:
    rig = listening()
    rig.tell(DtmfReceived(digit="#", method="rfc4733"))
    rig.turn()
    rig.event("response.created", response={"id": "g", "metadata": {"purpose": "greeting"}})
    rig.response_done("g")
    rig.wait(20_000)
    given_up = [what for what in rig.marks("watchdog_fired") if what == {"what": "response"}]
    assert given_up, "a request that nobody answers or refuses"
    assert rig.marks("prompt_started"), "the caller is told"


def test_a_request_that_is_refused_does_not_stop_the_watch_on_the_callers_turn() -> None:
    rig = listening()
    rig.tell(DtmfReceived(digit="#", method="rfc4733"))
    (key,) = rig.sent("response.create")
    rig.turn()
    rig.event("error", error={"code": "invalid_value", "event_id": key["event_id"]})
    rig.wait(rig.settings.turns.watchdogs.response_ms)
    assert len(rig.sent("response.create")) == 2, "the turn is not answered: we ask"


def test_a_response_that_stops_giving_signs_of_life_is_cancelled_and_the_call_listens() -> None:
    rig = listening()
    rig.turn()
    rig.respond(audio_ms=100, done=None)
    rig.wait(14_000)
    rig.delta(100)
    rig.wait(14_999)
    assert not rig.marks("watchdog_fired")
    rig.wait(1)
    assert rig.marks("watchdog_fired") == [{"what": "response_end"}]
    assert rig.marks("cancel_sent") == [{"response": "r1"}]
    assert rig.state == State.LISTENING
    rig.forget()
    rig.delta(100)
    assert not rig.asked(events.Play), "what still comes of it is dropped"


def test_a_delta_sets_no_timer_anew() -> None:
    rig = listening()
    rig.turn()
    rig.respond(audio_ms=100, done=None)
    for _ in range(100):
        rig.wait(1_000)
        assert [type(effect) for effect in rig.delta(100)] == [events.Play]
    assert not rig.marks("watchdog_fired")


def test_watchdogs_can_be_switched_off() -> None:
    off = {"commit_ms": 0, "response_ms": 0, "response_end_ms": 0}
    rig = listening(
        with_settings(NO_GREETING, {"turns": {"watchdogs": off}, "limits": {"silence_ms": 0}})
    )
    speaking(rig)
    rig.event("input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=900)
    rig.wait(60_000)
    assert rig.state == State.COMMITTING_INPUT
    rig.event("input_audio_buffer.committed", item_id="u1")
    rig.wait(60_000)
    assert rig.state == State.PROCESSING


# Barge-in.


def test_barge_in_clears_at_once_and_truncates_to_what_was_heard() -> None:
    rig = listening()
    rig.turn()
    rig.respond(audio_ms=3000)
    rig.wait(740)
    asked = speaking(rig).effects[-8:]
    assert rig.state == State.RECORDING_AUDIO
    assert any(isinstance(effect, events.ClearPlayout) for effect in asked)
    (truncate,) = rig.sent("conversation.item.truncate")
    assert truncate["item_id"] == "a1"
    assert truncate["content_index"] == 0
    assert truncate["audio_end_ms"] == 740
    assert rig.marks("playout_cleared") == [
        {"item": "a1", "played_ms": 740.0, "dropped_ms": 2260.0}
    ]
    assert not rig.sent("response.cancel"), "it was done already"


def test_barge_in_into_a_running_response_leaves_the_cancelling_to_the_server() -> None:
    rig = listening()
    rig.turn()
    rig.respond(audio_ms=1000, done=None)
    rig.wait(100)
    speaking(rig)
    rig.forget()
    rig.delta(500)
    rig.response_done(status="cancelled", details={"reason": "turn_detected"})
    assert not rig.asked(events.Play), "late deltas of a cancelled response"
    assert not rig.sent("response.cancel")
    assert rig.marks("response_done") == [
        {"response": "r1", "status": "cancelled", "reason": "turn_detected"}
    ]
    assert rig.state == State.RECORDING_AUDIO


def test_the_agent_cancels_itself_where_the_server_does_not() -> None:
    settings = with_settings(NO_GREETING, {"turns": {"vad": {"interrupt_response": False}}})
    rig = listening(settings)
    rig.turn()
    rig.respond(audio_ms=1000, done=None)
    rig.wait(100)
    speaking(rig)
    (cancel,) = rig.sent("response.cancel")
    assert cancel["response_id"] == "r1"
    assert rig.sent("conversation.item.truncate")


def test_a_barge_in_never_touches_the_response_after_it() -> None:
    rig = listening()
    rig.turn()
    rig.respond(audio_ms=1000, done=None)
    rig.wait(100)
    speaking(rig)
    rig.event("input_audio_buffer.speech_stopped", item_id="u2", audio_end_ms=900)
    rig.event("input_audio_buffer.committed", item_id="u2")
    rig.forget()
    rig.delta(100)  # of the first, very late
    rig.response_done(status="cancelled")
    assert rig.state == State.PROCESSING
    rig.respond("r2", item="a2", audio_ms=500)
    rig.wait(600)
    assert rig.marks("playout_ended") == [{"item": "a2", "played_ms": 500.0}]
    assert rig.state == State.LISTENING


def test_speech_before_the_first_audio_truncates_nothing() -> None:
    rig = listening()
    rig.turn()
    rig.event("response.created", response={"id": "r1"})
    speaking(rig)
    rig.delta(500)
    rig.response_done(status="cancelled")
    assert not rig.sent("conversation.item.truncate")
    assert not rig.asked(events.Play)


def test_audio_of_which_nothing_has_left_is_dropped_without_a_truncate() -> None:
    rig = listening()
    rig.turn()
    rig.respond(audio_ms=500)
    speaking(rig)
    assert rig.marks("playout_cleared") == [{"item": "a1", "played_ms": 0.0, "dropped_ms": 500.0}]
    assert not rig.sent("conversation.item.truncate")


def test_several_items_are_truncated_each_by_what_was_heard_of_it() -> None:
    rig = listening()
    rig.turn()
    rig.event("response.created", response={"id": "r1"})
    rig.delta(200, item="a1")
    rig.event("response.output_audio.done", response_id="r1", item_id="a1")
    rig.delta(1000, item="a2")
    rig.wait(300)
    speaking(rig)
    truncates = [(t["item_id"], t["audio_end_ms"]) for t in rig.sent("conversation.item.truncate")]
    assert truncates == [("a2", 100)]
    assert rig.marks("playout_ended") == [{"item": "a1", "played_ms": 200.0}]


@pytest.mark.parametrize("played_ms", [20, 40, 500, 980])
def test_truncation_never_claims_more_than_has_arrived(played_ms: int) -> None:
    rig = listening()
    rig.turn()
    rig.respond(audio_ms=500, done=None)
    rig.wait(played_ms)
    speaking(rig)
    (truncate,) = rig.sent("conversation.item.truncate")
    assert truncate["audio_end_ms"] == min(played_ms, 500)


def test_a_response_that_was_heard_to_its_end_is_not_truncated() -> None:
    rig = listening()
    rig.turn()
    rig.respond(audio_ms=200)
    rig.wait(400)
    speaking(rig)
    assert not rig.asked(events.ClearPlayout)
    assert not rig.sent("conversation.item.truncate")


def test_with_barge_in_switched_off_the_agent_speaks_on() -> None:
    rig = listening(with_settings(NO_GREETING, {"turns": {"barge_in": False}}))
    rig.turn()
    rig.respond(audio_ms=1000)
    rig.wait(100)
    rig.turn("u2")
    assert not rig.asked(events.ClearPlayout)
    rig.wait(1000)
    assert rig.marks("playout_ended") == [{"item": "a1", "played_ms": 1000.0}]
    assert rig.state == State.PROCESSING, "the second turn still waits for its answer"


def test_a_noise_that_leads_to_nothing_resumes_listening() -> None:
    rig = listening()
    speaking(rig)
    rig.event("input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=100)
    rig.wait(3000)
    assert rig.state == State.LISTENING
    rig.turn("u2")
    rig.respond()
    rig.wait(200)
    assert rig.state == State.LISTENING


def test_speech_again_before_the_commit_is_one_longer_turn() -> None:
    rig = listening()
    speaking(rig)
    rig.event("input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=100)
    speaking(rig)
    rig.wait(5000)
    assert rig.state == State.RECORDING_AUDIO
    assert not rig.marks("watchdog_fired")


# Playout.


def test_playout_marks_are_told_when_frames_leave_not_when_audio_arrives() -> None:
    rig = listening()
    rig.turn()
    rig.respond(audio_ms=100)
    assert not rig.marks("playout_started")
    rig.wait(20)
    assert rig.marks("playout_started") == [{"item": "a1"}]
    rig.wait(80)
    assert rig.marks("playout_ended") == [{"item": "a1", "played_ms": 100.0}]


def test_a_burst_of_a_minute_is_kept() -> None:
    rig = listening()
    rig.turn()
    rig.respond(audio_ms=60_000)
    assert not rig.marks("playout_overflowed")
    rig.wait(60_000)
    assert rig.marks("playout_ended") == [{"item": "a1", "played_ms": 60_000.0}]
    assert not rig.marks("playout_underrun")


def test_the_playout_buffer_is_bounded() -> None:
    rig = listening(with_settings(NO_GREETING, {"playout": {"max_ms": 1000}}))
    rig.turn()
    rig.respond(audio_ms=900, done=None)
    rig.delta(300)
    assert rig.marks("playout_overflowed") == [{"dropped_ms": 200.0}]
    rig.wait(500)
    for _ in range(3):
        rig.delta(100)
    rig.response_done()
    rig.wait(480)
    assert rig.marks("playout_overflowed")[1:] == [], "a second apart at least"
    rig.wait(20)
    assert rig.marks("playout_overflowed")[1:] == [{"dropped_ms": 300.0}], "no hole in the words"
    rig.wait(700)
    assert rig.marks("playout_ended") == [{"item": "a1", "played_ms": 1000.0}]


def test_what_the_leg_dropped_is_not_waited_for() -> None:
    rig = listening()
    rig.buffer = PlayoutBuffer(24 * 800)
    rig.turn()
    rig.respond(audio_ms=1000)
    rig.wait(1000)
    assert rig.marks("playout_ended") == [{"item": "a1", "played_ms": 800.0}]
    assert rig.state == State.LISTENING


def test_a_hole_inside_a_response_is_counted_and_the_silence_after_it_is_not() -> None:
    rig = listening()
    rig.turn()
    rig.respond(audio_ms=100, done=None)
    rig.wait(200)
    rig.delta(100)
    rig.wait(300)
    rig.response_done()
    assert rig.marks("playout_underrun") == [{"item": "a1", "missing_ms": 100.0}]
    assert rig.state == State.LISTENING


def test_a_hole_is_counted_when_the_rest_came_at_once_with_its_end() -> None:
    rig = listening()
    rig.turn()
    rig.respond(audio_ms=100, done=None)
    rig.wait(2700)
    rig.delta(100)
    rig.response_done()
    rig.wait(300)
    assert rig.marks("playout_underrun") == [{"item": "a1", "missing_ms": 2600.0}]


def open_hole() -> CallRig:
    rig = listening()
    rig.turn()
    rig.respond(audio_ms=100, done=None)
    rig.wait(1100)
    return rig


def hole(missing_ms: float, until: str) -> list[dict[str, Any]]:
    return [{"item": "a1", "missing_ms": missing_ms, "until": until}]


def test_a_hole_is_told_when_the_call_ends_in_it() -> None:
    rig = open_hole()
    rig.tell(HungUp(by="caller", status=200, reason=""))
    assert rig.marks("playout_underrun") == hole(1000.0, "call_ended")


def test_a_hole_is_told_when_the_caller_speaks_into_it() -> None:
    rig = open_hole()
    speaking(rig)
    rig.wait(100)
    (told,) = rig.marks("playout_underrun")
    assert (told["item"], told["until"]) == ("a1", "cleared")
    assert 1000 <= told["missing_ms"] <= 1040


def test_a_hole_is_told_when_the_server_fails_in_it() -> None:
    rig = open_hole()
    rig.event("response.done", response={"id": "r1", "status": "failed", "output": []})
    assert rig.marks("playout_underrun") == hole(1000.0, "given_up")


@pytest.mark.parametrize("done", [True, False])
def test_a_hang_up_after_all_that_was_to_come_or_within_a_frame_is_no_hole(done: bool) -> None:
    rig = listening()
    rig.turn()
    rig.respond(audio_ms=100, done=None)
    rig.wait(120)
    if done:
        rig.response_done()
        rig.wait(1000)
    rig.tell(HungUp(by="caller", status=200, reason=""))
    assert not rig.marks("playout_underrun")


# What a server might do besides.


def test_a_response_without_audio_ends_the_turn() -> None:
    rig = listening({**NO_GREETING, "answers": {"spoken_retries": 0}})
    rig.turn()
    rig.event("response.created", response={"id": "r1"})
    rig.event("response.done", response={"id": "r1", "status": "completed", "output": []})
    rig.wait(2000)
    assert rig.state == State.LISTENING


def test_an_idle_timeout_is_a_turn_without_speech() -> None:
    rig = listening()
    rig.event("input_audio_buffer.timeout_triggered", audio_start_ms=0, audio_end_ms=9, item_id="u")
    rig.event("input_audio_buffer.committed", item_id="u")
    rig.respond()
    rig.wait(200)
    assert rig.state == State.LISTENING


@pytest.mark.parametrize(
    "event",
    [
        {"type": 3},
        {"type": "response.done"},
        {"type": "response.done", "response": {"id": "r1"}},
        {"type": "response.created", "response": {"id": 3}},
        {
            "type": "response.output_audio.delta",
            "response_id": "r1",
            "item_id": "a",
            "delta": "text",
        },
        {"type": "input_audio_buffer.speech_started", "item_id": "u1", "audio_start_ms": True},
        {"type": "input_audio_buffer.committed"},
        {"type": "error"},
        {"type": "session.created", "session": []},
    ],
)
def test_an_event_that_cannot_be_read_is_dropped_with_a_mark(event: dict[str, Any]) -> None:
    rig = listening()
    rig.tell(RealtimeEvent(event=event))
    (dropped,) = rig.marks("event_dropped")
    assert dropped["type"] == str(event["type"])
    assert rig.state == State.LISTENING
    rig.turn()
    rig.respond()
    rig.wait(200)
    assert rig.state == State.LISTENING


def test_audio_of_an_unknown_response_is_dropped_with_a_mark() -> None:
    rig = listening()
    rig.delta(100, response="nobody's")
    assert not rig.asked(events.Play)
    assert rig.marks("event_dropped")


EVENTS: dict[str, dict[str, Any]] = {
    "input_audio_buffer.speech_started": {"item_id": "u1", "audio_start_ms": 0},
    "input_audio_buffer.speech_stopped": {"item_id": "u1", "audio_end_ms": 9},
    "input_audio_buffer.committed": {"item_id": "u1"},
    "response.created": {"response": {"id": "r1"}},
    "response.output_audio.delta": {"response_id": "r1", "item_id": "a1", "delta": b"\1\0" * 480},
    "response.done": {"response": {"id": "r1", "status": "completed"}},
}


def test_no_order_of_server_events_stops_a_call() -> None:
    """All orders of all events: in production none may raise, and the next turn must work."""
    quick = {"commit_ms": 100, "response_ms": 100, "response_end_ms": 100}
    settings = with_settings(NO_GREETING, {"turns": {"watchdogs": quick}})
    for order in itertools.permutations(EVENTS):
        rig = listening(settings, strict=False)
        for event_type in order:
            rig.event(event_type, **EVENTS[event_type])
        rig.wait(400)
        rig.turn("u2")
        rig.respond("r2", item="a2")
        rig.wait(300)
        assert rig.state == State.LISTENING, order
        rig.hang_up()
        assert rig.finished


def test_a_response_behind_an_uninterruptible_greeting_can_still_be_interrupted() -> None:
    settings = {"beep": {"enabled": False}}
    rig = CallRig(settings).ring().media().connect()
    rig.wait(500)
    rig.respond("g1", item="gi", audio_ms=2000, purpose="greeting")
    rig.wait(100)
    rig.turn()
    rig.respond("r1", item="a1", audio_ms=1000)
    rig.wait(100)
    speaking(rig)
    assert rig.marks("playout_cleared") == [{"item": "a1", "played_ms": 0.0, "dropped_ms": 1000.0}]
    assert not rig.marks("greeting_ended"), "it plays on"
    assert not rig.sent("conversation.item.truncate")
    rig.wait(2500)
    assert rig.marks("greeting_ended") == [{"played_ms": 2000.0, "interrupted": False}]
    assert [fields["item"] for fields in rig.marks("playout_started")] == ["gi"]


def test_what_waits_behind_an_uninterruptible_greeting_follows_without_a_gap() -> None:
    settings = {"beep": {"enabled": False}}
    rig = CallRig(settings).ring().media().connect()
    rig.wait(500)
    rig.respond("g1", item="gi", audio_ms=990, purpose="greeting")
    rig.turn()
    rig.respond("r1", item="a1", audio_ms=500, done=None)
    rig.delta(400)
    rig.response_done("r1")
    rig.wait(2000)
    (started,) = rig.mark_times_ms("greeting_started")
    (ended,) = [
        at
        for at, fields in zip(
            rig.mark_times_ms("playout_ended"), rig.marks("playout_ended"), strict=True
        )
        if fields["item"] == "a1"
    ]
    assert ended - started == pytest.approx(990 + 900, abs=20)
    assert rig.state == State.LISTENING


@pytest.mark.parametrize("policy", ["server", "client"])
@pytest.mark.parametrize("silence_ms", [60_000, 200_000])
def test_speech_whose_end_is_never_told_does_not_keep_the_call_for_ever(
    policy: str, silence_ms: int
) -> None:
    limits = {"limits": {"silence_ms": silence_ms}, "turns": {"policy": policy}}
    rig = speaking(listening(with_settings(NO_GREETING, limits)))
    limit_ms = max(silence_ms, 120_000)
    rig.wait(limit_ms - 1)
    assert rig.state == State.RECORDING_AUDIO
    assert not rig.marks("watchdog_fired")
    rig.wait(1)
    assert rig.marks("watchdog_fired") == [{"what": "speech"}]
    assert rig.state == State.LISTENING
    rig.wait(silence_ms)
    assert rig.marks("watchdog_fired")[1] == {"what": "silence"}


def test_a_caller_who_talks_longer_than_the_limit_is_answered_all_the_same() -> None:
    rig = speaking(listening())
    rig.wait(150_000)
    rig.event("input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=150_000)
    rig.event("input_audio_buffer.committed", item_id="u1")
    rig.respond()
    rig.wait(200)
    assert rig.marks("playout_ended")
    assert rig.state == State.LISTENING


def test_speech_that_ends_and_a_session_that_is_lost_have_no_speech_limit() -> None:
    rig = speaking(listening())
    assert events.Timer.SPEECH_LIMIT in rig.timers
    rig.event("input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=900)
    assert events.Timer.SPEECH_LIMIT not in rig.timers
    rig.event("input_audio_buffer.committed", item_id="u1")
    rig.event("input_audio_buffer.speech_started", item_id="u2", audio_start_ms=1_000)
    assert events.Timer.SPEECH_LIMIT in rig.timers
    rig.lose()
    assert events.Timer.SPEECH_LIMIT not in rig.timers


def test_an_answer_that_crosses_the_callers_next_words_is_stopped() -> None:
    """The server stops one when speech begins, and this one was not there then."""
    rig = listening()
    rig.turn()
    rig.event("input_audio_buffer.speech_started", item_id="u2", audio_start_ms=1_000)
    rig.event("response.created", response={"id": "r1"})
    assert rig.marks("cancel_sent") == [{"response": "r1"}]
    rig.delta(1_000)
    assert not rig.asked(events.Play)


def test_with_barge_in_switched_off_it_is_heard() -> None:
    rig = listening(with_settings(NO_GREETING, {"turns": {"barge_in": False}}))
    rig.turn()
    rig.event("input_audio_buffer.speech_started", item_id="u2", audio_start_ms=1_000)
    rig.event("response.created", response={"id": "r1"})
    rig.delta(1_000)
    assert rig.asked(events.Play)


def test_what_is_said_and_pressed_while_an_answer_runs_is_answered_once() -> None:
    """Each was asked for by itself, and the second answer had nothing left to say."""
    rig = listening()
    rig.turn()
    rig.respond("r1", audio_ms=300, done=None)
    for digit in "1#2#":
        rig.tell(DtmfReceived(digit=digit, method="rfc4733"))
    assert not rig.sent("response.create")
    rig.response_done("r1")
    assert len(rig.sent("response.create")) == 1
    rig.tell(DtmfReceived(digit="#", method="rfc4733"))
    rig.respond("r2", item="a2", audio_ms=300, purpose="turn")
    assert len(rig.sent("response.create")) == 2, "that was pressed after it was asked for"
    rig.respond("r3", item="a3", audio_ms=300, purpose="turn")
    rig.wait(10_000)
    assert len(rig.sent("response.create")) == 2


def done(response: str, status: str = "completed", **fields: Any) -> dict[str, Any]:
    return {"id": response, "status": status, "status_details": None, "output": [], **fields}


def test_a_response_whose_end_comes_before_its_beginning_does_not_run_for_ever() -> None:
    """It was taken for running until a watchdog, and nobody was told that it had failed."""
    rig = listening()
    rig.turn()
    details = {"error": {"code": "insufficient_quota"}}
    rig.event("response.done", response=done("r1", "failed", status_details=details))
    rig.event("response.created", response={"id": "r1"})
    rig.wait(6_000)
    assert rig.marks("response_created") == [{"response": "r1"}]
    assert [mark["what"] for mark in rig.marks("watchdog_fired")] == []
    assert rig.marks("hang_up_sent") == [{"reason": "response failed: insufficient_quota"}]


def test_an_answer_whose_beginning_was_lost_is_asked_for_again_when_it_ends() -> None:
    """There was nothing of it to hear, and the caller waited for a watchdog."""
    rig = listening()
    rig.turn()
    rig.delta(300)
    rig.event("response.done", response=done("r1"))
    assert rig.marks("response_silent") == [{"response": "r1"}]
    assert len(rig.sent("response.create")) == 1
    rig.event("response.created", response={"id": "r1"})
    rig.respond("r2", item="a2", audio_ms=300, purpose="turn")
    rig.wait(10_000)
    assert not rig.marks("watchdog_fired")
    assert rig.state == State.LISTENING


@pytest.mark.parametrize("when", ["while it runs", "when it is done"])
def test_a_response_that_begins_twice_has_begun_once(when: str) -> None:
    """What was told twice ran for ever, or was heard twice."""
    rig = listening()
    rig.turn()
    rig.respond("r1", audio_ms=300, done=None)
    if when == "while it runs":
        rig.event("response.created", response={"id": "r1"})
        rig.delta(300)
    rig.response_done("r1")
    rig.event("response.created", response={"id": "r1"})
    rig.wait(10_000)
    assert rig.marks("response_created") == [{"response": "r1"}]
    assert len(rig.marks("playout_started")) == 1
    assert not rig.marks("watchdog_fired")
    assert {mark["type"] for mark in rig.marks("event_dropped")} == {"response.created"}
    assert rig.state == State.LISTENING


def test_a_response_that_ends_twice_has_ended_once() -> None:
    rig = listening()
    rig.respond()
    rig.response_done()
    assert len(rig.marks("response_done")) == 1
    assert rig.marks("event_dropped")


def test_what_was_said_before_there_was_a_session_is_a_turn_when_there_is_one() -> None:
    """Under the policy `local` nobody but the agent's own ear hears its end."""
    rig = CallRig(with_settings(NO_GREETING, {"turns": {"policy": "local"}})).ring().media()
    rig.wait(0)
    rig.caller_audio(500, byte=b"\0\0")
    rig.caller_audio(600, byte=b"\0\x20")
    rig.caller_audio(1_000, byte=b"\0\0")
    assert not rig.marks("speech_stopped")
    rig.connect()
    assert len(rig.marks("speech_stopped")) == 1
    assert len(rig.sent("input_audio_buffer.commit")) == 1
    assert len(rig.sent("response.create")) == 1


def test_an_answer_in_several_items_is_heard_once() -> None:
    rig = listening()
    rig.event("response.created", response={"id": "r1"})
    rig.delta(100, item="a1")
    rig.delta(200, item="a2")
    rig.delta(300, item="a2")
    played = [len(play.pcm) // 2 * 1000 // rig.rate_hz for play in rig.asked(events.Play)]
    assert played == [100, 200, 300]


def test_a_sample_in_two_deltas_is_one() -> None:
    rig = CallRig(NO_GREETING).listening()
    rig.event("response.created", response={"id": "r1"})
    sound = bytes(range(200))
    for part in (sound[:33], sound[33:34], sound[34:101], sound[101:]):
        rig.event("response.output_audio.delta", response_id="r1", item_id="a1", delta=part)
    assert b"".join(play.pcm for play in rig.asked(events.Play)) == sound


def test_the_answer_to_a_turn_whose_end_was_lost_is_heard_and_not_cancelled() -> None:
    rig = listening()
    rig.event("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
    rig.forget()
    rig.respond()  # the server makes none while it hears the caller
    assert rig.asked(events.Play)
    assert not rig.sent("response.cancel")
    # Should its end be told after all, the turn is no other one.
    rig.event("input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=900)
    rig.wait(20_000)
    assert not rig.sent("input_audio_buffer.commit")
    assert not rig.sent("response.create")


def test_where_the_client_ends_turns_an_answer_ends_none() -> None:
    rig = listening(with_settings(NO_GREETING, {"turns": {"policy": "client"}}))
    rig.event("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
    rig.event("response.created", response={"id": "r1"})
    assert rig.marks("cancel_sent") == [{"response": "r1"}]
