"""What leads generated calls where few of them would come.

Drawn last, so that a call of which nothing rare is made is what it would be without.
"""

from typing import Any

from callerside.simulator.fuzz.choices import Choices, between, chance, one_of
from callerside.simulator.fuzz.sayings import (
    ANSWER_MS,
    CALM_MS,
    DESK,
    FIRST_QUESTION,
    QUESTION,
    REPLIES,
    SHAPES,
    TRANSFER,
)


def make_rare(choices: Choices, call: dict[str, Any]) -> None:
    """What leads into states that a call seldom sees, or sees for a moment only."""
    if chance(choices, 12):  # the caller acknowledges the answer before there is media
        call["network"]["media_delay"] = one_of(choices, (20, 700))
    if chance(choices, 12):
        _make_commits_late(choices, call)
    elif chance(choices, 16):
        _make_transfer(choices, call)
    elif chance(choices, 16):
        _make_goodbye(choices, call)


def widen(choices: Choices, call: dict[str, Any]) -> None:
    """A server that is far away, or fails again and again; an opening of another kind; and so on.

    Drawn last, so that a call which is not made wider by it is what it would be without.
    """
    if chance(choices, 3):
        delay, jitter = one_of(choices, (75, 30, 150, 300)), one_of(choices, (0, 20, 150))
        call["realtime"]["path"] = {"delay": delay, "jitter": jitter}
    agent = call["agent"]
    if chance(choices, 4) and agent.get("greeting", {}).get("enabled", True):
        greeting = {"delay_ms": one_of(choices, (500, 0, 1500, 2500))}
        greeting["interruptible"] = bool(one_of(choices, (0, 1)))
        agent["greeting"] = greeting
        call["steps"][0] = {"pause": between(choices, 0, 3000, 20)}
    for fault in call["realtime"].get("faults", ()):
        if fault["at"] == "connect" and chance(choices, 3):
            fault["sessions"] = one_of(choices, (2, 20))
    for section, (one_in, options) in _MORE_SETTINGS.items():
        if chance(choices, one_in):
            agent[section] = agent.get(section, {}) | one_of(choices, options)
    if chance(choices, 6):
        _make_keys_sudden(choices, call)


def _make_keys_sudden(choices: Choices, call: dict[str, Any]) -> None:
    """A key is pressed at any moment of the first seconds, or of what follows a question."""
    steps = call["steps"]
    spoken = [number for number, step in enumerate(steps[:-4]) if "say" in step]
    after = one_of(choices, [0, *spoken])
    pause = {"pause": between(choices, 0, 4000, 20)}
    steps[after + 1 : after + 1] = [pause, {"press": one_of(choices, ("1", "#", "12#"))}]


def _make_transfer(choices: Choices, call: dict[str, Any]) -> None:
    """The caller is sent elsewhere, by the model or because the API does not work, or is gone."""
    why = one_of(choices, ("asked", "helpless"))
    call["network"] = {}
    call["realtime"] = {"replies": [{"function_call": TRANSFER}, {"say": REPLIES[0]}]}
    if why == "helpless":
        call["agent"]["failure"] = {"transfer_to": DESK}
        fault = {"fault": "fail", "at": "reply 1", "code": "insufficient_quota"}
        call["realtime"]["faults"] = [fault]
    ending: list[Any] = [{"expect": {"transfer": "*"}, "within": ANSWER_MS}, *QUESTION]
    if chance(choices, 2):
        ending = [{"pause": 900}, "vanish"]
    call["steps"] = [{"pause": 5000}, {"say": FIRST_QUESTION}, *ending]


def _make_goodbye(choices: Choices, call: dict[str, Any]) -> None:
    """The caller says nothing, or has talked for long enough: the agent takes leave."""
    limit = one_of(choices, ("silence_ms", "call_ms"))
    call["agent"]["limits"] = {limit: between(choices, 3000, 9000, 500)}
    shape = one_of(choices, SHAPES) if choices.up_to(2) else {"say": REPLIES[1]}
    call["realtime"]["replies"] = [shape]
    call["realtime"]["faults"] = []
    call["steps"] = [{"pause": 60_000}, *QUESTION]


def _make_commits_late(choices: Choices, call: dict[str, Any]) -> None:
    """A server that waits for a commit, which a watchdog sends: much can happen until then."""
    call["realtime"]["commits"] = "client"
    call["agent"].pop("greeting", None)
    call["after"] = None
    what = one_of(choices, ("", "hang_up", "drop", "stall", "answer"))
    if not what:
        return
    spoken: list[Any] = [{"pause": 5000}, {"say": FIRST_QUESTION}]
    call["network"] = {}
    call["realtime"]["faults"] = []
    if what == "hang_up":
        call["steps"] = [*spoken, {"pause": 900}, "hang_up"]
        return
    if what == "answer":  # to a key that was pressed before
        spoken.insert(1, {"press": "1#"})
        call["agent"]["turns"]["barge_in"] = False
        call["realtime"]["timing"] = {"think_ms": 2500}
    else:
        for_ms = {"for_ms": 6000} if what == "stall" else {}
        call["realtime"]["faults"] = [{"fault": what, "at": "greeting + 6200ms", **for_ms}]
    call["steps"] = [*spoken, {"pause": CALM_MS}, *QUESTION]


_MORE_SETTINGS: dict[str, tuple[int, tuple[dict[str, Any], ...]]] = {
    "dtmf": (12, ({"interrupts": True}, {"to_model": False}, {"interdigit_timeout_ms": 300})),
    "turns": (12, ({"barge_in": False},)),
    "answers": (16, ({"spoken_retries": 0, "continuations": 0},)),
    "tools": (16, ({"at_once": False}, {"wait": "off"})),
}
"""The same, of what a call is made wider by."""
