"""The second call of an attended transfer: whoever is to take the caller is told why, first.

They are called; when they have answered, the model is asked for a response that is no part of the
caller's conversation (out of band), and its sound is theirs alone. Once they have heard it the
caller can be handed over (RFC 5589 §7). Who does not answer, or hangs up before, leaves the caller
with us.
"""

from collections.abc import Callable

from callerside.agent.call.context import CallContext
from callerside.agent.call.events import Consult, LeaveConsulted, PlayToConsulted, Timer
from callerside.agent.config.settings import CallSettings
from callerside.agent.realtime import events
from callerside.agent.realtime.requests import response_create
from callerside.agent.telephony.interface import FramePlayed, HungUp, LegInput, MediaReady
from callerside.audio import BYTES_PER_SAMPLE, AudioFormat

PURPOSE = "briefing"
"""Of the response, in its metadata."""
TOLD_WITHIN_MS = 30_000
"""From their answer: a few sentences, and what the model thinks before."""

_OF_RESPONSES = (
    events.AudioDelta, events.ResponseProgressed, events.AudioDone, events.TranscriptDone,
    events.FunctionCalled,
)  # fmt: skip


class Consultation:
    """At most one call at a time to somebody else."""

    def __init__(self, context: CallContext, rate_hz: int, settings: CallSettings) -> None:
        self._context = context
        self._rate_hz = rate_hz
        self._settings = settings
        self.on_told: Callable[[str], None] = lambda _uri: None
        """Called with their address, once they have heard why."""
        self.on_failed: Callable[[str], None] = lambda _why: None
        """Called with what the model should know, when they are not there to take the caller."""
        self._uri: str | None = None
        """Whom the call is with; None: there is none."""
        self._reason = ""
        self._request_id: str | None = None
        self.response_id: str | None = None
        """Of what the model says to them; None: nothing yet, or no more."""
        self._is_answered = False
        self._is_said = False
        """Whatever the model has to tell them has come."""
        self._queued = self._played = 0
        """Samples, of what they are told."""
        self.told = False
        """They have heard it, and wait for the caller."""

    def begin(self, uri: str, reason: str) -> None:
        """Call `uri`, and tell whoever answers `reason`."""
        self.end("another takes its place")
        self._uri, self._reason = uri, reason
        self._is_answered = self._is_said = False
        self._queued = self._played = 0
        self._context.add(Consult(uri=uri))
        self._context.mark("consultation_begun", {"uri": uri})
        answer_ms = self._settings.tools.transfer_answer_ms
        self._context.set_timer(Timer.CONSULT_LIMIT, answer_ms)

    def reported(self, event: LegInput) -> bool:
        """What the telephone says of that call. Returns whether something may be to settle."""
        if self._uri is None:
            return False
        if isinstance(event, FramePlayed):
            self._played += event.samples
            return self._look()
        if isinstance(event, HungUp):
            self._fail(f"SIP status {event.status} ({event.reason})", is_over=True)
        elif isinstance(event, MediaReady) and not self._is_answered:
            self._is_answered = True
            self._context.cancel_timer(Timer.CONSULT_LIMIT)
            self._context.mark("consultation_answered")
            self._ask()
        else:
            return False
        return True

    def takes(self, event: object, audio_format: AudioFormat) -> bool:
        """Whether an event of the API's is of what they are told: it concerns nobody else."""
        if isinstance(event, events.ResponseCreated | events.ResponseDone):
            is_ours = event.purpose == PURPOSE
            if is_ours and isinstance(event, events.ResponseCreated):
                self.response_id = self._request_id and event.response_id
            elif event.response_id == self.response_id and isinstance(event, events.ResponseDone):
                self._done(event.status)
                return True
            return is_ours
        if self.response_id is None:
            return False
        if not isinstance(event, _OF_RESPONSES) or event.response_id != self.response_id:
            return False
        if isinstance(event, events.AudioDelta) and self._uri is not None:
            pcm = audio_format.decode(event.audio)
            self._queued += len(pcm) // BYTES_PER_SAMPLE
            self._context.add(PlayToConsulted(pcm=pcm))
        return True

    def refused(self, event_id: str | None, message: str) -> bool:
        """An `error` of the API's: whether it was the request that it is about."""
        if event_id is None or event_id != self._request_id:
            return False
        self._request_id = None
        self._fail(f"they could not be told why: {message}")
        return True

    def session_lost(self) -> None:
        """There is nobody who could tell them."""
        is_asked, self._request_id = self._request_id is not None, None
        if is_asked and not self._is_said:
            self._fail("the connection was lost while they were told why")

    def not_answered(self) -> None:
        """It has rung for long enough."""
        self._context.mark("watchdog_fired", {"what": Timer.CONSULT_LIMIT.value})
        limit_s = self._settings.tools.transfer_answer_ms / 1000
        self._fail(f"nobody answered within {limit_s:g} s")

    def end(self, why: str, *, is_over: bool = False) -> None:
        """Leave whoever is there; harmless if nobody is."""
        if self._uri is None:
            return
        self._uri = None
        self.told = False
        self._context.cancel_timer(Timer.CONSULT_LIMIT)
        if not is_over:
            self._context.add(LeaveConsulted())
        self._context.mark("consultation_ended", {"reason": why})

    def _ask(self) -> None:
        told = f"{self._settings.tools.transfer_instructions} {self._reason}"
        dialect = self._settings.realtime.dialect
        self.response_id = None
        self._request_id = self._context.send(
            response_create(PURPOSE, instructions=told, aside=True, dialect=dialect)
        )

    def _done(self, status: str) -> None:
        self._request_id = self.response_id = None
        if self._uri is None:
            return
        self._is_said = True
        if not self._queued:
            self._fail(f"they could not be told why: the response ended {status}, without a sound")
        else:
            self._look()

    def _look(self) -> bool:
        """Whether they have just heard all of it."""
        if self.told or not self._is_said or self._played < self._queued:
            return False
        assert self._uri is not None  # noqa: S101 - both callers have looked
        self.told = True
        self._context.mark("consultation_told", {"audio_ms": self._queued * 1000 / self._rate_hz})
        self.on_told(self._uri)
        return True

    def _fail(self, why: str, *, is_over: bool = False) -> None:
        self.end(why, is_over=is_over)
        self.on_failed(why)
