from collections.abc import Mapping
from typing import Any

import pytest
from in_memory import Client

from callerside.fakes.recording.causality import Trigger, find_triggers
from callerside.fakes.recording.difference import first_difference
from callerside.fakes.recording.format import Entry, Header, Recording
from callerside.fakes.recording.replay import ReplayOptions, ReplaySession
from callerside.fakes.session.context import Observation
from callerside.fakes.session.interface import ConnectionLost, KeepSent

FAST = ReplayOptions(timing="fast")
STRICT = ReplayOptions(strict=True)
SILENCE = bytes(48_000)


def recorded_call() -> Recording:
    """A session update, a greeting, a spoken turn, a truncation."""
    client = Client({"replies": [{"say": "We open at nine.", "think_ms": 320}]})
    client.wait(40)
    client.update(instructions="Be brief.")
    client.wait(60)
    client.send("response.create")
    client.wait(3000)
    client.hear(SILENCE)
    client.say("What time do you open?")
    client.wait(2000)
    item = client.all("response.done")[-1]["response"]["output"][0]["id"]
    client.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=200)
    return client.recording()


@pytest.fixture(scope="module")
def recording() -> Recording:
    return recorded_call()


def replay(recording: Recording, options: ReplayOptions | None = None) -> Client:
    return Client(ReplaySession(recording, call="test", options=options))


def act_like_the_recorded_client(client: Client, pause_ms: float = 0) -> None:
    client.wait(pause_ms)
    client.update(instructions="Be brief.")
    client.wait(pause_ms)
    client.send("response.create")
    client.wait(4000 + pause_ms)
    client.hear(bytes(20 * 960))
    client.say("Tell me, when do you open in the morning?")
    client.wait(2000)
    client.send("conversation.item.truncate", item_id="any", content_index=0, audio_end_ms=200)


def server_events(recording: Recording) -> list[Mapping[str, Any]]:
    return [entry.event for entry in recording.entries if entry.sender == "server"]


@pytest.mark.parametrize("options", [None, FAST, STRICT])
def test_a_live_client_gets_the_recorded_answers(
    recording: Recording, options: ReplayOptions | None
) -> None:
    client = replay(recording, options)
    act_like_the_recorded_client(client, pause_ms=700)
    assert sorted(client.types) == sorted(e["type"] for e in server_events(recording))
    assert not client.marked("departed")
    deltas = [e["delta"] for e in server_events(recording) if e["type"].endswith("audio.delta")]
    assert [e["delta"] for e in client.all("response.output_audio.delta")] == deltas


def test_answers_keep_their_distance_from_their_cause(recording: Recording) -> None:
    client = replay(recording)
    act_like_the_recorded_client(client)
    stopped_ms = client.time_ms("input_audio_buffer.speech_stopped")
    deltas_ms = [
        at_ms
        for at_ms, kind in zip(client.times_ms, client.types, strict=True)
        if kind == "response.output_audio.delta" and at_ms > stopped_ms
    ]
    assert deltas_ms[0] - stopped_ms == pytest.approx(320, abs=0.01)


def test_what_a_replay_sends_is_kept(recording: Recording) -> None:
    options = Observation(keep_audio=True)
    client = Client(ReplaySession(recording, call="test", options=FAST, observation=options))
    client.update(instructions="Be brief.")
    client.send("response.create")
    kept = b"".join(effect.pcm for effect in client.effects if isinstance(effect, KeepSent))
    assert kept == b"".join(event["delta"] for event in client.all("response.output_audio.delta"))
    assert kept


def test_fast_answers_come_at_once(recording: Recording) -> None:
    client = replay(recording, FAST)
    client.wait(100)
    client.update(instructions="Be brief.")
    client.send("response.create")
    assert client.types[-1] == "rate_limits.updated"
    assert client.times_ms[-1] == 100


