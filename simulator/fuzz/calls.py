"""Makes the phone calls nobody thought of: scenarios from choices (`simulator.fuzz.choices`).

A call has a wild part, in which the caller does as it likes and the faults strike, and a calm end:
a question, which must be answered, or the agent must have ended the call. Everything about it
stands in the scenario, so that the scenario's file is all that is needed to play it again. The
simplest choice is always the plain one: a clean line, no fault, one question.
"""

from collections.abc import Mapping
from typing import Any

from callerside.fakes.session.faults import FAULTS
from callerside.registry import Drawn, NotDrawn, OneIn
from callerside.simulator.fuzz.choices import Choices, between, chance, one_of
from callerside.simulator.fuzz.meetings import make_meeting
from callerside.simulator.fuzz.rare import make_rare, widen
from callerside.simulator.fuzz.sayings import (
    CALM_MS,
    DESK,
    FUNCTION_CALLS,
    QUESTION,
    REPLIES,
    SHAPES,
)
from callerside.simulator.scenario.network import Network
from callerside.simulator.scenario.steps import ACTIONS

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


def generate_path(choices: Choices) -> dict[str, Any]:
    """A `path:` section of the fake; empty for a server beside the agent."""
    if not chance(choices, 4):
        return {}
    return {"delay": one_of(choices, (75, 150)), "jitter": one_of(choices, (0, 20))}


def generate_network(choices: Choices) -> dict[str, Any]:
    """A `network:` section; empty for a clean line."""
    return {
        name: one_of(choices, drawn.values)
        for name, field in Network.model_fields.items()
        for drawn in field.metadata
        if isinstance(drawn, OneIn) and chance(choices, drawn.times)
    }


def generate_faults(choices: Choices, *, turns: int) -> list[Any]:
    """What goes wrong, all of it before the calm: in the wild part's turns, or before them."""
    faults: list[Any] = []
    while len(faults) < _MAX_FAULTS and choices.up_to(2):
        faults.append(_fault(choices, turns))
    return faults


def _fault(choices: Choices, turns: int) -> dict[str, Any]:
    kind = one_of(choices, tuple(_FAULTS))
    model = FAULTS[kind]
    fault: dict[str, Any] = {"fault": kind}
    possible = _PLACES if turns else _PLACES_WITHOUT_TURNS
    place = one_of(choices, [place for place in possible if place in model.places])
    later = _later(choices) if model.delayable and place != "connect" else ""
    if not _FAULTS[kind].later:  # the choice is made all the same: what follows it stays as it was
        later = ""
    if place == "event":
        fault["at"] = f"event {between(choices, 1, _EVENTS_A_TURN * (1 + turns))}{later}"
    elif place in ("turn", "reply"):
        fault["at"] = f"{place} {between(choices, 1, turns)}{later}"
    else:
        fault["at"] = f"{place}{later}"
    for name, values in _FAULTS[kind].values.items():
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


def _drawn(all_of_them: Mapping[str, Drawn | NotDrawn]) -> dict[str, Drawn]:
    return {name: drawn for name, drawn in all_of_them.items() if isinstance(drawn, Drawn)}


_FAULTS = _drawn({name: kind.fuzz for name, kind in FAULTS.items()})
_STEPS = _drawn({name: model.entry.fuzz for name, model in ACTIONS.items()})


_MAX_STEPS = 8
_MAX_REPLIES = 3
_PATIENCE = {"connect_timeout_ms": 2000, "response_end_ms": 4000}
"""The agent's own long waits, made short, so that calls are short as well."""

GREETED: dict[str, Any] = {
    "about": "A call that leaves its greeting in the cache.",
    "steps": [{"expect": "greeting"}, "hang_up"],
}
"""What a call comes after whose greeting is cached; its name is `GREETED_NAME`."""
GREETED_NAME = "greeted"


def generate_before(choices: Choices) -> dict[str, Any]:
    """A call that comes before one whose greeting may be cached, of the same cache.

    It is the plain one that leaves a greeting there, or any other; with other settings, as where
    they were loaded anew between the two.
    """
    if not chance(choices, 2):
        return GREETED
    call = generate(choices)
    return {key: value for key, value in call.items() if key != "after"}


def generate_end(choices: Choices) -> dict[str, Any]:
    """An `agent_ends:` section, for the agent is to end during few calls."""
    if not chance(choices, 24):
        return {}
    return {"after": between(choices, 0, 12_000, 20), "at_once": chance(choices, 3)}


