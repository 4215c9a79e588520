"""The opening of a call: the beep when media is up, then the greeting.

The greeting comes from the cache if it is there, whatever the API does meanwhile; else the session
makes it, and it is cached once it is whole. A session that did not make it learns its words from
the history, so that the model does not greet twice.
"""

from enum import Enum, auto

from callerside.agent.call.context import CallContext
from callerside.agent.call.events import LoadPrompt, PromptLoaded, PromptStored, StorePrompt, Timer
from callerside.agent.call.history import History
from callerside.agent.call.playout import Kind, Playout, Segment
from callerside.agent.call.prompts import prompt_key
from callerside.agent.call.responses import Purpose, Response, Responses
from callerside.agent.call.states import StateChart, Trigger
from callerside.agent.config.settings import CallSettings
from callerside.audio import tone

_LOOKUP_LIMIT_MS = 1_000
"""For the cache's answer, once the greeting is due: a disk that hangs must not silence the call."""


class GreetingState(Enum):
    """How far the opening has come."""

    BEFORE = auto()
    """Media is not up, or the greeting is not due yet."""
    WANTED = auto()
    """Due; waits for the cache's answer, or for a session that can make it."""
    MAKING = auto()
    """The session has been asked for it."""
    PLAYING = auto()
    """The caller hears it, or will."""
    OVER = auto()


