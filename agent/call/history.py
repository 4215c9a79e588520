"""What has been said and done in the call, as items that a new session can be given.

A session that is lost, or that moves before it expires, takes its conversation with it: the next
one is given these items first. It is text only: audio cannot be replayed, and what the caller said
is known only if the server transcribes it (`realtime.transcription_model`).
"""

from collections import OrderedDict
from typing import Any, TypeVar

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

_T = TypeVar("_T")

MAX_ITEMS = 200
"""An hour of turns; the oldest are forgotten first."""
ALREADY_GREETED = "The caller has already been greeted. Do not greet again."
_CALL = "call "
"""Before the id of a function call: its key, apart from those of items, which are the server's."""
_CUT = " ... (the caller interrupted here)"
CONTINUED = "The call goes on after an interruption. Some of what was said may be missing here."


class History:
    """The conversation so far."""

    def __init__(
        self, context: CallContext, dialect: Dialect, *, has_callers_words: bool = False
    ) -> None:
        """`has_callers_words`: whether the server is to tell what the caller has said."""
        self._context = context
        self._dialect: Dialect = dialect
        self._has_callers_words = has_callers_words
        self._items: OrderedDict[str, Event | None] = OrderedDict()
        """In the order in which it was said; None of what has its place, and no words yet."""
        self._said: dict[str, str] = {}
        """The words of the model's items, all of them."""
        self._heard: dict[str, float] = {}
        """Of those that the caller has cut short: how much was heard, as a share of it."""
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
            if item is not None:
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
        item = function_output(call_id, output)
        if f"{_CALL}{call_id}" in self._items:
            self._add_message(f"output of {call_id}", item)
        elif self._live:  # no next session can be given an answer to what it was never told
            self._context.send(item)

    def caller_spoke(self, item_id: str) -> None:
        """A turn of the caller's: its words may come when it is answered already."""
        if self._has_callers_words and item_id not in self._items:
            self._note(item_id, None)

    def caller_said(self, item_id: str, words: str) -> None:
        """The server transcribed the caller: it knows, the next session will not."""
        if words.strip():
            self._note(item_id, user_message(words))

    def agent_said(self, item_id: str, words: str) -> None:
        """A response's words."""
        _keep(self._said, item_id, words)
        heard = _share_of(words, self._heard.get(item_id, 1.0))
        if heard:
            self._note(item_id, assistant_message(heard, self._dialect))
        else:
            self._items.pop(item_id, None)

    def agent_was_cut(self, item_id: str, share: float) -> None:
        """The caller has heard so much of a response's item, and will hear no more of it."""
        _keep(self._heard, item_id, share)
        if item_id in self._said:
            self.agent_said(item_id, self._said[item_id])

    def agent_was_lost(self, item_id: str) -> None:
        """A session has taken the rest of an item along: what is asked for anew was not said."""
        if item_id not in self._heard:
            self.agent_was_cut(item_id, 0.0)

    def agent_called(self, call_id: str, name: str, arguments: str) -> None:
        """A response's function call."""
        self._note(f"{_CALL}{call_id}", function_call(call_id, name, arguments))

    def _add_message(self, key: str, item: dict[str, Any]) -> None:
        self._note(key, item)
        if self._live:
            self._context.send(item)

    def _note(self, key: str, item: dict[str, Any] | None) -> None:
        self._count += 1
        self._items[key or f"note {self._count}"] = item
        if len(self._items) > MAX_ITEMS:
            oldest, _ = self._items.popitem(last=False)
            if oldest.startswith(_CALL):  # an answer to nothing is refused by the server
                self._items.pop(f"output of {oldest.removeprefix(_CALL)}", None)


def _keep(kept: dict[str, _T], item_id: str, value: _T) -> None:
    """Keep something of an item; of very many, not of the oldest."""
    kept[item_id] = value
    if len(kept) > MAX_ITEMS:
        del kept[next(iter(kept))]


def _share_of(words: str, share: float) -> str:
    """The words of which so much was heard, up to the last that was heard whole.

    The server has no times of words: they are taken to be as long as they are written.
    """
    words = words.strip()
    end = round(len(words) * share)
    if end >= len(words):
        return words
    return f"{heard}{_CUT}" if (heard := words[: end + 1].rpartition(" ")[0].rstrip()) else ""
