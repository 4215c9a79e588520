"""Faults drawn at random: at each place of a conversation one may strike, by rate and seed.

The places are those that a script can name: the handshake, the connection, the greeting, what the
caller says, each turn, and each reply, before it is made and as it begins. The same seed draws the
same faults in the same conversation. What was drawn is on the timeline, as a script would write it.
"""

import random
from collections.abc import Sequence
from typing import TypeVar

from callerside.fakes.session.faults import (
    FAULTS,
    BaseFault,
    HandshakeFault,
    ResponseFault,
    SessionFault,
    name_of,
    parse_trigger_point,
)
from callerside.registry import Drawn

_OFFSETS_MS = (0, 0, 200, 800, 2000)
"""How long after its place one strikes that can."""
_OF_HANDSHAKES = [kind for kind in FAULTS.values() if issubclass(kind, HandshakeFault)]
_OF_RESPONSES = [kind for kind in FAULTS.values() if issubclass(kind, ResponseFault)]
_OF_SESSIONS = [kind for kind in FAULTS.values() if issubclass(kind, SessionFault)]

Kind = TypeVar("Kind", bound=BaseFault)


class Chaos:
    """Draws the faults of one session."""

    def __init__(self, rate: float, rng: random.Random) -> None:
        """`rate`: how probable a fault is at each place, 0 to 1."""
        self._rate = rate
        self._rng = rng

    def of_handshake(self) -> HandshakeFault | None:
        """What befalls the handshake."""
        return self._draw(_OF_HANDSHAKES, "connect")

    def of_response(self, place: str) -> ResponseFault | None:
        """What shapes a response (`reply 2`)."""
        return self._draw(_OF_RESPONSES, place)

    def of_session(self, place: str) -> SessionFault | None:
        """What befalls the session at a place (`turn 2`)."""
        return self._draw(_OF_SESSIONS, place)

    def _draw(self, kinds: Sequence[type[Kind]], place: str) -> Kind | None:
        if self._rng.random() >= self._rate:
            return None
        at = parse_trigger_point(place).place
        fitting = [kind for kind in kinds if at in kind.places]
        return self._filled(self._rng.choice(fitting), place) if fitting else None

    def _filled(self, kind: type[Kind], place: str) -> Kind:
        offset_ms = self._rng.choice(_OFFSETS_MS) if kind.delayable else 0
        at = f"{place} + {offset_ms}ms" if offset_ms else place
        return kind.model_validate({"fault": name_of(kind), "at": at, **self._fields(kind)})

    def _fields(self, kind: type[BaseFault]) -> dict[str, object]:
        values = kind.fuzz.values if isinstance(kind.fuzz, Drawn) else {}
        return {name: self._rng.choice(choices) for name, choices in values.items()}
