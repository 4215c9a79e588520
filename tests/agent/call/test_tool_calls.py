"""Tool calls, DTMF, a local VAD, and the ends of a call that we choose."""

import json
from typing import Any

import pytest
from call_rig import NO_GREETING, CallRig, with_settings

from callerside.agent.call import events
from callerside.agent.call.events import EndRequested, ToolFinished
from callerside.agent.call.states import State
from callerside.agent.telephony.interface import (
    AudioReceived,
    DtmfReceived,
    HungUp,
    TransferProgressed,
    TransferRequested,
)

HOURS = {"type": "function", "name": "opening_hours", "description": "x", "parameters": {}}
LOCAL = with_settings(NO_GREETING, {"turns": {"policy": "local"}})


def call(name: str, arguments: dict[str, Any] | str, call_id: str = "c1") -> dict[str, Any]:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    item = {"id": f"i{call_id}", "type": "function_call", "status": "completed"}
    return {**item, "call_id": call_id, "name": name, "arguments": text}


def calling(rig: CallRig, *calls: dict[str, Any]) -> CallRig:
    """The model answers a turn with function calls."""
    rig.turn()
    rig.event("response.created", response={"id": "r1"})
    rig.event("response.done", response={"id": "r1", "status": "completed", "output": [*calls]})
    return rig


def listening(settings: dict[str, Any] | None = None) -> CallRig:
    rig = CallRig(settings or NO_GREETING, tools=[HOURS]).listening()
    rig.forget()
    return rig


def outputs(rig: CallRig) -> list[str]:
    items = [event["item"] for event in rig.sent("conversation.item.create")]
    return [item["output"] for item in items if item["type"] == "function_call_output"]


# Functions.


def test_the_session_is_told_of_the_tools() -> None:
    rig = CallRig(NO_GREETING, tools=[HOURS]).ring().media().connect()
    (update,) = rig.sent("session.update")
    assert [tool["name"] for tool in update["session"]["tools"]] == ["hang_up", "opening_hours"]
    assert update["session"]["tool_choice"] == "auto"


def test_a_function_runs_and_its_result_goes_back_to_the_model() -> None:
    rig = calling(listening(), call("opening_hours", {"day": "Sunday"}))
    (run,) = rig.asked(events.RunTool)
    assert (run.name, run.arguments) == ("opening_hours", {"day": "Sunday"})
    assert not rig.sent("response.create")
    rig.wait(40)
    rig.tell(ToolFinished(call_id="c1", ok=True, output="closed"))
    assert outputs(rig) == ["closed"]
    assert len(rig.sent("response.create")) == 1
    (finished,) = rig.marks("tool_finished")
    assert finished == {"name": "opening_hours", "call_id": "c1", "ok": True, "took_ms": 40}
    rig.respond("r2", purpose="turn")
    rig.wait(200)
    assert rig.state == State.LISTENING


def test_several_functions_are_answered_before_the_model_goes_on() -> None:
    calls = [call("opening_hours", {"day": day}, day) for day in ("Sat", "Sun")]
    rig = calling(listening(), *calls)
    rig.tell(ToolFinished(call_id="Sun", ok=True, output="closed"))
    assert not rig.sent("response.create")
    rig.tell(ToolFinished(call_id="Sat", ok=True, output="open"))
    assert outputs(rig) == ["closed", "open"]
    assert len(rig.sent("response.create")) == 1


def test_a_function_that_takes_too_long_has_failed_and_its_late_answer_is_dropped() -> None:
    rig = calling(listening(), call("opening_hours", {}))
    rig.wait(10_000)
    assert rig.marks("watchdog_fired") == [{"what": "tool"}]
    assert json.loads(outputs(rig)[0]) == {"error": "no answer within 10 s"}
    assert [effect.call_id for effect in rig.asked(events.CancelTool)] == ["c1"]
    assert rig.marks("tool_finished")[0]["ok"] is False
    rig.tell(ToolFinished(call_id="c1", ok=True, output="late"))
    assert len(outputs(rig)) == 1
    assert len(rig.sent("response.create")) == 1


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (call("no_such", {}), "there is no function 'no_such'"),
        (call("opening_hours", "{"), "not JSON"),
        (call("opening_hours", "[1]"), "not a JSON object"),
        (call("transfer", {"uri": "sip:x@y"}), "there is no function 'transfer'"),
    ],
)
def test_a_call_that_cannot_be_made_is_told_to_the_model(
    wrong: dict[str, Any], reason: str
) -> None:
    rig = calling(listening(), wrong)
    assert reason in json.loads(outputs(rig)[0])["error"]
    assert not rig.asked(events.RunTool)
    assert len(rig.sent("response.create")) == 1


