"""Runs while other work wants every processor: `python tests/support/disturbed.py 5 COMMAND ...`.

Runs the command so many times in a row, such as `nox -s scenarios`, while each processor is wanted
for 30 ms of each 150 (`simulator/calibration/burner.py`). Prints the exit code and the length of
each; ends with 1 if one of them did not end with 0.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from callerside import host
from callerside.child_processes import command

PLANTED = Path(__file__).parent / "planted"


@contextlib.contextmanager
def disturbance() -> Iterator[None]:
    """Other work, for as long as it is open."""
    with contextlib.ExitStack() as running:
        for processor in host.processors():
            burner = running.enter_context(
                subprocess.Popen(
                    command("callerside.simulator.calibration.burner", str(processor)),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )
            running.callback(burner.kill)
            assert burner.stdout is not None
            assert burner.stdout.readline() == b"ready\n"
        yield


def with_bug(name: str) -> Mapping[str, str]:
    """The environment of a run whose agent has a bug of `planted_bugs`."""
    return {**os.environ, "PYTHONPATH": str(PLANTED), "PLANTED_BUG": name}


def main() -> int:
    """Run a command several times, disturbed."""
    times, asked = int(sys.argv[1]), sys.argv[2:]
    codes = []
    with disturbance():
        for number in range(1, times + 1):
            begun_s = time.monotonic()
            codes.append(subprocess.run(asked, check=False).returncode)
            took_s = time.monotonic() - begun_s
            told = f"run {number} of {times}: exit {codes[-1]} after {took_s:.0f} s"
            print(told, flush=True)  # noqa: T201 - a command line
    return 1 if any(codes) else 0


if __name__ == "__main__":
    sys.exit(main())
