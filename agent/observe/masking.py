"""What callers press and say, taken out of all that is kept of a call, as the settings ask for it.

Marks and the events of the Realtime session pass through here before anybody writes them down.
Recordings of sound have it all the same.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from callerside.marks import Mark, MarkSink

MASKED, KEY = "[masked]", "x"
_PRESSED = re.compile(r"(?<=^I pressed )[0-9A-D*# ]+(?= on the telephone's keypad\.$)")
"""The keys in the item that the model is given of them (`agent.call.dtmf`)."""


class Masking:
    """One call's.

    Args:
        patterns: regular expressions: what they find in words is masked.
        keys: whether keys that the caller presses are.
    """

    def __init__(self, patterns: Iterable[str] = (), *, keys: bool = False) -> None:
        self._patterns = [re.compile(pattern) for pattern in patterns]
        self._keys = keys

    @property
    def does_nothing(self) -> bool:
        """Whether all is kept as it is."""
        return not (self._patterns or self._keys)

    def text(self, text: str) -> str:
        """Words without what is masked."""
        if self._keys:
            text = _PRESSED.sub(lambda found: re.sub(r"\S", KEY, found[0]), text)
        for pattern in self._patterns:
            text = pattern.sub(MASKED, text)
        return text

    def event(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """An event of the session.

        Pieces of a text are left out: nobody can search them, and the whole follows.
        """
        if self.does_nothing:
            return event
        masked: dict[str, Any] = self._data(event)
        if self._patterns and isinstance(event.get("delta"), str):
            masked["delta"] = ""
        return masked

    def sink(self, marks: MarkSink) -> MarkSink:
        """A sink that hands marks on without what is masked."""
        if self.does_nothing:
            return marks

        def hand_on(mark: Mark) -> None:
            fields = self._data(mark.fields)
            if self._keys and mark.name == "dtmf_received":
                fields["digit"] = KEY
            marks(replace(mark, fields=fields))

        return hand_on

    def _data(self, value: Any, name: str = "") -> Any:
        if isinstance(value, str):
            is_word = not (name == "type" or name.endswith("id"))
            return self.text(value) if is_word else value
        if isinstance(value, Mapping):
            return {key: self._data(one, str(key)) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [self._data(one, name) for one in value]
        return value
