"""The model's responses: asked for one at a time, played as they arrive, given up when cancelled.

The API runs one response at a time, so requests wait for `response.done`. A response that the
caller interrupted is dead at once: whatever still arrives of it is dropped without a word, and
nothing that is sent about it can hit the one after it.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from callerside.agent.call.context import CallContext
from callerside.agent.call.event_bounds import MOST_AUDIO_S, MOST_ITEMS, MOST_WORDS_BYTES
from callerside.agent.call.events import Timer
from callerside.agent.call.history import History
from callerside.agent.call.playout import Kind, Playout, Segment
from callerside.agent.call.states import StateChart, Trigger
from callerside.agent.config.settings import CallSettings
from callerside.agent.realtime.events import (
    MOST_ID_CHARS,
    AudioDelta,
    AudioDone,
    ResponseCreated,
    ResponseDone,
    TranscriptDone,
)
from callerside.agent.realtime.requests import cancel, response_create
from callerside.audio import BYTES_PER_SAMPLE, AudioFormat, heard_from_ms
from callerside.clock import ms_to_ns

_MAX_TRIES = 3
"""Of one request that the server refuses because it is making another response."""
_MAX_INTERRUPTED = 64
"""Interrupted responses of which more may come; a server reports the end of each."""
_MAX_KNOWN = 64
"""Responses of which another beginning, or another end, is none."""


class Purpose(StrEnum):
    """Why a response exists."""

    TURN = "turn"
    """The server's answer to a turn, or ours when the server leaves the asking to us."""
    GREETING = "greeting"
    GOODBYE = "goodbye"


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A `response.create` of ours."""

    purpose: Purpose
    instructions: str | None = None
    may_call: bool = True
    stands_in: bool = False
    """An answer should have come: one that the server begins by itself meanwhile is it."""
    tries: int = 1


class Response:
    """One response, from `response.created` to `response.done`."""

    def __init__(self, response_id: str, purpose: Purpose) -> None:
        self.id = response_id
        self.purpose = purpose
        self.segments: dict[str, Segment] = {}
        self.audio: list[bytes] = []
        """Of a greeting: what has arrived, to be cached."""
        self.transcripts: list[str] = []
        self.interrupted = False
        self.can_be_heard = False
        """Of what has come: there is something in it to hear."""
        self.samples = 0
        """Of audio that has come, whether it fits the playout or not."""
        self.words_bytes = 0
        """Of its other deltas."""
        self._kept_bytes = 0
        self.left: dict[str, bytes] = {}
        """Of an item: the first half of a sample whose second half is in the next delta."""

    def must_be_heard(self) -> None:
        """What there is of it is not to be interrupted any more."""
        for segment in self.segments.values():
            segment.interruptible = False

    def whole_samples(self, item_id: str, audio: bytes) -> bytes:
        """What there is of an item in whole samples of two bytes; the rest waits for the next."""
        audio = self.left.pop(item_id, b"") + audio
        if len(audio) & 1:
            self.left[item_id] = audio[-1:]
            return audio[:-1]
        return audio

    def keep(self, pcm: bytes, most_bytes: int) -> None:
        """Keep it for the cache, if it does not get longer than anybody could hear."""
        self.audio.append(pcm)
        self._kept_bytes += len(pcm)
        if self._kept_bytes > most_bytes:
            self.audio.clear()  # what is empty is not cached

    @property
    def lost_items(self) -> list[str]:
        """The items of which more was to come, and will not."""
        return [item for item, segment in self.segments.items() if segment.cut_short]

    @property
    def has_sound(self) -> bool:
        """Whether any of it has come to be heard: audio in which nothing sounds is none."""
        return self.can_be_heard and any(segment.queued for segment in self.segments.values())


class Responses:
    """All responses of one session."""

    def __init__(
        self,
        context: CallContext,
        chart: StateChart,
        playout: Playout,
        history: History,
        settings: CallSettings,
    ) -> None:
        self._context = context
        self._chart = chart
        self._playout = playout
        self._history = history
        self._settings = settings
        self._format = AudioFormat("pcm")
        self._rate_hz = self._format.rate_hz
        self._is_pcm = True
        self._live = False
        self._greets_first = settings.greeting.enabled
        self._server_answers = settings.turns.server_answers
        self._waiting: deque[Request] = deque()
        self._requested: Request | None = None
        self._last_request: Request | None = None
        self._request_id: str | None = None
        """Of the last request, while the server may still refuse it."""
        self._active: Response | None = None
        self._progressed_ns = 0
        """When the running response last gave a sign of life."""
        self.endless = ""
        """What a response has more of than any can have, as its last delta came; empty: nothing."""
        self._sounded_ns = 0
        """When audio of it last came, or when it began."""
        self._interrupted: deque[str] = deque(maxlen=_MAX_INTERRUPTED)
        self._begun: deque[str] = deque(maxlen=_MAX_KNOWN)
        self._done: deque[str] = deque(maxlen=_MAX_KNOWN)
        self._most_kept_bytes = BYTES_PER_SAMPLE * playout.most_samples
        self.on_dropped: Callable[[], object] = lambda: None
        """Called for each event that could not be used."""

    @property
    def active(self) -> Response | None:
        """The response that the server is making now."""
        return self._active

    @property
    def expected(self) -> bool:
        """A response runs, or has been asked for."""
        return self._active is not None or self._requested is not None or bool(self._waiting)

    @property
    def pending(self) -> bool:
        """A request is out, and the server has neither begun to answer it nor refused it."""
        return self._requested is not None

    def start_session(self, audio_format: AudioFormat) -> None:
        """A new session is ready, which knows nothing of the old one's responses."""
        self._format = audio_format
        self._rate_hz = audio_format.rate_hz
        self._is_pcm = audio_format.encoding == "pcm"
        self._live = True
        self._send_next()

    def lose_session(self) -> bool:
        """The session is gone, and with it the response that ran.

        Returns whether the caller still waits for words that this session owed.
        """
        for timer in (Timer.RESPONSE_LIMIT, Timer.RESPONSE_END_LIMIT):
            self._context.cancel_timer(timer)
        owed = self._requested is not None and self._requested.purpose is Purpose.TURN
        if self._active is not None:
            self._cut(self._active)
            owed = self._active.purpose is Purpose.TURN and not self._active.interrupted
        self._live = False
        self._active = None
        self._requested = None
        self._request_id = None
        self._interrupted.clear()
        return owed

    def request(
        self,
        purpose: Purpose,
        instructions: str | None = None,
        *,
        may_call: bool = True,
        stands_in: bool = False,
    ) -> None:
        """Ask for a response, once the one that runs is done; see `response_create`.

        Of requests that wait, alike ones are one: it answers all that was said up to then.

        Args:
            purpose: what it is for.
            instructions: instead of the session's.
            may_call: functions.
            stands_in: see `Request.stands_in`; the model was told before what it is to answer.
        """
        request = Request(
            purpose=purpose, instructions=instructions, may_call=may_call, stands_in=stands_in
        )
        if self._waits(request):
            return
        if purpose is Purpose.GREETING:
            self._waiting.appendleft(request)
        else:
            self._waiting.append(request)
        self._send_next()

    def greeting_settled(self) -> None:
        """The greeting is asked for, or needs no asking: what has waited behind it may be asked."""
        self._greets_first = False
        self._send_next()

    def abandon_request(self) -> Request | None:
        """Wait no longer for the response that was asked for last; answers what that was."""
        abandoned = self._requested
        self._context.cancel_timer(Timer.RESPONSE_LIMIT)
        self._requested = None
        self._send_next()
        return abandoned

    def refused(self, event_id: str | None) -> Request | None:
        """An `error` names an event of ours: answers the request, if it was that."""
        if event_id is None or event_id != self._request_id:
            return None
        refused = self._last_request
        self._request_id = None
        self.abandon_request()
        return refused

    def ask_again(self, request: Request) -> None:
        """The server was making another response: ask again when that is done."""
        if request.tries < _MAX_TRIES and not self._waits(request):
            self._waiting.appendleft(replace(request, tries=request.tries + 1))
            self._send_next()

    def has_begun(self, response_id: str) -> bool:
        """Whether it was created, or done without: either may come twice, or late."""
        return response_id in self._begun

    def _waits(self, request: Request) -> bool:
        """Whether the same is to be asked for already: then that is for both."""
        for place, one in enumerate(self._waiting):
            if replace(one, tries=request.tries, stands_in=request.stands_in) == request:
                both = replace(one, stands_in=one.stands_in and request.stands_in)
                self._waiting[place] = both
                return True
        return False

    def created(self, event: ResponseCreated) -> Response:
        """`response.created`, of one that has not begun yet."""
        self._begun.append(event.response_id)
        purpose = self._purpose(event)
        if self._requested and self._requested.purpose is purpose:
            if event.purpose is not None or (self._requested.stands_in and self._server_answers):
                self._request_id = None  # else it is the server's own, and ours may be refused yet
            self._requested = None
        if self._requested is None:  # else it is the server's own, and ours is still to come
            self._context.cancel_timer(Timer.RESPONSE_LIMIT)
        if self._active is not None:  # its end was not reported
            self._complete_segments(self._active)
        self._active = Response(event.response_id, purpose)
        self._context.mark("response_created", {"response": event.response_id})
        self._progressed_ns = self._sounded_ns = self._context.now_ns
        if self._settings.turns.watchdogs.response_end_ms:
            self._context.set_timer(
                Timer.RESPONSE_END_LIMIT, self._settings.turns.watchdogs.response_end_ms
            )
        if purpose is not Purpose.GREETING:
            self._chart.move(Trigger.RESPONSE_CREATED)
        return self._active

    def delta(self, event: AudioDelta) -> bool:
        """`response.output_audio.delta`: to the caller at once.

        Returns whether it is the first of its item: the others change nothing but what waits.
        """
        self.endless = ""
        response = self._active
        if response is None or response.id != event.response_id or self._interrupted:
            response = self._find(event.response_id, "response.output_audio.delta")
        if response is None:
            return False
        self._progressed_ns = self._sounded_ns = self._context.now_ns
        audio = event.audio
        if self._is_pcm and (response.left or len(audio) & 1):
            audio = response.whole_samples(event.item_id, audio)
        pcm = self._format.decode(audio)
        response.samples += len(pcm) // BYTES_PER_SAMPLE
        if response.samples > MOST_AUDIO_S * self._rate_hz:
            self.endless = f"more than {MOST_AUDIO_S} s of audio in one response"
        if not response.can_be_heard:
            response.can_be_heard = heard_from_ms(pcm, self._rate_hz) < math.inf
        segment = response.segments.get(event.item_id)
        is_first = segment is None
        if segment is None:
            if len(response.segments) >= MOST_ITEMS or len(event.item_id) > MOST_ID_CHARS:
                self._drop("response.output_audio.delta", f"more than {MOST_ITEMS} items")
                return False
            segment = self._first_delta(response, event.item_id)
        if response.purpose is Purpose.GREETING:
            response.keep(pcm, self._most_kept_bytes)
        self._playout.write(segment, pcm)
        return is_first

    def audio_done(self, event: AudioDone) -> None:
        """`response.output_audio.done`: no more audio of this item."""
        response = self._find(event.response_id, "response.output_audio.done")
        segment = response.segments.get(event.item_id) if response else None
        if segment is not None:
            self._playout.complete(segment)

    def transcript_done(self, event: TranscriptDone) -> None:
        """`response.output_audio_transcript.done`."""
        self._history.agent_said(event.item_id, event.transcript)
        active = self._active
        if active and active.id == event.response_id and len(active.transcripts) < MOST_ITEMS:
            active.transcripts.append(event.transcript)

    def progressed(self, response_id: str, size_bytes: int) -> None:
        """A sign of life of a response, as each of its deltas is."""
        self.endless = ""
        if self._active and self._active.id == response_id:
            self._progressed_ns = self._context.now_ns
            self._active.words_bytes += size_bytes
            if self._active.words_bytes > MOST_WORDS_BYTES:
                self.endless = (
                    f"more than {MOST_WORDS_BYTES} bytes beside the audio of one response"
                )

    def watch_on(self) -> bool:
        """The watchdog fired: if there was a sign of life since it was set, set it by that.

        Dozens of deltas a second would otherwise each move the timer. Signs of life without audio
        help for as long as nobody may say anything in a call. Returns whether it was set.
        """
        settings = self._settings
        due_ns = self._progressed_ns + ms_to_ns(settings.turns.watchdogs.response_end_ms)
        if settings.limits.silence_ms:
            due_ns = min(due_ns, self._sounded_ns + ms_to_ns(settings.limits.silence_ms))
        if self._active is None or due_ns <= self._context.now_ns:
            return False
        self._context.set_timer_at(Timer.RESPONSE_END_LIMIT, due_ns)
        return True

    def done(self, event: ResponseDone) -> Response | None:
        """`response.done`: answers the response, or None if it runs no more, or we know its end."""
        if event.response_id in self._done:
            self.drop("response.done", event.response_id, "is done already")
            return None
        self._done.append(event.response_id)
        self._mark_done(event)
        if event.response_id in self._interrupted:
            self._interrupted.remove(event.response_id)
        response = self._active
        if response is None or response.id != event.response_id:
            return None
        self._active = None
        self._context.cancel_timer(Timer.RESPONSE_END_LIMIT)
        if event.status == "failed":
            self._break_off_segments(response)
        else:
            self._complete_segments(response)
        self._send_next()
        return response

    def interrupt(self, *, heard_by_server: bool) -> None:
        """The caller barges in: the running response, if any, is dead from now on.

        Under `interrupt_response` the server cancels at speech that it heard; a cancel of ours
        could come late and hit the response after it. A greeting may be past interrupting.
        """
        response = self._active
        if response is None or response.interrupted or self._is_protected(response):
            return
        response.interrupted = True
        self._interrupted.append(response.id)
        if not (heard_by_server and self._settings.turns.vad.interrupt_response):
            self.cancel(response)

    def cancel(self, response: Response) -> None:
        """Have the server stop a response that is still running."""
        self._interrupted.append(response.id)
        self._context.send(cancel(response.id))
        self._context.mark("cancel_sent", {"response": response.id})

    def give_up(self) -> Response | None:
        """The running response has stopped giving signs of life: stop waiting for it."""
        response = self._active
        if response is not None:
            self.cancel(response)
            self._active = None
            self._cut(response)
            self._send_next()
        return response

    def _send_next(self) -> None:
        if not self._live or self._active or self._requested or not self._waiting:
            return
        if self._greets_first and self._waiting[0].purpose is Purpose.TURN:
            return  # a key was pressed before the greeting: it is answered after it
        request = self._waiting.popleft()
        self._requested = self._last_request = request
        settings = self._settings
        event = response_create(
            request.purpose.value,
            instructions=request.instructions,
            may_call=request.may_call,
            voice=settings.voice if request.purpose is Purpose.GREETING else None,
            dialect=settings.realtime.dialect,
        )
        self._request_id = self._context.send(event)
        self._context.mark("response_requested")
        if settings.turns.watchdogs.response_ms:
            self._context.set_timer(Timer.RESPONSE_LIMIT, settings.turns.watchdogs.response_ms)

    def _is_protected(self, response: Response) -> bool:
        """It must be heard to its end."""
        greeting = response.purpose is Purpose.GREETING
        is_last_word = response.purpose is Purpose.GOODBYE
        return is_last_word or (greeting and not self._settings.greeting.interruptible)

    @staticmethod
    def _purpose(event: ResponseCreated) -> Purpose:
        """What a response is for: what its metadata says, which is what we wrote into the request.

        One that says nothing is the server's own, whatever we asked for meanwhile: one caller's
        answer must not become everybody's greeting.
        """
        try:
            return Purpose(event.purpose or Purpose.TURN)
        except ValueError:
            return Purpose.TURN

    def _first_delta(self, response: Response, item_id: str) -> Segment:
        greeting = response.purpose is Purpose.GREETING
        segment = Segment(
            kind=Kind.GREETING if greeting else Kind.RESPONSE,
            item=item_id,
            interruptible=not self._is_protected(response),
            origin="generated" if greeting else "",
        )
        if not response.segments:
            self._context.mark("first_delta", {"response": response.id, "item": item_id})
            if self._playout.fills_silence:
                self._playout.give_way()
            if not greeting:
                self._chart.move(Trigger.RESPONSE_HEARD)
        response.segments[item_id] = segment
        return segment

    def _find(self, response_id: str, event_type: str) -> Response | None:
        if response_id in self._interrupted:
            return None
        if self._active and self._active.id == response_id:
            return self._active
        self.drop(event_type, response_id, "is not running")
        return None

    def drop(self, event_type: str, response_id: str, why: str) -> None:
        """An event of a response that cannot be used."""
        self._drop(event_type, f"response {response_id[:MOST_ID_CHARS]} {why}")

    def _drop(self, event_type: str, reason: str) -> None:
        self._context.mark("event_dropped", {"type": event_type, "reason": reason})
        self.on_dropped()

    def _cut(self, response: Response) -> None:
        """Nothing more will come, although there was more to say."""
        for segment in response.segments.values():
            segment.cut_short = segment.cut_short or not segment.complete
        self._break_off_segments(response)

    def _break_off_segments(self, response: Response) -> None:
        for segment in response.segments.values():
            if not segment.complete:
                self._playout.break_off(segment)

    def _complete_segments(self, response: Response) -> None:
        for segment in response.segments.values():
            if not segment.complete:
                self._playout.complete(segment)

    def _mark_done(self, event: ResponseDone) -> None:
        fields: dict[str, object] = {"response": event.response_id, "status": event.status}
        if event.reason is not None:
            fields["reason"] = event.reason
        if event.input_tokens is not None:
            fields["input_tokens"] = event.input_tokens
        if event.output_tokens is not None:
            fields["output_tokens"] = event.output_tokens
        self._context.mark("response_done", fields)
