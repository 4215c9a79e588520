"""Control of a running server by a test: what its client sent, and what it gets next."""

import asyncio
import base64
import http.client
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from callerside.fakes.recording.format import Entry, Header, Recording
from callerside.fakes.script.model import Script
from callerside.fakes.script.reply import Reply
from callerside.fakes.server import control as fake_control
from callerside.fakes.server import journal
from callerside.fakes.server.control import Control, ControlError
from callerside.fakes.server.control_routes import replies_of
from callerside.fakes.server.journal import Journal, Search
from callerside.fakes.server.server import FakeRealtime, ServerOptions
from callerside.fakes.session import session as fake_session
from callerside.marks import Mark

QUICK = {"timing": {"think_ms": 10, "pace": 100}, "replies": [{"say": "One."}, {"say": "Two."}]}
MANUAL = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}


@asynccontextmanager
async def serving(
    script: Mapping[str, Any] | None = None, **how: Any
) -> AsyncIterator[tuple[FakeRealtime, Control]]:
    made = Script.model_validate(script if script is not None else QUICK)
    async with FakeRealtime(made, options=ServerOptions(control=True), **how) as server:
        assert server.control is not None
        yield server, server.control


async def send(socket: ClientConnection, event_type: str, **fields: Any) -> None:
    await socket.send(json.dumps({"type": event_type, **fields}))


async def until(socket: ClientConnection, event_type: str) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while True:
            event: dict[str, Any] = json.loads(await socket.recv())
            if event["type"] == event_type:
                return event


async def ask(socket: ClientConnection, words: str = "Hello?") -> dict[str, Any]:
    """A turn in writing; returns the response."""
    content = [{"type": "input_text", "text": words}]
    item = {"type": "message", "role": "user", "content": content}
    await send(socket, "conversation.item.create", item=item)
    await send(socket, "response.create")
    done = await until(socket, "response.done")
    response: dict[str, Any] = done["response"]
    return response


def words_of(response: Mapping[str, Any]) -> str:
    return str(response["output"][0]["content"][0]["transcript"])


def types(control: Control, **search: Any) -> list[str]:
    return [entry.type for entry in control.journal.search(Search(**search))]


async def test_what_a_client_sent_is_there_to_be_looked_at() -> None:
    async with serving() as (server, control), connect(server.url) as socket:
        await send(socket, "session.update", session=MANUAL)
        await until(socket, "session.updated")
        await ask(socket)
        assert types(control, sender="client") == [
            "session.update",
            "conversation.item.create",
            "response.create",
        ]
        (update,) = control.journal.search(Search(type="session.update"))
        assert update.event["session"] == MANUAL
        assert update.session == 1
        sent = types(control, sender="server", type="response.*")
        assert (sent[0], sent[-1]) == ("response.created", "response.done")
        assert "session_opened" in types(control, sender="fake")


async def test_sound_is_counted_and_not_kept() -> None:
    async with serving() as (server, control), connect(server.url) as socket:
        audio = base64.b64encode(bytes(960)).decode()
        for _ in range(5):
            await send(socket, "input_audio_buffer.append", audio=audio)
        await send(socket, "input_audio_buffer.clear")
        await until(socket, "input_audio_buffer.cleared")
        await send(socket, "input_audio_buffer.append", audio=audio)
        await send(socket, "input_audio_buffer.clear")
        await until(socket, "input_audio_buffer.cleared")
        runs = control.journal.search(Search(type="input_audio_buffer.append"))
        assert [(run.event["events"], run.event["audio_bytes"]) for run in runs] == [
            (5, 4800),
            (1, 960),
        ]
        await ask(socket)
        deltas = control.journal.search(Search(type="response.output_audio.delta"))
        assert deltas
        assert all(set(delta.event["delta"]) == {"bytes"} for delta in deltas)


