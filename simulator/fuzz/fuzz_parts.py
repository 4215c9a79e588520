"""Parts of generated calls: the fake's timing, the network, and what goes wrong.

Each is empty when every choice is the simplest one (`simulator.fuzz.choices`).
"""

from typing import Any

from callerside.simulator.fuzz.choices import Choices, between, chance, one_of
from callerside.simulator.fuzz.coverage import FAULT_MODELS

_MAX_FAULTS = 2


def generate_timing(choices: Choices) -> dict[str, Any]:
    """A `timing:` section of the fake; empty for the pace of recorded sessions."""
    timing: dict[str, Any] = {}
    if chance(choices, 3):
        timing["think_ms"] = one_of(choices, (0, 100, 2500))
    if chance(choices, 4):
        timing["pace"] = one_of(choices, (1.1, 3, 200))
    if chance(choices, 5):
        timing["jitter_ms"] = one_of(choices, (50, 400))
    if chance(choices, 5):
        timing["connect_delay_ms"] = one_of(choices, (100, 800, 1500, 3000))
    if chance(choices, 6):
        timing["delta_ms"] = one_of(choices, (20, 1000))
    return timing


def generate_network(choices: Choices) -> dict[str, Any]:
    """A `network:` section; empty for a clean line."""
    network: dict[str, Any] = {}
    if chance(choices, 6):
        network["loss"] = one_of(choices, (0.01, 0.05, 0.2))
    if chance(choices, 8):
        network["burst_loss"] = one_of(choices, (0.02, 0.1))
    if chance(choices, 6):
        network["delay"] = one_of(choices, (40, 150, 400))
    if chance(choices, 6):
        network["jitter"] = one_of(choices, (15, 60, 200))
    if chance(choices, 8):
        network["reorder"] = one_of(choices, (0.02, 0.2))
    if chance(choices, 10):
        network["duplicate"] = one_of(choices, (0.05, 0.5))
    if chance(choices, 8):
        network["drift_ppm"] = one_of(choices, (50, -50, 1000, -1000))
    return network


def generate_faults(choices: Choices, *, turns: int) -> list[Any]:
    """What goes wrong, all of it before the calm: in the wild part's turns, or before them."""
    faults: list[Any] = []
    while len(faults) < _MAX_FAULTS and choices.up_to(2):
        faults.append(_fault(choices, turns))
    return faults


def _fault(choices: Choices, turns: int) -> dict[str, Any]:
    kind = one_of(choices, tuple(_FAULTS))
    model = FAULT_MODELS[kind]
    fault: dict[str, Any] = {"fault": kind}
    possible = _PLACES if turns else _PLACES_WITHOUT_TURNS
    place = one_of(choices, [place for place in possible if place in model.places])
    later = _later(choices) if model.delayable and place != "connect" else ""
    if place == "event":
        fault["at"] = f"event {between(choices, 1, _EVENTS_A_TURN * (1 + turns))}{later}"
    elif place in ("turn", "reply"):
        fault["at"] = f"{place} {between(choices, 1, turns)}{later}"
    else:
        fault["at"] = f"{place}{later}"
    for name, values in _FAULTS[kind].items():
        fault[name] = one_of(choices, values)
    return fault


def _later(choices: Choices) -> str:
    offset_ms = one_of(choices, (0, 30, 150, 700, 2000))
    return f" + {offset_ms}ms" if offset_ms else ""


_PLACES_WITHOUT_TURNS = ("greeting", "connect", "event")
_PLACES = (*_PLACES_WITHOUT_TURNS, "reply", "turn")
"""Those first: a fault keeps its place when a call is shrunk to one without turns."""
_EVENTS_A_TURN = 10
"""At least, so that the event that is named comes before the calm."""
_FAULTS: dict[str, dict[str, tuple[Any, ...]]] = {
    "error": {},
    "fail": {"code": ("inference_rate_limit_exceeded", "insufficient_quota")},
    "stall": {"for_ms": (500, 2000, 6000)},
    "drop": {},
    "close": {"code": (1011, 1001, 4000)},
    "expire": {},
    "refuse": {"status": (503, 429, 401)},
    "accept_late": {"by_ms": (500, 1500, 4000)},
    "never_done": {},
    "slow": {"pace": (0.8, 0.3)},
    "duplicate": {"events": (1, 5)},
    "reorder": {},
    "malformed": {},
    "unknown_event": {},
    "oversized": {},
}
"""With the values of their fields; the likeliest to explain a failure come first."""
