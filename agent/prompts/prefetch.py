"""Makes the prompts that calls will need before there is a call: `callerside-agent greet`.

The greeting of each route, and what is said when the API fails, are spoken by the model once and
cached. Each has a session of its own, so that none of them answers another.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Literal, assert_never

import structlog

from callerside.agent.call.event_bounds import MOST_BYTES_AT_ONCE
from callerside.agent.call.prompts import PromptName, own_words, prompt_key
from callerside.agent.config.environment import filled
from callerside.agent.config.loader import Secrets
from callerside.agent.config.settings import CallSettings, Settings, audio_format, realtime_url
from callerside.agent.prompts.cache import (
    DamagedPromptError,
    Prompt,
    PromptCache,
    PromptStore,
    default_cache_dir,
)
from callerside.agent.realtime import events
from callerside.agent.realtime.client import WebSocketConnection
from callerside.agent.realtime.interface import RealtimeClosed, RealtimeEvent, RealtimeInput
from callerside.agent.realtime.requests import Event, response_create, session_update
from callerside.audio import AudioFormat, duration_ms, heard_from_ms

WIDE_HZ = 24_000
"""At which prompts are made for calls of every codec: narrow ones hear them at their own rate."""

PROMPT_TIMEOUT_S = 30.0
"""From opening the socket to the last word of one prompt."""

_PURPOSE = "greeting"
"""Of the one response of such a session, whatever the prompt is for."""

_Heard = events.AudioDelta | events.TranscriptDone | events.ResponseDone


@dataclass(frozen=True, kw_only=True, slots=True)
class WantedPrompt:
    """Something that calls to `called` may need."""

    called: str
    what: Literal["greeting", "announcement"] | PromptName
    key: str
    instructions: str
    settings: CallSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of one prompt. `problem` is None when it is there now."""

    wanted: WantedPrompt
    made_ms: float = 0.0
    """Its length, if it was made; 0 if it was there."""
    problem: str | None = None


class PromptSession:
    """The dialogue with the API that makes one prompt, without I/O."""

    def __init__(self, wanted: WantedPrompt, rate_hz: int) -> None:
        self._wanted = wanted
        self._format: AudioFormat = audio_format(rate_hz, None)
        self._audio: list[bytes] = []
        self._words: list[str] = []
        self._size_bytes = 0
        """Of all that has come."""
        self._response_id: str | None = None
        """Of the response that we asked for: a server may speak of its own accord, too."""
        self.hint = ""
        """What a prompt that is not made in time may lack."""
        self.prompt: Prompt | None = None
        self.problem: str | None = None

    @property
    def over(self) -> bool:
        """It was made, or it cannot be made."""
        return self.prompt is not None or self.problem is not None

    def handle(self, received: RealtimeInput) -> list[Event]:
        """Take what the connection reports; returns what to send."""
        if isinstance(received, RealtimeClosed):
            self.problem = self.problem or received.reason
        if not isinstance(received, RealtimeEvent) or self.over:
            return []
        self._size_bytes += received.size_bytes
        if self._size_bytes > MOST_BYTES_AT_ONCE:
            self.problem = f"more than {MOST_BYTES_AT_ONCE} bytes came for one prompt"
            self._audio.clear()
            return []
        try:
            event = events.read(received.event, self._wanted.settings.realtime.dialect)
        except events.EventError as error:
            self.problem = f"{received.event.get('type')}: {error}"
            return []
        return self._handle_event(event)

    def _handle_event(self, event: events.ServerEvent) -> list[Event]:
        settings = self._wanted.settings
        match event:
            case events.SessionCreated():
                return [session_update(settings, self._format, [])]
            case events.SessionUpdated():
                instructions, dialect = self._wanted.instructions, settings.realtime.dialect
                voice = settings.voice
                return [
                    response_create(
                        _PURPOSE, instructions=instructions, voice=voice, dialect=dialect
                    )
                ]
            case events.ApiError():
                self.problem = f"{event.code}: {event.message}"
            case events.ResponseCreated():
                self._take(event)
            case events.AudioDelta() | events.TranscriptDone() | events.ResponseDone():
                if event.response_id == self._response_id:
                    self._hear(event)
            case (
                events.SpeechStarted() | events.SpeechStopped() | events.Committed()
                | events.Transcribed() | events.Truncated() | events.AudioDone()
                | events.ResponseProgressed() | events.FunctionCalled() | events.Ignored()
            ):  # fmt: skip
                pass  # nothing of the prompt is in it
            case unknown:
                assert_never(unknown)
        return []

    def _take(self, event: events.ResponseCreated) -> None:
        if event.purpose == _PURPOSE:
            self._response_id = event.response_id
        elif self._response_id is None:
            self.hint = ": no response had the metadata of its request, by which it is known"

    def _hear(self, event: _Heard) -> None:
        match event:
            case events.AudioDelta():
                self._audio.append(self._format.decode(event.audio))
            case events.TranscriptDone():
                self._words.append(event.transcript)
            case events.ResponseDone():
                self._done(event)
            case unknown:
                assert_never(unknown)

    def _done(self, event: events.ResponseDone) -> None:
        pcm = b"".join(self._audio)
        if event.status != "completed":
            self.problem = f"the response is {event.status}: {event.reason or 'no reason told'}"
        elif not pcm:
            self.problem = "the response had no audio"
        elif math.isinf(heard_from_ms(pcm, self._format.rate_hz)):
            self.problem = "nothing can be heard in the response's audio"
        else:
            self.prompt = Prompt(pcm=pcm, transcript=" ".join(self._words))


