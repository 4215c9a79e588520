"""The page of a running fake, in a real browser: what happens is seen, and what comes is chosen."""

import asyncio
import json
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from browser import CHROMIUM, Browser, headless
from websockets.sync.client import ClientConnection, connect

from callerside.fakes.script.model import Script
from callerside.fakes.server.server import FakeRealtime, ServerOptions
from callerside.speech.synthesis import synthesise

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]

SCRIPT = {
    "timing": {"think_ms": 10, "pace": 100, "transcription_ms": 0},
    "replies": [
        {"say": "We open at nine.", "heard": "<b>When</b> do you open?"},
        {"function_call": {"name": "look_up", "arguments": {"day": "Sunday"}}},
    ],
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with headless(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def address() -> Iterator[str]:
    """A server with its page, in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    options = ServerOptions(control=True, page=True)
    server = FakeRealtime(Script.model_validate(SCRIPT), options=options)
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(30)
    yield f"127.0.0.1:{server.port}"
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(30)
    loop.close()


def until(client: ClientConnection, event_type: str) -> dict[str, Any]:
    while True:
        event: dict[str, Any] = json.loads(client.recv(timeout=10))
        if event["type"] == event_type:
            return event


def say(client: ClientConnection) -> None:
    """A spoken question, all at once: the session's clock is that of its audio."""
    import base64

    pcm = synthesise("What time do you open?") + bytes(48_000)
    for start in range(0, len(pcm), 9600):
        audio = base64.b64encode(pcm[start : start + 9600]).decode()
        client.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))


def text_of(browser: Browser, selector: str) -> str:
    return str(browser.run(f"document.querySelector({json.dumps(selector)}).innerText"))


def test_what_happens_is_seen_as_it_happens(browser: Browser, address: str) -> None:
    browser.open(f"http://{address}/")
    assert "None yet" in text_of(browser, "#none")
    with connect(f"ws://{address}/v1/realtime") as client:
        browser.wait(lambda: "1. session-1: open" in text_of(browser, "#sessions"))
        session = {
            "type": "realtime",
            "audio": {"input": {"transcription": {"model": "whisper-1"}}},
        }
        client.send(json.dumps({"type": "session.update", "session": session}))
        say(client)
        until(client, "response.done")
        browser.wait(lambda: "response.done" in text_of(browser, "#events"))
        assert "input_audio_buffer.append" in text_of(browser, "#events")
        browser.wait(lambda: "do you open?" in text_of(browser, "#speech"))
        assert "<b>When</b>" in text_of(browser, "#speech"), "what was heard is text, no markup"
        assert browser.run("document.querySelectorAll('#heard i').length") == 1
    browser.wait(lambda: "closed 1000" in text_of(browser, "#sessions"))


def test_what_was_heard_stands_beside_the_turn_in_which_it_was(
    browser: Browser, address: str
) -> None:
    with connect(f"ws://{address}/v1/realtime") as client:
        transcription = {"input": {"transcription": {"model": "whisper-1"}}}
        session = {"type": "realtime", "audio": transcription}
        client.send(json.dumps({"type": "session.update", "session": session}))
        replies = [{"say": "Pardon?", "unheard": True}, {"say": "At nine.", "heard": "Hello."}]
        change = json.dumps({"replies": replies}).encode()
        until(client, "session.updated")
        urllib.request.urlopen(f"http://{address}/control/next", data=change, timeout=10)
        for _ in replies:
            say(client)
            until(client, "response.done")
        browser.open(f"http://{address}/")
        browser.wait(lambda: "Hello." in text_of(browser, "#speech"))
        first, second = text_of(browser, "#speech").split("; ")
        assert first.endswith("(audio_unintelligible)")
        assert second.endswith("“Hello.”")


def test_what_is_appended_is_counted_while_it_goes_on(browser: Browser, address: str) -> None:
    with connect(f"ws://{address}/v1/realtime") as client:
        append = json.dumps({"type": "input_audio_buffer.append", "audio": "AAAA" * 240})
        client.send(append)
        browser.open(f"http://{address}/")
        browser.wait(lambda: '"events":1,' in text_of(browser, "#events"))
        client.send(append)
        client.send(append)
        browser.wait(lambda: '"events":3,' in text_of(browser, "#events"))
        assert text_of(browser, "#events").count("input_audio_buffer.append") == 1


def test_events_are_filtered_and_unfolded(browser: Browser, address: str) -> None:
    with connect(f"ws://{address}/v1/realtime") as client:
        client.send(json.dumps({"type": "response.create"}))
        until(client, "response.done")
        browser.open(f"http://{address}/")
        browser.wait(lambda: "response.done" in text_of(browser, "#events"))
        assert "session_opened" in text_of(browser, "#events")
        browser.click(".filters input[value=fake]")
        assert "session_opened" not in text_of(browser, "#events")
        browser.run(
            "(() => { const box = document.getElementById('type'); box.value = 'response.cr*';"
            " box.dispatchEvent(new Event('input')); })()"
        )
        kinds = browser.run(
            "[...document.querySelectorAll('#events .what')].map((e) => e.innerText.split(' ')[0])"
        )
        assert kinds == ["response.create", "response.created"]
        browser.click("#events summary")
        browser.wait(lambda: browser.run("document.querySelectorAll('#events pre').length") == 1)
        assert json.loads(text_of(browser, "#events pre"))["type"] == "response.create"


def test_replies_and_faults_are_chosen_by_hand(browser: Browser, address: str) -> None:
    with connect(f"ws://{address}/v1/realtime") as client:
        browser.open(f"http://{address}/")
        browser.wait(lambda: "session-1" in text_of(browser, "#sessions"))
        assert "calls look_up" in text_of(browser, "#replies")
        browser.click("#replies button:nth-of-type(2)")
        browser.wait(lambda: "for session 1" in text_of(browser, "#told"))
        say(client)
        done = until(client, "response.done")
        assert done["response"]["output"][0]["name"] == "look_up"
        browser.run("document.querySelector('#say input').value = 'On Monday.'")
        browser.click("#say button")
        browser.wait(lambda: browser.run("document.querySelector('#say input').value") == "")
        client.send(json.dumps({"type": "response.create"}))
        done = until(client, "response.done")
        assert done["response"]["output"][0]["content"][0]["transcript"] == "On Monday."
        browser.run("document.querySelector('#fault select').value = 'error'")
        browser.click("#fault button")
        assert until(client, "error")["error"]["code"] == "server_error"


def test_nothing_came_from_elsewhere_and_nothing_complained(browser: Browser, address: str) -> None:
    browser.complaints.clear()
    browser.requested.clear()
    browser.open(f"http://{address}/")
    assert browser.requested
    here = ("http://127.0.0.1:", "about:")  # what an earlier test asked for may come now
    assert [url for url in browser.requested if not url.startswith(here)] == []
    mine = [one for one in browser.complaints if address in one and "favicon" not in one]
    assert not mine