def test_a_function_that_outlives_its_call_is_stopped() -> None:
    rig = calling(listening(), call("opening_hours", {}))
    assert not rig.asked(events.CancelTool)
    rig.hang_up()
    assert [effect.call_id for effect in rig.asked(events.CancelTool)] == ["c1"]


def test_a_long_result_is_cut_and_says_so() -> None:
    rig = calling(listening(), call("opening_hours", {}))
    rig.tell(ToolFinished(call_id="c1", ok=True, output="x" * 50_000))
    assert outputs(rig)[0].endswith("[cut: 50000 characters]")


def test_functions_of_a_cancelled_response_do_not_run() -> None:
    rig = listening()
    rig.turn()
    rig.event("response.created", response={"id": "r1"})
    cancelled = {"id": "r1", "status": "cancelled", "output": [call("opening_hours", {})]}
    rig.event("response.done", response=cancelled)
    assert not rig.asked(events.RunTool)


def test_a_result_that_comes_when_the_session_is_gone_reaches_the_next_one() -> None:
    rig = calling(listening(), call("opening_hours", {}))
    rig.lose("gone")
    rig.tell(ToolFinished(call_id="c1", ok=True, output="closed"))
    rig.forget()
    rig.wait(250)
    rig.connect()
    kinds = [event["item"]["type"] for event in rig.sent("conversation.item.create")]
    assert kinds[:2] == ["function_call", "function_call_output"]
    assert len(rig.sent("response.create")) == 1


# Functions that are started while the model still speaks.


def starting(*calls: dict[str, Any], settings: dict[str, Any] | None = None) -> CallRig:
    """The model says a sentence, and calls functions amid its response."""
    rig = listening(settings)
    rig.turn()
    rig.event("response.created", response={"id": "r1"})
    rig.delta(600)
    for one in calls:
        rig.event("response.output_item.done", response_id="r1", item=one)
    return rig


def done(rig: CallRig, *calls: dict[str, Any], status: str = "completed") -> None:
    rig.event("response.done", response={"id": "r1", "status": status, "output": [*calls]})


def test_a_function_is_started_while_the_model_still_speaks() -> None:
    hours = call("opening_hours", {"day": "Sunday"})
    rig = starting(hours)
    (run,) = rig.asked(events.RunTool)
    assert run.arguments == {"day": "Sunday"}
    rig.tell(ToolFinished(call_id="c1", ok=True, output="closed"))
    assert len(rig.marks("tool_finished")) == 1
    assert not rig.sent("conversation.item.create"), "the model still speaks"
    done(rig, hours)
    assert len(rig.asked(events.RunTool)) == 1, "it ran already"
    assert outputs(rig) == ["closed"]
    assert len(rig.sent("response.create")) == 1


def test_of_several_calls_the_last_answer_is_waited_for_whenever_each_began() -> None:
    sat, sun, mon = (call("opening_hours", {"day": day}, day) for day in ("Sat", "Sun", "Mon"))
    rig = starting(sat)
    rig.tell(ToolFinished(call_id="Sat", ok=True, output="open"))
    rig.event("response.output_item.done", response_id="r1", item=sun)
    done(rig, sat, sun, mon)
    assert [run.call_id for run in rig.asked(events.RunTool)] == ["Sat", "Sun", "Mon"]
    rig.tell(ToolFinished(call_id="Mon", ok=True, output="closed"))
    assert not rig.sent("response.create")
    rig.tell(ToolFinished(call_id="Sun", ok=True, output="closed"))
    assert outputs(rig) == ["open", "closed", "closed"]
    assert len(rig.sent("response.create")) == 1


@pytest.mark.parametrize("status", [None, "incomplete"])
def test_a_call_that_is_not_whole_is_not_started(status: str | None) -> None:
    item = call("opening_hours", {"day": "Sunday"})
    wrong = {**item, "status": status} if status else {"id": "m", "type": "message"}
    assert not starting(wrong).asked(events.RunTool)


