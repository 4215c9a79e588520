"""The official package, which leaves turns, tools and truncation to whoever uses it."""

import asyncio
import base64
import contextlib

from openai import AsyncOpenAI
from talk import RATE_HZ, Heard, Stories

TOOLS = [
    {"type": "function", "name": name, "description": name, "parameters": {"type": "object"}}
    for name in ("opening_hours", "weather")
]


class OpenAI:
    """As its README has it, with what a barge-in needs."""

    lacks = frozenset({"reconnect"})

    def __init__(self, base_url: str, heard: Heard) -> None:
        self.heard = heard
        self.client = AsyncOpenAI(api_key="none", websocket_base_url=base_url)
        self.playing = ""
        self.played_bytes = 0

    async def open(self) -> None:
        self.manager = self.client.realtime.connect(model="gpt-realtime")
        self.connection = await self.manager.enter()
        await self.connection.session.update(session={"type": "realtime", "tools": TOOLS})
        self.task = asyncio.create_task(self.read())

    async def read(self) -> None:
        try:
            async for event in self.connection:
                await self.handle(event)
        except Exception as error:
            self.heard.errors.append(str(error))
        self.heard.ended = True

    async def handle(self, event) -> None:
        if event.type == "response.output_audio.delta":
            sound = base64.b64decode(event.delta)
            if self.playing != event.item_id:
                self.playing, self.played_bytes = event.item_id, 0
            self.played_bytes += len(sound)
            self.heard.sound(len(sound))
        elif event.type == "input_audio_buffer.speech_started" and self.playing:
            self.heard.interruptions += 1
            await self.connection.conversation.item.truncate(
                item_id=self.playing,
                content_index=0,
                audio_end_ms=self.played_bytes * 500 // RATE_HZ,
            )
            self.playing = ""
        elif event.type == "response.done":
            calls = [item for item in event.response.output or () if item.type == "function_call"]
            for call in calls:
                self.heard.tools.append(call.name)
                output = {"type": "function_call_output", "call_id": call.call_id, "output": "{}"}
                await self.connection.conversation.item.create(item=output)
            if calls:
                await self.connection.response.create()
        elif event.type == "error":
            self.heard.errors.append(event.error.message)

    async def greet(self) -> None:
        await self.connection.response.create()

    async def hear(self, pcm: bytes) -> None:
        await self.connection.input_audio_buffer.append(audio=base64.b64encode(pcm).decode())

    async def close(self) -> None:
        self.task.cancel()
        with contextlib.suppress(Exception):
            await self.connection.close()


class TestOpenAI(Stories):
    client = OpenAI