async def test_a_search_has_filters() -> None:
    async with serving() as (server, control):
        async with connect(server.url) as one, connect(server.url) as two:
            await send(one, "session.update", session={**MANUAL, "instructions": "A."})
            await until(one, "session.updated")
            await send(two, "session.update", session={**MANUAL, "instructions": "B."})
            await until(two, "session.updated")
        update = "session.update"
        assert len(control.journal.search(Search(type=update))) == 2
        (second,) = control.journal.search(Search(type=update, session=2))
        assert second.event["session"]["instructions"] == "B."
        (found,) = control.journal.search(
            Search(type=update, match={"session": {"instructions": "B."}})
        )
        assert found == second
        assert control.journal.search(Search(type=update, after=second.number)) == []
        assert not control.journal.search(Search(type=update, match={"session": {"voice": "x"}}))


async def test_waiting_for_an_event_ends_with_it_or_says_what_there_is() -> None:
    async with serving() as (server, control), connect(server.url) as socket:
        wanted = Search(type="response.create", sender="client")
        waiting = asyncio.create_task(control.wait(wanted, within_s=10))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await ask(socket)
        ((entry),) = await waiting
        assert entry["from"] == "client"
        told = r"0 of 1 .* there: conversation\.item\.create"
        with pytest.raises(ControlError, match=told) as why:
            await control.wait(Search(type="response.cancel", sender="client"), within_s=0.05)
        assert why.value.status == 408


async def test_a_test_waits_as_long_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    async def wait(_: Journal, _search: Search, count: int, within_s: float) -> list[journal.Entry]:
        waited.append(within_s)
        return []

    monkeypatch.setattr(Journal, "wait", wait)
    async with serving() as (_, control):
        with pytest.raises(ControlError, match=r"0 of 1 .* after 90 s"):
            await control.wait(Search(type="never"), within_s=90)
    assert waited == [90]


async def test_so_many_may_wait_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MOST_WAITING", 2)
    async with serving() as (_, control):
        never = Search(type="never")
        waiting = [asyncio.create_task(control.wait(never, within_s=10)) for _ in range(2)]
        await asyncio.sleep(0.01)
        with pytest.raises(journal.TooManyWaitError):
            await control.wait(never, within_s=10)
        for one in waiting:
            one.cancel()


async def test_the_next_turns_are_answered_by_what_is_given() -> None:
    async with serving() as (server, control), connect(server.url) as socket:
        await control.change(replies=[{"say": "Three."}])
        assert words_of(await ask(socket)) == "Three."
        assert words_of(await ask(socket)) == "Two.", "the script goes on"


async def test_the_next_session_gets_what_is_meant_for_it() -> None:
    async with serving() as (server, control):
        assert await control.change(replies=[{"say": "Three."}], session="next") is None
        async with connect(server.url) as socket:
            assert words_of(await ask(socket)) == "Three."
        async with connect(server.url) as socket:
            assert words_of(await ask(socket)) == "One."


async def test_a_fault_strikes_now_or_at_the_next_reply() -> None:
    async with serving() as (server, control), connect(server.url) as socket:
        await ask(socket)
        await control.change(faults=[{"fault": "error", "code": "overloaded"}])
        error = await until(socket, "error")
        assert error["error"]["code"] == "overloaded"
        await control.change(faults=[{"fault": "fail", "code": "insufficient_quota"}])
        response = await ask(socket)
        assert response["status_details"]["error"]["code"] == "insufficient_quota"
        await control.change(faults=[{"fault": "drop", "at": "next reply"}])
        with pytest.raises(ConnectionClosed):
            await ask(socket)
        struck = control.journal.search(Search(type="fault_applied"))
        assert [entry.event["fault"] for entry in struck] == ["error", "fail", "drop"]
        assert struck[2].event["at"] == "reply 3"


async def test_the_next_handshake_may_be_refused() -> None:
    async with serving() as (server, control):
        await control.change(faults=[{"fault": "refuse", "status": 429}], session="next")
        with pytest.raises(Exception, match="429"):
            await connect(server.url)
        async with connect(server.url) as socket:
            await until(socket, "session.created")