def test_a_call_that_is_told_twice_is_run_once() -> None:
    hours = call("opening_hours", {"day": "Sunday"})
    rig = starting(hours)
    rig.event("response.output_item.done", response_id="r1", item=hours)
    assert len(rig.asked(events.RunTool)) == 1


def test_functions_wait_for_the_end_of_their_response_where_the_settings_say_so() -> None:
    hours = call("opening_hours", {"day": "Sunday"})
    waits = with_settings(NO_GREETING, {"tools": {"at_once": False}})
    rig = starting(hours, settings=waits)
    assert not rig.asked(events.RunTool)
    done(rig, hours)
    assert len(rig.asked(events.RunTool)) == 1


def test_what_acts_on_the_call_waits_for_the_end_of_its_response() -> None:
    rig = starting(call("hang_up", {}))
    rig.event("response.done", response={"id": "r1", "status": "cancelled", "output": []})
    rig.wait(2_000)
    assert not rig.asked(events.HangUp), "the caller has interrupted it"


@pytest.mark.parametrize("ending", ["cancelled", "stalled", "lost"])
def test_a_function_whose_response_ends_otherwise_is_answered_all_the_same(ending: str) -> None:
    rig = starting(call("opening_hours", {}))
    rig.tell(ToolFinished(call_id="c1", ok=True, output="closed"))
    if ending == "cancelled":
        done(rig, status="cancelled")
    elif ending == "stalled":
        rig.wait(rig.settings.turns.watchdogs.response_end_ms + 100)
    else:
        rig.lose("gone")
        rig.wait(250)
        rig.connect()
    assert outputs(rig) == ["closed"]
    assert len(rig.sent("response.create")) == 1


def test_a_call_of_a_response_that_the_caller_interrupted_is_not_started() -> None:
    rig = listening()
    rig.turn()
    rig.event("response.created", response={"id": "r1"})
    rig.delta(600)
    rig.event("input_audio_buffer.speech_started", item_id="u2", audio_start_ms=2_000)
    item = call("opening_hours", {})
    rig.event("response.output_item.done", response_id="r1", item=item)
    assert not rig.asked(events.RunTool)


def test_a_caller_who_speaks_as_a_function_answers_is_answered_once() -> None:
    rig = starting(call("opening_hours", {}))
    rig.event("input_audio_buffer.speech_started", item_id="u2", audio_start_ms=2_000)
    done(rig, status="cancelled")
    rig.tell(ToolFinished(call_id="c1", ok=True, output="closed"))
    assert outputs(rig) == ["closed"], "what the caller says is answered with it"
    assert not rig.sent("response.create"), "the caller has the floor"
    rig.event("input_audio_buffer.speech_stopped", item_id="u2", audio_end_ms=2_900)
    rig.event("input_audio_buffer.committed", item_id="u2", previous_item_id=None)
    rig.respond("r2", item="a2")
    rig.wait(2_000)
    assert not rig.sent("response.create")
    assert rig.state == State.LISTENING


def test_a_noise_as_a_function_answers_takes_nobody_its_answer() -> None:
    rig = starting(call("opening_hours", {}))
    rig.event("input_audio_buffer.speech_started", item_id="u2", audio_start_ms=2_000)
    done(rig, status="cancelled")
    rig.tell(ToolFinished(call_id="c1", ok=True, output="closed"))
    rig.wait(120_100)  # it never stops
    assert len(rig.sent("response.create")) == 1


def test_hanging_up_waits_until_the_last_word_has_been_heard() -> None:
    rig = listening()
    rig.turn()
    rig.event("response.created", response={"id": "r1"})
    rig.delta(2000)
    rig.response_done(output=[call("hang_up", {})])
    rig.wait(1980)
    assert not rig.asked(events.HangUp)
    rig.wait(20)
    assert len(rig.asked(events.HangUp)) == 1
    assert rig.marks("hang_up_sent") == [{"reason": "the model hung up"}]
    assert rig.marks("playout_ended") == [{"item": "a1", "played_ms": 2000.0}]
    assert not rig.sent("response.create")
    rig.tell(HungUp(by="agent", status=200, reason="bye"))
    assert rig.finished


