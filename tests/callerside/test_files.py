"""What is no file ends every command that is given it in one line, at once."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import callerside.agent.cli
import callerside.fakes.cli
import callerside.simulator.cli.main
from callerside import files
from callerside.fakes.recording.format import RecordingError, read_recording
from callerside.files import read_bytes, read_text, regular

Main = Callable[[list[str]], object]

COMMANDS: list[tuple[Main, str]] = [
    (callerside.simulator.cli.main.main, "check pipe.yaml"),
    (callerside.simulator.cli.main.main, "run pipe.yaml"),
    (callerside.simulator.cli.main.main, "list pipe.yaml"),
    (callerside.simulator.cli.main.main, "check by_name"),
    (callerside.simulator.cli.main.main, "check"),
    (callerside.simulator.cli.main.main, "knee pipe.yaml"),
    (callerside.simulator.cli.main.main, "compare pipe.yaml pipe.yaml"),
    (callerside.simulator.cli.main.main, "report run"),
    (callerside.fakes.cli.main, "serve --script pipe.yaml"),
    (callerside.fakes.cli.main, "serve --recording pipe.yaml"),
    (callerside.fakes.cli.main, "inspect pipe.yaml"),
    (callerside.fakes.cli.main, "inspect pipe.realtime"),
    (callerside.fakes.cli.main, "convert pipe.yaml --to x"),
    (callerside.agent.cli.main, "serve --config pipe.yaml"),
    (callerside.agent.cli.main, "greet --config pipe.yaml"),
    (callerside.agent.cli.main, "kamailio --config pipe.yaml --listen 192.0.2.1 --out x"),
]


@pytest.mark.parametrize(("main", "command"), COMMANDS, ids=[words for _, words in COMMANDS])
def test_a_named_pipe_is_one_line_and_no_wait(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    main: Main,
    command: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("scenarios").mkdir()
    Path("run").mkdir()
    pipes = ("pipe.yaml", "pipe.realtime", "scenarios/by_name.yaml", "run/timeline.jsonl")
    for pipe in pipes:
        os.mkfifo(pipe)
    try:
        code = main(command.split())
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "it is no file, but a named pipe" in line
    assert any(f"{pipe}: " in line for pipe in pipes)


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert regular(tmp_path / "file") == tmp_path / "file"
    assert regular(tmp_path) == tmp_path  # whoever opens it says what is wrong
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
    for name, kind in (("pipe", "named pipe"), ("link", "named pipe"), ("socket", "socket")):
        with pytest.raises(OSError, match=f"it is no file, but a {kind}"):
            regular(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        regular(tmp_path / "nothing")


def test_what_a_shell_hands_over_is_read(tmp_path: Path) -> None:
    script = "from pathlib import Path; from callerside.files import regular; import sys\n"
    script += "print(regular(Path(sys.argv[1])).read_text())"
    run = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -c "$0" <(echo hello)', script],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert run.stdout.strip() == "hello"
    assert regular(Path("/dev/null")).read_text() == ""


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/full"])
def test_a_device_was_not_handed_over(name: str) -> None:
    with pytest.raises(OSError, match="it is no file, but a device"):
        regular(Path(name))


def test_a_pipe_below_dev_is_a_pipe() -> None:
    shared = Path("/dev/shm")  # noqa: S108 - what lies there is what this is about
    if not os.access(shared, os.W_OK):
        pytest.skip("nothing can be made below /dev here")
    pipe = shared / f"callerside-test-{os.getpid()}.wav"
    os.mkfifo(pipe)
    try:
        with pytest.raises(OSError, match="it is no file, but a named pipe"):
            regular(pipe)
    finally:
        pipe.unlink()


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"])
def test_what_is_no_name_of_any_file(name: str) -> None:
    with pytest.raises(OSError, match="no file can have this name"):
        regular(Path(name))


def test_no_more_is_read_than_there_may_be(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"12345\r\n")
    assert read_bytes(file, at_most=7) == b"12345\r\n"
    assert read_text(file) == "12345\n"
    with pytest.raises(OSError, match="larger than 6 bytes"):
        read_bytes(file, at_most=6)


def test_what_has_no_end_is_given_up() -> None:
    script = "from pathlib import Path; from callerside.files import read_bytes; import sys\n"
    script += "read_bytes(Path(sys.argv[1]), at_most=1_000_000)"
    run = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -c "$0" <(yes)', script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "larger than 1000000 bytes: '/dev/fd/" in run.stderr


def test_a_recording_that_is_larger_than_any_is_told_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "large.realtime"
    with path.open("wb") as file:
        file.truncate(files.MOST_BYTES + 1)  # takes no room on the disk
    with pytest.raises(RecordingError, match=r"large\.realtime: cannot be read: larger than 5368"):
        read_recording(path)


NO_NAMES: list[tuple[Main, str]] = [
    (callerside.simulator.cli.main.main, "new {}"),
    (callerside.simulator.cli.main.main, "new {}/x"),
    (callerside.simulator.cli.main.main, "check {}"),
    (callerside.simulator.cli.main.main, "check {}/"),
    (callerside.simulator.cli.main.main, "list {}"),
    (callerside.simulator.cli.main.main, "run {}"),
    (callerside.simulator.cli.main.main, "knee {}"),
    (callerside.simulator.cli.main.main, "compare {0} {0}"),
    (callerside.simulator.cli.main.main, "report {}"),
    (callerside.simulator.cli.main.main, "say hi -o {}.wav"),
    (callerside.fakes.cli.main, "inspect {}"),
    (callerside.fakes.cli.main, "serve --script {}"),
    (callerside.agent.cli.main, "serve --config {}"),
]


@pytest.mark.parametrize(("main", "command"), NO_NAMES, ids=[words for _, words in NO_NAMES])
def test_a_name_longer_than_any_can_be_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    main: Main,
    command: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("scenarios").mkdir()
    try:
        code = main(command.format("a" * 300).split())
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert any(
        told in line
        for told in ("File name too long", "it has 300 letters", "there is no such file or folder")
    )
