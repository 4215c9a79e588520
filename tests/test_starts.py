"""What programs load at their start: loading is nearly all that a short command costs."""

import subprocess
import sys

import pytest

LOADED = "import sys; {}; print(*sorted(sys.modules))"
COMMAND = "from callerside.simulator.cli.main import parser; parser([{!r}])"
PARSED = {"numpy", "pydantic", "yaml"}
"""What reads a file, and what sound is computed by."""
OF_A_CALL = {"asyncio", "websockets", "callerside.agent.service", "callerside.fakes.server"}
LOGGED = {"structlog", "rich"}
OTHER_COMMANDS = {"hypothesis", "callerside.simulator.fuzz", "callerside.simulator.calibration"}
HARNESS = {"callerside.simulator", "callerside.reports"}


def loaded(code: str) -> set[str]:
    """The modules, and the packages that they are of."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", LOADED.format(code)],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("code", "at_most", "without"),
    [
        (COMMAND.format("--help"), 120, PARSED | OF_A_CALL | LOGGED | OTHER_COMMANDS),
        (COMMAND.format("report"), 520, OF_A_CALL | LOGGED | OTHER_COMMANDS | {"jinja2"}),
        (COMMAND.format("list"), 490, OF_A_CALL | LOGGED | OTHER_COMMANDS),
        (
            COMMAND.format("run"),
            670,
            (OF_A_CALL | LOGGED | OTHER_COMMANDS | {"jinja2", "h11"}) - {"asyncio"},
        ),
        ("import callerside.agent.cli", 720, HARNESS | OTHER_COMMANDS | {"callerside.fakes"}),
        ("import callerside.fakes.cli", 550, HARNESS | LOGGED | {"callerside.agent"}),
    ],
    ids=["help", "report", "list", "run", "agent", "fake"],
)
def test_a_start_loads_no_more_than_it_needs(code: str, at_most: int, without: set[str]) -> None:
    modules = loaded(code)
    assert not modules & without
    assert len(modules) <= at_most, "each costs half a millisecond, in every start"