def test_a_last_word_of_a_minute_is_heard_to_its_end() -> None:
    rig = listening()
    rig.turn()
    rig.event("response.created", response={"id": "r1"})
    rig.delta(60_000)
    rig.response_done(output=[call("hang_up", {})])
    rig.wait(59_980)
    assert not rig.asked(events.HangUp)
    rig.wait(20)
    assert rig.asked(events.HangUp)
    assert not rig.marks("watchdog_fired")


def test_a_last_word_that_the_caller_holds_up_is_not_waited_for_for_ever() -> None:
    rig = listening()
    rig.turn()
    rig.event("response.created", response={"id": "r1"})
    rig.delta(2000)
    rig.held = True
    rig.response_done(output=[call("hang_up", {})])
    rig.wait(17_000 - 20)
    assert not rig.asked(events.HangUp)
    rig.wait(20)
    assert rig.marks("watchdog_fired") == [{"what": "farewell"}]
    assert rig.asked(events.HangUp)


def test_a_leg_that_never_tells_the_end_is_not_waited_for_for_ever() -> None:
    rig = listening()
    rig.tell(EndRequested(reason="drain", at_once=True))
    assert rig.asked(events.HangUp)
    rig.wait(10_000)
    assert rig.finished


def test_a_transfer_goes_only_where_it_may() -> None:
    settings = with_settings(NO_GREETING, {"tools": {"transfer": ["sip:desk@example.org"]}})
    rig = calling(listening(settings), call("transfer", {"uri": "sip:premium@example.org"}))
    assert not rig.asked(events.Transfer)
    assert "must be one of" in outputs(rig)[0]


@pytest.mark.parametrize("status", [200, 486])
def test_the_model_learns_what_became_of_a_transfer(status: int) -> None:
    settings = with_settings(NO_GREETING, {"tools": {"transfer": ["sip:desk@example.org"]}})
    rig = calling(listening(settings), call("transfer", {"uri": "sip:desk@example.org"}))
    assert [transfer.uri for transfer in rig.asked(events.Transfer)] == ["sip:desk@example.org"]
    assert rig.marks("transfer_sent") == [{"uri": "sip:desk@example.org"}]
    rig.tell(TransferProgressed(status=status))
    assert rig.marks("transfer_ended") == [{"status": status}]
    if status == 200:
        assert not rig.sent("response.create"), "there is nobody here to speak to"
        assert rig.marks("hang_up_sent") == [{"reason": "transferred"}]
    else:
        assert "486" in outputs(rig)[0]
        assert not rig.marks("hang_up_sent")


@pytest.mark.parametrize("after_ms", [12_000, 31_000])
def test_a_transfer_may_ring_for_longer_than_a_function_may_take(after_ms: int) -> None:
    settings = with_settings(NO_GREETING, {"tools": {"transfer": ["sip:desk@example.org"]}})
    rig = calling(listening(settings), call("transfer", {"uri": "sip:desk@example.org"}))
    rig.wait(after_ms)
    failed = [told for told in outputs(rig) if "nobody answered there" in told]
    assert len(failed) == (after_ms > 30_000)
    rig.tell(TransferProgressed(status=200))
    assert rig.marks("hang_up_sent") == [{"reason": "transferred"}], "however late it is"


def test_arguments_that_are_nested_without_end_are_told_to_the_model() -> None:
    rig = calling(listening(), call("opening_hours", "[" * 100_000))
    (told,) = outputs(rig)
    assert "the arguments are not JSON" in told
    assert rig.sent("response.create")


def transferring(audio_ms: float) -> CallRig:
    """The model says something, and wants to transfer the caller in the same response."""
    rig = listening(with_settings(NO_GREETING, {"tools": {"transfer": ["sip:desk@example.org"]}}))
    rig.turn()
    rig.event("response.created", response={"id": "r1"})
    rig.delta(audio_ms)
    rig.response_done(output=[call("transfer", {"uri": "sip:desk@example.org"})])
    return rig


def test_a_transfer_waits_until_the_caller_has_heard_of_it() -> None:
    rig = transferring(12_000)
    rig.wait(11_980)
    assert not rig.asked(events.Transfer)
    rig.wait(20)
    assert rig.marks("transfer_sent") == [{"uri": "sip:desk@example.org"}]
    assert len(rig.asked(events.Transfer)) == 1
    rig.wait(29_980)
    assert not rig.marks("watchdog_fired"), "it rings there"
    rig.wait(20)
    assert rig.marks("watchdog_fired") == [{"what": "tool"}]


