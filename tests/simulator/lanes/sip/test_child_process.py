"""Child processes: ready or a clear error, and none is left behind."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from callerside.simulator.lanes.sip import child_process
from callerside.simulator.lanes.sip.child_process import ChildProcess, ProcessError


def child(tmp_path: Path, code: str, lines: list[str] | None = None) -> ChildProcess:
    return ChildProcess(
        "child",
        [sys.executable, "-c", code],
        log_path=tmp_path / "child.log",
        environment=dict(os.environ),
        on_line=lines.append if lines is not None else None,
    )


SERVES = """
import sys
print("ready here", flush=True)
for line in sys.stdin:
    print("heard", line.strip(), flush=True)
    print("logged", line.strip(), file=sys.stderr, flush=True)
"""


async def test_it_is_ready_talks_and_stops(tmp_path: Path) -> None:
    lines: list[str] = []
    process = child(tmp_path, SERVES, lines)
    await process.start()
    assert process.ready_line == "ready here"
    process.send_line("hello")
    while not (lines and process.log_tail):  # noqa: ASYNC110 - it is the reader that is tested
        await asyncio.sleep(0.005)
    await process.stop()
    assert lines == ["heard hello"]
    assert process.last_words() == "logged hello"
    assert (tmp_path / "child.log").read_text() == "logged hello\n"
    assert process.exit_code == -15
    assert not process.died.is_set()


async def test_one_that_exits_before_it_is_ready_is_named_with_its_last_words(
    tmp_path: Path,
) -> None:
    process = child(tmp_path, "import sys; sys.exit('port 5060 is taken')")
    with pytest.raises(ProcessError, match="child exited with 1: port 5060 is taken"):
        await process.start()


async def test_one_that_never_gets_ready_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_process, "READY_TIMEOUT_S", 0.2)
    process = child(tmp_path, "import time; time.sleep(60)")
    with pytest.raises(ProcessError, match="did not get ready: it logged nothing"):
        await process.start()
    assert process.exit_code == -15


async def test_one_that_ignores_sigterm_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_process, "STOP_TIMEOUT_S", 0.2)
    ignore = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    process = child(tmp_path, ignore + SERVES)
    await process.start()
    assert await process.stop() == -9


async def test_a_death_is_noticed(tmp_path: Path) -> None:
    process = child(tmp_path, "print('ready', flush=True); raise SystemExit(3)")
    await process.start()
    await asyncio.wait_for(process.died.wait(), 10)
    assert process.exit_code == 3
    process.send_line("nobody hears this")
    assert await process.stop() == 3
