"""A session that replays a recording to a live client: a state machine like the scripted one.

What the recorded server sent is released by what the live client does: its requests, and its
speech as the voice activity detection hears it. A client that acts otherwise than the recorded one
has departed: that is marked, and with `strict` the client gets an `error`, and the session ends.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any, Literal, assert_never

from callerside.audio import BYTES_PER_SAMPLE, AudioFormat
from callerside.clock import NS_PER_S
from callerside.fakes.recording.audio_files import encoding_of
from callerside.fakes.recording.causality import (
    CONNECTED,
    SPEECH_STARTED,
    SPEECH_STOPPED,
    Trigger,
    find_triggers,
)
from callerside.fakes.recording.difference import first_difference
from callerside.fakes.recording.format import AUDIO_FIELDS, Recording, number_of, part_of, text_of
from callerside.fakes.script.model import Vad
from callerside.fakes.session.context import Observation, marked_arguments
from callerside.fakes.session.input_audio import SEMANTIC_LONGEST_WAIT_MS, InputAudio
from callerside.fakes.session.interface import (
    AcceptConnection,
    CallOver,
    Changed,
    ClientEvent,
    ClientGarbage,
    CloseConnection,
    ConnectionLost,
    ConnectionRequested,
    Effect,
    EmitMark,
    Event,
    Input,
    KeepAudio,
    KeepSent,
    SendEvent,
    ServerStopping,
    SetTimer,
    TimerFired,
)
from callerside.marks import Mark
from callerside.vad.turn_detector import SpeechStarted, SpeechStopped

Pace = Literal["recorded", "fast"]

_APPEND = "input_audio_buffer.append"
_DEFAULTS = {"threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}
_NO_MORE = "nothing more"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayOptions:
    """How a recording is replayed."""

    timing: Pace = "recorded"
    """Each answer as long after its cause as in the recording, or at once."""
    strict: bool = False
    """Whether a client that departs gets an `error`, and the session ends."""
    vad: Vad = field(default_factory=Vad)
    """How the live client's speech is heard."""


