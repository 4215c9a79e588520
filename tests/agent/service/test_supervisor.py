"""The adapter around the supervisor's policy, with small programs for workers."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from callerside.agent.service import supervisor as workers_module
from callerside.agent.service.http import Page
from callerside.agent.service.pages import supervisor_pages
from callerside.agent.service.supervisor import WorkerPool

WORKER = '''
"""A worker that serves its pages and tells its number and process."""
import asyncio, os, signal, sys
from pathlib import Path
from callerside.agent.service.http import HttpServer, Page

async def main(index, socket):
    if "slow" in sys.argv:
        await asyncio.sleep(60)
    loop = asyncio.get_running_loop()
    stop, reloads = asyncio.Event(), []
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: reloads.append(1))
    async def healthz():
        reachable = b"false" if "alone" in sys.argv else b"true"
        return Page(body=b'{"calls": 2, "reachable": %s}' % reachable)

    async def metrics():
        return Page(body=b"# TYPE reloads counter\\nreloads_total %d\\n" % len(reloads))

    server = HttpServer({"/healthz": healthz, "/metrics": metrics})
    await server.start_unix(Path(socket))
    if "announcing" in sys.argv:
        print("x" * 10_000, flush=True)
    print(f"ready worker {index} {os.getpid()}", flush=True)
    if "announcing" in sys.argv:
        print("y" * 10_000 + f"\\nclosed /calls/a b-{index}.jsonl\\nready again", flush=True)
    waiting = loop.run_in_executor(None, sys.stdin.read)
    await asyncio.wait([asyncio.create_task(stop.wait()), waiting],
                       return_when=asyncio.FIRST_COMPLETED)
    os._exit(0)

asyncio.run(main(sys.argv[1], sys.argv[2]))
'''

LIMIT_S = 30


class Running:
    """A pool at work."""

    def __init__(self, pool: WorkerPool) -> None:
        self.pool = pool
        self.announced: list[tuple[str, ...]] = []
        self.closed: list[Path] = []
        self.task = asyncio.create_task(pool.run())

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not true():
                assert not self.task.done(), self.task.result()
                await asyncio.sleep(0.01)

    async def all_ready(self) -> None:
        await self.until(lambda: all(w.state == "ready" for w in self.pool.policy.workers))

    def pid(self, index: int) -> int:
        return int(str(self.pool.policy.workers[index].address).split()[-1])

    async def page(self, path: str) -> Page:
        return await supervisor_pages(self.pool)[path]()


Start = Callable[..., Running]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    program = tmp_path / "worker.py"
    program.write_text(WORKER)
    started: list[Running] = []

    def start(count: int, *extra: str, source: str | None = None) -> Running:
        if source is not None:
            program.write_text(source)

        def command(index: int, socket: Path) -> Sequence[str]:
            return [sys.executable, str(program), str(index), str(socket), *extra]

        announced: list[tuple[str, ...]] = []
        closed: list[Path] = []
        pool = WorkerPool(
            count,
            command,
            drain_limit_ms=1000,
            on_ready=announced.append,
            on_timeline_closed=closed.append,
        )
        running = Running(pool)
        running.announced, running.closed = announced, closed
        started.append(running)
        return running

    yield start
    for running in started:
        running.task.cancel()
        await asyncio.gather(running.task, return_exceptions=True)


async def eventually(is_true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not await is_true():  # noqa: ASYNC110 - another process's state has no event
            await asyncio.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_what_a_worker_announces_is_passed_on_and_the_rest_of_its_output_is_not(
    start: Start,
) -> None:
    running = start(2, "announcing")
    await running.all_ready()
    await running.until(lambda: len(running.closed) == 2)
    assert set(running.closed) == {Path("/calls/a b-0.jsonl"), Path("/calls/a b-1.jsonl")}
    assert len(running.announced) == 1


async def test_from_start_to_stop(start: Start) -> None:
    running = start(2)
    await running.all_ready()
    assert len(running.announced) == 1
    assert running.announced[0][1].startswith("worker 1")
    pids = [running.pid(0), running.pid(1)]
    running.pool.stop()
    async with asyncio.timeout(LIMIT_S):
        assert await running.task == 0
    assert not any(is_alive(pid) for pid in pids)


async def test_who_dies_is_replaced_and_the_other_never_notices(start: Start) -> None:
    running = start(2)
    await running.all_ready()
    first, second = running.pid(0), running.pid(1)
    os.kill(first, signal.SIGKILL)
    await running.until(lambda: running.pool.policy.workers[0].state == "waiting")
    assert json.loads((await running.page("/readyz")).body)["workers"][0]["state"] == "waiting"
    await running.all_ready()
    assert running.pid(0) != first
    assert running.pid(1) == second
    assert (
        b'callerside_worker_restarts_total{worker="0"} 1.0' in (await running.page("/metrics")).body
    )


async def test_who_hangs_is_killed_and_replaced(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers_module, "PROBE_TIMEOUT_S", 0.2)
    monkeypatch.setattr(workers_module, "PROBE_INTERVAL_MS", 20)
    running = start(1)
    await running.all_ready()
    hung = running.pid(0)
    os.kill(hung, signal.SIGSTOP)
    await running.until(lambda: running.pool.policy.workers[0].restarts == 1)
    assert not is_alive(hung)
    await running.all_ready()


async def test_pages_of_all_workers_in_one(start: Start) -> None:
    running = start(2)
    await running.all_ready()
    os.kill(running.pid(1), signal.SIGHUP)

    async def tells(line: bytes) -> bool:
        return line in (await running.page("/metrics")).body

    await eventually(lambda: tells(b'reloads_total{worker="1"} 1.0'))
    assert await tells(b'reloads_total{worker="0"} 0.0')
    assert await tells(b'callerside_worker_up{worker="1"} 1.0')
    running.pool.reload()
    await eventually(lambda: tells(b'reloads_total{worker="0"} 1.0'))


async def test_readiness(start: Start) -> None:
    running = start(1)
    await asyncio.sleep(0)
    assert (await running.page("/readyz")).status == 503
    assert (await running.page("/healthz")).status == 200
    await running.all_ready()
    assert (await running.page("/readyz")).status == 200
    running.pool.stop()
    assert (await running.page("/readyz")).status == 503


async def test_a_pool_is_ready_when_its_registrar_knows_a_worker_and_counts_all_calls(
    start: Start,
) -> None:
    running = start(2, "alone")
    await running.all_ready()
    assert (await running.page("/readyz")).status == 503
    told = json.loads((await running.page("/healthz")).body)
    assert told["calls"] == 4
    assert [(one["calls"], one["reachable"]) for one in told["workers"]] == [(2, False)] * 2


async def test_a_worker_that_cannot_run_ends_it_all(start: Start) -> None:
    running = start(2, source="raise SystemExit(2)")
    async with asyncio.timeout(LIMIT_S):
        assert await running.task == 2


async def test_stopping_while_a_worker_starts(start: Start) -> None:
    running = start(1, "slow")
    await running.until(lambda: bool(running.pool._processes))
    running.pool.stop()
    async with asyncio.timeout(LIMIT_S):
        assert await running.task == 0
    assert not running.pool._processes


async def test_workers_do_not_outlive_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(WORKER)
    (tmp_path / "supervisor.py").write_text(f"""
import asyncio, sys
from callerside.agent.observe.logs import configure
from callerside.agent.service.supervisor import WorkerPool
configure()
def command(index, socket):
    return [sys.executable, {str(tmp_path / "worker.py")!r}, str(index), str(socket)]
pool = WorkerPool(1, command, drain_limit_ms=1000, on_ready=lambda a: print(a[0], flush=True))
asyncio.run(pool.run())
""")
    supervisor = await asyncio.create_subprocess_exec(
        sys.executable, str(tmp_path / "supervisor.py"), stdout=asyncio.subprocess.PIPE
    )
    assert supervisor.stdout is not None
    pid = int((await asyncio.wait_for(supervisor.stdout.readline(), LIMIT_S)).split()[-1])
    assert is_alive(pid)
    supervisor.kill()
    await supervisor.wait()

    async def is_gone() -> bool:
        return not is_alive(pid)

    await eventually(is_gone)


async def test_no_process_can_be_made(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise OSError("too many open files")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse)
    running = start(1)
    async with asyncio.timeout(LIMIT_S):
        assert await running.task == 2
