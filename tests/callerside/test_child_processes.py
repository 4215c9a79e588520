"""Our children, started in the folder of a project that has modules named as Python's own are.

Those of a calibration are in tests/e2e/test_calibrate_calls.py, which takes half a minute.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent_rig import Agent
from shadows import TOLD, write_shadows

from callerside.child_processes import ONE_THREAD
from callerside.simulator.lanes.sip.scheduler_stalls import StallWatch
from callerside.simulator.runner.process_pool import process_pool

ROOT = Path(__file__).resolve().parents[2]
BEGIN_CHILDREN = {
    "callerside/child_processes.py",
    "simulator/lanes/sip/nursery.py",
    "simulator/runner/process_pool.py",
}
BEGINS_ITSELF = {"callerside/files.py"}
"""A command that starts itself again, as it was started."""
SCENARIO = """\
about: A call that goes well, in either lane.
agent: {greeting: {enabled: false}, tools: {module: shop}}
steps: [{expect: beep}, hang_up]
"""
TOOLS = '''\
"""A module of tools, which is looked for in the working directory."""

def opening_hours(day: str) -> str:
    """When the shop is open."""
    return f"{day}: nine to five"
'''

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_shadows(tmp_path)
    (tmp_path / "shop.py").write_text(TOOLS)
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / "call.yaml").write_text(SCENARIO)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(project: Path) -> Run:
    def command(*arguments: str, codes: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [Path(sys.executable).with_name("callerside"), *arguments],
            env={**os.environ, "XDG_STATE_HOME": str(project / "state")},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode in codes, done.stdout + done.stderr
        assert TOLD not in done.stderr
        return done

    return command


def test_every_child_is_started_in_one_of_three_places() -> None:
    rooms = ("agent", "callerside", "fakes", "reports", "simulator")
    starting = {
        str(path.relative_to(ROOT))
        for room in rooms
        for path in (ROOT / room).rglob("*.py")
        if any(word in path.read_text() for word in ("sys.executable", "multiprocessing"))
    }
    assert {path for path in starting if path.split("/")[1] not in rooms} == (
        BEGIN_CHILDREN | BEGINS_ITSELF | {"simulator/runner/interruption.py"}  # which ends them
    )


def test_in_memory_with_a_process_that_judges(run: Run) -> None:
    run("run", "scenarios", "--lane", "virtual", "--repeat", "10")


def test_fuzzing_with_several_processes(run: Run) -> None:
    run("fuzz", "--seeds", "5", "--jobs", "2")


def test_what_a_pool_computes_may_be_defined_in_the_working_directory(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(project))
    import shop  # type: ignore[import-not-found]

    before = list(sys.path), dict(os.environ)
    with process_pool(1) as pool:
        assert pool.submit(shop.opening_hours, "Friday").result(60) == "Friday: nine to five"
    assert (list(sys.path), dict(os.environ)) == before


COMPUTES = """
import sys, time
from callerside.simulator.runner.process_pool import process_pool

if __name__ == "__main__":
    pool = process_pool(2)
    pool.submit(abs, -1).result()
    print(*pool._processes, flush=True)
    time.sleep(60)
"""


def test_who_computes_ends_with_a_process_that_was_killed(tmp_path: Path) -> None:
    program = tmp_path / "computes.py"
    program.write_text(COMPUTES)
    environment = {**os.environ, ONE_THREAD: "1"}
    with subprocess.Popen(
        [sys.executable, "-P", program], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        computing = [int(pid) for pid in process.stdout.readline().split()]
        process.kill()
    assert computing
    end_s = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in computing):
        assert time.monotonic() < end_s, computing
        time.sleep(0.05)


@pytest.mark.e2e
def test_over_sip_with_the_callers_and_the_agents_process(run: Run) -> None:
    run("run", "scenarios", codes=(0, 2))


@pytest.mark.usefixtures("project")
async def test_the_watcher_of_stalls() -> None:
    async with StallWatch() as watch:
        assert watch._process is not None
        with pytest.raises(TimeoutError):  # it goes on
            await asyncio.wait_for(watch._process.wait(), 0.5)


@pytest.fixture
def agent(project: Path) -> Iterator[Agent]:
    agent = Agent(
        project,
        {"realtime": {"url": "ws://127.0.0.1:9/v1/realtime"}, "tools": {"module": "shop"}},
        *("--workers", "2"),
        runner=[sys.executable, "-P", "-m"],
    )
    yield agent
    agent.close()


@pytest.mark.e2e
def test_workers_of_an_agent(agent: Agent) -> None:
    assert len(agent.addresses) == 2
    assert agent.get("/readyz")[0] == 200


ORPHAN = """
import os, subprocess, sys
from callerside.child_processes import END_WITH_INPUT, end_with_parent
if sys.argv[1] == "asked":
    os.environ[END_WITH_INPUT] = "1"
end_with_parent()
shell = subprocess.run(["sh", "-c", "sleep 0.2 >/dev/null & echo $!"], capture_output=True)
try:
    print(os.wait()[0] == int(shell.stdout), flush=True)
except ChildProcessError:
    print("nobody's child of ours", flush=True)
os._exit(0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a subreaper is Linux's")
@pytest.mark.parametrize(("how", "told"), [("asked", "True"), ("", "nobody's child of ours")])
def test_a_child_of_a_run_is_the_parent_of_what_its_own_children_leave_behind(
    how: str, told: str
) -> None:
    """So that whatever it has started is known to be its own (`cpu_wait`)."""
    with subprocess.Popen(
        [sys.executable, "-c", ORPHAN, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.read().decode().strip() == told
