"""Finds what a scenario says and what can have no effect, without making a call.

A limit of a wait where nothing is waited for, a function that no reply calls, a length of bursts
without bursts: it would pass for checked, and nothing would be.
"""

from collections.abc import Iterator

from callerside.fakes.script.model import Reply, Script
from callerside.simulator.runner.expectations_after import fits
from callerside.simulator.scenario.durations import format_duration
from callerside.simulator.scenario.expectations import FunctionCall, Silence, Transcript
from callerside.simulator.scenario.model import Scenario
from callerside.simulator.scenario.network import Direction
from callerside.simulator.scenario.steps import Expect, Step
from callerside.yaml.errors import nearest

Where = tuple[str | int, ...]


def without_effect(scenario: Scenario) -> Iterator[str]:
    """One line for everything that does nothing, each with file, line and column."""
    yield from _limits_of_no_wait(scenario)
    yield from _longer_than_the_call(scenario)
    yield from _never_scripted(scenario)
    yield from _nothing_to_forbid(scenario)
    yield from _network_of_nothing(scenario)
    yield from _of_the_run(scenario)


def placed(scenario: Scenario) -> Iterator[tuple[Where, Step]]:
    """Each step, with its place in the file."""
    for track, steps in (("steps", scenario.steps), ("meanwhile", scenario.meanwhile)):
        for number, step in enumerate(steps):
            yield (track, number), step


def lines(script: Script) -> list[tuple[Where, Reply]]:
    """All that the server may say, with its place in the file."""
    return [
        (("realtime", "greeting"), script.greeting),
        *((("realtime", "replies", n), reply) for n, reply in enumerate(script.replies)),
        (("realtime", "default_reply"), script.default_reply),
    ]


def _limits_of_no_wait(scenario: Scenario) -> Iterator[str]:
    """A `within` where nothing is waited for, and which would have no effect."""
    for where, step in placed(scenario):
        if step.within is not None and step.when is None and not isinstance(step, Expect):
            place = scenario.at(*where, "within")
            yield f"{place}: within limits a wait: it belongs to expect, or beside when"


def _longer_than_the_call(scenario: Scenario) -> Iterator[str]:
    """A `within` that cannot end before the call does."""
    limit = format_duration(scenario.time_limit)
    for where, step in placed(scenario):
        if step.within is not None and step.within > scenario.time_limit:
            place, within = scenario.at(*where, "within"), format_duration(step.within)
            yield f"{place}: {within} never pass: the call is ended after {limit} (time_limit)"


def _never_scripted(scenario: Scenario) -> Iterator[str]:
    """Functions and words that are expected and that no reply of the script has."""
    for where, step in placed(scenario):
        if isinstance(step, Expect) and (why := _unscripted(scenario, step.expect)):
            yield f"{scenario.at(*where, 'expect')}: {why}"


def _nothing_to_forbid(scenario: Scenario) -> Iterator[str]:
    """What cannot happen in this call; a suite or a matrix speaks of other calls, too."""
    if scenario.name.endswith("]"):
        return
    limit_ms = scenario.time_limit
    for number, one in enumerate(scenario.never):
        place = scenario.at("never", number)
        if not place.startswith(f"{scenario.path}:"):
            continue
        if why := _unscripted(scenario, one):
            yield f"{place}: there is nothing to forbid: {why}"
        if isinstance(one, Silence) and one.silence >= limit_ms:
            limit = format_duration(limit_ms)
            yield f"{place}: {one} cannot be: the call is ended after {limit} (time_limit)"


def _unscripted(scenario: Scenario, happening: object) -> str:
    """Why nothing in the script makes the model call that, or say it; empty if something does."""
    replies = [reply for _, reply in lines(scenario.realtime)]
    if any(reply.recording for reply in replies):
        return ""  # its turn may have it
    calls = [reply.function_call for reply in replies if reply.function_call]
    match happening:
        case FunctionCall(function_call=name, arguments=wanted):
            given = [call.arguments for call in calls if call.name == name]
            if not given:
                near = nearest(name, [call.name for call in calls])
                return f'no reply of realtime calls the function "{name}"{near}'
            if not any(fits(wanted, arguments) for arguments in given):
                told = " or ".join(map(str, given))
                return f"no reply of realtime calls {name} with {wanted}, but with {told}"
        case Transcript(transcript=words):
            texts = [(reply.transcript or reply.say or "").lower() for reply in replies]
            if not any(words.lower() in text for text in texts):
                return f'no reply of realtime says "{words}"'
    return ""


def _network_of_nothing(scenario: Scenario) -> Iterator[str]:
    """Lengths of bursts that there are not, and what both directions say otherwise."""
    network = scenario.network
    if network is None:
        return
    directions: list[tuple[Where, Direction | None]] = [
        (("network",), network),
        (("network", "to_agent"), network.to_agent),
        (("network", "to_caller"), network.to_caller),
    ]
    for where, one in directions:
        if one and one.model_fields_set & {"burst_loss", "burst_packets"} == {"burst_packets"}:
            place = scenario.at(*where, "burst_packets")
            yield f"{place}: burst_packets is the length of bursts: it needs burst_loss"
        for number, (start_ms, _) in enumerate(one.dead if one else ()):
            if start_ms >= scenario.time_limit:
                limit = format_duration(scenario.time_limit)
                place = scenario.at(*where, "dead", number)
                yield f"{place}: never comes: the call is ended after {limit} (time_limit)"
    if network.to_agent and network.to_caller:
        for name in sorted(network.model_fields_set & Direction.model_fields.keys()):
            place = scenario.at("network", name)
            yield f"{place}: {name} is for neither direction: to_agent and to_caller go before it"


def _of_the_run(scenario: Scenario) -> Iterator[str]:
    """Settings of the agent that a run makes itself: where its server is, and its timelines."""
    for section, key in (("realtime", "url"), ("timeline", "dir")):
        if key in scenario.agent.get(section, {}):
            place = scenario.at("agent", section, key)
            yield f"{place}: agent.{section}.{key} is for the run to set; leave it out"
