"""The command line where the machine lacks something: nobody reads, no room, no git."""

import subprocess
import sys
from pathlib import Path

import pytest

from callerside.simulator.cli.main import main

SCENARIO = (
    "about: A call that goes well.\nagent: {greeting: {enabled: false}}\n"
    "steps: [{expect: beep}, hang_up]\n"
)
COMMAND = [sys.executable, "-m", "callerside.simulator.cli.main"]
RUN = [*COMMAND, "run", "--lane", "virtual", "a.yaml"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.yaml").write_text(SCENARIO)
    return tmp_path


def test_a_run_of_which_nobody_reads_goes_on_and_leaves_its_report(folder: Path) -> None:
    with subprocess.Popen(
        RUN, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdout.close()
        told = run.stderr.read()
    assert (run.returncode, told) == (0, "")
    assert (folder / "out/latest/junit.xml").is_file()


def test_where_latest_is_a_folder_of_somebodys_it_stays_and_the_report_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "out/latest").mkdir(parents=True)
    (folder / "out/latest/notes.txt").write_text("mine")
    assert main(RUN[3:]) == 0
    assert (folder / "out/latest/notes.txt").read_text() == "mine"
    (report,) = folder.glob("out/*/index.html")
    assert str(report.relative_to(folder)) in capsys.readouterr().out


def test_a_run_without_git_leaves_its_report(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", str(folder))
    assert main(RUN[3:]) == 0
    assert (folder / "out/latest/results.json").is_file()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_exit_2_and_one_line(folder: Path) -> None:
    with Path("/dev/full").open("w") as full:
        check = subprocess.run(
            [*RUN, "--json"],
            cwd=folder,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert check.returncode == 2
    assert check.stderr == "cannot write what there is to tell: No space left on device\n"
