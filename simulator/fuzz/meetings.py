"""What meets in a generated call: two things that happen at once, or cross on the way.

Each knows when one of the two will be, and draws the other from the seconds around it: most faults
of a call's order lie there, and chance alone seldom goes there. Drawn last, as in
`simulator.fuzz.rare`.
"""

from collections.abc import Callable
from typing import Any

from callerside.simulator.fuzz.choices import Choices, between, chance, one_of
from callerside.simulator.fuzz.sayings import (
    CALM_MS,
    FIRST_QUESTION,
    LOOK_UP,
    QUESTION,
    REPLIES,
    SHAPES,
    TRANSFER,
)

_OFTEN = 5
"""One call in so many is one of these."""
_STEP_MS = 20


def make_meeting(choices: Choices, call: dict[str, Any]) -> None:
    """Make of some calls one in which two things meet."""
    if chance(choices, _OFTEN):
        one_of(choices, _MEETINGS)(choices, call)


def _words_and_a_limit(choices: Choices, call: dict[str, Any]) -> None:
    """The caller's turn ends about when the agent does something by itself, far from the server."""
    agent = call["agent"]
    section, setting, at_ms = one_of(choices, _BY_ITSELF)
    agent[section] = agent.get(section, {}) | setting
    call["after"] = None
    call["realtime"]["path"] = {"delay": one_of(choices, (150, 75, 300))}
    call["realtime"]["faults"] = []
    call["realtime"].setdefault("timing", {})["think_ms"] = one_of(choices, (100, 0, 500))
    pause = {"pause": max(0, at_ms - between(choices, 0, 2000, _STEP_MS))}
    word = {"say": one_of(choices, ("Yes.", FIRST_QUESTION))}
    call["steps"] = [pause, word, {"pause": CALM_MS}, *QUESTION]
    if chance(choices, 4):
        call["realtime"]["faults"] = [_loss(choices, call, "turn 1")]
    call["realtime"]["timing"]["pace"] = one_of(choices, (12, 1))  # an answer that takes its time


_BY_ITSELF: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("greeting", {"interruptible": True, "delay_ms": 1500}, 1500),
    ("greeting", {"interruptible": True, "delay_ms": 2500}, 2500),
    ("limits", {"silence_ms": 3000}, 6000),
    ("limits", {"call_ms": 5000}, 5000),
    ("realtime", {"session_move_ms": 5000}, 5500),
)
"""What the agent does, by which settings, and when, about."""


def _function_and_something(choices: Choices, call: dict[str, Any]) -> None:
    """A function takes its time, fails, or never answers, and meanwhile something happens."""
    answer = one_of(choices, _ANSWERS)
    agent = call["agent"]
    agent["tools"] = agent.get("tools", {}) | {"stub": {LOOK_UP["name"]: dict(answer)}}
    if chance(choices, 3):
        agent["limits"] = agent.get("limits", {}) | {"tool_ms": 2000}
    called: dict[str, Any] = {"function_call": one_of(choices, (LOOK_UP, LOOK_UP, *_LEAVING))}
    if chance(choices, 2):
        called["say"] = REPLIES[1]
    call["realtime"]["replies"] = [called, {"say": REPLIES[1]}]
    call["realtime"]["faults"] = []
    call["steps"] = [{"pause": 4000}, {"say": FIRST_QUESTION}, *_meanwhile(choices, call, 6000)]


_LEAVING: tuple[dict[str, Any], ...] = ({"name": "hang_up"}, TRANSFER)
_ANSWERS: tuple[dict[str, Any], ...] = (
    {"returns": "open", "after": 300},
    {"returns": "open until noon", "after": 2500},
    {"returns": "closed", "after": 5000},
    {"returns": "open from nine in the morning until five in the afternoon, but on Sunday"},
    {"fails": "nobody knows", "after": 1500},
    {"never_returns": True},
)


def _anything_at_any_moment(choices: Choices, call: dict[str, Any]) -> None:
    """Whatever a caller can do, at any moment of an answer or of the opening."""
    asked: list[Any] = [{"pause": 4000}, {"say": FIRST_QUESTION}] if chance(choices, 2) else []
    call["realtime"]["faults"] = []
    call["steps"] = [*asked, *_meanwhile(choices, call, 5000)]


def _session_lost_at_any_moment(choices: Choices, call: dict[str, Any]) -> None:
    """The session ends at any moment, in one way or another, once or twice."""
    call["after"] = None
    call["steps"] = [{"pause": 4000}, {"say": FIRST_QUESTION}, {"pause": CALM_MS}, *QUESTION]
    place = one_of(choices, ("turn 1", "reply 1", "speech 1", "greeting"))
    call["realtime"]["faults"] = [_loss(choices, call, place)]
    if chance(choices, 2):
        _let_something_wait(choices, call)


def _let_something_wait(choices: Choices, call: dict[str, Any]) -> None:
    """While an answer takes its time more is to be asked for: greeting, keys, last words."""
    call["realtime"]["timing"] = {"think_ms": one_of(choices, (100, 0, 500)), "pace": 1}
    call["realtime"]["replies"] = [{"say": one_of(choices, REPLIES[1:])}]
    call["realtime"]["faults"] = [_loss(choices, call, "turn 1")]
    what = one_of(choices, ("greeting", "keys", "leave"))
    if what == "greeting":
        greeting = {"interruptible": True, "delay_ms": one_of(choices, (2500, 1500))}
        call["agent"]["greeting"] = greeting
        spoken: list[Any] = [{"pause": between(choices, 0, 1000, _STEP_MS)}, {"say": "Yes."}]
    else:
        spoken = [{"pause": 4000}, {"say": FIRST_QUESTION}]
        pause = {"pause": between(choices, 0, 3000, _STEP_MS)}
        if what == "keys":
            spoken += [pause, {"press": one_of(choices, ("#", "12#"))}]
        else:
            limits = call["agent"].get("limits", {})
            call["agent"]["limits"] = limits | {"call_ms": 6000 + pause["pause"]}
    call["steps"] = [*spoken, {"pause": CALM_MS}, *QUESTION]


