"""Tests in several processes: what is red in one process is red in several, and who is alone is.

The last process is the one that only computes.
"""

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from side_by_side import GIVES_WAY

TESTS = Path(__file__).parent
INI = f"""\
[pytest]
addopts = --import-mode=importlib --strict-markers
pythonpath = {TESTS / "support"}
markers =
    alone: as ours
    e2e: as ours
"""
NOTES = """\
import os
import time
from pathlib import Path
import pytest

{mark}
@pytest.mark.parametrize("number", range(20))
def test_noted(number):
    began_ns = time.monotonic_ns()
    time.sleep(0.02)
    who = f'{{os.environ["PYTEST_XDIST_WORKER"]}} {{os.nice(0)}}'
    Path(f"{name}-{{number}}.told").write_text(f"{{began_ns}} {{time.monotonic_ns()}} {{who}}")
"""
FILES = {
    "test_z_crash.py": "import os\ndef test_crash(): os.abort()\ndef test_behind(): pass\n",
    "test_skip.py": "import pytest\ndef test_skip(): pytest.skip('why')\n",
    "test_others.py": NOTES.format(name="others", mark=""),
    "test_lonely.py": NOTES.format(
        name="lonely", mark="pytestmark = [pytest.mark.alone, pytest.mark.e2e]"
    ),
    "test_calls.py": NOTES.format(name="calls", mark="pytestmark = pytest.mark.e2e"),
}
PROCESSES = 3
LEAST_URGENT = 19
"""As `nice` has it: whoever starts there cannot give way to anybody."""


def test_what_is_red_is_red_all_is_reported_and_who_is_to_be_alone_is(tmp_path: Path) -> None:
    """One session for all of it, as each starts three processes and more."""
    (tmp_path / "pytest.ini").write_text(INI)
    (tmp_path / "conftest.py").write_text((TESTS / "conftest.py").read_text())
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "xdist.plugin", "-n", str(PROCESSES)),
            *("-p", "pytest_rerunfailures"),
            *("--dist", "loadfile", "--durations=0", "--junitxml=junit.xml"),
        ],
        cwd=tmp_path,
        env={**kept, "CALLERSIDE_NO_SKIPS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    told = done.stdout + done.stderr
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, told
    assert "crashed while running 'test_z_crash.py::test_crash'" in told
    assert "skipped where no test may be" in told
    assert "slowest durations" in told
    assert "2 failed, 61 passed" in told  # of the file that crashed the rest, too

    cases = list(ET.parse(tmp_path / "junit.xml").iter("testcase"))  # noqa: S314 - our own
    red = {case.get("name") for case in cases if case.find("failure") is not None}
    assert len(cases) == 63
    assert "test_skip" in red

    quiet = f"gw{PROCESSES - 1}"
    told_of = {path.name: path.read_text().split()[2:] for path in tmp_path.glob("*.told")}
    of_calls = [who for name, (who, _) in told_of.items() if not name.startswith("others-")]
    assert quiet not in of_calls
    assert quiet in {who for who, _ in told_of.values()}, "it has played what places no call"

    spans = {
        name: [(told_of[path.name][0], *told_by(path)) for path in tmp_path.glob(f"{name}-*.told")]
        for name in ("others", "lonely", "calls")
    }
    assert {name: len(found) for name, found in spans.items()} == dict.fromkeys(spans, 20)
    beside = [one for one in (*spans["others"], *spans["calls"]) if one[0] != quiet]
    for _, began, ended in spans["lonely"]:
        assert [(b, e) for _, b, e in beside if b < ended and began < e] == []

    niceness = {who: int(nice) for who, nice in told_of.values()}
    gives_way = niceness.pop(quiet)
    (others,) = set(niceness.values())
    assert gives_way == min(others + GIVES_WAY, LEAST_URGENT)


def told_by(path: Path) -> tuple[int, int]:
    began_ns, ended_ns = map(int, path.read_text().split()[:2])
    return began_ns, ended_ns
