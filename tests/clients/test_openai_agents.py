"""openai-agents, whose session plays, interrupts and calls tools by itself."""

import asyncio

from agents import function_tool
from agents.realtime import RealtimeAgent, RealtimeRunner
from agents.realtime.model_inputs import RealtimeModelSendRawMessage
from talk import Heard, Stories


class OpenAIAgents:
    """As its quickstart has it."""

    lacks = frozenset({"reconnect", "one answer to two calls"})

    def __init__(self, base_url: str, heard: Heard) -> None:
        self.heard, self.url = heard, f"{base_url}/realtime"

        @function_tool
        def opening_hours() -> str:
            heard.tools.append("opening_hours")
            return "nine to six"

        @function_tool
        def weather() -> str:
            heard.tools.append("weather")
            return "fine"

        self.agent = RealtimeAgent(name="desk", tools=[opening_hours, weather])

    async def open(self) -> None:
        runner = RealtimeRunner(
            self.agent,
            config={
                "model_settings": {
                    "turn_detection": {"type": "server_vad", "interrupt_response": True}
                }
            },
        )
        self.session = await runner.run(model_config={"url": self.url, "api_key": "none"})
        await self.session.enter()
        self.task = asyncio.create_task(self.read())

    async def read(self) -> None:
        try:
            async for event in self.session:
                if event.type == "audio":
                    self.heard.sound(len(event.audio.data))
                elif event.type == "audio_interrupted":
                    self.heard.interruptions += 1
                elif event.type == "error":
                    self.heard.errors.append(str(event.error))
        except Exception as error:
            self.heard.errors.append(str(error))
        self.heard.ended = True

    async def greet(self) -> None:
        await self.session.model.send_event(
            RealtimeModelSendRawMessage(message={"type": "response.create"})
        )

    async def hear(self, pcm: bytes) -> None:
        await self.session.send_audio(pcm)

    async def close(self) -> None:
        self.task.cancel()
        await self.session.close()


class TestOpenAIAgents(Stories):
    client = OpenAIAgents
