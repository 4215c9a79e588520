"""`suite.yaml` in a folder of scenarios: what all of them have in common.

What a scenario says itself goes before what its suite says, mapping by mapping.
"""

import os
from pathlib import Path

from pydantic import ValidationError, create_model

from callerside.models import Strict
from callerside.simulator.scenario.model import Scenario
from callerside.yaml import reader
from callerside.yaml import source as yaml_source
from callerside.yaml.errors import explain
from callerside.yaml.source import Source
from callerside.yaml.variables import merge

SUITE_FILE = "suite.yaml"
SHARED_KEYS = ("agent", "realtime", "caller", "network", "never", "budget", "time_limit", "tags")

Suite = create_model(
    "Suite",
    __base__=Strict,
    __doc__="What the scenarios of a folder have in common.",
    **{key: (Scenario.model_fields[key].annotation, Scenario.model_fields[key])
       for key in SHARED_KEYS},
)  # type: ignore[call-overload]  # fmt: skip


class SuiteError(ValueError):
    """A suite file that cannot be used: one line a mistake, each with file, line and column."""


def over_suite(scenario: Source) -> Source:
    """A scenario's data over that of the suite in its folder, if there is one.

    The suite's mistakes are among those of the scenario.
    """
    path = scenario.path.parent / SUITE_FILE
    if not os.path.lexists(path):  # what is none must be reported, and not be taken for no suite
        return scenario
    try:
        suite = reader.read(path, "scenario")
    except yaml_source.YamlError as error:
        return scenario.mistaken(str(error), unknowable=((key,) for key in SHARED_KEYS))
    mistakes = _mistakes(suite)
    if not isinstance(suite.data, dict):
        return scenario.mistaken(*mistakes, unknowable=((key,) for key in SHARED_KEYS))
    return scenario.over(suite, merge(suite.data, scenario.data)).mistaken(*mistakes)


def load_suite(path: Path) -> Source:
    """A suite's data.

    Raises:
        SuiteError: its mistakes.
    """
    try:
        source = reader.read(path, "scenario")
    except yaml_source.YamlError as error:
        raise SuiteError(str(error)) from None
    if mistakes := _mistakes(source):
        raise SuiteError("\n".join(mistakes))
    return source


def _mistakes(suite: Source) -> list[str]:
    try:
        Suite.model_validate(suite.data)
    except ValidationError as error:
        return explain(error, suite, Suite)
    return []
