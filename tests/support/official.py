"""The official client, used against the fake, with every event checked strictly on its way in."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, get_args, get_origin

from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from openai.types.realtime import RealtimeServerEvent
from pydantic import BaseModel

from callerside.speech.synthesis import synthesise

_LIMIT_S = 10

# Fields that recorded sessions carry and the SDK's types do not name.
RECORDED_EXTRAS = {
    ("RealtimeSessionCreateRequest", "object"),
    ("RealtimeSessionCreateRequest", "id"),
    ("RealtimeSessionCreateRequest", "expires_at"),
    ("RealtimeTranscriptionSessionCreateRequest", "object"),
    ("RealtimeTranscriptionSessionCreateRequest", "id"),
    ("RealtimeTranscriptionSessionCreateRequest", "expires_at"),
    ("ResponseAudioTranscriptDeltaEvent", "obfuscation"),
    ("ResponseTextDeltaEvent", "obfuscation"),
    ("ResponseFunctionCallArgumentsDeltaEvent", "obfuscation"),
    ("ConversationItemInputAudioTranscriptionDeltaEvent", "obfuscation"),
}


def check(event: dict[str, Any]) -> None:
    """Fail on a field that is missing, has a wrong type, or is unknown, at any depth."""
    strictly(_MODELS, event, RECORDED_EXTRAS)


def models_by_type(union: Any) -> dict[str, type[BaseModel]]:
    """The models of a union of events, by the event's type."""
    members = get_args(get_args(union)[0] if get_origin(union) is Annotated else union)
    return {get_args(model.model_fields["type"].annotation)[0]: model for model in members}


def strictly(
    models: dict[str, type[BaseModel]], event: dict[str, Any], extras: set[tuple[str, str]]
) -> None:
    """The same for any types; `extras` are fields that they do not name, by their model's name."""
    model = models[event["type"]].model_validate(event, strict=True)
    unknown = set(_unknown(model)) - extras
    assert not unknown, f"{event['type']} has unknown fields: {sorted(unknown)}"


def _unknown(value: Any) -> list[tuple[str, str]]:
    if isinstance(value, list):
        return [found for part in value for found in _unknown(part)]
    if not isinstance(value, BaseModel):
        return []
    found = [(type(value).__name__, name) for name in value.model_extra or ()]
    for name in type(value).model_fields:
        found += _unknown(getattr(value, name))
    return found


_MODELS = models_by_type(RealtimeServerEvent)


class OfficialClient:
    """A connection of the official client's; `events` holds everything that came, checked."""

    def __init__(self, connection: AsyncRealtimeConnection) -> None:
        self.connection = connection
        self.events: list[dict[str, Any]] = []

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(_LIMIT_S):
            event: dict[str, Any] = json.loads(await self.connection.recv_bytes())
        check(event)
        self.events.append(event)
        return event

    async def until(self, event_type: str) -> dict[str, Any]:
        """The next event of this type; those before it are in `events`."""
        while True:
            event = await self.next()
            if event["type"] == event_type:
                return event

    async def error(self) -> dict[str, Any]:
        return dict((await self.until("error"))["error"])

    async def hear(self, pcm: bytes) -> None:
        for start in range(0, len(pcm), 4800):
            audio = base64.b64encode(pcm[start : start + 4800]).decode()
            await self.connection.input_audio_buffer.append(audio=audio)

    async def say(
        self, text: str = "What time do you open?", *, then_silence_ms: int = 600
    ) -> None:
        await self.hear(bytes(4800) + synthesise(text) + bytes(48 * then_silence_ms))

    async def configure(self, **session: Any) -> dict[str, Any]:
        await self.connection.session.update(session={"type": "realtime", **session})  # type: ignore[arg-type]
        return dict((await self.until("session.updated"))["session"])

    async def turn_detection(self, detection: dict[str, Any] | None) -> None:
        await self.configure(audio={"input": {"turn_detection": detection}})


@asynccontextmanager
async def connected(base_url: str) -> AsyncIterator[OfficialClient]:
    """A client that is connected, behind its `session.created`."""
    async with (
        AsyncOpenAI(api_key="none", websocket_base_url=base_url) as openai,
        openai.realtime.connect(model="gpt-realtime-2.1") as connection,
    ):
        client = OfficialClient(connection)
        await client.until("session.created")
        yield client
