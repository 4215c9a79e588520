"""A recording told as a conversation: who said what, when, and how long it took.

What is told is a line each: a turn of the caller, what the client wrote, an answer of the model,
a function's call and its result, an interruption, an error. Ids, events and deltas are not.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from callerside.audio import BYTES_PER_SAMPLE, AudioFormat
from callerside.fakes.recording.audio_files import encoding_of
from callerside.fakes.recording.format import (
    AUDIO_FIELDS,
    Entry,
    Recording,
    number_of,
    one_line,
    part_of,
    text_of,
)

_LONGEST = 200
_TRANSCRIBED = tuple(
    f"conversation.item.input_audio_transcription.{name}" for name in ("completed", "updated")
)
"""Of the turn as a whole; xAI's `updated` is all of it so far."""
_NOT_TRANSCRIBED = "conversation.item.input_audio_transcription.failed"
_WORDS = tuple(
    f"response.{part}"
    for part in ("output_audio_transcript", "audio_transcript", "output_text", "text")
)
"""What an answer says comes as `.delta`, and as a whole as `.done`."""
_ERRORS_ABOUT = {
    "response_cancel_not_active": "response.cancel",
    "conversation_already_has_active_response": "response.create",
    "invalid_tool_call_id": "conversation.item.create",
    "item_create_duplicate_item_id": "conversation.item.create",
    "unsupported_content_type": "conversation.item.truncate",
    "item_truncate_invalid_item_id": "conversation.item.truncate",
}
"""Errors that one kind of event alone gets."""
_SESSION = ("session.created", "session.updated")
_ASKS = ("response.create", "input_audio_buffer.committed")


@dataclass(frozen=True, slots=True)
class Told:
    """One line of the conversation."""

    at_s: float
    who: str
    """`session`, `caller`, `client`, `model`, `server`."""
    what: str
    """What it means, without times, ids and lengths: two recordings that say the same have it."""
    how_long: str = ""
    """What was measured of it."""


@dataclass(slots=True)
class _Answer:
    """A response, until it is done."""

    asked_at_s: float
    first_at_s: float | None = None
    audio_s: float = 0.0
    words: list[str] = field(default_factory=list)
    """Of each part, those that are whole."""
    unfinished: dict[tuple[object, object], str] = field(default_factory=dict)
    """The words so far of those that are not, by item and content part."""
    calls: list[str] = field(default_factory=list)


def tell(recording: Recording) -> list[Told]:
    """The lines, in order."""
    return sorted(_Teller(recording).lines(), key=lambda told: told.at_s)