async def test_what_would_do_nothing_is_refused() -> None:
    async with serving() as (server, control), connect(server.url) as socket:
        await until(socket, "session.created")
        for fault in ("refuse", "accept_late"):
            with pytest.raises(ControlError, match=r"faults\.0: the handshake is over"):
                await control.change(faults=[{"fault": fault}])
        with pytest.raises(ControlError, match="the session is open already"):
            await control.change(faults=[{"fault": "drop", "at": "connect"}])
        await control.change(faults=[{"fault": "slow", "at": "greeting"}])
        await ask(socket)
        for fault in ("fail", "error"):
            with pytest.raises(ControlError, match="reply 1 has been: 'next reply'") as refused:
                await control.change(faults=[{"fault": fault, "at": "reply 1"}])
            assert refused.value.status == 409
        with pytest.raises(ControlError, match="is not greeted any more"):
            await control.change(faults=[{"fault": "slow", "at": "greeting"}])
        await control.change(faults=[{"fault": "error", "at": "next reply", "code": "overloaded"}])
        await ask(socket)
        struck = control.journal.search(Search(type="fault_applied"))
        assert [entry.event["fault"] for entry in struck] == ["error"]


async def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (fake_control, fake_session):
        monkeypatch.setattr(module, "MOST_CHANGES_WAITING", 3)
    async with serving() as (server, control):
        two: dict[str, Any] = {
            "replies": [{"say": "Three."}] * 2,
            "faults": [{"fault": "fail"}] * 2,
        }
        await control.change(**two, session="next")
        for one in ("replies", "faults"):
            with pytest.raises(ControlError, match=f"{one}: at most 3 may wait") as refused:
                await control.change(**{one: two[one]}, session="next")
            assert refused.value.status == 409
        async with connect(server.url) as socket:
            await until(socket, "session.created")
            for one in ("replies", "faults"):
                with pytest.raises(ControlError, match=f"{one}: at most 3 may wait"):
                    await control.change(**{one: two[one]})
            await ask(socket)  # it takes one of the replies, and both faults
            await control.change(**two)


@pytest.mark.parametrize(
    ("change", "why", "status"),
    [
        ({"faults": [{"fault": "fly"}]}, r"faults\.0", 400),
        ({"faults": [{"fault": "drop", "at": "the end"}]}, "no point of a conversation", 400),
        ({"faults": [{}]}, r"faults\.0", 400),
        ({"replies": [{"sya": "Hello."}]}, r"replies\.0", 400),
        ({"replies": [{"wav": "x.wav"}]}, "files are not read for others", 400),
        ({"replies": [{"say": "x"}] * 101}, "at most 100", 400),
        ({"session": 7}, "no session 7 is open", 404),
        ({}, "which session", 409),
    ],
)
async def test_what_cannot_be_is_refused_in_words(
    change: dict[str, Any], why: str, status: int
) -> None:
    async with serving() as (server, control):
        if "faults" in change or "replies" in change:
            async with connect(server.url) as socket:
                await until(socket, "session.created")
                with pytest.raises(ControlError, match=why) as refused:
                    await control.change(**change)
        else:
            with pytest.raises(ControlError, match=why) as refused:
                await control.change(**change)
        assert refused.value.status == status


async def test_a_replay_is_not_changed() -> None:
    entry = Entry(0.0, "server", {"type": "session.created", "event_id": "e", "session": {}})
    recording = Recording(Header(), (entry,))
    async with serving(recording=recording) as (server, control), connect(server.url) as socket:
        await until(socket, "session.created")
        with pytest.raises(ControlError, match="a replay does what was recorded"):
            await control.change(replies=[{"say": "x"}])


async def test_a_reset_ends_sessions_and_forgets() -> None:
    async with serving() as (server, control):
        async with connect(server.url) as socket:
            await ask(socket)
            await control.change(replies=[{"say": "Never."}], session="next")
            await control.reset()
            with pytest.raises(ConnectionClosed):
                await until(socket, "never")
        assert control.journal.sessions == []
        assert control.journal.search(Search()) == []
        async with connect(server.url) as socket:
            assert words_of(await ask(socket)) == "One."
            (record,) = control.journal.sessions
            assert (record.number, record.name) == (1, "session-1")