def _loss(choices: Choices, call: dict[str, Any], place: str) -> dict[str, Any]:
    if not call["agent"].get("greeting", {}).get("enabled", True):
        place = "turn 1"
    fault: dict[str, Any] = {"fault": one_of(choices, ("drop", "close"))}
    return {**fault, "at": f"{place} + {between(choices, 0, 4000, _STEP_MS)}ms"}


_WHATEVER = ("nothing", "say", "press", "sound", "hold", "hang_up", "vanish", "lose")


def _meanwhile(choices: Choices, call: dict[str, Any], within_ms: int) -> list[Any]:
    """A pause of any length and something after it, and the calm end."""
    pause = {"pause": between(choices, 0, within_ms, _STEP_MS)}
    end = [{"pause": CALM_MS}, *QUESTION]
    what = one_of(choices, _WHATEVER)
    match what:
        case "say":
            return [pause, {"say": one_of(choices, ("Yes.", FIRST_QUESTION))}, *end]
        case "press":
            return [pause, {"press": one_of(choices, ("1", "#", "12#"))}, *end]
        case "sound":
            return [pause, {"sound": one_of(choices, ("mm-hmm", "cough"))}, *end]
        case "hold":
            again = {"pause": between(choices, 0, 4000, 200)}
            return [pause, "hold", again, "resume", *end]
        case "hang_up" | "vanish":
            return [pause, what]
        case "lose":
            call["realtime"]["faults"] = [_loss(choices, call, "greeting")]
            call["after"] = None
            return [pause, *end]
        case "nothing":
            return [pause, *end]
        case unknown:
            raise ValueError(f"{unknown} is none of {', '.join(_WHATEVER)}")


def _keys_beside_a_turn(choices: Choices, call: dict[str, Any]) -> None:
    """Keys and a turn ask for an answer each, about at once; one of the answers is a strange one.

    What the server begins by itself and what it is asked for cross on a long way.
    """
    call["realtime"]["path"] = {"delay": one_of(choices, (150, 75, 300))}
    call["realtime"]["timing"] = {
        "think_ms": one_of(choices, (100, 0, 500)),
        "pace": one_of(choices, (12, 200)),
    }
    call["realtime"]["faults"] = []
    plain = {"say": REPLIES[0]}
    strange = one_of(choices, (plain, *SHAPES))
    call["realtime"]["replies"] = one_of(choices, ([strange, plain], [plain, strange]))
    first, second = {"say": "Yes."}, {"press": one_of(choices, ("#", "12#"))}
    pause = {"pause": between(choices, 0, 1500, _STEP_MS)}
    both = one_of(choices, ([first, pause, second], [second, pause, first]))
    call["steps"] = [{"pause": 4000}, *both, {"pause": CALM_MS}, *QUESTION]


def _last_words(choices: Choices, call: dict[str, Any]) -> None:
    """The caller does something while the agent takes leave, or says where it sends the caller."""
    call["realtime"]["faults"] = []
    limits = call["agent"].get("limits", {})
    if chance(choices, 2):
        called = one_of(choices, _LEAVING)
        call["realtime"]["replies"] = [
            {"say": one_of(choices, REPLIES[1:]), "function_call": called}
        ]
        asked: list[Any] = [{"pause": 4000}, {"say": FIRST_QUESTION}]
    else:
        farewell = one_of(choices, ({}, {"farewell_ms": 1000}, {"farewell_ms": 2000}))
        call["agent"]["limits"] = limits | {"silence_ms": 3000} | farewell
        call["realtime"]["replies"] = [one_of(choices, ({"say": REPLIES[1]}, *SHAPES))]
        asked = [{"pause": 6000}]
    call["steps"] = [*asked, *_meanwhile(choices, call, 4000)]


def _words_before_a_session(choices: Choices, call: dict[str, Any]) -> None:
    """The caller speaks while the connection is being made, and then waits."""
    call["network"] = {}
    call["after"] = None
    call["realtime"].pop("commits", None)
    call["realtime"]["faults"] = []
    call["realtime"]["replies"] = [{"say": REPLIES[0]}]
    call["realtime"]["timing"] = {"connect_delay_ms": one_of(choices, (1500, 800, 3000))}
    if chance(choices, 3):
        late = {"fault": "accept_late", "at": "connect", "by_ms": one_of(choices, (1500, 500))}
        call["realtime"]["faults"] = [late]
    pause = {"pause": between(choices, 0, 1500, _STEP_MS)}
    words = {"say": one_of(choices, ("Yes.", FIRST_QUESTION))}
    call["steps"] = [pause, words, {"pause": CALM_MS}, *QUESTION]


_MEETINGS: tuple[Callable[[Choices, dict[str, Any]], None], ...] = (
    _words_and_a_limit,
    _function_and_something,
    _anything_at_any_moment,
    _session_lost_at_any_moment,
    _keys_beside_a_turn,
    _last_words,
    _words_before_a_session,
)
