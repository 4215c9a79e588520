"""How many functions of ours the audio of a call passes through.

A real call machine, driver and WebSocket client against the fake server; the leg is a real playout
buffer. Each function costs every call of a worker, fifty times a second, and none is noticed when
it is added: therefore they are counted.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

import pytest
from function_calls import Way, ways

from callerside.agent.call.events import ConnectRealtime
from callerside.agent.call.machine import CallMachine
from callerside.agent.config.settings import CallSettings
from callerside.agent.prompts.cache import MemoryPrompts
from callerside.agent.realtime import client
from callerside.agent.realtime.client import WebSocketConnection
from callerside.agent.service.driver import CallDriver
from callerside.agent.telephony.interface import (
    AudioReceived,
    CallAnswered,
    CallLeg,
    CallReceived,
    DtmfMethod,
    FramePlayed,
    HungUp,
    LegInput,
    MediaReady,
)
from callerside.agent.telephony.media.playout_buffer import PlayoutBuffer
from callerside.fakes.script.model import Script
from callerside.fakes.server.server import FakeRealtime
from callerside.loop_clock import LoopClock
from callerside.marks import Mark
from callerside.speech.synthesis import synthesise

PATIENCE_S = 20.0
SCRIPT = {
    "default_reply": {"say": "We open at nine, and we close at five in the afternoon."},
    "timing": {"think_ms": 0, "pace": 100, "delta_ms": 100},
}
SETTINGS = {"greeting": {"enabled": False}, "beep": {"enabled": False}}
OF_A_TELEPHONE = 3
"""More than here pass a delta on in a leg: its `play`, what that asks, and its media's `play`."""
MOST_OF_A_DELTA = 15 - OF_A_TELEPHONE
MOST_OF_A_FIRST_DELTA = 46 - OF_A_TELEPHONE
"""One of them looks whether there is anything in it to hear, until there is."""
MOST_OF_A_FRAME = 5
MOST_OF_A_PLAYED_FRAME = 5


class BufferLeg:
    """A telephone of which there is only the playout buffer."""

    def __init__(self, rate_hz: int) -> None:
        self.sample_rate_hz = rate_hz
        self.buffer = PlayoutBuffer(rate_hz * 120)
        self.on_input: Callable[[LegInput], None] = lambda _input: None

    def start(self, on_input: Callable[[LegInput], None]) -> None:
        self.on_input = on_input

    def answer(self, status: int = 200) -> None:
        pass

    def play(self, pcm: bytes, tag: int = 0) -> None:
        self.buffer.write(pcm, tag)

    def clear(self, tags: Collection[int] | None = None) -> None:
        pytest.fail("nobody barges in")

    def hang_up(self, status: int = 200) -> None:
        pass

    def send_dtmf(self, digits: str, method: DtmfMethod = "rfc4733") -> None:
        pass

    def consult(self, uri: str) -> CallLeg:
        raise NotImplementedError

    def transfer(self, uri: str, consulted: CallLeg | None = None) -> None:
        pass


class Ways(NamedTuple):
    """Of the answer's deltas, of the caller's frames, and of the answer's frames as they left."""

    deltas: list[Way]
    frames: list[Way]
    played: list[Way]


class Turn:
    """The caller says something, and is answered."""

    def __init__(self, codec: str, rate_hz: int) -> None:
        self.marks: list[Mark] = []
        self.leg = BufferLeg(rate_hz)
        self.codec = codec

    async def play(self) -> "Ways":
        """Play it, and count.

        Each way goes on to the end of what came of it: a delta's from the message that the client
        has read, a frame's from the telephone's handing it over.
        """
        async with FakeRealtime(Script.model_validate(SCRIPT)) as server:
            self._call(server.url)
            await self._until_marked("session_updated")
            with ways(CallDriver.feed, CallDriver.feed) as inputs:
                for pcm in self._speech():
                    self.leg.on_input(AudioReceived(pcm=pcm, at_ns=time.monotonic_ns()))
            with ways(client._decode, CallDriver.feed) as messages:
                await self._until_marked("response_done")
            with ways(CallDriver.feed, CallDriver.feed) as played:
                while self.leg.buffer:
                    _, samples = self.leg.buffer.read(self.leg.sample_rate_hz // 50)
                    self.leg.on_input(FramePlayed(played=samples, at_ns=time.monotonic_ns()))
            self.leg.on_input(HungUp(by="caller", status=200, reason="OK"))
        return Ways(
            deltas=[["_read", *way] for way in messages if "PlayoutBuffer.write" in way],
            frames=[way for way in inputs if "WebSocketConnection.append" in way],
            played=played,
        )

    def _call(self, url: str) -> None:
        settings = CallSettings.model_validate(SETTINGS)
        rate_hz = self.leg.sample_rate_hz

        def connect(effect: ConnectRealtime) -> WebSocketConnection:
            return WebSocketConnection(url, model=effect.model, api_key=None)

        CallDriver(
            CallMachine(settings, called="100", sample_rate_hz=rate_hz, strict=True),
            self.leg,
            connect,
            LoopClock(asyncio.get_running_loop()),
            MemoryPrompts(),
            self.marks.append,
            call="c1",
        ).start()
        self.leg.on_input(CallReceived(called="100", caller="200", sip_call_id="s1"))
        self.leg.on_input(CallAnswered())
        self.leg.on_input(MediaReady(codec=self.codec))

    def _speech(self) -> Iterator[bytes]:
        rate_hz = self.leg.sample_rate_hz
        frame = rate_hz // 50 * 2
        pcm = synthesise("When do you open?", rate_hz=rate_hz) + bytes(rate_hz * 2)
        for start in range(0, len(pcm) // frame * frame, frame):
            yield pcm[start : start + frame]

    async def _until_marked(self, name: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not any(mark.name == name for mark in self.marks):  # noqa: ASYNC110 - no event of ours
                await asyncio.sleep(0.01)


@pytest.fixture(scope="module", params=[("opus", 24_000), ("PCMU", 8_000)], ids=["pcm", "g711"])
def turn(request: pytest.FixtureRequest) -> Ways:
    return asyncio.run(Turn(*request.param).play())


def told(way: Way) -> str:
    return "\n".join([f"{len(way)} functions:", *way])


def test_a_delta_reaches_the_playout_buffer_in_few_functions(turn: Ways) -> None:
    """From the WebSocket message to the playout buffer, and what comes after it.

    All but the first of a response, which makes its segment and moves the call's state.
    """
    assert len(turn.deltas) > 10
    longest = max(turn.deltas[1:], key=len)
    assert len(longest) <= MOST_OF_A_DELTA, told(longest)


def test_the_first_delta_of_a_response(turn: Ways) -> None:
    """It begins a segment, writes two marks, moves the call's state, and settles the parts.

    More than half of its functions are the settling.
    """
    first = turn.deltas[0]
    assert len(first) <= MOST_OF_A_FIRST_DELTA, told(first)


def test_a_frame_of_the_caller_is_appended_in_few_functions(turn: Ways) -> None:
    """From the telephone's handing it over to the WebSocket library."""
    assert len(turn.frames) > 50
    longest = max(turn.frames[1:], key=len)  # the codec's table is made for the first
    assert len(longest) <= MOST_OF_A_FRAME, told(longest)


def test_a_frame_that_has_left_is_counted_in_few_functions(turn: Ways) -> None:
    """From the telephone's telling it to the segment's account; not the first and the last."""
    assert len(turn.played) > 50
    longest = max(turn.played[1:-1], key=len)
    assert len(longest) <= MOST_OF_A_PLAYED_FRAME, told(longest)