def test_speech_is_where_the_live_client_spoke(recording: Recording) -> None:
    client = replay(recording)
    act_like_the_recorded_client(client)
    started = client.only("input_audio_buffer.speech_started")["audio_start_ms"]
    assert started == pytest.approx(100, abs=32)  # 400 ms of silence less 300 ms of padding
    assert client.marked("speech_started")[0].fields["audio_start_ms"] == started


def test_nothing_is_said_until_the_client_acts(recording: Recording) -> None:
    client = replay(recording)
    client.wait(60_000)
    assert client.types == ["session.created"]


def test_a_departure_is_marked_and_the_replay_goes_on_from_there(recording: Recording) -> None:
    client = replay(recording)
    client.send("response.create")
    client.wait(1000)
    (departed,) = client.marked("departed")
    assert departed.fields == {"expected": "session.update", "got": "response.create"}
    assert "response.done" in client.types
    assert client.closed is None


def test_what_the_recording_does_not_know_is_marked_and_ignored(recording: Recording) -> None:
    client = replay(recording)
    client.send("input_audio_buffer.clear")
    client.update(instructions="Be brief.")
    assert [mark.fields["got"] for mark in client.marked("departed")] == [
        "input_audio_buffer.clear"
    ]
    assert client.types == ["session.created", "session.updated"]


def test_a_client_that_says_something_else_has_departed(recording: Recording) -> None:
    client = replay(recording)
    client.update(instructions="Be terse.", tools=[])
    (departed,) = client.marked("departed")
    assert departed.fields == {
        "expected": "session.update with session.instructions 'Be brief.'",
        "got": "session.update with session.instructions 'Be terse.'",
    }
    assert client.types == ["session.created", "session.updated"]
    strict = replay(recording, STRICT)
    strict.update(instructions="Be brief.", tools=[])
    assert strict.only("error")["error"]["message"] == (
        "This is a replay: expected session.update with session.tools nothing as step 1, "
        "got session.update with session.tools []."
    )
    assert strict.types == ["session.created", "error"]


def test_a_client_that_goes_before_the_end_has_departed(recording: Recording) -> None:
    client = replay(recording)
    client.update(instructions="Be brief.")
    client.feed(ConnectionLost(1000))
    (departed,) = client.marked("departed")
    assert departed.fields == {"expected": "response.create", "got": "nothing more"}
    whole = replay(recording)
    act_like_the_recorded_client(whole)
    whole.feed(ConnectionLost(1000))
    assert not whole.marked("departed")


@pytest.mark.parametrize(
    ("recorded", "live", "expected"),
    [
        ({"event_id": "a", "item": {"id": "x"}}, {"item": {"id": "y"}}, None),
        ({"audio": b"a"}, {"audio": b"b"}, None),
        ({"audio_end_ms": 5}, {"audio_end_ms": 6}, None),
        ({"session": {"audio": {"input": {}}}}, {"session": {"audio": {"input": {}}}}, None),
        ({"tools": [{"n": 1}]}, {"tools": [{"n": 2}]}, ("tools[0].n 1", "tools[0].n 2")),
        ({"tools": [1]}, {"tools": [1, 2]}, ("tools[1] nothing", "tools[1] 2")),
        ({"a": "x" * 99}, {}, (f"a '{'x' * 58}…", "a nothing")),
        (
            {"audio": {"output": {"voice": "a"}}},
            {},
            ("audio {'output': {'voice': 'a'}}", "audio nothing"),
        ),
    ],
)
def test_differences_are_found_but_for_what_no_two_sessions_share(
    recorded: dict[str, Any], live: dict[str, Any], expected: tuple[str, str] | None
) -> None:
    assert first_difference(recorded, live) == expected


def test_a_strict_replay_names_the_first_difference_and_ends(recording: Recording) -> None:
    client = replay(recording, STRICT)
    client.send("response.create")
    error = client.only("error")["error"]
    assert error["code"] == "departed_from_recording"
    assert error["message"] == (
        "This is a replay: expected session.update as step 1, got response.create."
    )
    assert client.closed is not None
    assert client.closed.code == 4000
    client.update()
    assert client.types == ["session.created", "error"]


