"""What every client lives through, and what must come of it; what differs is in its `Client`.

A client of the microphone's kind is fed in real time, and told what to say by the story.
"""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest
import trustme

from callerside.fakes.pytest_plugin import RunningServer
from callerside.speech.synthesis import synthesise

RATE_HZ = 24_000
FRAME_BYTES = RATE_HZ * 2 // 50
SPEECH = synthesise("When do you open tomorrow?", rate_hz=RATE_HZ)
SHORT = "We open at nine."
LONG = (
    "We open at nine in the morning on every day of the week, on holidays as well, and we "
    "close at six in the evening; at Easter we are open until midnight at the station."
)
QUICK = {"timing": {"think_ms": 150, "transcription_ms": 100}}
LIMIT_S = 20.0
QUIET_S = 0.7
"""After so long an answer is over: within one the fake sends faster than it speaks."""

LACKS = {
    "truncation": "the server is not told how much of a cut answer was heard",
    "reconnect": "a lost connection ends the session, and the client says so",
    "errors": "any `error` event ends the session",
    "one answer to two calls": "a response is asked for after each call's output",
}
"""What some client cannot do, and what it does instead."""

Start = Callable[..., RunningServer]


class Heard:
    """What has come to the client's user."""

    def __init__(self) -> None:
        self.bytes = 0
        self.tools: list[str] = []
        self.interruptions = 0
        self.errors: list[str] = []
        self.ended = False
        self._came_s = 0.0

    def sound(self, count: int) -> None:
        """So many bytes of audio at 24 kHz came."""
        self.bytes += count
        self._came_s = asyncio.get_running_loop().time()

    @property
    def seconds(self) -> float:
        return self.bytes / 2 / RATE_HZ

    async def until(self, met: Callable[[], object], what: str) -> None:
        """Wait for something; fails by its name, with what the client complained about."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + LIMIT_S
        while not met():
            if loop.time() > end_s:
                pytest.fail(f"waited {LIMIT_S:.0f} s for {what}; errors: {self.errors}")
            await asyncio.sleep(0.02)

    async def answer(self, *, least_s: float = 0.5) -> None:
        """Wait for sound, at least so much, and for its end."""
        before, loop = self.seconds, asyncio.get_running_loop()
        await self.until(lambda: self.seconds - before >= least_s, "an answer")
        await self.until(lambda: loop.time() - self._came_s > QUIET_S, "its end")


class Client(Protocol):
    """A client with a microphone."""

    lacks: frozenset[str]
    """Of LACKS."""

    def __init__(self, base_url: str, heard: Heard) -> None: ...

    async def open(self) -> None:
        """Connect; two tools, `opening_hours` and `weather`, put their names into `heard.tools`."""

    async def greet(self) -> None:
        """Ask for a response before anybody has spoken."""

    async def hear(self, pcm: bytes) -> None:
        """A frame of the microphone's."""

    async def close(self) -> None: ...


class Line:
    """The client, its microphone, and whoever speaks into it."""

    def __init__(self, client: Client, heard: Heard) -> None:
        self.client, self.heard = client, heard
        self._waiting = b""
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Line":
        await asyncio.wait_for(self.client.open(), LIMIT_S)
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(Exception, asyncio.CancelledError):
            await asyncio.wait_for(self.client.close(), LIMIT_S)

    def say(self) -> None:
        """The caller asks its question; it does not wait for its end."""
        self._waiting += SPEECH

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            frame, self._waiting = self._waiting[:FRAME_BYTES], self._waiting[FRAME_BYTES:]
            try:
                await self.client.hear(frame.ljust(FRAME_BYTES, b"\0"))
            except Exception as error:
                if "reconnect" in self.client.lacks:
                    self.heard.errors.append(f"{type(error).__name__}: {error}")
                    self.heard.ended = True
                    return
            due_s += FRAME_BYTES / 2 / RATE_HZ
            await asyncio.sleep(max(0.0, due_s - loop.time()))


