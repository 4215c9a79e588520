"""Ctrl-C while a command is loaded, of each command, however it was begun."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points

import pytest

from callerside.interrupts import EXIT_INTERRUPTED, begin

MODULES = {
    "callerside.simulator.cli": "run",
    "callerside.simulator.cli.main": "list",
    "callerside.agent": "serve",
    "callerside.agent.cli": "serve",
    "callerside.fakes": "serve",
    "callerside.fakes.cli": "serve",
}
"""Each with a command that it has, for it loads what it is asked for."""
WHILE_LOADING = """\
import importlib.abc, os, runpy, signal, sys

class CtrlC(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == AT:
            os.kill(os.getpid(), signal.SIGINT)
            print("went on", flush=True)

sys.meta_path.insert(0, CtrlC())
sys.argv = ["it", ASKED, "--help"]
runpy.run_module(MODULE, run_name="__main__", alter_sys=True)
"""


def begun(module: str, at: str) -> subprocess.CompletedProcess[str]:
    text = f"MODULE, AT, ASKED = {module!r}, {at!r}, {MODULES[module]!r}\n{WHILE_LOADING}"
    command = [sys.executable, "-c", text]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("at", ["argparse", "numpy"])
@pytest.mark.parametrize("module", MODULES)
def test_ctrl_c_while_a_command_is_loaded_ends_it_without_a_word(module: str, at: str) -> None:
    done = begun(module, at)
    assert (done.returncode, done.stdout, done.stderr) == (EXIT_INTERRUPTED, "", "")


def test_the_console_scripts_begin_where_ctrl_c_is_awaited() -> None:
    ours = {
        one.name: one.value
        for one in entry_points(group="console_scripts")
        if one.value.startswith("callerside.")
    }
    assert set(ours) == {"callerside", "callerside-agent", "fake-realtime"}
    assert all(value.endswith(".entry:main") for value in ours.values()), ours


@pytest.fixture
def _sigint_put_back() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_sigint_put_back")
def test_what_a_command_lets_through_is_the_same_exit_code_and_its_own_answer_is_kept() -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    assert begin(lambda: interrupted) == EXIT_INTERRUPTED
    assert begin(lambda: lambda: 7) == 7


@pytest.mark.usefixtures("_sigint_put_back")
def test_a_command_has_pythons_own_ctrl_c_and_an_ignored_one_stays_ignored() -> None:
    seen: list[object] = []
    begin(lambda: lambda: seen.append(signal.getsignal(signal.SIGINT)))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    begin(lambda: lambda: seen.append(signal.getsignal(signal.SIGINT)))
    assert seen == [signal.default_int_handler, signal.SIG_IGN]
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_ctrl_c_as_python_ends_is_the_same_exit_code_without_a_word() -> None:
    text = (
        "import atexit, os, signal, sys\n"
        "from callerside.interrupts import begin\n"
        "atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))\n"
        "sys.exit(begin(lambda: lambda: 0))\n"
    )
    command = [sys.executable, "-c", text]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (EXIT_INTERRUPTED, "")
