"""What has been said and done in the call, as items that a new session can be given.

A session that is lost, or that moves before it expires, takes its conversation with it: the next
one is given these items first. It is text only: audio cannot be replayed, and what the caller said
is known only if the server transcribes it (`realtime.transcription_model`).
"""

from collections import OrderedDict
from typing import Any

from callerside.agent.call.context import CallContext
from callerside.agent.config.settings import Dialect
from callerside.agent.realtime.requests import (
    Event,
    assistant_message,
    function_call,
    function_output,
    system_message,
    user_message,
)

MAX_ITEMS = 200
"""An hour of turns; the oldest are forgotten first."""
ALREADY_GREETED = "The caller has already been greeted. Do not greet again."
CONTINUED = "The call goes on after an interruption. Some of what was said may be missing here."


class History:
    """The conversation so far."""

    def __init__(self, context: CallContext, dialect: Dialect) -> None:
        self._context = context
        self._dialect: Dialect = dialect
        self._items: OrderedDict[str, Event] = OrderedDict()
        self._count = 0
        self._sessions = 0
        self._live = False
        self.has_caller = False
        """The conversation holds something of this caller's: words, keys, or an answer to them."""

    def start_session(self) -> None:
        """A new session is ready: give it everything."""
        self._live = True
        self._sessions += 1
        for item in self._items.values():
            self._context.send(item)
        if self._sessions > 1:
            self._context.send(system_message(CONTINUED))

    def lose_session(self) -> None:
        """There is no session until the next one."""
        self._live = False

    def greeted(self, words: str) -> None:
        """A cached greeting is what the caller hears first."""
        known = assistant_message(words, self._dialect) if words else None
        self._add_message("greeting", known or system_message(ALREADY_GREETED))

    def caller_did(self, what: str) -> None:
        """Something that the server cannot hear, such as a key press."""
        self.has_caller = True
        self._add_message("", user_message(what))

    def function_said(self, call_id: str, output: str) -> None:
        """The result of a function."""
        self._add_message(f"output of {call_id}", function_output(call_id, output))

    def caller_said(self, item_id: str, words: str) -> None:
        """The server transcribed the caller: it knows, the next session will not."""
        if words.strip():
            self._note(item_id, user_message(words))

    def agent_said(self, item_id: str, words: str) -> None:
        """A response's words."""
        if words.strip():
            self._note(item_id, assistant_message(words, self._dialect))

    def agent_called(self, call_id: str, name: str, arguments: str) -> None:
        """A response's function call."""
        self._note(f"call {call_id}", function_call(call_id, name, arguments))

    def _add_message(self, key: str, item: dict[str, Any]) -> None:
        self._note(key, item)
        if self._live:
            self._context.send(item)

    def _note(self, key: str, item: dict[str, Any]) -> None:
        self._count += 1
        self._items[key or f"note {self._count}"] = item
        if len(self._items) > MAX_ITEMS:
            self._items.popitem(last=False)