class Stories:
    """Each test is a story; a client's test class names the client."""

    client: type[Client]

    def line(self, url: str) -> Line:
        heard = Heard()
        return Line(self.client(url, heard), heard)

    async def test_turns(self, fake_realtime: Start, reached: Callable[[str], str]) -> None:
        """A greeting and three turns: each is committed once, and answered once."""
        server = fake_realtime(
            {**QUICK, "greeting": {"say": SHORT}, "default_reply": {"say": SHORT}}
        )
        async with self.line(reached(server.base_url)) as line:
            await line.client.greet()
            await line.heard.answer()
            for _ in range(3):
                line.say()
                await line.heard.answer()
        assert len(server.marked("committed")) == 3
        assert complaints(server) == []
        assert line.heard.errors == []

    async def test_barge_in(self, fake_realtime: Start, reached: Callable[[str], str]) -> None:
        """Speech into a long answer ends it at the client; what was heard is told the server."""
        server = fake_realtime(
            {**QUICK, "timing": {"pace": 4}, "replies": [{"say": LONG}, {"say": SHORT}]}
        )
        async with self.line(reached(server.base_url)) as line:
            line.say()
            await line.heard.until(lambda: line.heard.seconds > 0.5, "the answer's beginning")
            line.say()
            await line.heard.until(lambda: line.heard.interruptions, "the interruption")
            await line.heard.answer()
        assert complaints(server) == []
        if "truncation" not in self.client.lacks:
            assert server.marked("truncated")

    async def test_two_tools(self, fake_realtime: Start, reached: Callable[[str], str]) -> None:
        """Two calls in one response: both are made, and one answer follows."""
        calls = [{"name": "opening_hours", "arguments": {}}, {"name": "weather", "arguments": {}}]
        server = fake_realtime({**QUICK, "replies": [{"function_calls": calls}, {"say": SHORT}]})
        async with self.line(reached(server.base_url)) as line:
            line.say()
            await line.heard.answer()
            await asyncio.sleep(1)
        assert sorted(line.heard.tools) == ["opening_hours", "weather"]
        if "one answer to two calls" not in self.client.lacks:
            assert complaints(server) == []
            assert len(server.marked("response_done")) == 2

    async def test_incomplete(self, fake_realtime: Start, reached: Callable[[str], str]) -> None:
        """An answer that is cut off at the limit of tokens: the next turn is answered."""
        cut = {"say": LONG, "incomplete": {"after_ms": 1000, "reason": "max_output_tokens"}}
        server = fake_realtime({**QUICK, "replies": [cut, {"say": SHORT}]})
        async with self.line(reached(server.base_url)) as line:
            for _ in range(2):
                line.say()
                await line.heard.answer()
        assert complaints(server) == []

    async def test_error(self, fake_realtime: Start, reached: Callable[[str], str]) -> None:
        """An error event in mid-session: the client tells it, and goes on."""
        faults = [{"fault": "error", "at": "reply 1 + 300ms"}]
        server = fake_realtime({**QUICK, "default_reply": {"say": SHORT}, "faults": faults})
        async with self.line(reached(server.base_url)) as line:
            line.say()
            await line.heard.answer(least_s=0.1)
            await line.heard.until(lambda: line.heard.errors, "the error")
            if "errors" in self.client.lacks:
                return
            line.say()
            await line.heard.answer()

    async def test_drop(self, fake_realtime: Start, reached: Callable[[str], str]) -> None:
        """The connection is lost without a word: the client is over it, or says so, soon."""
        faults = [{"fault": "drop", "at": "reply 1 + 300ms"}]
        server = fake_realtime({**QUICK, "default_reply": {"say": SHORT}, "faults": faults})
        async with self.line(reached(server.base_url)) as line:
            line.say()
            await line.heard.until(lambda: server.marked("session_closed"), "the drop")
            if "reconnect" in self.client.lacks:
                await line.heard.until(lambda: line.heard.ended, "the client to notice")
                return
            await line.heard.until(
                lambda: len(server.marked("session_opened")) > 1, "another session"
            )
            await asyncio.sleep(1)
            line.say()
            await line.heard.answer()


def complaints(server: RunningServer) -> list[str]:
    """What the server refused, but for a cancellation of what it had cancelled itself.

    A client cannot know that it has when it hears the caller; the real server refuses it as well.
    """
    refused = [mark.fields for mark in server.marked("error_sent")]
    return [str(one["message"]) for one in refused if one["code"] != "response_cancel_not_active"]


@contextlib.contextmanager
def tls_before(host: str, port: int, authority: trustme.CA) -> Iterator[int]:
    """A port that speaks TLS, and hands what it gets to another."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    loop = asyncio.new_event_loop()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, port)
        await asyncio.gather(pump(reader, back), pump(there, writer))

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    starting = asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    server: Any = asyncio.run_coroutine_threadsafe(starting, loop).result(10)
    yield server.sockets[0].getsockname()[1]
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