def test_recorded_times_must_be_known_to_be_replayed(recording: Recording) -> None:
    untimed = Recording(Header(timed=False), recording.entries)
    with pytest.raises(ValueError, match="timing fast"):
        ReplaySession(untimed, call="test")
    ReplaySession(untimed, call="test", options=FAST)


def entry(at_s: float, sender: str, kind: str, **fields: Any) -> Entry:
    return Entry(at_s, "client" if sender == "c" else "server", {"type": kind, **fields})


def kinds(trigger: Trigger) -> list[str]:
    return [event["type"] for _, event in trigger.answers]


def test_an_answer_that_is_still_coming_belongs_to_its_own_cause() -> None:
    """The client creates an item while the response before it has not ended."""
    recording = Recording(
        Header(),
        (
            entry(0.0, "s", "session.created"),
            entry(1.0, "c", "response.create"),
            entry(1.1, "s", "response.created", response={"id": "r1"}),
            entry(1.2, "s", "response.output_item.added", response_id="r1", item={"id": "i1"}),
            entry(1.3, "c", "conversation.item.create"),
            entry(1.4, "s", "conversation.item.done", item={"id": "i1"}),
            entry(1.4, "s", "response.done", response={"id": "r1", "status": "completed"}),
            entry(1.5, "s", "conversation.item.added", item={"id": "i2"}),
            entry(1.6, "s", "rate_limits.updated"),
        ),
    )
    connect, request, create = find_triggers(recording)
    assert kinds(connect) == ["session.created"]
    assert kinds(request) == [
        "response.created",
        "response.output_item.added",
        "conversation.item.done",
        "response.done",
        "rate_limits.updated",
    ]
    assert kinds(create) == ["conversation.item.added"]
    assert create.answers[0][0] == pytest.approx(0.2)


def test_the_end_of_a_cancelled_response_is_caused_by_what_cancelled_it() -> None:
    details = {"reason": "turn_detected"}
    recording = Recording(
        Header(),
        (
            entry(0.0, "c", "response.create"),
            entry(0.1, "s", "response.created", response={"id": "r1"}),
            entry(2.0, "s", "input_audio_buffer.speech_started", item_id="i2"),
            entry(2.1, "s", "response.done", response={"id": "r1", "status_details": details}),
        ),
    )
    _, request, speech = find_triggers(recording)
    assert kinds(request) == ["response.created"]
    assert kinds(speech) == ["input_audio_buffer.speech_started", "response.done"]


def test_errors_belong_to_the_event_that_they_name() -> None:
    recording = Recording(
        Header(),
        (
            entry(0.0, "c", "input_audio_buffer.commit", event_id="mine"),
            entry(0.1, "c", "session.update"),
            entry(0.2, "s", "session.updated"),
            entry(0.9, "s", "error", error={"event_id": "mine"}),
        ),
    )
    _, commit, update = find_triggers(recording)
    assert (kinds(commit), kinds(update)) == (["error"], ["session.updated"])


def test_a_refused_request_claims_nothing_that_answers_the_next_one() -> None:
    live = Client({"greeting": {"say": "Hi."}})
    live.send("response.create")
    live.wait(10)
    live.send("response.create")  # refused: one is active already
    live.send("input_audio_buffer.commit")  # refused: nothing is in the buffer
    live.update(audio={"input": {"turn_detection": {"type": "magic_vad"}}})  # refused
    live.wait(3000)
    live.say(then_silence_ms=3000)
    assert len(live.all("error")) == 3
    recording = live.recording()
    client = replay(recording)
    client.send("response.create")
    client.send("response.create")
    client.wait(9000)
    assert len(client.all("response.done")) == 1
    by_kind = {(trigger.kind, kinds(trigger)[0]) for trigger in find_triggers(recording)[1:4]}
    assert ("response.create", "error") in by_kind
    assert ("input_audio_buffer.commit", "error") in by_kind