def generate(choices: Choices) -> dict[str, Any]:
    """A scenario as YAML would give it."""
    steps = [*_opening(choices), *_wild_steps(choices)]
    faults = generate_faults(choices, turns=sum("say" in step for step in steps))
    agent = _agent(choices)
    cached = chance(choices, 6)
    if cached or not agent.get("greeting", {}).get("enabled", True):
        # No greeting is made: it comes to no harm, and an event may come after the calm only.
        faults = [fault for fault in faults if not fault["at"].startswith(("greeting", "event"))]
    if faults:
        steps.append({"pause": CALM_MS})
    call: dict[str, Any] = {
        "about": "A call that the fuzzer made.",
        "lanes": [],
        "after": GREETED_NAME if cached else None,
        "agent": agent,
        "realtime": _realtime(choices, agent["turns"].get("policy"), faults),
        "caller": {"codec": one_of(choices, ("PCMU", "PCMA", "G722"))},
        "network": generate_network(choices),
        "steps": steps + _ending(choices),
        "time_limit": 120_000,
    }
    make_rare(choices, call)
    widen(choices, call)
    make_meeting(choices, call)
    calls = {"function_call", "function_calls"}
    if any(calls & reply.keys() for reply in call["realtime"].get("replies", ())):
        agent["tools"] = agent.get("tools", {}) | {"transfer": [DESK], "send_dtmf": True}
    if {"drift_ppm", "media_delay"} & call["network"].keys():  # in memory only
        call["lanes"] = ["virtual"]
    return {key: value for key, value in call.items() if value}


def _opening(choices: Choices) -> list[Any]:
    """Wait for the greeting, as most do; or talk into it; or into the beep; or at once."""
    return one_of(
        choices,
        (
            [{"pause": 4000}],
            [{"pause": 1000}],
            [{"pause": 300}],
            [{"pause": 2000}],
            [{"pause": 0}],
        ),
    )


def _wild_steps(choices: Choices) -> list[Any]:
    steps: list[Any] = []
    while len(steps) < _MAX_STEPS and choices.up_to(3):
        steps += [*_wild_step(choices), _step(choices, "pause")]
    return steps


def _wild_step(choices: Choices) -> list[Any]:
    drawn = one_of(choices, _WILD)
    return [_step(choices, action) for action in (drawn, *_STEPS[drawn].then)]


def _step(choices: Choices, action: str) -> Any:
    values = _STEPS[action].values.items()
    return {key: one_of(choices, options) for key, options in values} or action


_WILD = tuple(action for action, drawn in _STEPS.items() for _ in range(drawn.weight))
_ENDINGS = tuple(action for action in _STEPS if ACTIONS[action].ends_call)


def _ending(choices: Choices) -> list[Any]:
    """The question that must be answered; or the caller leaves in the middle of everything."""
    return [one_of(choices, _ENDINGS)] if chance(choices, 5) else QUESTION


def _agent(choices: Choices) -> dict[str, Any]:
    """Settings that change what the agent does; most calls leave most of them alone."""
    agent: dict[str, Any] = {
        "realtime": {"connect_timeout_ms": _PATIENCE["connect_timeout_ms"]},
        "turns": {"watchdogs": {"response_end_ms": _PATIENCE["response_end_ms"]}},
    }
    policy = one_of(choices, ("server", "server", "client", "local"))
    if policy != "server":
        agent["turns"]["policy"] = policy
    if chance(choices, 6):
        agent["turns"]["append_interval_ms"] = one_of(choices, (100, 60))
    if chance(choices, 6):
        agent["turns"]["vad"] = one_of(choices, _VADS)
    for section, (one_in, options) in _SETTINGS.items():
        if chance(choices, one_in):
            agent[section] = agent.get(section, {}) | one_of(choices, options)
    return agent


_VADS: tuple[dict[str, Any], ...] = (
    {"create_response": False},
    {"interrupt_response": False},
    {"idle_timeout_ms": 5000},
)
_SETTINGS: dict[str, tuple[int, tuple[dict[str, Any], ...]]] = {
    "greeting": (3, ({"interruptible": True}, {"enabled": False}, {"delay_ms": 0})),
    "playout": (12, ({"max_ms": 1000},)),
    "limits": (
        6,
        (
            {"capture_ms": 1000, "farewell_ms": 1000},
            {"silence_ms": 3000},
            {"call_ms": 7000},
            {"media_ms": 500},
        ),
    ),
    "realtime": (
        6,
        (
            {"reconnect": {"attempts": 0}},
            {"session_move_ms": 6000},
            {"max_output_tokens": 60},
        ),
    ),
    "failure": (8, ({"transfer_to": DESK}, {"retries": 0})),
}
"""Sections of the agent's settings: one call in so many has one of these."""


def _reply(choices: Choices) -> dict[str, Any]:
    if chance(choices, 5):
        return {"function_call": one_of(choices, FUNCTION_CALLS)}
    return {"say": one_of(choices, REPLIES)}


def _realtime(choices: Choices, policy: str | None, faults: list[Any]) -> dict[str, Any]:
    timing = generate_timing(choices)
    replies: list[Any] = []
    if chance(choices, 6):  # one at most: nobody promises an answer behind two of them
        replies.append(one_of(choices, SHAPES))
    while len(replies) < _MAX_REPLIES and choices.up_to(3):
        replies.append(_reply(choices))
    # A server that waits for the client's commit serves none but a client that commits.
    commits = "client" if policy == "client" and chance(choices, 2) else None
    realtime = {
        "timing": timing,
        "replies": replies,
        "faults": faults,
        "commits": commits,
        "path": generate_path(choices),
    }
    return {key: value for key, value in realtime.items() if value}
