"""Every mark there is: who writes it, what it means, and what its fields hold.

One entry declares a mark. From here come the names and fields that a scenario may expect, the page
about marks (`docs/marks.md`), what mypy takes where a mark is written (`tools/mypy_marks.py`), and
what every mark of a test, of a generated call and of a run is held to (`complaint`).

Names are facts in the past tense. A field's name carries its unit, where it has one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from callerside.marks import Source

Kind = Literal["text", "whole number", "number", "yes or no", "JSON"]

_TYPES: Mapping[Kind, tuple[type, ...]] = {
    "text": (str,),
    "whole number": (int,),
    "number": (int, float),
    "yes or no": (bool,),
    "JSON": (object,),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """What one field of a mark holds."""

    kind: Kind
    unit: str = ""
    meaning: str = ""
    """Where the name does not say it all."""
    words: tuple[str, ...] = ()
    """All that a text may be, where that is known."""
    optional: bool = False
    """Whether marks may come without it."""
    nullable: bool = False
    """Whether it may be there, and None."""

    def fits(self, value: object) -> bool:
        """Whether the field may hold a value."""
        types = _TYPES[self.kind]
        if type(value) not in types and not self._fits_otherwise(value, types):
            return False
        return value is None or not self.words or value in self.words

    def _fits_otherwise(self, value: object, types: tuple[type, ...]) -> bool:
        """What is of no such type itself: None, and what has a type derived from one."""
        if value is None:
            return self.nullable or self.kind == "JSON"
        return isinstance(value, types) and (not isinstance(value, bool) or self.kind == "JSON")


@dataclass(frozen=True, kw_only=True, slots=True)
class MarkKind:
    """One mark of one source."""

    source: Source
    name: str
    meaning: str
    fields: Mapping[str, Field]


def complaint(source: Source, name: str, fields: Mapping[str, object]) -> str:
    """What is wrong with a mark, by its entry: its name, a field, a type; empty: nothing."""
    kind = MARKS[source].get(name)
    if kind is None:
        return f"{source} {name}: declared nowhere: callerside/mark_registry.py has no such mark"
    wrong = []
    known = 0
    for key, field in kind.fields.items():
        if key not in fields:
            if not field.optional:
                wrong.append(f"{key} is missing")
            continue
        known += 1
        if not field.fits(fields[key]):
            expected = " or ".join(field.words) or field.kind
            wrong.append(f"{key} is {fields[key]!r}, expected {expected}")
    if known < len(fields):
        wrong += [f"{key} is declared nowhere" for key in fields if key not in kind.fields]
    return f"{source} {name}: {', '.join(wrong)}" if wrong else ""


def _one_of(*words: str) -> Field:
    return Field(kind="text", words=words)


def _optional(field: Field, meaning: str = "") -> Field:
    return replace(field, optional=True, meaning=meaning or field.meaning)


def _nullable(field: Field) -> Field:
    return replace(field, nullable=True)


TEXT = Field(kind="text")
WHOLE = Field(kind="whole number")
FLAG = Field(kind="yes or no")
JSON = Field(kind="JSON")
MS = Field(kind="number", unit="ms")
HZ = Field(kind="number", unit="Hz")
REPLAYED_MS = replace(MS, nullable=True, meaning="null: a replayed recording has none")
ITEM = RESPONSE = Field(kind="text")  # ids of the Realtime API
SAMPLES = Field(kind="whole number", unit="samples")
TOTAL = Field(kind="whole number", unit="samples", meaning="since the session's beginning")
STATUS = Field(kind="whole number", meaning="of SIP")
PROMPT = Field(kind="text", words=("hold", "farewell", "apology", "wait", "announcement", "tone"))
TOKENS = Field(kind="whole number", unit="tokens", meaning="as the API counts them", optional=True)
DIRECTION = Field(kind="text", words=("to_agent", "to_caller"), optional=True)


def _marks(source: Source, *kinds: tuple[str, str, Mapping[str, Field]]) -> dict[str, MarkKind]:
    marks: dict[str, MarkKind] = {}
    for name, meaning, fields in kinds:
        if name in marks:
            raise ValueError(f"{source} {name}: declared twice")
        marks[name] = MarkKind(source=source, name=name, meaning=meaning, fields=fields)
    return marks


def _mark(name: str, meaning: str, /, **fields: Field) -> tuple[str, str, Mapping[str, Field]]:
    return name, meaning, fields


MARKS: Mapping[Source, Mapping[str, MarkKind]] = {
    "agent": _marks(
        "agent",
        _mark(
            "call_received",
            "the INVITE is here",
            called=TEXT,
            caller=TEXT,
            sip_call_id=TEXT,
            traceparent=_optional(TEXT, "the trace that the INVITE belongs to"),
        ),
        _mark("answer_sent", "200 OK handed to the SIP stack", status=STATUS),
        _mark("answered", "200 OK acknowledged"),
        _mark("state_changed", "the call machine moved", **{"from": TEXT, "to": TEXT}),
        _mark("realtime_connecting", "the WebSocket is being opened", attempt=WHOLE),
        _mark("realtime_connected", "handshake done"),
        _mark(
            "realtime_failed",
            "handshake refused, or the socket was lost",
            reason=TEXT,
            status=_optional(WHOLE, "of HTTP"),
        ),
        _mark("realtime_closed", "the socket is closed", code=WHOLE, reason=TEXT),
        _mark("session_created", "the server has made a session", session=_optional(TEXT)),
        _mark("session_updated", "the session is as we asked: ready for audio"),
        _mark("media_ready", "audio can flow both ways", codec=TEXT),
        _mark("beep_started", "first frame of the beep left"),
        _mark("beep_ended", "its last frame left"),
        _mark("greeting_requested", "`response.create` for the greeting sent"),
        _mark(
            "greeting_started",
            "first frame of the greeting left",
            origin=_one_of("cache", "generated"),
        ),
        _mark("greeting_ended", "last frame left, or cut", played_ms=MS, interrupted=FLAG),
        _mark("greeting_cached", "stored", key=TEXT),
        _mark(
            "greeting_damaged",
            "a cached file could not be used and is made again",
            key=TEXT,
            reason=TEXT,
        ),
        _mark(
            "prompt_started",
            "first frame of the agent's own words left: when the API or an answer fails, a "
            "function takes long, or a recording is announced",
            prompt=PROMPT,
        ),
        _mark(
            "prompt_ended",
            "its last frame left",
            prompt=PROMPT,
            played_ms=MS,
        ),
        _mark(
            "audio_appended",
            "only with `trace_audio`: one append sent",
            samples=SAMPLES,
            total_samples=TOTAL,
            heard_ns=Field(
                kind="whole number",
                unit="ns",
                meaning="when the packet with the last frame in it came in",
            ),
        ),
        _mark("capture_overflowed", "caller audio waited too long for a session", dropped_ms=MS),
        _mark(
            "speech_started", "the server (or our VAD) heard speech", item=ITEM, audio_start_ms=MS
        ),
        _mark("speech_stopped", "it heard the speech's end", item=ITEM, audio_end_ms=MS),
        _mark("commit_sent", "`input_audio_buffer.commit` sent"),
        _mark("committed", "the server has taken the turn", item=ITEM),
        _mark("response_requested", "`response.create` sent"),
        _mark("response_created", "the server has begun a response", response=RESPONSE),
        _mark("first_delta", "first audio of a response arrived", response=RESPONSE, item=ITEM),
        _mark("playout_started", "an item's first frame left", item=ITEM),
        _mark("playout_ended", "its last frame left", item=ITEM, played_ms=MS),
        _mark(
            "playout_cleared",
            "barge-in: what was not played is gone",
            item=_optional(ITEM),
            played_ms=MS,
            dropped_ms=MS,
        ),
        _mark(
            "playout_underrun",
            "silence inside a response, reported when it ends: with more audio, or with what "
            "`until` says, if nothing more came; the silence after a response that was broken off "
            "is one unless other audio follows",
            item=ITEM,
            missing_ms=MS,
            until=_optional(_one_of("cleared", "given_up", "call_ended")),
        ),
        _mark("playout_overflowed", "more audio came than is kept", dropped_ms=MS),
        _mark("truncate_sent", "`conversation.item.truncate` sent", item=ITEM, audio_end_ms=MS),
        _mark("truncated", "confirmed by the server", item=ITEM, audio_end_ms=MS),
        _mark("cancel_sent", "`response.cancel` sent", response=RESPONSE),
        _mark(
            "response_done",
            "the response is over",
            response=RESPONSE,
            status=TEXT,
            reason=_optional(TEXT),
            input_tokens=TOKENS,
            output_tokens=TOKENS,
        ),
        _mark(
            "response_incomplete",
            "it ended before all was said",
            response=RESPONSE,
            reason=replace(TEXT, meaning="`max_output_tokens`, `content_filter`"),
        ),
        _mark(
            "response_silent",
            "the answer to a turn is over, and there was nothing in it to hear, or to run",
            response=RESPONSE,
        ),
        _mark(
            "answer_repaired",
            "what was done about an answer that the caller could not use",
            response=RESPONSE,
            by=_one_of("asked_again", "continued", "apology"),
        ),
        _mark("watchdog_fired", "a wait reached its limit", what=TEXT),
        _mark("realtime_error", "an `error` event", code=TEXT, message=TEXT),
        _mark(
            "event_dropped",
            "an event we could not read, or that came when it could not",
            type=TEXT,
            reason=TEXT,
        ),
        _mark("dtmf_received", "the caller pressed a key", digit=TEXT, method=TEXT),
        _mark("dtmf_sent", "we pressed a key", digit=TEXT, method=TEXT),
        _mark("tool_called", "the model calls a function", name=TEXT, call_id=TEXT),
        _mark(
            "tool_finished",
            "it has answered, or was given up",
            name=TEXT,
            call_id=TEXT,
            ok=FLAG,
            took_ms=MS,
        ),
        _mark(
            "tool_cancelled",
            "the call ended while it ran: its result is nobody's any more",
            name=TEXT,
            call_id=TEXT,
            ran_ms=MS,
        ),
        _mark(
            "stub_refused",
            "a function was called with what does not fit its schema, or is real and not to be "
            "called in a scenario; the call fails, unless this is expected",
            name=TEXT,
            call_id=TEXT,
            reason=TEXT,
        ),
        _mark(
            "tools_withheld",
            "the model is to answer without functions: its calls, so many times in a row, could "
            "not be made, or led to nothing but more calls",
            tries=WHOLE,
        ),
        _mark("consultation_begun", "a call to whoever is to take the caller", uri=TEXT),
        _mark("consultation_answered", "they have answered, and are told why"),
        _mark("consultation_told", "they have heard it", audio_ms=MS),
        _mark("consultation_ended", "that call is over, or left", reason=TEXT),
        _mark("transfer_sent", "REFER sent", uri=TEXT),
        _mark("transfer_ended", "what became of it", status=STATUS),
        _mark("media_held", "the caller put us on hold"),
        _mark("media_resumed", "the caller took us off hold, or changed the media"),
        _mark(
            "media_source",
            "audio comes from an address that nobody has named: it is the caller's, to whom ours "
            "is sent there now; a stranger's, and is not heard; or so much that most of it is not "
            "looked at",
            what=Field(kind="text", words=("moved", "stranger", "flood")),
            source=TEXT,
        ),
        _mark(
            "recording_started",
            "sample 0 of both channels of the call's recording, where it is recorded",
            sample_rate_hz=HZ,
        ),
        _mark(
            "recording_withheld",
            "the call is not recorded, as its caller was not told that it would be",
            reason=TEXT,
        ),
        _mark(
            "rtp_measured",
            "the stream as it came in, when media ends",
            received_packets=WHOLE,
            lost_packets=WHOLE,
            jitter_ms=MS,
        ),
        _mark("hang_up_sent", "we hang up", reason=TEXT),
        _mark("call_ended", "the last mark of a call", by=TEXT, status=STATUS, reason=TEXT),
    ),
    "caller": _marks(
        "caller",
        _mark("call_dialed", "INVITE sent", uri=TEXT),
        _mark("call_progressed", "a provisional response", status=STATUS),
        _mark("call_answered", "200 OK received", status=STATUS),
        _mark("media_ready", "audio can flow both ways", codec=TEXT),
        _mark("recording_started", "sample 0 of both channels of `call.flac`", sample_rate_hz=HZ),
        _mark(
            "step_started",
            "a step of the scenario begins",
            step=replace(WHOLE, meaning="0-based"),
            kind=TEXT,
            text=TEXT,
        ),
        _mark(
            "step_ended",
            "it is done, or has failed",
            step=replace(WHOLE, meaning="0-based"),
            ok=FLAG,
            detail=_optional(TEXT),
            cut=_optional(
                FLAG,
                "the greeting or reply that it waited for still sounded when the call ended",
            ),
            keys=_optional(JSON, "which of the keys that were heard met it, 0-based"),
        ),
        _mark(
            "utterance_started",
            "first frame of it left",
            turn=replace(WHOLE, meaning="1-based"),
            text=TEXT,
        ),
        _mark("utterance_ended", "last frame left", turn=replace(WHOLE, meaning="1-based")),
        _mark("beep_heard", "live, at the end of the beep", hz=HZ, length_ms=MS),
        _mark("speech_heard", "live, the onset of agent speech"),
        _mark("silence_heard", "live, the end of agent speech"),
        _mark(
            "pause_heard",
            "live, where agent speech goes on after a silence; marked where the scenario says "
            "`never: {silence: …}`, and it was that long",
            length_ms=MS,
        ),
        _mark("dtmf_sent", "the caller pressed keys", digits=TEXT, method=TEXT),
        _mark("dtmf_heard", "the agent pressed a key", digit=TEXT),
        _mark("transfer_heard", "REFER received", uri=TEXT),
        _mark(
            "rtp_measured",
            "the stream as it came in, when media ends",
            received_packets=WHOLE,
            lost_packets=WHOLE,
            jitter_ms=MS,
        ),
        _mark("hang_up_sent", "the caller leaves", how=_one_of("bye", "cancel", "vanish")),
        _mark(
            "impairment_applied",
            "the first of packets of one direction that it befell one after another",
            what=TEXT,
            at=DIRECTION,
            packets=_optional(WHOLE),
            lasted_ms=_optional(MS),
        ),
        _mark(
            "packets_buffered",
            "what came late to the caller's ear, and a telephone's buffer took",
            packets=replace(WHOLE, meaning="late by a millisecond at least"),
            worst_ms=MS,
        ),
        _mark("scheduling_lag", "the harness's own lateness in this call", worst_ms=MS),
        _mark(
            "machine_stalled",
            "for so long a processor of this machine did nothing for us, or a process of the run "
            "waited for one that others had; nobody's fault",
            late_ms=MS,
            cpu=_nullable(WHOLE),
            process=_nullable(TEXT),
            within_ms=_optional(MS, "it lay in so long a time before the mark; 0: just before it"),
            sure=_optional(FLAG, "whoever watched ran before everything else"),
            cpus=_optional(WHOLE, "how many processors are watched, where it is one's"),
            before=_optional(
                JSON,
                "others like it, short ones: of each how many ms before the mark it was over, "
                "`late_ms` and `within_ms`",
            ),
        ),
        _mark("call_ended", "the call is over", by=TEXT, status=STATUS, reason=TEXT),
        _mark("scenario_ended", "the last mark of a call", verdict=TEXT, detail=TEXT),
    ),
    "realtime": _marks(
        "realtime",
        _mark(
            "session_opened",
            "a client has connected",
            path=TEXT,
            model=_nullable(TEXT),
            session=TEXT,
            delay_ms=_optional(MS, "how late the script let it be accepted"),
            prepared_ms=_optional(
                MS, "what the server took to have its script ready: nobody else's time"
            ),
        ),
        _mark(
            "session_updated",
            "`session.update` taken",
            turn_detection=replace(JSON, meaning="the effective value"),
        ),
        _mark(
            "audio_received",
            "one append",
            samples=replace(SAMPLES, meaning="at the session's input rate"),
            total_samples=TOTAL,
        ),
        _mark("speech_started", "the VAD heard speech", item=ITEM, audio_start_ms=REPLAYED_MS),
        _mark(
            "speech_stopped",
            "it heard the speech's end",
            item=ITEM,
            audio_end_ms=REPLAYED_MS,
            last_voiced_ms=replace(MS, meaning="on the audio clock"),
        ),
        _mark(
            "committed",
            "a turn is an item now",
            item=ITEM,
            by=_one_of("vad", "client", "idle_timeout"),
        ),
        _mark(
            "response_planned",
            "what the script and the seed decided",
            response=RESPONSE,
            think_ms=MS,
            delta_ms=MS,
            pace=replace(TEXT, kind="JSON"),
            reply=TEXT,
            trigger=TEXT,
            text=_optional(TEXT),
        ),
        _mark(
            "response_withheld",
            "the script says that nothing is sent of this response, or `response.created` alone",
            response=RESPONSE,
        ),
        _mark("response_created", "`response.created` sent", response=RESPONSE),
        _mark(
            "delta_sent",
            "a piece of audio sent; the first one is the end of the think time",
            response=RESPONSE,
            item=ITEM,
            samples=SAMPLES,
            total_samples=TOTAL,
            late_ms=_optional(MS, "how much later than planned the server was"),
        ),
        _mark(
            "response_done",
            "`response.done` sent",
            response=RESPONSE,
            status=TEXT,
            reason=_optional(TEXT),
            by_script=_optional(FLAG, "it was cancelled, and nobody had asked for that"),
            inaudible=_optional(FLAG, "it had audio, and nothing in that can be heard"),
        ),
        _mark("truncated", "an item was cut by the client", item=ITEM, audio_end_ms=REPLAYED_MS),
        _mark("function_called", "by the script", name=TEXT, arguments=JSON),
        _mark(
            "unasked_bounded",
            "no further reply follows by itself (`next_after_ms`): so many have, unasked",
            most=WHOLE,
        ),
        _mark(
            "call_undeclared",
            "the script calls a function that the session has not declared, or not so, or may not "
            "call",
            name=TEXT,
            why=TEXT,
        ),
        _mark(
            "call_missing",
            "the script calls nothing, though `tool_choice` asks for a call",
            response=RESPONSE,
            why=TEXT,
        ),
        _mark(
            "mcp_listed",
            "the tools of an MCP server were listed, or could not be",
            server=TEXT,
            status=_one_of("completed", "failed"),
            detail=replace(TEXT, meaning="the names, or why not"),
        ),
        _mark(
            "mcp_called",
            "a tool of an MCP server, by the script",
            server=TEXT,
            name=TEXT,
            arguments=JSON,
            status=_one_of("approval_requested", "denied", "completed", "failed"),
        ),
        _mark(
            "context_truncated",
            "the conversation was too long for the model: the oldest items are read no more",
            items=replace(WHOLE, meaning="how many"),
            before_tokens=replace(TOKENS, meaning="of all items", optional=False),
            left_tokens=replace(TOKENS, meaning="of the items that are left", optional=False),
        ),
        _mark("error_sent", "`error` sent", code=_nullable(TEXT), message=TEXT),
        _mark(
            "served_leniently",
            "what the API refuses was served, or left out (`--lenient`)",
            code=TEXT,
            message=TEXT,
            param=_optional(TEXT),
        ),
        _mark(
            "fault_applied",
            "a fault struck",
            fault=TEXT,
            at=TEXT,
            detail=_optional(TEXT),
            drawn=_optional(TEXT, "by chance: what `--fault` takes to have it again"),
        ),
        _mark(
            "chaos_begun",
            "faults are drawn at random: how probable one is at each place, and by which seed",
            rate=Field(kind="number"),
            seed=WHOLE,
        ),
        _mark("departed", "a client that left the recording", expected=TEXT, got=TEXT),
        _mark("session_closed", "the last mark of a session", code=WHOLE, reason=TEXT),
    ),
}
"""By source, and by name in the order of the page."""
