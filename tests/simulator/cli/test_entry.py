"""The command `callerside` of a plain install, which lacks what the harness needs."""

import subprocess
import sys
from importlib.metadata import version

from callerside.agent.telephony.engines import sentence

WITHOUT = """\
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] == MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from callerside.simulator.cli.entry import main
sys.exit(main())
"""


def begun(missing: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    text = f"MISSING = {missing!r}\n{WITHOUT}"
    command = [sys.executable, "-c", text, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_what_is_missing_and_its_extra_are_one_line_and_the_engines_another() -> None:
    for missing in ("jinja2", "rich"):
        done = begun(missing, "doctor")
        assert done.returncode == 2
        assert done.stderr.startswith(f"{missing} is not installed: ")
        assert done.stderr.endswith(f"pip install 'callerside[sim]'\n{sentence()}\n")
        assert done.stderr.count("\n") == 2


def test_the_version_and_the_engines_are_told_all_the_same() -> None:
    done = begun("jinja2", "--version")
    assert done.returncode == 0
    assert done.stdout == f"callerside {version('callerside')}\n{sentence()}\n"


def test_where_nothing_is_missing_the_command_runs() -> None:
    done = begun("nothing_of_that_name", "--help")
    assert done.returncode == 0
    assert "demo" in done.stdout