Connect = Callable[[WantedPrompt], WebSocketConnection]


async def warm(settings: Settings, secrets: Secrets, report: Callable[[Outcome], None]) -> bool:
    """Make every prompt that is not cached yet; returns whether all are there now.

    Args:
        settings: the prompts of every route are made.
        secrets: the API key.
        report: called for each prompt, as soon as it is known what became of it.
    """
    connect = _connector(secrets)
    rate_hz = WIDE_HZ if settings.sip.sample_rate_hz == "auto" else settings.sip.sample_rate_hz
    well = True
    for wanted in wanted_prompts(settings):
        store = PromptCache(wanted.settings.greeting.cache_dir or default_cache_dir())
        outcome = await make(wanted, rate_hz, store, connect)
        well = well and outcome.problem is None
        report(outcome)
    return well


def wanted_prompts(settings: Settings) -> Iterator[WantedPrompt]:
    """All prompts of all routes, each once."""
    known: set[tuple[str, str]] = set()
    for call in settings.routes:
        texts: list[tuple[Literal["greeting", "announcement"] | PromptName, str]]
        texts = [*own_words(call).items()]
        if call.recordings.announced is not None:
            texts.append(("announcement", call.recordings.announced))
        if call.greeting.enabled and call.greeting.cached:
            texts.insert(0, ("greeting", call.greeting.instructions))
        for what, instructions in texts:
            key = prompt_key(call, instructions)
            place = (str(call.greeting.cache_dir), key)
            if place not in known:
                known.add(place)
                yield WantedPrompt(
                    called=call.called,
                    what=what,
                    key=key,
                    instructions=instructions,
                    settings=call,
                )


async def make(
    wanted: WantedPrompt,
    rate_hz: int,
    store: PromptStore,
    connect: Connect,
    *,
    timeout_s: float = PROMPT_TIMEOUT_S,
) -> Outcome:
    """Make one prompt, unless it is there."""
    try:
        if store.load(wanted.key, rate_hz) is not None:
            return Outcome(wanted=wanted)
    except DamagedPromptError:
        pass  # it is made again
    session = PromptSession(wanted, rate_hz)
    await _converse(session, connect(wanted), timeout_s)
    if session.prompt is None:
        problem = session.problem or f"not made within {timeout_s:g} s{session.hint}"
        return Outcome(wanted=wanted, problem=problem)
    try:
        store.store(wanted.key, session.prompt, rate_hz)
    except OSError as error:
        return Outcome(wanted=wanted, problem=f"cannot be stored: {error}")
    return Outcome(wanted=wanted, made_ms=duration_ms(session.prompt.pcm, rate_hz))


async def _converse(
    session: PromptSession, connection: WebSocketConnection, timeout_s: float
) -> None:
    over = asyncio.Event()

    def take(received: RealtimeInput) -> None:
        for event in session.handle(received):
            connection.send(event)
        if session.over:
            over.set()

    connection.start(take)
    try:
        async with asyncio.timeout(timeout_s):
            await over.wait()
    except TimeoutError:
        pass
    finally:
        connection.close()
        await connection.wait_closed()


def _connector(secrets: Secrets) -> Connect:
    def connect(wanted: WantedPrompt) -> WebSocketConnection:
        realtime = wanted.settings.realtime
        return WebSocketConnection(
            # A pattern is no number; a server that distinguishes numbers will not know this one.
            realtime_url(realtime, wanted.called.strip("*?") or "greet"),
            model=realtime.model,
            api_key=None if realtime.has_a_key else secrets.api_key,
            headers=filled(realtime.headers, secrets.environment),
            query=filled(realtime.query, secrets.environment),
            dialect=realtime.dialect,
            timeout_ms=realtime.connect_timeout_ms,
        )

    return connect


RETRY_S = (60, 300, 900, 3600, 3600, 3600)

_log = structlog.get_logger(__name__)

Make = Callable[[Settings, Secrets, Callable[[Outcome], None]], Awaitable[bool]]


class Warming:
    """One round of making prompts at a time, the newest settings' own."""

    def __init__(self, secrets: Secrets, make: Make = warm) -> None:
        self._secrets = secrets
        self._make = make
        self._task: asyncio.Task[None] | None = None

    def begin(self, settings: Settings) -> None:
        """Make what these settings want and the cache does not have."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        routes = [route for route in settings.routes if route.greeting.warm_at_start]
        if routes:
            wanted = settings.model_copy(update={"routes": routes})
            self._task = asyncio.get_running_loop().create_task(self._until_made(wanted))

    async def stop(self) -> None:
        """Leave off; what is not made stays so."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _until_made(self, settings: Settings) -> None:
        for wait_s in (*RETRY_S, 0):
            if await self._make(settings, self._secrets, _log_outcome):
                return
            if wait_s:
                await asyncio.sleep(wait_s)
        _log.warning("prompts_given_up", hint="callerside-agent greet makes them")


def _log_outcome(outcome: Outcome) -> None:
    wanted = outcome.wanted
    if outcome.problem is not None:
        _log.warning(
            "prompt_not_made", called=wanted.called, what=wanted.what, problem=outcome.problem
        )
    elif outcome.made_ms:
        _log.info(
            "prompt_ready", called=wanted.called, what=wanted.what, made_ms=round(outcome.made_ms)
        )
