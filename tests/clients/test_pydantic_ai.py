"""pydantic-ai: an agent's realtime session, which calls tools and reconnects by itself."""

import asyncio
import contextlib
from importlib.metadata import version

from pydantic_ai import Agent
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.realtime.openai import OpenAIRealtimeModel
from talk import RATE_HZ, Heard, Stories

IS_OLD = tuple(map(int, version("pydantic-ai-slim").split(".")[:2])) < (2, 68)


class PydanticAI:
    """As its page on realtime sessions has it."""

    lacks = frozenset({"one answer to two calls"} if IS_OLD else ())

    def __init__(self, base_url: str, heard: Heard) -> None:
        self.heard = heard
        provider = OpenAIProvider(base_url=base_url.replace("ws", "http", 1), api_key="none")
        self.model = OpenAIRealtimeModel(
            "gpt-realtime", provider=provider, settings={"reconnect": {"max_attempts": 3}}
        )
        self.agent = Agent(instructions="Be brief.")
        self.agent.tool_plain(self.opening_hours)
        self.agent.tool_plain(self.weather)

    def opening_hours(self) -> str:
        self.heard.tools.append("opening_hours")
        return "nine to six"

    def weather(self) -> str:
        self.heard.tools.append("weather")
        return "fine"

    async def open(self) -> None:
        self.stack = contextlib.AsyncExitStack()
        opening = self.agent.realtime(self.model).session(handle_barge_in=True)
        self.session = await self.stack.enter_async_context(opening)
        self.tasks = [asyncio.create_task(self.read()), asyncio.create_task(self.play())]

    async def read(self) -> None:
        played = -1.0
        try:
            async for event in self.session:
                kind = event.event_kind
                if kind == "realtime_input_speech_start" and self.heard.seconds > played:
                    self.heard.interruptions += self.speaking
                    played = self.heard.seconds
                elif kind == "realtime_session_error":
                    self.heard.errors.append(event.message)
        except Exception as error:
            self.heard.errors.append(str(error))
        self.heard.ended = True

    speaking = False

    async def play(self) -> None:
        async for chunk in self.session.stream_audio():
            self.speaking = True
            self.heard.sound(len(chunk))
            await asyncio.sleep(len(chunk) / 2 / RATE_HZ)
            self.speaking = False

    async def greet(self) -> None:
        await self.session.create_response()

    async def hear(self, pcm: bytes) -> None:
        await self.session.send_audio(pcm)

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await self.stack.aclose()


class TestPydanticAI(Stories):
    client = PydanticAI
