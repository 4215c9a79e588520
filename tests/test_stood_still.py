"""When the machine stood still, as tests of calls ask: one watcher tells all processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from stood_still import Stalls, Watcher

from callerside.reports.verdict.machine import TRUSTED_LAG_MS

CONFTEST = Path(__file__).with_name("conftest.py")
SUPPORT = Path(__file__).parent / "support"
INI = f"[pytest]\npythonpath = {SUPPORT}\nmarkers =\n    alone: as ours\n    e2e: as ours\n"
TESTS = """\
import json
import os
import time
from pathlib import Path
import pytest

@pytest.mark.e2e
@pytest.mark.parametrize("stalls", [False, True], ids=["calm", "stalls"])
def test_fails_once(request, tmp_path, stalls):
    played = Path(f"{os.environ['WHERE']}-{request.node.name}")
    if not played.exists():
        played.touch()
        if stalls:
            (told,) = Path(os.environ["WHERE"]).parent.rglob("stalls")
            with told.open("ab") as file:
                line = {"late_ms": 1000.0, "at_ns": time.monotonic_ns()}
                file.write(json.dumps(line).encode() + b"\\n")
        raise AssertionError
"""

NOBODY_WATCHES = """

class Watcher:
    def __init__(self, told: Path) -> None:
        told.write_bytes(b"ready\\n")

    def close(self) -> None:
        pass
"""
"""On a machine that has other work there would be stalls beside those of the tests above."""


def line(at_ns: int, late_ms: float) -> bytes:
    return json.dumps({"at_ns": at_ns, "late_ms": late_ms}).encode() + b"\n"


def test_what_matters_is_told_as_it_comes_and_whole_lines_alone(tmp_path: Path) -> None:
    told = tmp_path / "stalls"
    told.write_bytes(b"ready\n" + line(100, TRUSTED_LAG_MS))
    stalls = Stalls(told)
    assert not stalls.since(1), "as short as it does not matter"
    with told.open("ab", buffering=0) as file:
        first = line(200, TRUSTED_LAG_MS + 1)
        file.write(first[:7])
        assert not stalls.since(1)
        file.write(first[7:])
        assert (stalls.since(200), stalls.since(201)) == (True, False)


def test_it_watches_until_it_is_closed(tmp_path: Path) -> None:
    told = tmp_path / "stalls"
    watcher = Watcher(told)
    while not told.read_bytes().startswith(b"ready\n"):
        pass
    watcher.close()


@pytest.mark.parametrize("processes", [0, 2])
def test_a_call_is_played_again_only_where_the_machine_stood_still(
    tmp_path: Path, processes: int
) -> None:
    (tmp_path / "pytest.ini").write_text(INI)
    (tmp_path / "conftest.py").write_text(CONFTEST.read_text() + NOBODY_WATCHES)
    (tmp_path / "test_it.py").write_text(TESTS)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "xdist.plugin", "-p", "pytest_rerunfailures"),
            *(
                "-n",
                str(processes),
                "--dist",
                "loadfile",
                "-rfR",
                f"--basetemp={tmp_path / 'temp'}",
            ),
        ],
        cwd=tmp_path,
        env={**kept, "WHERE": str(tmp_path / "played"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert "1 failed, 1 passed, 1 rerun" in done.stdout, done.stdout + done.stderr
    assert "FAILED test_it.py::test_fails_once[calm]" in done.stdout
    assert "RERUN test_it.py::test_fails_once[stalls]" in done.stdout
