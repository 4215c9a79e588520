"""`callerside check`: what is wrong with scenarios, before any is played."""

import argparse
import sys
from collections.abc import Sequence

from callerside.agent.telephony.engine import CHOICES, PROFILES, EngineChoice, EngineName
from callerside.agent.telephony.engines import EngineUnavailableError, resolve
from callerside.simulator.cli.common import add_choice
from callerside.simulator.runner.capabilities import missing
from callerside.simulator.runner.lint import all_problems, warnings
from callerside.simulator.runner.plan import PlanError, plan
from callerside.simulator.runner.selection import choose
from callerside.simulator.scenario.model import Scenario

EXIT_FINE, EXIT_BAD_INPUT = 0, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.description = (
        "Reads scenarios and says what is wrong with them, or cannot work, with file, "
        "line and column."
    )
    add_choice(parser)
    parser.add_argument(
        "--engine",
        choices=CHOICES,
        help="the SIP engine that has to be able to play them, whether it is installed or not; "
        "auto: the one that `run` takes here (default)",
    )
    parser.add_argument(
        "--caller-engine",
        choices=CHOICES,
        help="of the caller, where it is to be another one than the agent's",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="exit with 2 also where there is nothing but warnings",
    )
    parser.set_defaults(command=_check)


def _check(given: argparse.Namespace) -> int:
    scenarios = choose(given.paths, given.expression)
    problems = all_problems(scenarios)
    # What cannot be played at all is no place to look for what is perhaps not as it was meant.
    playable = [one for one in scenarios if not all_problems([one])] if problems else scenarios
    warned = list(dict.fromkeys(line for scenario in playable for line in warnings(scenario)))
    try:
        plan(scenarios, repeat=None, seed=0)
    except PlanError as error:
        problems += str(error).splitlines()
    old = list(dict.fromkeys(str(key) for scenario in scenarios for key in scenario.old_keys))
    if old:
        more = f" ({len(old) - 1} more like it)" if len(old) > 1 else ""
        print(f"{old[0]}{more}; `callerside migrate` rewrites the files", file=sys.stderr)
    try:
        problems += _beyond_engines(scenarios, given.engine, given.caller_engine)
    except EngineUnavailableError as error:
        return _bad_input(error)
    for line in warned:
        print(f"{line} (a warning)", file=sys.stderr)
    if problems:
        return _bad_input("\n".join(problems))
    if given.strict and warned:
        return EXIT_BAD_INPUT
    print(f"{len(scenarios)} scenario{'s are' if len(scenarios) != 1 else ' is'} well-formed")
    return EXIT_FINE


def _beyond_engines(
    scenarios: Sequence[Scenario], agents: EngineChoice | None, callers: EngineChoice | None
) -> list[str]:
    """What the engines of a run could not do; those that nobody has named are looked for last.

    Raises:
        EngineUnavailableError: one that was named is not here. Without a name nothing is said
            then: there are runs without an engine.
    """
    is_named = bool(agents or callers)
    if not is_named and not any(
        True for one in PROFILES for _ in missing(scenarios, agent=one, caller=one)
    ):
        return []
    agent, caller = agents or "auto", callers or agents or "auto"
    try:
        return list(missing(scenarios, agent=_judge(agent), caller=_judge(caller)))
    except EngineUnavailableError:
        if is_named:
            raise
        return []


def _judge(choice: EngineChoice) -> EngineName:
    return resolve(choice) if choice == "auto" else choice


def _bad_input(error: object) -> int:
    print(error, file=sys.stderr)
    return EXIT_BAD_INPUT