def test_a_transfer_whose_announcement_the_caller_holds_up_is_given_up() -> None:
    rig = transferring(2_000)
    rig.held = True
    rig.wait(12_000)
    assert rig.marks("watchdog_fired") == [{"what": "tool"}]
    assert "could not hear" in outputs(rig)[0]
    rig.held = False
    rig.wait(3_000)
    assert not rig.asked(events.Transfer), "the model knows that it was given up"


@pytest.mark.parametrize("how", ["voice", "key"])
def test_a_caller_who_speaks_into_the_announcement_does_not_hasten_the_transfer(how: str) -> None:
    rig = transferring(2_000)
    rig.wait(500)
    if how == "voice":
        rig.event("input_audio_buffer.speech_started", item_id="u2", audio_start_ms=0)
    else:
        rig.tell(DtmfReceived(digit="1", method="rfc4733"))
    rig.wait(1_000)
    assert not rig.asked(events.ClearPlayout)
    assert not rig.asked(events.Transfer), "it is not over yet"
    rig.wait(700)
    assert rig.asked(events.Transfer)


def test_a_caller_who_speaks_into_the_goodbye_hears_it_all_the_same() -> None:
    rig = listening()
    rig.event("response.created", response={"id": "r1"})
    rig.delta(2_000)
    rig.response_done(output=[call("hang_up", {})])
    rig.wait(500)
    rig.event("input_audio_buffer.speech_started", item_id="u2", audio_start_ms=0)
    rig.wait(1_000)
    assert not rig.asked(events.HangUp)
    rig.wait(700)
    assert rig.asked(events.HangUp)


def test_a_call_that_ends_before_the_transfer_is_not_transferred() -> None:
    rig = transferring(2_000)
    rig.tell(EndRequested(reason="drain", at_once=True))
    rig.wait(3_000)
    assert rig.asked(events.HangUp)
    assert not rig.asked(events.Transfer)


def test_a_caller_who_would_transfer_us_stays_in_the_call() -> None:
    rig = listening()
    rig.tell(TransferRequested(uri="sip:desk@example.org"))
    assert [fields["type"] for fields in rig.marks("event_dropped")] == ["REFER"]
    assert not rig.asked(events.HangUp)
    assert rig.state == State.LISTENING


def test_the_model_can_press_keys() -> None:
    settings = with_settings(NO_GREETING, {"tools": {"send_dtmf": True}})
    rig = calling(listening(settings), call("send_dtmf", {"digits": "1#"}))
    assert [effect.digits for effect in rig.asked(events.SendDtmf)] == ["1#"]
    assert [fields["digit"] for fields in rig.marks("dtmf_sent")] == ["1", "#"]
    for refused in ("1x", "", "1" * 33):
        rig = calling(listening(settings), call("send_dtmf", {"digits": refused}))
        assert not rig.asked(events.SendDtmf)


def test_what_several_functions_say_before_their_response_is_done_is_all_told_then() -> None:
    rig = listening()
    rig.turn()
    rig.event("response.created", response={"id": "r1"})
    calls = [call("opening_hours", {}, name) for name in ("c1", "c2")]
    for one in calls:
        rig.event("response.output_item.done", response_id="r1", item=one)
        rig.tell(ToolFinished(call_id=one["call_id"], ok=True, output=f"of {one['call_id']}"))
    assert outputs(rig) == []
    rig.event("response.done", response={"id": "r1", "status": "completed", "output": calls})
    assert outputs(rig) == ["of c1", "of c2"]


# Key presses.


def press(rig: CallRig, digits: str) -> None:
    for digit in digits:
        rig.tell(DtmfReceived(digit=digit, method="rfc4733"))


def test_keys_reach_the_model_as_one_number_after_a_pause() -> None:
    rig = listening()
    press(rig, "12")
    rig.wait(1000)
    press(rig, "3")
    rig.wait(1499)
    assert not rig.sent("conversation.item.create")
    rig.wait(1)
    (item,) = rig.sent("conversation.item.create")
    assert item["item"]["role"] == "user"
    assert "1 2 3" in item["item"]["content"][0]["text"]
    assert len(rig.sent("response.create")) == 1
    assert len(rig.marks("dtmf_received")) == 3


