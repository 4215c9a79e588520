"""The command `callerside` of a plain install, which lacks what the harness needs."""

import subprocess
import sys
from importlib.metadata import version

import pytest

from callerside.agent.telephony.engines import sentence

WITHOUT = """\
import sys

for name in MISSING:
    sys.modules[name] = None  # as if it were not installed
from callerside.simulator.cli.entry import main
sys.exit(main())
"""
PLAIN = ("jinja2", "rich", "psutil", "hypothesis", "hibari", "onnxruntime")


def begun(missing: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    text = f"MISSING = {missing!r}\n{WITHOUT}"
    command = [sys.executable, "-c", text, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("missing", ["jinja2", "rich"])
def test_what_is_missing_and_its_extra_are_one_line_and_the_engines_another(missing: str) -> None:
    done = begun((missing,), "demo")
    assert done.returncode == 2
    assert done.stderr.startswith(f"{missing} is not installed: ")
    assert done.stderr.endswith(f"pip install 'callerside[sim]'\n{sentence()}\n")
    assert done.stderr.count("\n") == 2


def test_the_version_and_the_engines_are_told_all_the_same() -> None:
    done = begun(PLAIN, "--version")
    assert done.returncode == 0
    assert done.stdout == f"callerside {version('callerside')}\n{sentence()}\n"


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help")])
def test_a_plain_install_has_help(arguments: tuple[str, ...]) -> None:
    done = begun(PLAIN, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: callerside")


def test_the_doctor_of_a_plain_install_tells_what_is_missing_and_what_installs_it() -> None:
    done = begun(PLAIN, "doctor")
    assert (done.returncode, done.stderr) == (1, "")
    told = done.stdout.splitlines()
    (at,) = (number for number, line in enumerate(told) if " harness " in line)
    assert told[at].startswith("FAIL")
    assert told[at].endswith("jinja2, rich, psutil not installed")
    assert told[at + 1].endswith("-> pip install 'callerside[sim]'")
    assert any(" engine " in line for line in told)


def test_where_nothing_is_missing_the_command_runs() -> None:
    done = begun((), "--help")
    assert done.returncode == 0
    assert "demo" in done.stdout