class _Teller:
    def __init__(self, recording: Recording) -> None:
        self._entries = recording.entries
        self._heard = {
            text_of(entry.event, "item_id"): text_of(entry.event, "transcript")
            for entry in self._entries
            if entry.type in _TRANSCRIBED
        }
        self._unheard = {
            text_of(entry.event, "item_id"): text_of(part_of(entry.event, "error"), "code")
            for entry in self._entries
            if entry.type == _NOT_TRANSCRIBED
        }
        self._format = AudioFormat()
        self._asked_at_s = 0.0
        self._speech_began_ms: float | None = None
        self._answers: dict[str, _Answer] = {}
        self._done: set[str] = set()
        """Responses of which all has been told, whatever still comes of them."""
        items = [part_of(entry.event, "item") for entry in self._entries]
        self._calls = {
            text_of(item, "call_id"): text_of(item, "name") for item in items if "name" in item
        }
        """Names of functions, by the id of their call."""
        self._items = {text_of(item, "id"): item for item in items}
        """Items as they were told last."""
        self._refused = set(_refused(self._entries))
        self._settings = ""

    def lines(self) -> Iterator[Told]:
        """The lines, as they are found."""
        for entry in self._entries:
            if entry.type in _ASKS:
                self._asked_at_s = entry.at_s
            told = self._of_client(entry) if entry.sender == "client" else self._of_server(entry)
            yield from told
        for answer in self._answers.values():
            yield Told(answer.asked_at_s, "model", f"{_said(answer)} (never done)", _took(answer))

    def _of_client(self, entry: Entry) -> Iterator[Told]:
        refused = " (refused)" if id(entry) in self._refused else ""
        for told in self._asked(entry):
            yield replace(told, what=told.what + refused)

    def _asked(self, entry: Entry) -> Iterator[Told]:
        event = entry.event
        if entry.type == "conversation.item.create":
            item = part_of(event, "item")
            if text_of(item, "type") == "mcp_approval_response":
                asked = self._items.get(text_of(item, "approval_request_id"), {})
                answer = "allows" if item.get("approve") else "denies"
                yield Told(entry.at_s, "client", f"{answer} {_name_of(asked) or 'a call'}")
            elif text_of(item, "type") == "function_call_output":
                name = self._calls.get(text_of(item, "call_id")) or "a function"
                yield Told(entry.at_s, "client", f"{name} returns {_short(item.get('output'))}")
            elif words := _words(item):
                yield Told(entry.at_s, "client", f"writes as {text_of(item, 'role')}: {words}")
        elif entry.type == "conversation.item.truncate":
            cut_ms = number_of(event, "audio_end_ms") or 0
            yield Told(entry.at_s, "client", "says how much was heard", f"{cut_ms:.0f} ms")
        elif entry.type == "conversation.item.delete":
            item = self._items.get(text_of(event, "item_id"), {})
            what = text_of(item, "role") or text_of(item, "type")
            yield Told(
                entry.at_s, "client", f"deletes {f'an item ({what})' if what else 'an item'}"
            )
        elif entry.type == "response.cancel":
            yield Told(entry.at_s, "client", "cancels the answer")
        elif entry.type == "response.create":
            aside = part_of(event, "response").get("conversation") == "none"
            beside = " beside the conversation" if aside else ""
            yield Told(entry.at_s, "client", f"asks for an answer{beside}")

    def _of_server(self, entry: Entry) -> Iterator[Told]:
        event = entry.event
        if entry.type in _SESSION:
            self._format = AudioFormat(encoding_of(event, "server"))
            settings = _settings(part_of(event, "session"))
            if settings != self._settings:
                self._settings = settings
                yield Told(entry.at_s, "session", settings)
        elif entry.type == "input_audio_buffer.speech_started":
            self._speech_began_ms = number_of(event, "audio_start_ms")
        elif entry.type == "input_audio_buffer.committed":
            yield self._turn(entry)
        elif entry.type == "input_audio_buffer.timeout_triggered":
            yield Told(entry.at_s, "server", "the caller has said nothing for too long")
        elif entry.type == "error":
            error = part_of(event, "error")
            words = f"error {text_of(error, 'code')}: {_short(text_of(error, 'message'))}"
            yield Told(entry.at_s, "server", words)
        elif entry.type == "mcp_list_tools.failed":
            server = text_of(self._items.get(text_of(event, "item_id"), {}), "server_label")
            yield Told(entry.at_s, "server", f"cannot list the tools of {server or 'a server'}")
        elif entry.type == "conversation.item.done":
            yield from _of_mcp(entry)
        elif entry.type.startswith("response."):
            yield from self._response(entry)

    def _turn(self, entry: Entry) -> Told:
        heard = self._heard.get(text_of(entry.event, "item_id"))
        began_ms, self._speech_began_ms = self._speech_began_ms, None
        length = "" if began_ms is None else f"from {began_ms / 1000:.2f} s of what was sent"
        why_not = self._unheard.get(text_of(entry.event, "item_id"))
        unheard = f"says something (not written down: {why_not})" if why_not else "says something"
        what = f"says {_short(heard)}" if heard else unheard
        return Told(entry.at_s, "caller", what, length)

    def _response(self, entry: Entry) -> Iterator[Told]:
        event = entry.event
        response = part_of(event, "response")
        response_id = text_of(event, "response_id") or text_of(response, "id")
        if not response_id or response_id in self._done:
            return
        answer = self._answers.setdefault(response_id, _Answer(self._asked_at_s))
        if entry.type in AUDIO_FIELDS:
            pcm = self._format.decode(event[AUDIO_FIELDS[entry.type]])
            answer.audio_s += len(pcm) / BYTES_PER_SAMPLE / self._format.rate_hz
        part, _, kind = entry.type.rpartition(".")
        if kind == "delta" and answer.first_at_s is None:
            answer.first_at_s = entry.at_s
        if part in _WORDS:
            self._add_words(answer, event, whole=kind == "done")
        elif entry.type == "response.output_item.done":
            self._add_call(answer, part_of(event, "item"))
        elif entry.type == "response.done":
            del self._answers[response_id]
            self._done.add(response_id)
            at_s = answer.asked_at_s if answer.first_at_s is None else answer.first_at_s
            yield Told(at_s, "model", _said(answer) + _ending(response), _took(answer))

    @staticmethod
    def _add_words(answer: _Answer, event: Mapping[str, Any], *, whole: bool) -> None:
        part = text_of(event, "item_id"), number_of(event, "content_index")
        if whole:
            answer.unfinished.pop(part, None)
            answer.words.append(text_of(event, "transcript") or text_of(event, "text"))
        else:
            answer.unfinished[part] = answer.unfinished.get(part, "") + text_of(event, "delta")

    def _add_call(self, answer: _Answer, item: Mapping[str, Any]) -> None:
        name = _name_of(item)
        if name:
            asks = text_of(item, "type") == "mcp_approval_request"
            arguments = one_line(_compact(text_of(item, "arguments")), _LONGEST)
            answer.calls.append(f"{'asks to call' if asks else 'calls'} {name}({arguments})")