def test_a_hash_ends_a_number_at_once() -> None:
    rig = listening()
    press(rig, "42#")
    assert "4 2 #" in str(rig.sent("conversation.item.create"))


def test_each_number_is_told_whole_and_alone() -> None:
    rig = listening()
    press(rig, "40317#42#")
    told = [event["item"]["content"][0]["text"] for event in rig.sent("conversation.item.create")]
    assert told == [
        "I pressed 4 0 3 1 7 # on the telephone's keypad.",
        "I pressed 4 2 # on the telephone's keypad.",
    ]


def test_a_key_press_stops_the_agents_voice_and_its_running_response() -> None:
    rig = listening()
    rig.turn()
    rig.respond(audio_ms=2000, done=None)
    rig.wait(100)
    press(rig, "1")
    assert rig.asked(events.ClearPlayout)
    assert rig.marks("cancel_sent") == [{"response": "r1"}], "the server does not hear keys"
    press(rig, "#")
    assert not rig.sent("response.create"), "one response at a time"
    rig.response_done(status="cancelled", details={"reason": "client_cancelled"})
    assert len(rig.sent("response.create")) == 1


def test_a_function_gets_the_keys_of_the_call_even_if_the_model_does_not() -> None:
    rig = listening(with_settings(NO_GREETING, {"dtmf": {"to_model": False}}))
    press(rig, "12#")
    calling(rig, call("opening_hours", {}))
    press(rig, "9" * 70)
    rig.tell(ToolFinished(call_id="c1", ok=True, output="closed"))
    rig.event("response.created", response={"id": "r2"})
    again = [call("opening_hours", {}, "c2")]
    rig.event("response.done", response={"id": "r2", "status": "completed", "output": again})
    assert [run.keys for run in rig.asked(events.RunTool)] == ["12#", "9" * 64]


def test_keys_can_be_kept_from_the_model() -> None:
    rig = listening(with_settings(NO_GREETING, {"dtmf": {"to_model": False}}))
    press(rig, "1#")
    assert not rig.sent("conversation.item.create")
    assert len(rig.marks("dtmf_received")) == 2


# The policy `local`.


