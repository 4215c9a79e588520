"""Items as clients describe them, made items of the conversation: ids, status, audio decoded."""

import binascii
from collections.abc import Sequence
from typing import Any

from callerside.audio import duration_ms
from callerside.fakes.session import schema
from callerside.fakes.session.context import SessionState
from callerside.fakes.session.conversation import AUDIO_CONTENT, Item
from callerside.fakes.session.refusals import RequestError

_WITHOUT_STATUS = ("function_call_output", "mcp_approval_response")


def make(described: schema.Item, state: SessionState, where: str = "item") -> Item:
    """An item of its own, which is not in the conversation yet; `where` is its path in the event.

    Raises:
        RequestError: `unknown_parameter` or `invalid_value`: audio where none can be, or no base64.
    """
    data = described.model_dump(exclude_none=True)
    data.setdefault("id", state.out.ids.new("item"))
    if data["type"] not in _WITHOUT_STATUS:
        data["status"] = "completed"
    if data["type"] == "function_call":
        data.setdefault("call_id", f"call_{state.out.ids.letters(16)}")
    # An assistant's audio is in the session's output format (the SDK's types).
    is_users = data.get("role") == "user"
    audio_format = state.config.input_format if is_users else state.config.output_format
    pcm = audio_format.decode(_take_audio(data.get("content", ()), where, state))
    length_ms = duration_ms(pcm, audio_format.rate_hz)
    return Item(data, audio_ms=length_ms, pcm=pcm, audio_format=audio_format)


def read_input(given: Sequence[schema.InputItem], state: SessionState) -> list[Item]:
    """What a response is to read instead of the conversation (`response.input`).

    Raises:
        RequestError: see `make`; or `invalid_value`, a reference to an item that is not there.
    """
    items: list[Item] = []
    for number, one in enumerate(given):
        where = f"response.input[{number}]"
        if not isinstance(one, schema.ItemReference):
            item = make(one, state, where)
            if item.data["type"] == "function_call_output":
                _check_called(item.data["call_id"], items, f"{where}.call_id", state)
            items.append(item)
        elif one.id in state.conversation:
            items.append(state.conversation.get(one.id, "referenced_item_unknown"))
        else:
            state.refuse(RequestError("referenced_item_unknown", f"{where}.id", value=one.id))
    return items


def _check_called(call_id: str, before: Sequence[Item], param: str, state: SessionState) -> None:
    """An output is of a call: of the conversation, or of what stands before it."""
    given = any(
        item.data["type"] == "function_call" and item.data["call_id"] == call_id for item in before
    )
    if not given and not state.conversation.has_call(call_id):
        state.refuse(RequestError("tool_call_unknown", param, value=call_id))


def _take_audio(content: Sequence[dict[str, Any]], where: str, state: SessionState) -> bytes:
    """The audio of a described item, taken out of its content."""
    wire = b""
    for index, part in enumerate(content):
        path = f"{where}.content[{index}].audio"
        audio = part.pop("audio", "")
        if audio and part["type"] not in AUDIO_CONTENT:
            state.refuse(RequestError("audio_where_none_is", path))
            continue
        if isinstance(audio, bytes):
            wire += audio
            continue
        try:
            wire += binascii.a2b_base64(audio, strict_mode=True)
        except ValueError:
            raise RequestError("no_base64", path) from None
    return wire
