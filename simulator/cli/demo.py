"""`callerside demo`: one call, from nothing to its page."""

import argparse
import os
import sys
import webbrowser
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

from callerside.agent.telephony.engines import EngineUnavailableError, resolve
from callerside.interrupts import EXIT_INTERRUPTED
from callerside.simulator.cli.run import play, show, write_report
from callerside.simulator.lanes.planned_call import Lane
from callerside.simulator.runner.run import RunOptions

if TYPE_CHECKING:
    from rich.console import Console

_CALL = "harbour.yaml"

_NEXT = """\
What you saw: a scripted caller rang the agent, heard the beep and the greeting, asked something
that needed a function, and interrupted the answer. The page has both voices, and where the time
went: {page}

Next:
  callerside new my_call                     a scenario of your own, with comments
  callerside run my_call                     the call, the numbers, the page: of callerside's agent
  callerside new theirs --agent              a scenario for an agent of your own, and
  callerside run theirs --agent sip:100@..   the call to it
  callerside doctor                          what this machine has for calls, and lacks"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.description = (
        "Places one call on this machine: our agent, a scripted caller, a server that "
        "plays the model. Takes some 20 seconds; needs no file, no key, no network."
    )
    parser.add_argument("--out", type=Path, default=Path("out"), help="default: out")
    parser.add_argument(
        "--no-open", action="store_true", help="print where the page is; no browser"
    )
    parser.set_defaults(command=_demo)


def _demo(given: argparse.Namespace) -> int:
    from callerside.simulator.cli.terminal import Terminal

    console = Terminal(highlight=False, soft_wrap=not sys.stdout.isatty())
    lane = _lane(console)
    with as_file(files("callerside.simulator.demo") / _CALL) as path:
        options = RunOptions(paths=[path], lane=lane, jobs=1, out=given.out)
        done = play(options, console)
    report = write_report(done, options, "callerside demo")
    show(console, done, options, report)
    if done.interrupted:
        return EXIT_INTERRUPTED
    page = done.directory.parent / "latest" / "index.html"
    console.print()
    console.print(_NEXT.format(page=page), markup=False)
    if not given.no_open and _has_browser():
        webbrowser.open(page.resolve().as_uri())
    return report.outcome.exit_code


def _lane(console: "Console") -> Lane:
    try:
        resolve("auto")
    except EngineUnavailableError as error:
        console.print(f"No SIP here, so the call is made in memory ({error})", markup=False)
        return "virtual"
    return "sip"


def _has_browser() -> bool:
    """Whether there is somebody who would see one: a terminal, on a machine with a screen."""
    has_screen = sys.platform == "darwin" or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    return sys.stdout.isatty() and has_screen
