"""What released each event of a recorded server: what the client did, and speech as heard.

A recording played by the clock alone would talk past a live client. So every server event is traced
to the trigger that it answers, with how long after it came; a replay sends it that long after the
same trigger of the live client. Order alone would mislead: a client may act while the answer to
something else is still coming in.
"""

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
_CANCELLED_BY = {"turn_detected": SPEECH_STARTED, "client_cancelled": "response.cancel"}


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
        self._turn = self._finished = self.triggers[0]
        self._cancelled = dict(_cancellations(recording.entries))
        for entry in recording.entries:
            if entry.sender == "client":
                self._on_client(entry)
            else:
                trigger = self._cause(entry)
                trigger.answers.append((max(0.0, entry.at_s - trigger.at_s), dict(entry.event)))

    def _on_client(self, entry: Entry) -> None:
        if entry.type == _APPEND:
            return
        trigger = self._begin(entry.type, entry.at_s, entry.event)
        self._unanswered[entry.type].append(trigger)
        self._by_event_id[text_of(entry.event, "event_id")] = trigger

    def _begin(self, kind: str, at_s: float, event: Mapping[str, Any] | None = None) -> Trigger:
        trigger = Trigger(kind, at_s, event)
        self.triggers.append(trigger)
        for response_id in self._by_response:
            if self._cancelled.get(response_id) == kind:
                self._by_response[response_id] = trigger
        return trigger

    def _cause(self, entry: Entry) -> Trigger:
        event = entry.event
        if entry.type in (SPEECH_STARTED, SPEECH_STOPPED):
            self._turn = self._begin(entry.type, entry.at_s)
            self._by_item[text_of(event, "item_id")] = self._turn
            return self._turn
        response_id = text_of(event, "response_id") or text_of(part_of(event, "response"), "id")
        if response_id:
            return self._cause_of_response(entry, response_id)
        if entry.type == "rate_limits.updated":
            return self._finished
        if entry.type == "error":
            client_event_id = text_of(part_of(event, "error"), "event_id")
            known = self._by_event_id.get(client_event_id) if client_event_id else None
            return known or self.triggers[-1]
        item_id = text_of(event, "item_id") or text_of(part_of(event, "item"), "id")
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
        trigger = self._by_response[response_id]
        item_id = text_of(part_of(entry.event, "item"), "id")
        if item_id:
            self._by_item.setdefault(item_id, trigger)
        if entry.type == "response.done":
            self._finished = trigger
        return trigger

    def _take_unanswered(self, answer_type: str) -> Trigger | None:
        waiting = self._unanswered.get(_ANSWERS.get(answer_type, ""))
        return waiting.popleft() if waiting else None

    def _fallback(self, event_type: str) -> Trigger:
        """What came by itself: an idle timeout follows a response, the rest what was last."""
        idle = event_type == "input_audio_buffer.timeout_triggered"
        return self._finished if idle else self.triggers[-1]


def _cancellations(entries: tuple[Entry, ...]) -> list[tuple[str, str]]:
    """Responses that were cancelled, with the kind of trigger that did it."""
    found = []
    for entry in entries:
        if entry.type == "response.done":
            response = part_of(entry.event, "response")
            reason = text_of(part_of(response, "status_details"), "reason")
            if reason in _CANCELLED_BY:
                found.append((text_of(response, "id"), _CANCELLED_BY[reason]))
    return found
