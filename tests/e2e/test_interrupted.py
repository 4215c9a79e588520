"""Ctrl-C during a run: calls end politely, what was played is reported; twice leaves at once."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from callerside.timelines import read_timeline

SCENARIO = """\
version: 2
about: A caller hears the beep, and waits.
agent: {greeting: {enabled: false}}
steps: [{expect: beep}, {pause: LENGTH}, hang_up]
time_limit: 10min
"""
WAIT_S = 60.0


@contextlib.contextmanager
def begin(folder: Path, *arguments: str, calls: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    (folder / "scenarios").mkdir()
    for name, length in calls.items():
        text = SCENARIO.replace("LENGTH", length)
        (folder / "scenarios" / f"{name}.yaml").write_text(text)
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "callerside.simulator.cli", "run", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as run:
        try:
            yield run
        finally:
            run.kill()


def until(run: subprocess.Popen[str], true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def results(folder: Path) -> dict[str, object]:
    data: dict[str, object] = json.loads((folder / "out/latest/results.json").read_text())
    return data


def children_of(pid: int) -> list[int]:
    """Its own, and theirs."""
    own = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*own, *(grandchild for child in own for grandchild in children_of(child))]


def test_calls_over_sip_are_hung_up_and_the_others_reported(tmp_path: Path) -> None:
    with begin(tmp_path, "--jobs", "2", calls={"short": "100ms", "long": "5min"}) as run:
        assert run.stdout is not None
        assert "1/2  played  short" in run.stdout.readline()
        until(run, lambda: any(tmp_path.glob("out/2*/work/agent/long-*.jsonl")))
        assert not any(tmp_path.glob("out/2*/calls/short/call.json")), "judged when none is up"
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does: everybody in the group gets it
        out, err = run.communicate(timeout=WAIT_S)
        assert run.returncode == 130, (out, err)
        assert "interrupted: 1 of 2 calls were played" in out
        assert "once more to leave at once" in err
        data = results(tmp_path)
        assert [one["name"] for one in data["scenarios"]] == ["short"]  # type: ignore[attr-defined]
        assert data["run"]["failure"] == "interrupted: 1 of 2 calls were played"  # type: ignore[index]
        (agent,) = tmp_path.glob("out/2*/work/agent/long-*.jsonl")
        ended = read_timeline(agent)[-1]
        assert (ended.name, ended.fields["by"]) == ("call_ended", "caller")  # by its BYE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_call_in_memory_is_played_to_its_end_and_reported(tmp_path: Path, number: int) -> None:
    calls = {f"call_{number}": "3min" for number in range(20)}
    with begin(tmp_path, "--lane", "virtual", calls=calls) as run:
        until(run, lambda: any(tmp_path.glob("out/2*/calls/*/timeline.jsonl")))
        os.killpg(run.pid, number)  # as `timeout` does: the processes that play get it, too
        out, err = run.communicate(timeout=WAIT_S)
        assert run.returncode == 130, (out, err)
        told = results(tmp_path)["scenarios"]
        played = list(tmp_path.glob("out/2*/calls/*/timeline.jsonl"))
        assert isinstance(told, list)
        assert 0 < len(told) == len(played) < 20, err
        for name in ("index.html", "junit.xml"):
            assert (tmp_path / "out/latest" / name).exists()


def test_a_run_whose_playing_process_is_killed_reports_what_was_judged(tmp_path: Path) -> None:
    calls = {f"call_{number}": "9min" for number in range(20)}
    with begin(tmp_path, "--lane", "virtual", calls=calls) as run:
        until(run, lambda: any(tmp_path.glob("out/2*/calls/*/timeline.jsonl")))
        os.kill(children_of(run.pid)[0], signal.SIGKILL)
        out, err = run.communicate(timeout=WAIT_S)
        assert run.returncode == 2, (out, err)
        assert "Traceback" not in err
        assert "a process that plays and judges has died" in out
        told = results(tmp_path)["scenarios"]
        assert isinstance(told, list)
        assert len(told) < 20
        assert f"{len(told)} of 20 calls were judged" in out


@pytest.mark.parametrize("lane", ["sip", "virtual"])
def test_a_second_one_leaves_at_once_and_leaves_nobody_behind(tmp_path: Path, lane: str) -> None:
    calls = {f"call_{number}": "9min" for number in range(20)}
    with begin(tmp_path, "--lane", lane, calls=calls) as run:
        where = "work/agent/*.jsonl" if lane == "sip" else "calls/*/timeline.jsonl"
        until(run, lambda: any(tmp_path.glob(f"out/2*/{where}")))
        children = children_of(run.pid)
        assert children
        os.killpg(run.pid, signal.SIGINT)
        assert run.stderr is not None
        assert "once more" in run.stderr.readline()
        os.killpg(run.pid, signal.SIGINT)
        assert run.wait(WAIT_S) == 130
        assert not run.stderr.read(), "until the last of its processes has gone"
        assert not (tmp_path / "out/latest").exists()
        deadline = time.monotonic() + WAIT_S
        while any(Path(f"/proc/{child}").exists() for child in children):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_run_that_is_killed_leaves_nobody_behind(tmp_path: Path) -> None:
    with begin(tmp_path, calls={"one": "9min"}) as run:
        until(run, lambda: any(tmp_path.glob("out/2*/work/agent/*.jsonl")))
        children = children_of(run.pid)
        assert len(children) >= 3, "an agent, a caller, a server"
        run.kill()
        run.wait(WAIT_S)
        deadline = time.monotonic() + WAIT_S
        while any(is_alive(child) for child in children):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_server_that_has_died_is_named_and_blamed_on_no_agent(tmp_path: Path) -> None:
    with begin(tmp_path, "--jobs", "1", calls={"one": "9min", "two": "1s"}) as run:
        until(run, lambda: any(tmp_path.glob("out/2*/work/agent/*.jsonl")))
        (server,) = [child for child in children_of(run.pid) if name_of(child) == "fake-realtime"]
        os.kill(server, signal.SIGKILL)
        out, err = run.communicate(timeout=WAIT_S)
        assert run.returncode == 2, (out, err)
        assert "fake-realtime died with exit code -9" in out
        assert "the agent ended the call" not in out


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def is_alive(pid: int) -> bool:
    """Whoever has lost his parent may stay as a zombie until somebody else takes him in."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
