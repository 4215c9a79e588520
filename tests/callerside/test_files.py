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
from callerside.files import regular

Main = Callable[[list[str]], object]

COMMANDS: list[tuple[Main, str]] = [
    (callerside.simulator.cli.main.main, "check pipe.yaml"),
    (callerside.simulator.cli.main.main, "run pipe.yaml"),
    (callerside.simulator.cli.main.main, "list pipe.yaml"),
    (callerside.simulator.cli.main.main, "check by_name"),
    (callerside.simulator.cli.main.main, "check"),
    (callerside.simulator.cli.main.main, "knee pipe.yaml"),
    (callerside.simulator.cli.main.main, "compare pipe.yaml pipe.yaml"),
    (callerside.simulator.cli.main.main, "bench pipe.yaml"),
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
    script = "from pathlib import Path; from agent.files import regular; import sys\n"
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
