"""When the machine stood still while tests were played, as the watcher of a run tells it.

One watches for all processes of the tests: it wakes 250 times a second on each processor.
"""

import json
import subprocess
from pathlib import Path

from callerside.child_processes import command
from callerside.reports.verdict.machine import TRUSTED_LAG_MS


class Watcher:
    """Writes what it sees to a file, until it is closed."""

    def __init__(self, told: Path) -> None:
        with told.open("wb") as file:
            self._process = subprocess.Popen(
                command("callerside.simulator.lanes.sip.scheduler_stalls"),
                stdin=subprocess.PIPE,
                stdout=file,
            )

    def close(self) -> None:
        """Stop watching."""
        with self._process:
            self._process.kill()


class Stalls:
    """What such a file tells, whoever has it written."""

    def __init__(self, told: Path) -> None:
        self._told = told
        self._read = 0
        self._last_ns = 0

    def since(self, at_ns: int) -> bool:
        """Whether there was a stall that matters."""
        with self._told.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._read += len(line)
                if line.startswith(b"{"):
                    stall = json.loads(line)
                    if stall["late_ms"] > TRUSTED_LAG_MS:
                        self._last_ns = stall["at_ns"]
        return self._last_ns >= at_ns
