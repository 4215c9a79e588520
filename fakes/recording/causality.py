"""What released each event of a recorded server: what the client did, and speech as heard.

A recording played by the clock alone would talk past a live client. So every server event is traced
to the trigger that it answers, with how long after it came; a replay sends it that long after the
same trigger of the live client. Order alone would mislead: a client may act while the answer to
something else is still coming in.
"""

import re
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from callerside.fakes.recording.format import Entry, Recording, part_of, text_of

CONNECTED = "connect"
SPEECH_STARTED = "input_audio_buffer.speech_started"
SPEECH_STOPPED = "input_audio_buffer.speech_stopped"

_APPEND = "input_audio_buffer.append"
_ANSWERS = {
    "session.updated": "session.update",
    "input_audio_buffer.committed": "input_audio_buffer.commit",
    "input_audio_buffer.cleared": "input_audio_buffer.clear",
    "conversation.item.added": "conversation.item.create",
    "conversation.item.created": "conversation.item.create",
    "conversation.item.retrieved": "conversation.item.retrieve",
    "conversation.item.deleted": "conversation.item.delete",
    "conversation.item.truncated": "conversation.item.truncate",
    "response.created": "response.create",
}
# Answers to requests about items that may have come up before.
_ASKED_FOR = {
    "conversation.item.retrieved",
    "conversation.item.deleted",
    "conversation.item.truncated",
}
# Events of a response's items that do not name it.
_WITH_RESPONSE = {
    "conversation.item.added",
    "conversation.item.created",
    "conversation.item.done",
}
_CANCEL = "response.cancel"
_CREATE = "response.create"
_ACTIVE_ALREADY = "conversation_already_has_active_response"
_REFUSED = {
    _ACTIVE_ALREADY: _CREATE,
    "input_audio_buffer_commit_empty": "input_audio_buffer.commit",
    "response_cancel_not_active": _CANCEL,
    "cannot_update_voice": "session.update",
    "item_create_duplicate_item_id": "conversation.item.create",
    "item_create_invalid_previous_item_id": "conversation.item.create",
    "item_retrieve_invalid_item_id": "conversation.item.retrieve",
    "item_delete_invalid_item_id": "conversation.item.delete",
    "item_truncate_invalid_item_id": "conversation.item.truncate",
    "unsupported_content_type": "conversation.item.truncate",
}
"""Which request an error refuses, by its code: most clients give their events no ids."""
_REFUSED_BY_PARAM = {
    "session": "session.update",
    "response": _CREATE,
    "item": "conversation.item.create",
    "previous_item_id": "conversation.item.create",
    "audio_end_ms": "conversation.item.truncate",
    "content_index": "conversation.item.truncate",
}
"""The same by the first part of the path of the parameter that it blames."""


@dataclass(slots=True)
class Trigger:
    """Something that a client did, and what the server sent because of it."""

    kind: str
    """The type of a client event, of a speech event, or `connect`."""
    at_s: float
    event: Mapping[str, Any] | None = None
    """What the client sent; None for speech, and for the connection."""
    answers: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    """Server events, each with the seconds from the trigger to it."""


def find_triggers(recording: Recording) -> list[Trigger]:
    """All triggers of a recording, in order; every server event is an answer to one of them."""
    return _Tracer(recording).triggers


