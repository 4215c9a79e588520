"""How many functions of ours a caller's frame passes through, from its packet to the append.

A real call over real sockets: PJSUA2 in a process of its own, as it can be started once in the life
of one, with a call's machine, driver and WebSocket client on top, against the fake server. The
counted thread is the loop's; nothing is paced meanwhile, as what has left goes another way.

Each function costs every call of a worker, fifty times a second: see
tests/agent/service/test_function_counts.py for the part of this way that begins with `feed`.
"""

import asyncio
import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest
from function_calls import Way, ways
from sip_rig import open_phone

from callerside.agent.call.events import ConnectRealtime
from callerside.agent.call.machine import CallMachine
from callerside.agent.config.settings import CallSettings
from callerside.agent.prompts.cache import MemoryPrompts
from callerside.agent.realtime import client
from callerside.agent.realtime.client import WebSocketConnection
from callerside.agent.service.driver import CallDriver
from callerside.agent.telephony.interface import MediaReady
from callerside.agent.telephony.options import SipOptions
from callerside.agent.telephony.pjsua.endpoint import AnsweringEndpoint, SipEndpoint
from callerside.agent.telephony.pjsua.leg import SipCallLeg
from callerside.fakes.script.model import Script
from callerside.fakes.server.server import FakeRealtime
from callerside.loop_clock import LoopClock

PATIENCE_S = 20.0
FRAMES = 100
SETTINGS = {"greeting": {"enabled": False}, "beep": {"enabled": False}}
MOST = 24
"""From the loop's wake: 14 of the telephone, and 10 from `feed` on."""


class Agent:
    """Takes one call, and counts what its frames pass through."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._is_up = asyncio.Event()
        self._marked: set[str] = set()

    async def run(self) -> None:
        async with FakeRealtime(Script.model_validate({})) as server:
            self._url = server.url
            endpoint = AnsweringEndpoint(SipOptions(sample_rate_hz=None), self._take)
            endpoint.stack.pacer.add = _paces_nothing  # type: ignore[method-assign,assignment]
            self._pipe.send(await endpoint.start())
            async with asyncio.timeout(PATIENCE_S):
                await self._until(lambda: "session_updated" in self._marked)
                with ways(SipEndpoint._poll_media, client._encode) as found:
                    await self._until(lambda: len(found) >= FRAMES)
            self._pipe.send(found)
            await endpoint.stop()

    def _take(self, leg: SipCallLeg) -> None:
        def connect(effect: ConnectRealtime) -> WebSocketConnection:
            return WebSocketConnection(self._url, model=effect.model, api_key=None)

        CallDriver(
            CallMachine(
                CallSettings.model_validate(SETTINGS),
                called="100",
                sample_rate_hz=leg.sample_rate_hz,
                strict=True,
            ),
            leg,
            connect,
            LoopClock(asyncio.get_running_loop()),
            MemoryPrompts(),
            lambda mark: self._marked.add(mark.name),
            call="c1",
        ).start()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110 - no event of ours
            await asyncio.sleep(0.01)


def _paces_nothing(_paced: Any) -> None:
    """Instead of `Pacer.add`."""


def _main(pipe: Connection) -> None:
    asyncio.run(Agent(pipe).run())


@pytest.fixture(scope="module")
def frames() -> list[Way]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_main, args=(theirs,), daemon=True)
    process.start()
    assert ours.poll(PATIENCE_S)
    with open_phone("caller") as caller:
        call = caller.dial(f"sip:100@127.0.0.1:{ours.recv()}", codec="PCMU")
        caller.wait_for(call, MediaReady)
        assert ours.poll(PATIENCE_S)
        found: list[Way] = ours.recv()
        caller.do(call, "hang_up")
        process.join(PATIENCE_S)
    assert process.exitcode == 0
    return found


def test_a_frame_comes_from_its_packet_to_the_append_in_few_functions(frames: list[Way]) -> None:
    """Of a calm line; a wake that found no audio (RTCP, which has a socket of its own) adds itself.

    The median, as two packets that came together are one way here.
    """
    assert len(frames) >= FRAMES
    usual = sorted(frames, key=len)[len(frames) // 2]
    assert len(usual) <= MOST, "\n".join([f"{len(usual)} functions:", *usual])