class ReplaySession:
    """One replay, from the client's request for a connection to its end."""

    def __init__(
        self,
        recording: Recording,
        *,
        call: str,
        options: ReplayOptions | None = None,
        observation: Observation | None = None,
    ) -> None:
        """`call` names the session on the timeline.

        Raises:
            ValueError: the recording has no times, and `timing` asks for them.
        """
        self._options = options or ReplayOptions()
        if self._options.timing == "recorded" and not recording.header.timed:
            raise ValueError("this recording has no times of its own: replay it with timing fast")
        self._observation = observation or Observation()
        self._call = call
        self._triggers = find_triggers(recording)
        self._next = 0
        self._audio = InputAudio(self._options.vad)
        self._queue: list[tuple[int, int, dict[str, Any]]] = []
        self._order = count()
        self._sent_samples = 0
        self._format = AudioFormat()
        self._last_voiced_ms = 0
        self._committed_by = "client"
        self._phase: Literal["waiting", "open", "over"] = "waiting"
        self._now_ns = 0
        self._effects: list[Effect] = []

    @property
    def over(self) -> bool:
        """Whether the session has ended; it does nothing any more."""
        return self._phase == "over"

    def handle(self, given: Input, now_ns: int) -> list[Effect]:
        """Take one input; returns what should be done about it, in order."""
        if self._phase == "over":
            return []
        self._now_ns = now_ns
        match given:
            case ConnectionRequested(path, model):
                self._phase = "open"
                self._effects.append(AcceptConnection())
                self._mark("session_opened", path=path, model=model, session=self._call)
                self._trigger(CONNECTED)
            case ClientEvent(event):
                self._on_event(event)
            case ClientGarbage(message):
                self._depart(self._expected, message)
            case TimerFired():
                self._send_due()
            case ConnectionLost(code, reason):
                if self._expected != _NO_MORE:
                    self._mark("departed", expected=self._expected, got=_NO_MORE)
                self._end(code, reason)
            case Changed():
                pass  # it does what was recorded
            case ServerStopping() | CallOver():
                self._close(given.code, given.reason)
            case unknown:
                assert_never(unknown)
        effects, self._effects = self._effects, []
        return effects

    def _on_event(self, event: Event) -> None:
        if event.get("type") == _APPEND:
            self._on_append(event.get("audio"))
        else:
            self._trigger(str(event.get("type")), event)

    def _on_append(self, audio: object) -> None:
        if not isinstance(audio, bytes):
            return
        all_heard = self._audio.append(audio)
        if self._observation.trace_audio:
            samples, total = len(self._audio.newest) // 2, self._audio.total_samples
            self._mark("audio_received", samples=samples, total_samples=total)
        if self._observation.keep_audio:
            self._effects.append(KeepAudio(self._audio.newest, self._audio.rate_hz))
        for heard in all_heard:
            match heard:
                case SpeechStarted():
                    self._trigger(SPEECH_STARTED, audio_start_ms=self._audio.start_ms(heard))
                case SpeechStopped():
                    self._last_voiced_ms = heard.last_voiced_ms
                    self._committed_by = "vad"
                    self._trigger(SPEECH_STOPPED, audio_end_ms=heard.end_ms)
                case unknown:
                    assert_never(unknown)

    def _trigger(self, kind: str, event: Event | None = None, **live: int) -> None:
        """The live client did something: release what the recorded server answered to it."""
        if kind == "input_audio_buffer.commit":
            self._committed_by = "client"
        later = range(self._next, len(self._triggers))
        found = next((number for number in later if self._triggers[number].kind == kind), None)
        if found is None or found > self._next:
            self._depart(self._expected, kind)
        elif event is not None:
            difference = first_difference(self._triggers[found].event, event)
            if difference is not None:
                self._depart(*(f"{kind} with {side}" for side in difference))
        if found is None or self.over:
            return
        self._next = found + 1
        self._release(self._triggers[found], live)

    @property
    def _expected(self) -> str:
        return self._triggers[self._next].kind if self._next < len(self._triggers) else _NO_MORE

    def _depart(self, expected: str, got: str) -> None:
        self._mark("departed", expected=expected, got=got)
        if not self._options.strict:
            return
        message = f"This is a replay: expected {expected} as step {self._next}, got {got}."
        error = {
            "type": "invalid_request_error",
            "code": "departed_from_recording",
            "message": message,
            "param": None,
            "event_id": None,
        }
        self._send({"type": "error", "event_id": "event_departed", "error": error})
        self._close(4000, "departed_from_recording")

    def _release(self, trigger: Trigger, live: dict[str, int]) -> None:
        recorded = self._options.timing == "recorded"
        for _, event in trigger.answers:
            if event["type"] == "response.done":
                self._cut_short(part_of(event, "response"))
        for delay_s, event in trigger.answers:
            if event["type"] == trigger.kind:
                event = event | live  # speech is where it has been heard now
            due_ns = self._now_ns + (round(delay_s * NS_PER_S) if recorded else 0)
            heappush(self._queue, (due_ns, next(self._order), event))
        self._send_due()

    def _cut_short(self, ended: Mapping[str, Any]) -> None:
        """The live client ends a response earlier than the recorded one did: it says no more.

        What is left of it is what makes it whole for its reader: its items and their parts.
        """
        output = ended.get("output")
        said = {text_of(item, "id") for item in output} if isinstance(output, list) else set()

        def belongs(event: Mapping[str, Any]) -> bool:
            response_id = text_of(event, "response_id") or text_of(part_of(event, "response"), "id")
            item_id = text_of(part_of(event, "item"), "id")
            return response_id == text_of(ended, "id") or item_id in said

        left = [one for one in self._queue if belongs(one[2])]
        self._queue = [one for one in self._queue if not belongs(one[2])]
        self._queue += [
            (self._now_ns, order, event)
            for _, order, event in left
            if not event["type"].endswith(".delta")
        ]
        heapify(self._queue)

    def _send_due(self) -> None:
        while self._queue and self._queue[0][0] <= self._now_ns:
            self._send(heappop(self._queue)[2])
        if self._queue:
            self._effects.append(SetTimer("replay", self._queue[0][0]))

    def _send(self, event: dict[str, Any]) -> None:
        self._effects.append(SendEvent(event))
        if event["type"] in ("session.created", "session.updated"):
            self._follow(event)
        facts = self._facts(event)
        if facts is not None:
            name, fields = facts
            self._mark(name, **fields)

    def _follow(self, event: dict[str, Any]) -> None:
        """Hear as the recorded session was configured to."""
        session = part_of(event, "session")
        side = part_of(part_of(session, "audio"), "input") or session
        self._format = AudioFormat(encoding_of(event, "server"))
        self._audio.configure(
            AudioFormat(encoding_of(event, "client")),
            _detection(side.get("turn_detection")),
            unfinished=False,
        )

    def _facts(self, event: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
        """What of an event belongs on the timeline: the name of the mark, and its fields."""
        item = {"item": text_of(event, "item_id")}
        match event["type"]:
            case "input_audio_buffer.speech_started":
                return "speech_started", item | {
                    "audio_start_ms": number_of(event, "audio_start_ms")
                }
            case "input_audio_buffer.speech_stopped":
                ends = {"audio_end_ms": number_of(event, "audio_end_ms")}
                return "speech_stopped", item | ends | {"last_voiced_ms": self._last_voiced_ms}
            case "input_audio_buffer.committed":
                return "committed", item | {"by": self._committed_by}
            case "conversation.item.truncated":
                return "truncated", item | {"audio_end_ms": number_of(event, "audio_end_ms")}
            case "error":
                error = part_of(event, "error")
                code, message = text_of(error, "code") or None, text_of(error, "message")
                return "error_sent", {"code": code, "message": message}
            case _:
                return self._response_facts(event)

    def _response_facts(self, event: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
        response = part_of(event, "response")
        if event["type"] == "response.function_call_arguments.done":
            name, arguments = text_of(event, "name"), text_of(event, "arguments")
            return "function_called", {"name": name, "arguments": marked_arguments(arguments)}
        kind, wire = event["type"], event.get("delta")
        if kind == "response.created":
            return "response_created", {"response": text_of(response, "id")}
        if kind == "response.done":
            details = part_of(response, "status_details")
            reason = text_of(details, "reason") or text_of(part_of(details, "error"), "code")
            facts = {"response": text_of(response, "id"), "status": text_of(response, "status")}
            return "response_done", facts | ({"reason": reason} if reason else {})
        if kind in AUDIO_FIELDS and isinstance(wire, bytes):
            pcm = self._format.decode(wire)
            if self._observation.keep_audio:
                self._effects.append(KeepSent(pcm, self._format.rate_hz))
            samples = len(pcm) // BYTES_PER_SAMPLE
            self._sent_samples += samples
            return "delta_sent", {
                "response": text_of(event, "response_id"),
                "item": text_of(event, "item_id"),
                "samples": samples,
                "total_samples": self._sent_samples,
            }
        return None

    def _close(self, code: int, reason: str) -> None:
        self._effects.append(CloseConnection(code, reason))
        self._end(code, reason)

    def _end(self, code: int, reason: str) -> None:
        self._phase = "over"
        self._mark("session_closed", code=code, reason=reason)

    def _mark(self, name: str, /, **fields: Any) -> None:
        mark = Mark(
            at_ns=self._now_ns, source="realtime", call=self._call, name=name, fields=fields
        )
        self._effects.append(EmitMark(mark))


def _detection(recorded: object) -> dict[str, Any] | None:
    """How the recorded session detected turns; what it does not say is as the API has it."""
    if not isinstance(recorded, Mapping):
        return None
    kind, eagerness = recorded.get("type"), recorded.get("eagerness")
    if kind not in ("server_vad", "semantic_vad"):
        return None
    said = {key: recorded[key] for key in _DEFAULTS if isinstance(recorded.get(key), int | float)}
    known = eagerness if eagerness in SEMANTIC_LONGEST_WAIT_MS else "auto"
    return {**_DEFAULTS, **said, "type": kind, "eagerness": known}