async def test_who_comes_while_a_reset_waits_is_a_new_first_session() -> None:
    async with serving() as (server, control), connect(server.url) as old:
        await until(old, "session.created")
        resetting = asyncio.create_task(control.reset())
        await asyncio.sleep(0)  # it has begun: the old one is told, and may take its time
        async with connect(server.url) as new:
            await until(new, "session.created")
            await resetting
            (record,) = control.journal.sessions
            assert (record.number, record.name) == (1, "session-1")
            assert await control.change([{"say": "Three."}], [], 1) == 1
            assert words_of(await ask(new)) == "Three."


async def test_control_over_http_is_for_this_machine_alone() -> None:
    async with FakeRealtime(options=ServerOptions(host="0.0.0.0", control=True)) as server:
        assert server.control is not None, "it is there for the tests of its own process"
        for method, path in (("GET", "/control/sessions"), ("POST", "/control/calls")):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
            headers = {"Host": "localhost", "Content-Length": "0"}
            await asyncio.to_thread(connection.request, method, path, None, headers)
            assert (await asyncio.to_thread(connection.getresponse)).status == 404
            connection.close()


async def test_sessions_are_open_until_they_are_over() -> None:
    async with serving() as (server, control):
        async with connect(server.url) as socket:
            await until(socket, "session.created")
            (open_one,) = (record.as_json() for record in control.journal.sessions)
            assert open_one["open"]
            assert open_one["path"] == "/v1/realtime"
        await control.wait(Search(type="session_closed"), within_s=10)
        (record,) = (record.as_json() for record in control.journal.sessions)
        assert not record["open"]
        assert record["closed"]["code"] == 1000


def test_the_journal_has_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MOST_ENTRIES", 10)
    monkeypatch.setattr(journal, "MOST_CHARS", 3000)
    kept = Journal(0)
    session = kept.open_session("x", "/v1/realtime", 0)
    for number in range(30):
        kept.note_event(session, "client", {"type": "a", "number": number}, number)
    assert [entry.event["number"] for entry in kept.search(Search())] == list(range(20, 30))
    assert kept.search(Search())[0].number == 21, "it says how much has gone"
    for _ in range(5):
        kept.note_event(session, "client", {"type": "b", "text": "x" * 1000}, 0)
    assert len(kept.search(Search(type="b"))) == 2
    kept.note_event(session, "client", {"type": "c", "text": "x" * 4000}, 0)
    (too_large,) = kept.search(Search(type="c"))
    assert "text" not in too_large.event


def test_appends_that_go_on_are_there_after_their_entry_has_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal, "MOST_ENTRIES", 10)
    kept = Journal(0)
    one = kept.open_session("one", "/v1/realtime", 0)
    two = kept.open_session("two", "/v1/realtime", 0)
    append = {"type": "input_audio_buffer.append", "audio": bytes(960)}
    for _ in range(3):
        kept.note_event(one, "client", append, 0)
    for number in range(10):
        kept.note_event(two, "client", {"type": "a", "number": number}, 0)
    kept.note_event(one, "client", append, 0)
    (run,) = kept.search(Search(type="input_audio_buffer.append"))
    assert (run.number, run.event["events"]) == (12, 1)


def test_sound_of_items_is_counted_and_not_kept() -> None:
    kept = Journal(0)
    session = kept.open_session("x", "/v1/realtime", 0)
    sound = base64.b64encode(bytes(1001)).decode()
    for kind in ("input_audio", "output_audio", "audio"):
        content = [{"type": kind, "audio": sound, "transcript": "Hello."}]
        item = {"type": "message", "role": "user", "content": content}
        created = {"type": "conversation.item.create", "item": item}
        kept.note_event(session, "client", created, 0)
        (entry,) = kept.search(Search(match={"item": {"content": [{"type": kind}]}}))
        assert entry.event["item"]["content"] == [
            {"type": kind, "audio": {"bytes": 1001}, "transcript": "Hello."}
        ]
    told = {"type": "session.update", "session": {"metadata": {"audio": "loud"}}}
    kept.note_event(session, "client", told, 0)
    (entry,) = kept.search(Search(type="session.update"))
    assert entry.event == told, "what is no sound stays"


