"""An agent of one call, in a process of its own: counts what the frames of it pass through."""

import asyncio
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from function_calls import ways

from callerside import event_loop
from callerside.agent.call.events import ConnectRealtime
from callerside.agent.call.machine import CallMachine
from callerside.agent.config.settings import CallSettings
from callerside.agent.prompts.cache import MemoryPrompts
from callerside.agent.realtime.client import WebSocketConnection
from callerside.agent.service.driver import CallDriver
from callerside.agent.telephony.media.packet_reader import PacketReader
from callerside.agent.telephony.options import SipOptions
from callerside.agent.telephony.pjsua.endpoint import AnsweringEndpoint
from callerside.agent.telephony.pjsua.leg import SipCallLeg
from callerside.fakes.script.model import Script
from callerside.fakes.server.server import FakeRealtime
from callerside.loop_clock import LoopClock

PATIENCE_S = 20.0
FRAMES = 100
SETTINGS = {"greeting": {"enabled": False}, "beep": {"enabled": False}}


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
                with ways(PacketReader.read, WebSocketConnection.append) as found:
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


def count(pipe: Connection) -> None:
    """Sends the port of its endpoint, then the ways of `FRAMES` frames."""
    event_loop.run(Agent(pipe).run())
