"""What a session answers to one input: effects, collected in order.

Everything that a session's parts do goes through here: events get their ids and their dialect,
marks their time and their call.
"""

import json
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from callerside.clock import ms_to_ns
from callerside.fakes.script.model import Script, Timing
from callerside.fakes.script.prepared import PreparedScript
from callerside.fakes.session.config import SessionConfig, dumped
from callerside.fakes.session.conversation import Conversation, Item
from callerside.fakes.session.delivery import Delivery
from callerside.fakes.session.dialects import Translator
from callerside.fakes.session.interface import CancelTimer, Effect, EmitMark, SendEvent, SetTimer
from callerside.fakes.session.refusals import RequestError
from callerside.fakes.session.schema import Generation, SessionFields
from callerside.marks import Mark

_ID_LENGTH = 21
_VARIABLE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
OBFUSCATED_LENGTH = 16
"""A text delta and its `obfuscation` are this long together, as recorded."""


class Ids:
    """Ids as long as the API's (`item_0c5f8a1e6b7d42f09a3c8`), from a seed."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def new(self, prefix: str) -> str:
        """A fresh id."""
        return f"{prefix}_{self.letters(_ID_LENGTH)}"

    def letters(self, count: int) -> str:
        """That many random characters."""
        return f"{self._rng.getrandbits(4 * count):0{count}x}" if count > 0 else ""


class SessionOutput:
    """Collects the effects of one input."""

    def __init__(self, call: str, ids: Ids, translator: Translator) -> None:
        self.ids = ids
        self.now_ns = 0
        self.delivery = Delivery(self.put)
        self.after_event: Callable[[int], None] | None = None
        """Called with how many events have been sent, after each."""
        self.events_sent = 0
        """So far."""
        self._call = call
        self._translator = translator
        self._effects: list[Effect] = []
        self._ended = False

    def take(self) -> list[Effect]:
        """All effects since the last time."""
        effects, self._effects = self._effects, []
        return effects

    def put(self, effect: Effect) -> None:
        """Add an effect as it is; nothing comes after the end."""
        if not self._ended:
            self._effects.append(effect)

    def end(self) -> None:
        """The session is over, perhaps in the middle of what it was doing."""
        self._ended = True

    def send(self, event_type: str, /, **fields: Any) -> None:
        """Send a server event, given in GA; the client gets it in its own dialect."""
        event = {"type": event_type, "event_id": self.ids.new("event"), **fields}
        for translated in self._translator.outgoing(event):
            self.events_sent += 1
            self.delivery.push_event(SendEvent(translated))
            if self.after_event is not None:
                self.after_event(self.events_sent)

    def error(
        self,
        code: str,
        message: str,
        *,
        param: str | None = None,
        client_event_id: str | None = None,
        kind: str = "invalid_request_error",
    ) -> None:
        """Send an `error`, and mark it."""
        self.send(
            "error",
            error={
                "type": kind,
                "code": code,
                "message": message,
                "param": param,
                "event_id": client_event_id,
            },
        )
        self.mark("error_sent", code=code, message=message)

    def mark(self, name: str, /, **fields: Any) -> None:
        """Put a fact on the timeline."""
        self.put(EmitMark(self._mark(name, fields)))

    def mark_sent(self, name: str, /, **fields: Any) -> None:
        """Put on the timeline that the event before has been sent: when it really is."""
        self.delivery.push(EmitMark(self._mark(name, fields)))

    def _mark(self, name: str, fields: dict[str, Any]) -> Mark:
        return Mark(at_ns=self.now_ns, source="realtime", call=self._call, name=name, fields=fields)

    def set_timer(self, name: str, at_ns: int) -> None:
        """Ask to be woken."""
        self.put(SetTimer(name, at_ns))

    def cancel_timer(self, name: str) -> None:
        """Ask not to be woken."""
        self.put(CancelTimer(name))


@dataclass(frozen=True, slots=True)
class Observation:
    """What a session reports about audio, besides the marks of its deltas."""

    trace_audio: bool = False
    """A mark for every append."""
    keep_audio: bool = False
    """`KeepAudio` for every append, and `KeepSent` for every delta."""


@dataclass(slots=True)
class SessionState:
    """One session's configuration, conversation and way out."""

    out: SessionOutput
    config: SessionConfig
    conversation: Conversation
    prepared: PreparedScript
    rng: random.Random
    observation: Observation
    lenient: bool = False
    """Whether to serve what the API refuses, as far as can be, and to tell."""
    sent_samples: int = 0
    """Audio sent since the session began, at the rate of its output."""

    @property
    def script(self) -> Script:
        """What the session performs."""
        return self.prepared.script

    @property
    def timing(self) -> Timing:
        """How fast it does."""
        return self.prepared.script.timing

    def refuse(self, error: RequestError) -> None:
        """Something is refused; a lenient session tells, and goes on, where the table says so.

        Raises:
            RequestError: the session is not lenient, or it cannot be served.
        """
        if not self.lenient or error.leniently == "refused":
            raise error
        param = {} if error.param is None else {"param": error.param}
        self.out.mark("served_leniently", code=error.code, message=error.message, **param)

    def check_tool_choice(self, given: Generation | None) -> None:
        """A chosen tool must be there: in what is given, or in the session.

        Raises:
            RequestError: see `refuse`.
        """
        if given is None or (given.tool_choice is None and given.tools is None):
            return
        chosen: Any = given.tool_choice
        if chosen is None:  # tools are taken away, perhaps the one that is chosen
            chosen = self.config.values.get("tool_choice", "auto")
        if chosen in ("auto", "none"):
            return
        where = "session" if isinstance(given, SessionFields) else "response"
        param = f"{where}.tool_choice"
        own = None if given.tools is None else dumped(given.tools)
        tools = self.config.values.get("tools", ()) if own is None else own
        if isinstance(chosen, str):
            if not tools:
                self.refuse(RequestError("no_tool_to_choose", param))
            return
        chosen = chosen if isinstance(chosen, Mapping) else chosen.model_dump()
        key = "server_label" if chosen["type"] == "mcp" else "name"
        name = chosen[key]
        if name not in [tool.get(key) for tool in tools]:
            self.refuse(RequestError("chosen_tool_is_none", param, value=name))

    def prompted(self, given: Generation | None) -> str | None:
        """The instructions of the prompt that is asked for; None if the script has no prompts.

        Raises:
            RequestError: see `refuse`.
        """
        prompts = self.script.prompts
        if given is None or given.prompt is None or not prompts:
            return None
        where = "session" if isinstance(given, SessionFields) else "response"
        text = prompts.get(given.prompt.id)
        if text is None:
            error = RequestError("prompt_unknown", f"{where}.prompt.id", value=given.prompt.id)
            self.refuse(error)
            return None
        values = given.prompt.variables or {}
        if missing := sorted(set(_VARIABLE.findall(text)) - values.keys()):
            names = ", ".join(missing)
            self.refuse(RequestError("prompt_variables", f"{where}.prompt.variables", names=names))
        return _VARIABLE.sub(lambda found: _text_of(values.get(found[1], "")), text)

    def in_ms(self, delay_ms: float) -> int:
        """The time that much later, for a timer."""
        return self.out.now_ns + ms_to_ns(delay_ms)

    def add_item(self, item: Item, after: str | None = None) -> None:
        """Put a whole item into the conversation, and say so.

        Raises:
            RequestError: see `Conversation.add`.
        """
        previous = self.conversation.add(item, after)
        for name in ("conversation.item.added", "conversation.item.done"):
            self.out.send(name, previous_item_id=previous, item=item.snapshot())


def _text_of(value: object) -> str:
    """A prompt's variable: a text, or a content part that holds one."""
    return str(value.get("text", "")) if isinstance(value, Mapping) else str(value)


def marked_arguments(arguments: str) -> Any:
    """Arguments as the mark has them: what is no JSON stays text."""
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