def noise(rig: CallRig, length_ms: int, amplitude: int) -> None:
    """The caller's line, in time."""
    frame = (
        amplitude.to_bytes(2, "little") + (-amplitude).to_bytes(2, "little", signed=True)
    ) * 240
    for _ in range(length_ms // 20):
        rig.now_ns += 20_000_000
        rig.tell(AudioReceived(pcm=frame, at_ns=rig.now_ns))


def test_under_the_local_policy_our_own_ear_ends_the_turn_and_asks_at_once() -> None:
    rig = CallRig(LOCAL).listening()
    (update,) = rig.sent("session.update")
    assert update["session"]["audio"]["input"]["turn_detection"] is None
    noise(rig, 1000, 20)
    rig.forget()
    noise(rig, 1000, 3000)
    assert rig.state == State.RECORDING_AUDIO
    assert rig.marks("speech_started") == [{"item": "local_1", "audio_start_ms": 1000}]
    noise(rig, 380, 20)
    assert not rig.sent("input_audio_buffer.commit")
    noise(rig, 20, 20)
    assert rig.marks("speech_stopped") == [{"item": "local_1", "audio_end_ms": 2400}]
    kinds = [e.event["type"] for e in rig.asked(events.SendEvent)]
    assert kinds[-2:] == ["input_audio_buffer.commit", "response.create"]
    rig.event("input_audio_buffer.committed", item_id="u1")
    assert rig.state == State.PROCESSING
    assert len(rig.sent("response.create")) == 1
    rig.respond(purpose="turn")
    rig.wait(200)
    assert rig.state == State.LISTENING


def test_under_the_local_policy_a_barge_in_cancels_by_itself() -> None:
    rig = CallRig(LOCAL).listening()
    noise(rig, 500, 20)
    rig.event("response.created", response={"id": "r1"})
    rig.delta(3000)
    rig.wait(100)
    rig.forget()
    noise(rig, 100, 3000)
    assert rig.asked(events.ClearPlayout)
    assert rig.marks("cancel_sent") == [{"response": "r1"}]
    assert rig.sent("conversation.item.truncate")


def test_an_answer_that_begins_while_the_caller_goes_on_is_not_heard_over_the_caller() -> None:
    """A pause that is a little too long has ended the turn."""
    rig = CallRig(LOCAL).listening()
    noise(rig, 1000, 20)
    noise(rig, 400, 3000)
    noise(rig, 420, 20)
    assert len(rig.sent("response.create")) == 1
    noise(rig, 200, 3000)
    rig.event("response.created", response={"id": "r1", "metadata": {"purpose": "turn"}})
    assert rig.marks("cancel_sent") == [{"response": "r1"}]
    rig.delta(3_000)
    assert not rig.asked(events.Play)
    rig.event("response.done", response={"id": "r1", "status": "cancelled", "output": []})
    noise(rig, 420, 20)
    assert len(rig.sent("response.create")) == 2
    rig.respond("r2", item="a2", purpose="turn")
    assert rig.asked(events.Play)


def test_what_is_said_while_there_is_no_session_is_answered_when_there_is_one() -> None:
    rig = CallRig(LOCAL).ring().media()
    noise(rig, 1000, 20)
    noise(rig, 700, 3000)
    noise(rig, 500, 20)
    assert not rig.sent("input_audio_buffer.commit")
    rig.connect()
    kinds = [kind for kind in rig.sent_types() if kind != "session.update"]
    assert kinds == ["input_audio_buffer.append"] * 3 + [
        "input_audio_buffer.commit",
        "response.create",
    ]
    rig.event("input_audio_buffer.committed", item_id="u1")
    rig.respond(purpose="turn")
    rig.wait(200)
    assert rig.state == State.LISTENING


def test_what_is_said_while_a_lost_session_is_replaced_is_answered() -> None:
    rig = CallRig(LOCAL).listening()
    noise(rig, 1000, 20)
    rig.lose()
    rig.forget()
    noise(rig, 700, 3000)
    noise(rig, 500, 20)
    rig.wait(300)
    rig.connect()
    assert len(rig.sent("input_audio_buffer.commit")) == 1
    assert len(rig.sent("response.create")) == 1


def test_a_click_is_no_turn() -> None:
    rig = CallRig(LOCAL).listening()
    noise(rig, 500, 20)
    noise(rig, 40, 3000)
    noise(rig, 1000, 20)
    assert rig.state == State.LISTENING
    assert not rig.marks("speech_started")


def test_a_steady_noise_is_learnt_and_is_no_turn() -> None:
    rig = CallRig(LOCAL).listening()
    noise(rig, 1000, 60)
    rig.forget()
    for amplitude in range(60, 400, 5):
        noise(rig, 200, amplitude)
    assert not rig.marks("speech_started")


# Limits and ends.


def test_the_longest_call_ends_with_a_goodbye() -> None:
    rig = listening(with_settings(NO_GREETING, {"limits": {"call_ms": 30_000}}))
    rig.wait(30_000)
    assert rig.marks("watchdog_fired") == [{"what": "call"}]
    (request,) = rig.sent("response.create")
    assert "goodbye" in request["response"]["instructions"]
    assert not rig.asked(events.HangUp)
    rig.respond(purpose="goodbye", audio_ms=1000)
    rig.wait(1000)
    assert rig.marks("hang_up_sent") == [{"reason": "limit reached: call"}]


def test_a_goodbye_that_never_comes_does_not_keep_the_call() -> None:
    rig = listening(with_settings(NO_GREETING, {"limits": {"call_ms": 30_000}}))
    rig.wait(30_000 + 15_000)
    assert rig.marks("prompt_started") == [{"prompt": "tone"}]
    assert rig.asked(events.HangUp)


def test_a_goodbye_that_fails_is_replaced_by_our_own() -> None:
    rig = listening(with_settings(NO_GREETING, {"limits": {"call_ms": 30_000}}))
    rig.wait(30_000)
    rig.respond(purpose="goodbye", audio_ms=0, done="failed")
    rig.wait(5_000)
    assert rig.marks("prompt_started") == [{"prompt": "tone"}]
    assert rig.marks("hang_up_sent") == [{"reason": "limit reached: call"}]


def test_without_a_session_the_longest_call_ends_with_our_own_words() -> None:
    rig = listening(with_settings(NO_GREETING, {"limits": {"call_ms": 30_000}}))
    rig.wait(29_900)
    rig.lose("gone")
    rig.wait(5_000)
    assert rig.marks("prompt_started") == [{"prompt": "tone"}]
    assert rig.marks("hang_up_sent") == [{"reason": "limit reached: call"}]


def test_the_longest_silence_counts_from_the_last_word_of_either_side() -> None:
    rig = listening(with_settings(NO_GREETING, {"limits": {"silence_ms": 10_000}}))
    rig.wait(9_000)
    rig.turn()
    rig.respond(audio_ms=5000)
    rig.wait(5000 + 9_999)
    assert not rig.marks("watchdog_fired")
    rig.wait(1)
    assert rig.marks("watchdog_fired") == [{"what": "silence"}]


def test_without_limits_a_call_may_be_silent_for_hours() -> None:
    limits = {"limits": {"silence_ms": 0, "call_ms": 0}, "realtime": {"session_move_ms": 0}}
    rig = listening(with_settings(NO_GREETING, limits))
    for _ in range(20):
        rig.now_ns += 3600 * 10**9 // 20
        rig.wait(20)
    assert rig.state == State.LISTENING


def test_a_drain_lets_the_last_word_be_heard() -> None:
    rig = listening()
    rig.turn()
    rig.respond(audio_ms=1000)
    rig.tell(EndRequested(reason="draining"))
    assert not rig.asked(events.HangUp)
    rig.wait(1000)
    assert rig.marks("hang_up_sent") == [{"reason": "draining"}]


def test_a_request_that_meets_a_running_response_is_made_again_after_it() -> None:
    rig = calling(listening(), call("opening_hours", {}))
    rig.tell(ToolFinished(call_id="c1", ok=True, output="closed"))
    (request,) = rig.sent("response.create")
    rig.event("response.created", response={"id": "r2"})
    error = {"code": "conversation_already_has_active_response", "message": "busy"}
    rig.event("error", error={**error, "event_id": request["event_id"]})
    assert len(rig.sent("response.create")) == 1
    rig.delta(100, response="r2", item="a2")
    rig.response_done("r2", item="a2")
    assert len(rig.sent("response.create")) == 2


def test_a_server_that_is_always_busy_is_not_asked_for_ever() -> None:
    rig = calling(listening(), call("opening_hours", {}))
    rig.tell(ToolFinished(call_id="c1", ok=True, output="closed"))
    error = {"code": "conversation_already_has_active_response", "message": "busy"}
    for _ in range(10):
        request = rig.sent("response.create")[-1]
        rig.event("error", error={**error, "event_id": request["event_id"]})
    assert len(rig.sent("response.create")) == 3


def test_a_response_whose_end_is_never_told_does_not_block_the_next() -> None:
    rig = listening()
    rig.turn()
    rig.respond("r1", audio_ms=100, done=None)
    rig.event("response.created", response={"id": "r2"})
    rig.delta(100, response="r2", item="a2")
    rig.response_done("r2", item="a2")
    rig.wait(500)
    assert [fields["item"] for fields in rig.marks("playout_ended")] == ["a1", "a2"]
    assert rig.state == State.LISTENING


@pytest.mark.parametrize("how", ["pause", "hash"])
def test_the_answer_to_a_number_that_ends_while_the_caller_speaks_is_not_said_over_that(
    how: str,
) -> None:
    """The model has the number, and what the caller says is answered with it."""
    rig = listening()
    press(rig, "12")
    rig.event("input_audio_buffer.speech_started", item_id="u2", audio_start_ms=2_000)
    if how == "hash":
        press(rig, "#")
    rig.wait(1_600)
    assert "1 2" in str(rig.sent("conversation.item.create"))
    rig.respond("r1", done=None, purpose="turn")
    assert rig.marks("cancel_sent") == [{"response": "r1"}]
    assert not rig.asked(events.Play), "the caller has the floor"
    rig.response_done("r1", status="cancelled", details={"reason": "client_cancelled"})
    rig.event("input_audio_buffer.speech_stopped", item_id="u2", audio_end_ms=3_900)
    rig.event("input_audio_buffer.committed", item_id="u2", previous_item_id=None)
    rig.respond("r2", item="a2")
    assert rig.asked(events.Play)
