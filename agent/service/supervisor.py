"""Worker processes, signals and probes around the policy of `agent.service.supervisor_policy`.

A worker is an ordinary agent process whose ports are shifted by its number. It is connected to its
supervisor by four things only: its command line, its standard output (a `ready` line, and a
`closed` line for each timeline that is complete), its standard input (which ends when the
supervisor is gone, whereupon it drains and stops) and a Unix socket that serves its own `/healthz`
and `/metrics`.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Coroutine, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import assert_never

import structlog

from callerside.agent.service.held_folders import held_folder
from callerside.agent.service.http import FetchError, fetch_unix
from callerside.agent.service.supervisor_policy import (
    EXIT_COULD_NOT_RUN,
    PROBE_INTERVAL_MS,
    Announce,
    Finish,
    LimitStop,
    Note,
    Order,
    ReloadAsked,
    SendOrder,
    SetWorkerTimer,
    Spawn,
    Started,
    StopAsked,
    StopLimitReached,
    Supervisor,
    SupervisorEffect,
    SupervisorInput,
    WorkerExited,
    WorkerProbed,
    WorkerReady,
    WorkerTimerFired,
)
from callerside.clock import Clock
from callerside.loop_clock import LoopClock

READY = b"ready "
CLOSED = b"closed "
PROBE_TIMEOUT_S = 1.5
MAX_READY_LINE_BYTES = 4096

_SIGNALS: dict[Order, signal.Signals] = {
    "stop": signal.SIGTERM,
    "reload": signal.SIGHUP,
    "kill": signal.SIGKILL,
}
_log = structlog.get_logger(__name__)

Command = Callable[[int, Path], Sequence[str]]
"""(worker's number, path of the Unix socket it shall serve its pages on) -> its command line."""


class WorkerPool:
    """Runs the workers until it is ordered to stop."""

    def __init__(
        self,
        count: int,
        command: Command,
        *,
        drain_limit_ms: int,
        on_ready: Callable[[tuple[str, ...]], None],
        on_exit: Callable[[int], None] = lambda _pid: None,
        on_timeline_closed: Callable[[Path], None] | None = None,
    ) -> None:
        """`on_ready` is called with every worker's address, once, when all have become ready.

        `on_exit` is called with the process id of each worker that has ended, however it did, and
        `on_timeline_closed` with each timeline that a worker announces as closed.
        """
        self.policy = Supervisor(count, drain_limit_ms=drain_limit_ms)
        self._command = command
        self._on_ready = on_ready
        self._on_exit = on_exit
        self._on_timeline_closed = on_timeline_closed or (lambda _path: None)
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._folder = Path()
        self._clock: Clock
        self._done: asyncio.Future[int]

    async def run(self) -> int:
        """Start the workers and keep them until `stop`; returns the exit code."""
        loop = asyncio.get_running_loop()
        self._clock = LoopClock(loop)
        self._done = loop.create_future()
        with held_folder() as self._folder:
            self._send_order(Started())
            self._start(self._probe_for_ever())
            try:
                return await self._done
            finally:
                await self._clean_up()

    def stop(self) -> None:
        """Let the workers drain and stop; asked again, they end their calls."""
        self._send_order(StopAsked())

    def reload(self) -> None:
        """Have the workers read their settings again."""
        self._send_order(ReloadAsked())

    def socket(self, index: int) -> Path:
        """Where a worker serves its own pages."""
        return self._folder / f"worker-{index}.sock"

    def pid(self, index: int) -> int | None:
        """A worker's process, if it has one."""
        process = self._processes.get(index)
        return None if process is None else process.pid

    def _send_order(self, happened: SupervisorInput) -> None:
        for effect in self.policy.handle(happened, self._clock.now_ns()):
            self._do(effect)

    def _do(self, effect: SupervisorEffect) -> None:
        match effect:
            case Spawn(index):
                self._start(self._run_worker(index))
            case SendOrder(index, order):
                self._signal(index, order)
            case SetWorkerTimer(index, token, at_ns):
                self._clock.call_at(at_ns, lambda: self._send_order(WorkerTimerFired(index, token)))
            case LimitStop(at_ns):
                self._clock.call_at(at_ns, lambda: self._send_order(StopLimitReached()))
            case Announce(addresses):
                self._on_ready(addresses)
            case Note():
                _log_note(effect)
            case Finish(exit_code):
                if not self._done.done():
                    self._done.set_result(exit_code)
            case unknown:
                assert_never(unknown)

    async def _run_worker(self, index: int) -> None:
        """One life of a worker, from its start to its end."""
        self.socket(index).unlink(missing_ok=True)
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command(index, self.socket(index)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for the supervisor, who then lets them drain
                limit=MAX_READY_LINE_BYTES,
            )
        except OSError as error:  # no memory, no file descriptors: it may be better later
            _log.error("worker_not_started", worker=index, error=str(error))
            self._send_order(WorkerExited(index, EXIT_COULD_NOT_RUN))
            return
        self._processes[index] = process
        if self.policy.stopping:  # asked to stop while it was being started
            process.terminate()
        await self._read_output(index, process)
        status = await process.wait()
        del self._processes[index]
        self._on_exit(process.pid)
        self._send_order(WorkerExited(index, status))

    async def _read_output(self, index: int, process: asyncio.subprocess.Process) -> None:
        """Take the lines that are ours; whatever else it prints is read and dropped."""
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        is_ready = False
        while line := await _read_line(process.stdout):
            if line.startswith(READY) and not is_ready:
                is_ready = True
                self._send_order(WorkerReady(index, line.removeprefix(READY).decode().strip()))
            elif line.startswith(CLOSED):
                path = os.fsdecode(line.removeprefix(CLOSED).rstrip(b"\n"))
                self._on_timeline_closed(Path(path))

    def _signal(self, index: int, order: Order) -> None:
        process = self._processes.get(index)
        if process is not None:
            with contextlib.suppress(ProcessLookupError):  # it has just died: that will be reported
                process.send_signal(_SIGNALS[order])

    async def _probe_for_ever(self) -> None:
        while True:
            await asyncio.sleep(PROBE_INTERVAL_MS / 1000)
            ready = [worker for worker in self.policy.workers if worker.state == "ready"]
            await asyncio.gather(*(self._probe(worker.index, worker.token) for worker in ready))

    async def _probe(self, index: int, token: int) -> None:
        try:
            page = await fetch_unix(self.socket(index), "/healthz", timeout_s=PROBE_TIMEOUT_S)
            healthy = page.status == HTTPStatus.OK
        except FetchError:
            healthy = False
        if token == self.policy.workers[index].token:  # still the same life
            self._send_order(WorkerProbed(index, healthy))

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) and not self._done.done():
            self._done.set_exception(error)

    async def _clean_up(self) -> None:
        """Whatever made us leave, no process and no task stays behind."""
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for process in self._processes.values():
            await process.wait()


async def _read_line(stream: asyncio.StreamReader) -> bytes:
    """The next line; a bare end of line for one that is too long to be ours; nothing at the end."""
    try:
        return await stream.readline()
    except ValueError:
        return b"\n"


def _log_note(note: Note) -> None:
    fields = {"worker": note.worker, "status": note.status, "retry_in_ms": note.retry_in_ms}
    known = {name: value for name, value in fields.items() if value is not None}
    if note.event in ("worker_ready", "worker_exited"):
        _log.info(note.event, **known)
    else:
        _log.warning(note.event, **known)
