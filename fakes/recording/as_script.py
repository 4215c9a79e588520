"""A recorded session as a script: what a server has said is said again, in turns.

A replay of a recording departs from it as soon as its client does something else; a script answers
turn by turn, whatever else happens, so it plays under a call.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from callerside.fakes.recording.format import Entry, Recording, part_of, text_of
from callerside.fakes.recording.turn import AUDIO_DELTAS, SpokenResponse, spoken_responses
from callerside.fakes.script.reply import Incomplete

_TEXT = ("response.output_text.done", "response.text.done")
_HEARD = "conversation.item.input_audio_transcription.completed"
_COMMITTED = "input_audio_buffer.committed"
_REASONS = get_args(Incomplete.model_fields["reason"].annotation)


@dataclass(slots=True)
class _Response:
    asked_s: float
    turn_item: str | None
    """The caller's turn that it answers; None: it came before any."""
    in_conversation: bool
    """Whether it answers anybody: the others are said by the script's `default_reply`."""
    began_s: float | None = None
    """When the first of it came that is not about the response as such."""
    spoken: int | None = None
    """Which of the spoken ones it is, from 1."""
    text: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    done: Mapping[str, Any] = field(default_factory=dict)


def script_of(recording: Recording, path: Path) -> dict[str, Any]:
    """The script that says what `recording` does, which lies at `path`, for a file beside it.

    Each response has its own think time, and what was heard of the turn before it. Responses out of
    band answer nobody, and are left out.
    """
    reader = _Reader()
    for entry in recording.entries:
        if entry.sender == "server":
            reader.on_server(entry)
        elif entry.type == "response.create":
            if part_of(entry.event, "response").get("conversation") != "none":
                reader.asked_s = entry.at_s
        elif entry.type == "conversation.item.create":
            item = part_of(entry.event, "item")
            if item.get("role") == "user":
                reader.turn_item = text_of(item, "id")
    script: dict[str, Any] = {}
    replies = []
    spoken = spoken_responses(recording)
    for response in reader.responses.values():
        if not response.in_conversation:
            continue
        reply = _reply(response, path, spoken)
        if response.turn_item is None:
            script.setdefault("greeting", reply)
            continue
        heard = reader.heard.pop(response.turn_item, "")
        replies.append({**reply, "heard": heard} if heard else reply)
    return {**script, "replies": replies} if replies else script


class _Reader:
    def __init__(self) -> None:
        self.responses: dict[str, _Response] = {}
        self.heard: dict[str, str] = {}
        self.asked_s = 0.0
        self.turn_item: str | None = None
        self._spoken = 0

    def on_server(self, entry: Entry) -> None:
        event = entry.event
        if entry.type == _COMMITTED:
            self.asked_s, self.turn_item = entry.at_s, text_of(event, "item_id")
        elif entry.type == _HEARD:
            self.heard[text_of(event, "item_id")] = text_of(event, "transcript").strip()
        elif entry.type == "response.created":
            made = part_of(event, "response")
            beside = "conversation_id" in made and made["conversation_id"] is None
            self.responses[text_of(made, "id")] = _Response(
                self.asked_s, self.turn_item, in_conversation=not beside
            )
        elif entry.type == "response.done":
            done = part_of(event, "response")
            if (response := self.responses.get(text_of(done, "id"))) is not None:
                response.done = done
        elif (response := self.responses.get(text_of(event, "response_id"))) is not None:
            self._on_part(response, entry)

    def _on_part(self, response: _Response, entry: Entry) -> None:
        if entry.type in AUDIO_DELTAS and response.spoken is None:
            self._spoken += 1
            response.spoken, response.began_s = self._spoken, entry.at_s
        elif entry.type in _TEXT:
            response.text += text_of(entry.event, "text")
        elif entry.type == "response.output_item.done":
            item = part_of(entry.event, "item")
            if item.get("type") == "function_call":
                response.calls.append(_call(item))
        if response.began_s is None and entry.type.endswith((".delta", ".done")):
            response.began_s = entry.at_s


def _call(item: Mapping[str, Any]) -> dict[str, Any]:
    name, text = text_of(item, "name"), text_of(item, "arguments")
    try:
        arguments = json.loads(text)
    except (ValueError, RecursionError):
        arguments = None
    if isinstance(arguments, dict):
        return {"name": name, "arguments": arguments}
    return {"name": name, "raw_arguments": text}


def _reply(response: _Response, path: Path, spoken: Sequence[SpokenResponse]) -> dict[str, Any]:
    reply: dict[str, Any] = {}
    if response.spoken is not None:
        turn = spoken[response.spoken - 1].turn
        if turn.pcm or turn.transcript:
            reply["recording"] = {"file": path.name, "turn": response.spoken}
    elif response.text:
        reply["text"] = response.text
    if response.calls:
        reply["function_calls"] = response.calls
    reply |= _ending(response)
    if not reply:  # it was interrupted before anything of it came
        reply["cancelled"] = {"after_ms": 0}
    if response.began_s is not None:
        reply["think_ms"] = round(max(0.0, response.began_s - response.asked_s) * 1000)
    return reply


def _ending(response: _Response) -> dict[str, Any]:
    """How it ended by itself; an interruption is the caller's doing, and comes of it again."""
    details = part_of(response.done, "status_details")
    if response.done.get("status") == "failed":
        return {"failed": {"code": text_of(part_of(details, "error"), "code") or "server_error"}}
    if response.done.get("status") == "incomplete" and details.get("reason") in _REASONS:
        return {"incomplete": {"reason": details["reason"]}}
    return {}