def test_a_mark_for_each_append_takes_no_room() -> None:
    kept = Journal(0)
    session = kept.open_session("x", "/v1/realtime", 0)
    for number in range(3):
        append = {"type": "input_audio_buffer.append", "audio": bytes(960)}
        kept.note_event(session, "client", append, number)
        mark = Mark(
            at_ns=number,
            source="realtime",
            call="x",
            name="audio_received",
            fields={"samples": 480, "total_samples": 480 * (number + 1)},
        )
        kept.note_mark(session, mark)
    (run,) = kept.search(Search())
    assert run.event["events"] == 3


async def test_who_waits_looks_at_each_entry_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    finds = Search.finds

    def counted(search: Search, entry: journal.Entry) -> bool:
        nonlocal looks
        looks += 1
        return finds(search, entry)

    monkeypatch.setattr(Search, "finds", counted)
    kept = Journal(0)
    session = kept.open_session("x", "/v1/realtime", 0)
    for number in range(100):
        kept.note_event(session, "client", {"type": "a", "number": number}, 0)
    waiting = asyncio.create_task(kept.wait(Search(type="b"), 2, 10))
    for number in range(100):
        await asyncio.sleep(0)
        kept.note_event(session, "client", {"type": "b" if number > 97 else "a"}, 0)
    assert [entry.number for entry in await waiting] == [199, 200]
    assert looks <= 202


async def test_who_waits_for_so_many_appends_is_told_when_they_are_there() -> None:
    kept = Journal(0)
    session = kept.open_session("x", "/v1/realtime", 0)
    append = {"type": "input_audio_buffer.append", "audio": bytes(960)}
    waiting = asyncio.create_task(kept.wait(Search(match={"events": 3}), 1, 10))
    for _ in range(3):
        await asyncio.sleep(0)
        assert not waiting.done()
        kept.note_event(session, "client", append, 0)
    (run,) = await asyncio.wait_for(waiting, 1)
    assert run.event["audio_bytes"] == 2880


def test_what_is_nested_too_deeply_is_left_out() -> None:
    kept = Journal(0)
    session = kept.open_session("x", "/v1/realtime", 0)
    deep: dict[str, Any] = {"type": "deep"}
    for _ in range(5000):
        deep = {"type": "deep", "inner": deep}
    kept.note_event(session, "client", deep, 0)
    (entry,) = kept.search(Search())
    assert set(entry.event) == {"type", "left_out"}


def test_one_session_with_very_quick_deltas_leaves_others_their_turn() -> None:
    """A response gives up its turn after a while, however much is due."""
    from in_memory import Client

    from callerside.fakes.session.interface import SendEvent, TimerFired

    hurried = {"timing": {"delta_ms": 10, "pace": 1000, "think_ms": 0, "delta_spread_ms": 0}}
    client = Client({**hurried, "greeting": {"say": "Hello there. " * 60}})
    client.send("response.create")
    client.now_ns += 10**10  # it could not be made in time: all of it is due
    (name,) = [name for name in client._timers if name.startswith("response:")]
    client._timers.pop(name)
    before = len(client.effects)
    client.feed(TimerFired(name))
    sent = [one for one in client.effects[before:] if isinstance(one, SendEvent)]
    assert 0 < len(sent) <= 256
    assert client._timers[name] <= client.now_ns, "the rest is due at once"
    client.wait(1000)
    assert client.types.count("response.done") == 1


def test_each_reply_is_told_with_its_end() -> None:
    replies = [
        {"say": "Let me see.", "function_calls": [{"name": "a"}, {"name": "b"}]},
        {"mcp_call": {"server": "shop", "name": "find"}},
        {"say": "At nine.", "incomplete": {"reason": "content_filter"}},
        {"failed": {"code": "insufficient_quota"}},
        {"text": "At ten.", "cancelled": {}},
        {"sends_only": "created"},
    ]
    script = Script.model_validate({"replies": replies, "default_reply": {"say": "Yes?"}})
    told = list(replies_of(script))
    assert [one["words"] for one in told] == [
        "Let me see. / calls a / calls b",
        "calls shop.find",
        "At nine. (incomplete: content_filter)",
        "(failed: insufficient_quota)",
        "At ten. (cancelled: turn_detected)",
        "(sends created)",
        "Yes?",
    ]
    again = [Reply.model_validate(one["reply"]) for one in told]
    assert again == [*script.replies, script.default_reply]
