"""What only Linux has is asked of Linux alone; elsewhere the virtual lane plays all the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from callerside import host

ELSEWHERE = """
import asyncio, os, select, subprocess, sys
import jinja2, msgspec, numpy, psutil, pydantic, rich.console, rich.live, soundfile, soxr
import structlog, websockets.asyncio.client, yaml, zoneinfo
for name in ("fcntl", "resource", "grp", "pwd", "spwd", "termios", "pty", "pjsua2", "baresip"):
    sys.modules[name] = None
for name in [each for each in dir(os) if each.startswith(("sched_", "SCHED_"))]:
    delattr(os, name)
for name in [each for each in dir(select) if each.lower().startswith("epoll")]:
    if name == "epoll":
        del select.epoll
sys.platform = "darwin"
from callerside.simulator.cli.main import main
sys.exit(main())
"""
LIBRARY = Path(__file__).resolve().parents[2] / "scenarios"


def test_this_process_has_processors() -> None:
    assert host.processors()
    assert set(host.processors()) <= set(range(os.cpu_count() or 1))


def test_elsewhere_nothing_is_asked_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "IS_LINUX", False)
    for name in ("sched_getaffinity", "sched_setaffinity", "sched_setscheduler"):
        monkeypatch.delattr(os, name)
    assert host.processors() == list(range(os.cpu_count() or 1))
    assert not host.hurry(10)
    host.bind(0)
    host.give_way(19)


def test_a_process_that_is_gone_is_preferred_by_nobody() -> None:
    host.prefer(2**22 + 1, 0)
    assert host.scheduled_ns(2**22 + 1) is None


def test_the_virtual_lane_needs_no_linux(tmp_path: Path) -> None:
    """A call is loaded, checked, played, judged and reported without what Linux alone has."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            ELSEWHERE,
            "run",
            str(LIBRARY / "first_call.yaml"),
            "--lane",
            "virtual",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out" / "latest" / "index.html").is_file()


def test_files_of_processes_that_have_ended_unseen_do_not_pile_up(tmp_path: Path) -> None:
    def open_ones() -> int:
        return len([one for one in Path("/proc/self/fd").iterdir() if one.is_symlink()])

    for number in range(80):
        (tmp_path / str(number)).write_text(str(number))
    before = open_ones()
    for number in range(80):
        assert host._read_again(str(tmp_path / str(number))) == str(number).encode()
    assert open_ones() - before <= 65
    assert host._read_again(str(tmp_path / "0")) == b"0"