class _Tracer:
    def __init__(self, recording: Recording) -> None:
        self.triggers = [Trigger(CONNECTED, 0.0)]
        self._unanswered: dict[str, deque[Trigger]] = defaultdict(deque)
        self._by_event_id: dict[str, Trigger] = {}
        self._by_item: dict[str, Trigger] = {}
        self._by_response: dict[str, Trigger] = {}
        self._said_in: dict[str, str] = {}
        """The response of an item that a response added."""
        self._running: set[str] = set()
        self._turn = self._finished = self.triggers[0]
        self._enders = _enders(recording.entries)
        """The entry that ended a cancelled response, by the response's id."""
        self._by_entry: dict[int, Trigger] = {}
        for number, entry in enumerate(recording.entries):
            if entry.sender == "client":
                self._on_client(number, entry)
            else:
                trigger = self._cause(number, entry)
                trigger.answers.append((max(0.0, entry.at_s - trigger.at_s), dict(entry.event)))

    def _on_client(self, number: int, entry: Entry) -> None:
        if entry.type == _APPEND:
            return
        trigger = self._begin(number, entry, entry.event)
        self._unanswered[entry.type].append(trigger)
        self._by_event_id[text_of(entry.event, "event_id")] = trigger

    def _begin(self, number: int, entry: Entry, event: Mapping[str, Any] | None = None) -> Trigger:
        trigger = Trigger(entry.type, entry.at_s, event)
        self.triggers.append(trigger)
        self._by_entry[number] = trigger
        return trigger

    def _cause(self, number: int, entry: Entry) -> Trigger:
        event = entry.event
        if entry.type in (SPEECH_STARTED, SPEECH_STOPPED):
            self._turn = self._begin(number, entry)
            self._by_item[text_of(event, "item_id")] = self._turn
            return self._turn
        response_id = text_of(event, "response_id") or text_of(part_of(event, "response"), "id")
        if response_id:
            return self._cause_of_response(entry, response_id)
        if entry.type == "rate_limits.updated":
            return self._finished
        if entry.type == "error":
            return self._cause_of_error(part_of(event, "error"))
        item_id = text_of(event, "item_id") or text_of(part_of(event, "item"), "id")
        if item_id in self._said_in and entry.type in _WITH_RESPONSE:
            return self._of_response(self._said_in[item_id])
        known = None if entry.type in _ASKED_FOR else self._by_item.get(item_id)
        trigger = known or self._take_unanswered(entry.type) or self._fallback(entry.type)
        if item_id:
            self._by_item.setdefault(item_id, trigger)
        if entry.type == "input_audio_buffer.committed":
            self._turn = trigger
        return trigger

    def _cause_of_response(self, entry: Entry, response_id: str) -> Trigger:
        if response_id not in self._by_response:
            self._by_response[response_id] = self._take_unanswered(entry.type) or self._turn
            self._running.add(response_id)
        trigger = self._of_response(response_id)
        if entry.type == "response.created":  # perhaps after it was cancelled
            trigger = self._by_response[response_id]
        item_id = text_of(part_of(entry.event, "item"), "id")
        if item_id:
            self._by_item.setdefault(item_id, trigger)
            self._said_in.setdefault(item_id, response_id)
        if entry.type == "response.done":
            self._finished = trigger
            self._running.discard(response_id)
            if trigger in self._unanswered[trigger.kind]:
                self._unanswered[trigger.kind].remove(trigger)  # a cancel
        return trigger

    def _of_response(self, response_id: str) -> Trigger:
        """What asked for it; from its cancellation on, what cancelled it."""
        asked = self._by_response[response_id]
        return self._by_entry.get(self._enders.get(response_id, -1), asked)

    def _cause_of_error(self, error: Mapping[str, Any]) -> Trigger:
        """The request that was refused, which nothing else answers then."""
        named = self._by_event_id.get(text_of(error, "event_id") or "-")
        if named is not None:
            waiting = self._unanswered[named.kind]
            if named in waiting:
                waiting.remove(named)
            return named
        code = text_of(error, "code")
        first_part = re.split(r"[.\[]", text_of(error, "param"))[0]
        waiting = self._unanswered[_REFUSED.get(code) or _REFUSED_BY_PARAM.get(first_part, "")]
        if code == _ACTIVE_ALREADY and not self._running and len(waiting) > 1:
            # The first is what is active: it is only not created yet.
            first = waiting.popleft()
            refused = waiting.popleft()
            waiting.appendleft(first)
            return refused
        return waiting.popleft() if waiting else self.triggers[-1]

    def _take_unanswered(self, answer_type: str) -> Trigger | None:
        waiting = self._unanswered.get(_ANSWERS.get(answer_type, ""))
        return waiting.popleft() if waiting else None

    def _fallback(self, event_type: str) -> Trigger:
        """What came by itself: an idle timeout follows a response, the rest what was last."""
        idle = event_type == "input_audio_buffer.timeout_triggered"
        return self._finished if idle else self.triggers[-1]


def _enders(entries: tuple[Entry, ...]) -> dict[str, int]:
    """Which entry ended each response that was cancelled: a `response.cancel`, or speech.

    Of speech it was the last, as a session may not let every speech interrupt. Of cancels it was
    the first that had not been answered yet, by the end of another response or by an error.
    """
    found: dict[str, int] = {}
    cancels: list[tuple[int, Mapping[str, Any]]] = []
    last_speech = -1

    def take_cancel(key: str, value: str) -> int | None:
        """The one that says so, or the first that says nothing."""
        said = [n for n, (_, event) in enumerate(cancels) if value and event.get(key) == value]
        silent = [n for n, (_, event) in enumerate(cancels) if not text_of(event, key)]
        first = next(iter((*said, *silent)), None)
        return None if first is None else cancels.pop(first)[0]

    for number, entry in enumerate(entries):
        if entry.type == _CANCEL:
            cancels.append((number, entry.event))
        elif entry.type == SPEECH_STARTED:
            last_speech = number
        elif entry.type == "error":
            error = part_of(entry.event, "error")
            if error.get("code") == "response_cancel_not_active":
                take_cancel("event_id", text_of(error, "event_id"))
        elif entry.type == "response.done":
            response = part_of(entry.event, "response")
            reason = text_of(part_of(response, "status_details"), "reason")
            by_client = reason == "client_cancelled"
            ender = take_cancel("response_id", text_of(response, "id")) if by_client else None
            if reason == "turn_detected" and last_speech >= 0:
                ender = last_speech
            if ender is not None:
                found[text_of(response, "id")] = ender
    return found