class Opening:
    """Beep and greeting."""

    def __init__(
        self,
        context: CallContext,
        chart: StateChart,
        playout: Playout,
        responses: Responses,
        history: History,
        settings: CallSettings,
        rate_hz: int,
    ) -> None:
        self._context = context
        self._chart = chart
        self._playout = playout
        self._responses = responses
        self._history = history
        self._settings = settings
        self._rate_hz = rate_hz
        self._key = prompt_key(settings, settings.greeting.instructions)
        self._lookup_done = not (settings.greeting.enabled and settings.greeting.cached)
        self._cached: PromptLoaded | None = None
        self._session_ready = False
        self._spoiled = False
        """The generated greeting is not whole, or this caller's own: it must not be cached."""
        self._segment: Segment | None = None
        self.greeting_state = GreetingState.BEFORE

    @property
    def over(self) -> bool:
        """The greeting has been heard, or will not be."""
        return self.greeting_state is GreetingState.OVER

    @property
    def holds_back_caller(self) -> bool:
        """The greeting is being made, and the caller's voice would make the server cancel it."""
        if self._settings.greeting.interruptible or self._settings.turns.policy == "local":
            return False
        return self.greeting_state is GreetingState.MAKING

    @property
    def awaits_session(self) -> bool:
        """The greeting is due, and only a session can make it."""
        return self.greeting_state is GreetingState.WANTED and self._lookup_done

    @property
    def awaits_response(self) -> bool:
        """The greeting has been asked for, and is not whole."""
        return self.greeting_state is GreetingState.MAKING

    def call_received(self) -> None:
        """Look the greeting up while the telephone is being answered."""
        if not self._lookup_done:
            self._context.add(LoadPrompt(key=self._key, rate_hz=self._rate_hz))

    def media_up(self) -> None:
        """Beep now, greet a little later."""
        beep = self._settings.beep
        if beep.enabled and beep.length_ms:
            pcm = tone(beep.hz, beep.length_ms, self._rate_hz, level_dbfs=beep.level_dbfs)
            self._playout.play(Segment(kind=Kind.BEEP, interruptible=False), pcm)
        delay_ms = self._settings.greeting.delay_ms if self._settings.greeting.enabled else 0
        self._context.set_timer(Timer.GREETING_DUE, delay_ms)

    def loaded(self, event: PromptLoaded) -> None:
        """The cache's answer."""
        if event.key != self._key or self._lookup_done:
            return
        self._lookup_done = True
        if event.damage is not None:
            self._context.mark("greeting_damaged", {"key": event.key, "reason": event.damage})
        if event.pcm:
            self._cached = event
            self._history.greeted(event.transcript)
        if self.greeting_state is GreetingState.WANTED:
            self._proceed()

    def due(self) -> None:
        """The delay after media has passed, or the cache has been waited for long enough."""
        if not self._settings.greeting.enabled:
            self.greeting_state = GreetingState.OVER
        elif self.greeting_state is GreetingState.BEFORE:
            self._chart.move(Trigger.GREETING_BEGUN)
            self.greeting_state = GreetingState.WANTED
            if not self._lookup_done:
                self._context.set_timer(Timer.GREETING_DUE, _LOOKUP_LIMIT_MS)
            self._proceed()
        elif self.greeting_state is GreetingState.WANTED and not self._lookup_done:
            self._context.mark("watchdog_fired", {"what": Timer.GREETING_DUE.value})
            self._lookup_done = True
            self._proceed()

    def session_ready(self) -> None:
        """A session that may have to make the greeting."""
        self._session_ready = True
        if self.greeting_state is GreetingState.WANTED:
            self._proceed()

    def session_lost(self, running: Response | None) -> None:
        """The session is gone; a greeting of which nothing had arrived is asked for again.

        Args:
            running: the response that the session was making.
        """
        self._session_ready = False
        self._spoiled = True
        if self.greeting_state is GreetingState.MAKING:
            if running is not None and running.purpose is Purpose.GREETING:
                self._segment = next(iter(running.segments.values()), None)
            self.greeting_state = GreetingState.PLAYING if self._segment else GreetingState.WANTED
            self._end_if_heard()

    def give_up(self) -> None:
        """There will be no session to make it."""
        if self.greeting_state in (GreetingState.WANTED, GreetingState.MAKING):
            self.greeting_state = GreetingState.OVER
            self._responses.greeting_settled()

    def response_created(self) -> None:
        """The greeting's response has begun, and knows the conversation up to here.

        Behind words or keys of this caller's it may repeat them: it is not for every later caller.
        """
        self._spoiled = self._spoiled or self._history.has_caller

    def missed_something(self) -> None:
        """A message could not be read: it may have been a part of the greeting."""
        self._spoiled = self._spoiled or self.greeting_state is GreetingState.MAKING

    def response_done(self, response: Response, status: str) -> None:
        """The greeting's response is done: cache it if it is whole."""
        self._segment = next(iter(response.segments.values()), None)
        if self.greeting_state is GreetingState.MAKING:
            self.greeting_state = GreetingState.PLAYING if self._segment else GreetingState.OVER
        whole = status == "completed" and not response.interrupted and not self._spoiled
        if whole and response.audio and response.has_sound and self._settings.greeting.cached:
            transcript = " ".join(response.transcripts)
            pcm = b"".join(response.audio)
            self._context.add(
                StorePrompt(key=self._key, pcm=pcm, rate_hz=self._rate_hz, transcript=transcript)
            )
        self._end_if_heard()

    def request_failed(self) -> None:
        """The server would not make it, or did not answer: the call goes on without."""
        if self.greeting_state is GreetingState.MAKING:
            self.greeting_state = GreetingState.OVER

    def stored(self, event: PromptStored) -> None:
        """What became of storing it."""
        if event.key == self._key and event.error is None:
            self._context.mark("greeting_cached", {"key": event.key})

    def segment_over(self, segment: Segment) -> None:
        """A segment was heard to its end, or was cut."""
        if segment.kind is Kind.GREETING:
            self.greeting_state = GreetingState.OVER

    def _proceed(self) -> None:
        if self._cached is not None and self._cached.pcm:
            self.greeting_state = GreetingState.PLAYING
            interruptible = self._settings.greeting.interruptible
            self._segment = Segment(kind=Kind.GREETING, origin="cache", interruptible=interruptible)
            self._playout.play(self._segment, self._cached.pcm)
            self._responses.greeting_settled()
        elif self._lookup_done and self._session_ready:
            self.greeting_state = GreetingState.MAKING
            self._responses.request(Purpose.GREETING, self._settings.greeting.instructions)
            self._context.mark("greeting_requested")
            self._responses.greeting_settled()

    def _end_if_heard(self) -> None:
        if self.greeting_state is GreetingState.PLAYING and self._segment and self._segment.whole:
            self.greeting_state = GreetingState.OVER
