"""livekit-agents: a session whose microphone and loudspeaker are the story's, without a room."""

import asyncio
from importlib.metadata import version

from livekit import rtc
from livekit.agents import Agent, AgentSession, function_tool
from livekit.agents.voice.io import AudioInput, AudioOutput, AudioOutputCapabilities
from livekit.plugins.openai import realtime
from talk import RATE_HZ, Heard, Stories

IS_OLD = tuple(map(int, version("livekit-agents").split(".")[:2])) < (1, 8)


class Microphone(AudioInput):
    def __init__(self) -> None:
        super().__init__(label="story")
        self.frames: asyncio.Queue[rtc.AudioFrame] = asyncio.Queue()

    async def __anext__(self) -> rtc.AudioFrame:
        return await self.frames.get()


class Loudspeaker(AudioOutput):
    """Plays in real time, as a telephone does."""

    def __init__(self, heard: Heard) -> None:
        super().__init__(
            label="story", capabilities=AudioOutputCapabilities(pause=False), sample_rate=RATE_HZ
        )
        self.heard = heard
        self.begun_s = self.length_s = 0.0
        self.playing: asyncio.Task[None] | None = None

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if not self.length_s:
            self.begun_s = asyncio.get_running_loop().time()
        self.length_s += frame.duration
        self.heard.sound(len(frame.data) * 2)

    def flush(self) -> None:
        super().flush()
        if self.length_s and self.playing is None:
            self.playing = asyncio.create_task(self.play())

    async def play(self) -> None:
        await asyncio.sleep(
            max(0.0, self.begun_s + self.length_s - asyncio.get_running_loop().time())
        )
        self.finish(self.length_s, interrupted=False)

    def clear_buffer(self) -> None:
        if not self.length_s:
            return
        if self.playing is not None:
            self.playing.cancel()
        self.heard.interruptions += 1
        played_s = min(self.length_s, asyncio.get_running_loop().time() - self.begun_s)
        self.finish(played_s, interrupted=True)

    def finish(self, played_s: float, *, interrupted: bool) -> None:
        self.length_s, self.playing = 0.0, None
        self.on_playback_finished(playback_position=played_s, interrupted=interrupted)


class LiveKit:
    """An agent as its quickstart has it."""

    lacks = frozenset({"truncation"} if IS_OLD else ())

    def __init__(self, base_url: str, heard: Heard) -> None:
        self.heard = heard
        self.base_url = base_url.replace("ws", "http", 1)

    async def open(self) -> None:
        heard = self.heard

        @function_tool
        async def opening_hours() -> str:
            """When we are open."""
            heard.tools.append("opening_hours")
            return "nine to six"

        @function_tool
        async def weather() -> str:
            """How it is outside."""
            heard.tools.append("weather")
            return "fine"

        model = realtime.RealtimeModel(base_url=self.base_url, api_key="none")
        self.session = AgentSession(llm=model)
        self.microphone = Microphone()
        self.session.input.audio = self.microphone
        self.session.output.audio = Loudspeaker(heard)
        self.session.on("error", lambda event: heard.errors.append(str(event.error)))
        self.session.on("close", lambda _event: setattr(heard, "ended", True))
        agent = Agent(instructions="Be brief.", tools=[opening_hours, weather])
        await self.session.start(agent=agent)

    async def greet(self) -> None:
        self.session.generate_reply()

    async def hear(self, pcm: bytes) -> None:
        frame = rtc.AudioFrame(pcm, RATE_HZ, 1, len(pcm) // 2)
        self.microphone.frames.put_nowait(frame)

    async def close(self) -> None:
        await self.session.aclose()


class TestLiveKit(Stories):
    client = LiveKit