def _name_of(item: Mapping[str, Any]) -> str:
    """What an item calls: a function, or a tool of an MCP server with that; empty if nothing."""
    server, name = text_of(item, "server_label"), text_of(item, "name")
    return f"{server}.{name}" if server and name else name


def _of_mcp(entry: Entry) -> Iterator[Told]:
    """What an MCP server offers, and what came of the call of a tool."""
    item = part_of(entry.event, "item")
    if text_of(item, "type") == "mcp_list_tools":
        tools = item.get("tools")
        names = (
            [text_of(tool, "name") for tool in tools if isinstance(tool, Mapping)]
            if isinstance(tools, list)
            else []
        )
        what = f"lists the tools of {text_of(item, 'server_label')}: {', '.join(names) or 'none'}"
        yield Told(entry.at_s, "server", what)
    elif text_of(item, "type") == "mcp_call":
        error = part_of(item, "error")
        how = (
            f"fails: {_short(error.get('message'))}"
            if error
            else f"returns {_short(item.get('output'))}"
        )
        yield Told(entry.at_s, "server", f"{_name_of(item)} {how}")


def _refused(entries: Sequence[Entry]) -> Iterator[int]:
    """What the client asked for in vain, each by the identity of its entry.

    An error names the event by its id; of an event without one, its code tells what it is about.
    """
    unanswered: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.sender == "client":
            event_id = text_of(entry.event, "event_id")
            unanswered.setdefault(event_id or f"({entry.type})", []).append(entry)
        elif entry.type == "error":
            error = part_of(entry.event, "error")
            about = _ERRORS_ABOUT.get(text_of(error, "code"), "")
            meant = unanswered.get(text_of(error, "event_id") or f"({about})")
            if meant:
                yield id(meant.pop())


def describe(recording: Recording) -> Iterator[str]:
    """The conversation for people, a line each."""
    header = recording.header
    when = f", recorded {header.recorded_at}" if header.recorded_at else ""
    yield f"{header.model or 'unknown model'}, {header.dialect} dialect{when}"
    if not header.timed:
        yield "(its times are made up: only the order is known)"
    for told in tell(recording):
        length = f"   [{told.how_long}]" if told.how_long and header.timed else ""
        yield f"{told.at_s:9.3f}  {told.who:<8}{told.what}{length}"


def _said(answer: _Answer) -> str:
    words = " ".join([*answer.words, *answer.unfinished.values()])
    spoken = [f"says {_short(words)}"] if words else ["says something"] if answer.audio_s else []
    return ", ".join([*spoken, *answer.calls]) or "says nothing"


def _took(answer: _Answer) -> str:
    facts = []
    if answer.first_at_s is not None:
        facts.append(f"after {answer.first_at_s - answer.asked_at_s:.2f} s")
    if answer.audio_s:
        facts.append(f"{answer.audio_s:.2f} s of audio")
    return ", ".join(facts)


def _ending(response: Mapping[str, Any]) -> str:
    status = text_of(response, "status")
    if status in ("completed", ""):
        return ""
    details = part_of(response, "status_details")
    why = text_of(details, "reason") or text_of(part_of(details, "error"), "code")
    return f" ({status}: {why})" if why else f" ({status})"


def _settings(session: Mapping[str, Any]) -> str:
    """What of a session shapes the conversation."""
    audio = part_of(session, "audio")
    heard = part_of(audio, "input") or session
    voice = part_of(audio, "output").get("voice") or session.get("voice")
    tools = session.get("tools")
    names = [text_of(tool, "name") or text_of(tool, "server_label") for tool in tools or ()]
    detection = part_of(heard, "turn_detection") or part_of(session, "turn_detection")
    turns = f"turns by {text_of(detection, 'type') or 'the client'}"
    if text_of(session, "type") == "transcription":
        return f"{turns}, writes down and answers nobody"
    facts = [
        turns,
        f"voice {voice if isinstance(voice, str) else _compact(voice)}",
        f"tools {', '.join(names) or 'none'}",
        f"instructions {_short(session.get('instructions') or '')}",
    ]
    return ", ".join(facts)


def _words(item: Mapping[str, Any]) -> str:
    content = item.get("content")
    parts: Sequence[Any] = content if isinstance(content, list) else ()
    texts = [text_of(part, "text") or text_of(part, "transcript") for part in parts]
    return _short(" ".join(filter(None, texts))) if any(texts) else ""


def _compact(value: object) -> str:
    """JSON without spaces that mean nothing; a text that is none as it is."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return str(value)
    return json.dumps(value, sort_keys=True)


def _short(value: object) -> str:
    """A text in quotes, and not all of a long one."""
    return json.dumps(one_line(value, _LONGEST), ensure_ascii=False)