def test_of_two_updates_the_one_that_was_refused_gets_the_error() -> None:
    recording = Recording(
        Header(),
        (
            entry(0.0, "c", "session.update", session={"voice": "none"}),
            entry(0.0, "c", "session.update", session={}),
            entry(0.1, "s", "error", error={"code": "invalid_value", "param": "session.voice"}),
            entry(0.1, "s", "session.updated"),
        ),
    )
    _, refused, taken = find_triggers(recording)
    assert (kinds(refused), kinds(taken)) == (["error"], ["session.updated"])


def interrupted_call(by: str) -> Recording:
    client = Client({"greeting": {"say": "Hello. " * 20}, "timing": {"pace": 1}})
    if by == "response.cancel":
        client.turn_detection(None)
    client.send("response.create")
    client.wait(4000)
    interrupt(client, by)
    client.wait(3000)
    return client.recording()


def interrupt(client: Client, by: str) -> None:
    if by == "response.cancel":
        client.send(by)
    else:
        client.say()


@pytest.mark.parametrize("options", [None, FAST, STRICT])
@pytest.mark.parametrize("by", ["response.cancel", "speech"])
@pytest.mark.parametrize("after_ms", [10, 2000, 6000])
def test_a_client_that_interrupts_at_another_time_hears_no_more_of_it(
    options: ReplayOptions | None, by: str, after_ms: int
) -> None:
    recording = interrupted_call(by)
    recorded = [entry.type for entry in recording.entries if entry.sender == "server"]
    client = replay(recording, options)
    if by == "response.cancel":
        client.turn_detection(None)
    client.send("response.create")
    client.wait(after_ms)
    interrupt(client, by)
    client.wait(5000)
    done = client.types.index("response.done")
    first = client.all("response.created")[0]["response"]["id"]
    assert client.types.index("response.created") < done
    assert client.events[done]["response"]["id"] == first
    assert not [event for event in client.events[done:] if event.get("response_id") == first]
    for kind in ("response.output_item.done", "conversation.item.done", "response.done"):
        assert client.types.count(kind) == recorded.count(kind), kind
    assert not client.marked("departed")


def test_each_cancel_ends_the_response_that_it_names() -> None:
    def created(response_id: str) -> dict[str, Any]:
        return {"response": {"id": response_id}}

    def cancelled(response_id: str) -> dict[str, Any]:
        details = {"reason": "client_cancelled"}
        return {"response": {"id": response_id, "status_details": details}}

    recording = Recording(
        Header(),
        (
            entry(0.0, "c", "response.create"),
            entry(0.1, "s", "response.created", **created("r1")),
            entry(0.2, "c", "response.create"),
            entry(0.3, "s", "response.created", **created("r2")),
            entry(1.0, "c", "response.cancel", response_id="r1"),
            entry(1.1, "s", "response.done", **cancelled("r1")),
            entry(1.2, "s", "response.output_text.delta", response_id="r2"),
            entry(2.0, "c", "response.cancel", response_id="r2"),
            entry(2.1, "s", "response.done", **cancelled("r2")),
            entry(2.2, "c", "response.cancel"),
            entry(2.3, "s", "error", error={"code": "response_cancel_not_active"}),
            entry(3.0, "c", "response.create"),
            entry(3.0, "c", "response.cancel"),
            entry(3.1, "s", "response.created", **created("r3")),
            entry(3.1, "s", "response.done", **cancelled("r3")),
        ),
    )
    _, _, second, *cancels, third, last = find_triggers(recording)
    assert kinds(second)[0] == "response.created"
    assert [kinds(one) for one in cancels] == [["response.done"], ["response.done"], ["error"]]
    assert (kinds(third), kinds(last)) == (["response.created"], ["response.done"])
