"""A reload that is asked for while the process starts neither ends it nor is forgotten."""

import subprocess
import sys

_ASKED_AT_ONCE = """
import os, signal
from callerside.agent.service.early_reloads import reload_was_asked_for, remember_reloads
remember_reloads()
os.kill(os.getpid(), signal.SIGHUP)
print(reload_was_asked_for(), reload_was_asked_for())
"""


def test_a_reload_that_is_asked_for_at_once_waits_and_is_done_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ASKED_AT_ONCE],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "True False\n"), done.stderr
