"""`callerside doctor`: what this machine lacks for calls, and where a call to an agent fails."""

import argparse
import os
import sys
from pathlib import Path

from callerside.simulator.cli.run import sip_uri
from callerside.simulator.doctor.findings import Finding, State, lines
from callerside.simulator.doctor.machine import examine
from callerside.simulator.doctor.reach import reach
from callerside.simulator.lanes.sip.account import PASSWORD, AccountError, load
from callerside.simulator.runner.selection import RunError

EXIT_FINE, EXIT_IN_THE_WAY = 0, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.description = (
        "Without an address: what this machine has for calls (engines, voices, ports, "
        "cores, stalls), what is missing, and the line that installs it. With one: calls it for a "
        "few seconds, and says where it fails, with what came and went: name, transport, "
        "registration, answer, codec, address, sound."
    )
    parser.epilog = "Exit codes: 0 nothing is in the way; 1 something is; 2 could not look."
    parser.add_argument("uri", nargs="?", metavar="URI", type=sip_uri, help="sip:number@host")
    parser.add_argument(
        "--account",
        type=Path,
        metavar="FILE",
        help=f"the caller's SIP account (docs/your-agent.md); its password: {PASSWORD}",
    )
    parser.set_defaults(command=_command, needs_the_extra=False)


def _command(given: argparse.Namespace) -> int:
    """Look, and tell what was found; it needs no extra."""
    if given.uri is None:
        if given.account:
            raise RunError("--account is for a call: expected the address of an agent with it")
        if sys.stdout.isatty():
            print("Looking at this machine for two seconds ...", flush=True)
        return _told(examine())
    try:
        account = load(given.account, os.environ)
    except AccountError as error:
        raise RunError(str(error)) from None
    if sys.stdout.isatty():
        print(f"Calling {given.uri} ...", flush=True)
    return _told(reach(given.uri, account))


def _told(findings: list[Finding]) -> int:
    print("\n".join(lines(findings)))
    is_bad = any(one.state is State.BAD for one in findings)
    return EXIT_IN_THE_WAY if is_bad else EXIT_FINE
