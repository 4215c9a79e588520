"""What a killed process leaves in the temporary folder: the next one takes it away."""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from callerside.agent.service.held_folders import PREFIX, held_folder, holding, remove_abandoned

HOLDER = """
import sys
from pathlib import Path
from callerside.agent.service.held_folders import held_folder, holding
with held_folder() if len(sys.argv) < 2 else holding(Path(sys.argv[1])) as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield tmp_path
    monkeypatch.setattr(tempfile, "tempdir", None)


def process(*arguments: str) -> subprocess.Popen[str]:
    started = subprocess.Popen(
        [sys.executable, "-c", HOLDER, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stdout is not None
    assert started.stdout.readline()
    return started


def left(temporary: Path) -> list[Path]:
    return list(temporary.glob(f"{PREFIX}*"))


def stop(started: subprocess.Popen[str]) -> None:
    started.communicate()
    assert started.returncode == 0


def kill(started: subprocess.Popen[str]) -> None:
    started.send_signal(signal.SIGKILL)
    started.communicate()


def test_it_is_there_as_long_as_it_is_held(temporary: Path) -> None:
    with held_folder() as folder:
        assert folder.parent == temporary
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "at-start.yaml").write_text("voice: ash")
        assert remove_abandoned() == 0
    assert left(temporary) == []


def test_what_a_killed_process_leaves_the_next_start_takes_away(temporary: Path) -> None:
    kill(process())
    assert len(left(temporary)) == 1
    with held_folder() as folder:
        assert left(temporary) == [folder]


def test_the_last_of_several_takes_it_away(temporary: Path) -> None:
    supervisor = process()
    (folder,) = left(temporary)
    workers = [process(str(folder)) for _ in range(2)]
    kill(supervisor)
    assert remove_abandoned() == 0
    stop(workers[0])
    assert left(temporary) == [folder]
    stop(workers[1])
    assert left(temporary) == []


def test_what_is_not_ours_stays(temporary: Path) -> None:
    other = temporary / "callerside-else"
    other.mkdir()
    (temporary / f"{PREFIX}link").symlink_to(other)
    (temporary / f"{PREFIX}file").touch()
    with holding(other):
        assert remove_abandoned() == 0
    assert len(list(temporary.iterdir())) == 3
