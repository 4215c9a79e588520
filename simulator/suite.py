"""`suite.yaml` in a folder of scenarios: what all of them have in common.

What a scenario says itself goes before what its suite says, mapping by mapping.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError, create_model

from agent.settings import merge
from simulator import yaml_source
from simulator.explain import explain
from simulator.scenario import Scenario
from simulator.strict import Strict

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


def over_suite(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A scenario's data over that of the suite in its folder, if there is one.

    Raises:
        SuiteError: the suite's mistakes.
    """
    path = folder / SUITE_FILE
    return merge(_read(path), data) if path.is_file() else dict(data)


def _read(path: Path) -> dict[str, Any]:
    try:
        source = yaml_source.read(path)
    except yaml_source.YamlError as error:
        raise SuiteError(str(error)) from None
    try:
        Suite.model_validate(source.data)
    except ValidationError as error:
        raise SuiteError("\n".join(explain(error, source, Suite))) from None
    return dict(source.data)
