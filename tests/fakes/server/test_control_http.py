"""Control over HTTP: for tests in any language, with nothing of ours but the server."""

import json
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

SCRIPT = """
timing: {think_ms: 10, pace: 100}
replies: [{say: One.}, {say: Two.}]
"""
NODE = shutil.which("node")


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[str]:
    """A server with these options; yields its address, without a scheme."""
    script = folder / "script.yaml"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "callerside.fakes.cli", "--quiet", "serve"]
    server = subprocess.Popen(
        [*command, "--script", str(script), *options], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        ready = server.stdout.readline()
        yield ready.removeprefix("ready ws://").removesuffix("/v1/realtime\n")
    finally:
        server.terminate()
        server.communicate(timeout=30)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("control"), "--control", "--page") as where:
        yield where


@pytest.fixture(autouse=True)
def as_new(address: str) -> None:
    """Each test finds the server as if it had just started."""
    assert ask(address, "reset", {}) == (200, {})


def ask(
    address: str, path: str, body: object = None, headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://{address}/control/{path}", data=data, headers=headers or {}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - loopback
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def speak(client: ClientConnection) -> str:
    """A turn in writing; what the answer says."""
    content = [{"type": "input_text", "text": "Hello?"}]
    item = {"type": "message", "role": "user", "content": content}
    client.send(json.dumps({"type": "conversation.item.create", "item": item}))
    client.send(json.dumps({"type": "response.create"}))
    while True:
        event = json.loads(client.recv(timeout=10))
        if event["type"] == "response.done":
            output = event["response"]["output"]
            return str(output[0]["content"][0]["transcript"]) if output else ""


def test_events_are_found_by_their_filters(address: str) -> None:
    with connect(f"ws://{address}/v1/realtime") as client:
        assert speak(client) == "One."
        _, sent = ask(address, "events?from=client")
        assert [event["type"] for event in sent] == ["conversation.item.create", "response.create"]
        match = json.dumps({"item": {"role": "user"}}).replace(" ", "").replace('"', "%22")
        _, (item,) = ask(address, f"events?match={match}&type=conversation.item.create")
        assert item["event"]["item"]["content"][0]["text"] == "Hello?"
        _, after = ask(address, f"events?from=client&after={item['number']}")
        assert [event["type"] for event in after] == ["response.create"]
        assert len(ask(address, "events?limit=3")[1]) == 3
        _, (session,) = ask(address, "sessions")
        assert (session["number"], session["open"]) == (1, True)


def test_waiting_ends_with_the_event_or_after_its_time(address: str) -> None:
    with connect(f"ws://{address}/v1/realtime") as client:
        speak(client)
        status, (found,) = ask(address, "events/wait?type=response.done&within_ms=5000")
        assert (status, found["from"]) == (200, "server")
        status, told = ask(address, "events/wait?type=response.done&count=2&within_ms=50")
        assert status == 408
        assert "1 of 2" in told["error"]["message"]


def test_the_next_turn_is_as_it_is_told(address: str) -> None:
    with connect(f"ws://{address}/v1/realtime") as client:
        client.recv(timeout=10)
        assert ask(address, "next", {"replies": [{"say": "Three."}]}) == (200, {"session": 1})
        assert speak(client) == "Three."
        assert ask(address, "next", {"faults": [{"fault": "fail"}]}) == (200, {"session": 1})
        assert speak(client) == ""


@pytest.mark.parametrize(
    ("path", "body", "status", "why"),
    [
        ("events?form=client", None, 400, "unknown; expected session, from"),
        ("events?from=nobody", None, 400, "expected one of client"),
        ("events?after=-1", None, 400, "a whole number"),
        ("events?match=[]", None, 400, "a JSON object"),
        ("events?limit=1001", None, 400, "expected 1 to 1000"),
        ("events/wait?within_ms=60001", None, 400, "at most 60000"),
        ("events/wait?count=0", None, 400, "expected 1 to"),
        ("next", [], 400, "expected an object"),
        ("next", {"reply": {}}, 400, "reply: unknown; expected replies"),
        ("next", {"replies": [{"wav": "/etc/passwd"}], "session": "next"}, 400, "not read"),
        ("next", {"session": True}, 400, "a number, or 'next'"),
        ("next", {"session": 7}, 404, "no session 7"),
        ("next", {"faults": 3}, 400, "a list of objects"),
        ("sessions", {}, 405, "Not allowed"),
    ],
)
def test_what_cannot_be_is_told_in_words(
    address: str, path: str, body: object, status: int, why: str
) -> None:
    found, told = ask(address, path, body)
    assert found == status
    assert why in told["error"]["message"]


@pytest.mark.parametrize(
    "headers", [{"Host": "rebound.example"}, {"Origin": "https://elsewhere.example"}]
)
@pytest.mark.parametrize("path", ["sessions", "choices"])
def test_other_peoples_pages_get_nothing(address: str, headers: dict[str, str], path: str) -> None:
    assert ask(address, path, headers=headers)[0] == 403


def test_without_being_asked_for_there_is_no_control_and_no_page(tmp_path: Path) -> None:
    with serving(tmp_path) as address:
        for path in ("control/sessions", ""):
            with pytest.raises(urllib.error.HTTPError, match=r"404|426"):
                urllib.request.urlopen(f"http://{address}/{path}", timeout=10)


@pytest.mark.parametrize("option", ["--control", "--page"])
def test_control_is_for_this_machine_alone(option: str) -> None:
    command = [sys.executable, "-m", "callerside.fakes.cli", "serve", "--host", "0.0.0.0", option]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "for this machine alone" in done.stderr


def test_a_whole_answer_comes_however_slowly_its_request_does(address: str) -> None:
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        for byte in b"GET /control/sessions HTTP/1.1\r\nHost: localhost\r\n\r\n":
            client.send(bytes([byte]))
        answer = b""
        while piece := client.recv(4096):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert json.loads(answer.split(b"\r\n\r\n", 1)[1]) == []


TEST_IN_JAVASCRIPT = """
import assert from "node:assert";
import test from "node:test";

const address = process.env.FAKE;
const ask = async (path, body) => {
  const how = body && { method: "POST", body: JSON.stringify(body) };
  const answer = await fetch(`http://${address}/control/${path}`, how);
  return answer.json();
};

test("my client asks for short answers", async () => {
  await ask("next", { session: "next", replies: [{ say: "At nine." }] });
  const client = new WebSocket(`ws://${address}/v1/realtime`);
  await new Promise((open) => client.addEventListener("open", open));
  const item = { type: "message", role: "user", content: [{ type: "input_text", text: "When?" }] };
  client.send(JSON.stringify({ type: "conversation.item.create", item }));
  client.send(JSON.stringify({ type: "response.create", response: { max_output_tokens: 500 } }));
  const [asked] = await ask("events/wait?from=client&type=response.create");
  assert.equal(asked.event.response.max_output_tokens, 500);
  const [done] = await ask("events/wait?type=response.done");
  assert.equal(done.event.response.output[0].content[0].transcript, "At nine.");
  client.close();
  await ask("events/wait?from=fake&type=session_closed");
});
"""


@pytest.mark.peer
@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_a_test_in_javascript_sees_what_its_client_sent(address: str, tmp_path: Path) -> None:
    assert NODE is not None
    (tmp_path / "mine.test.mjs").write_text(TEST_IN_JAVASCRIPT)
    done = subprocess.run(
        [NODE, "--experimental-websocket", "mine.test.mjs"],
        cwd=tmp_path,
        env={"FAKE": address, "PATH": str(Path(NODE).parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (
            {"faults": [{"fault": "zap"}]},
            "faults.0: 'zap': expected one of 'error', 'fail', 'stall'",
        ),
        ({"faults": [{"at": "now"}]}, "faults.0: 'fault' is missing"),
        (
            {"faults": [{"fault": "drop", "at": "soon"}]},
            "faults.0.at: 'soon' is no point of a conversation; expected 'now', 'next speech', ",
        ),
    ],
)
def test_a_fault_that_is_none_is_told_in_words_of_ours(
    address: str, asked: dict[str, Any], told: str
) -> None:
    status, answer = ask(address, "next", {**asked, "session": "next"})
    assert status == 400
    assert answer["error"]["message"].startswith(told)


def test_a_session_that_there_is_not_has_no_events(address: str) -> None:
    assert ask(address, "events?session=1")[0] == 404
    with connect(f"ws://{address}/v1/realtime"):
        assert ask(address, "events?session=1")[0] == 200
        status, answer = ask(address, "events?session=999")
    assert (status, answer["error"]["message"]) == (404, "no session 999; there: 1 to 1")


def test_a_path_that_there_is_not_is_told_as_json(address: str) -> None:
    status, answer = ask(address, "nothing")
    assert status == 404
    assert "/control/nothing" in answer["error"]["message"]
