"""Child processes of a run: started, awaited until ready, listened to, and never left behind.

Each of our servers prints one line that begins with `ready` on its standard output once it can be
used, and logs on standard error. The last log lines are kept, so that a verdict can quote them.
"""

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from callerside.host import prefer
from callerside.simulator.lanes.sip.nursery import Nursling

READY_TIMEOUT_S = 60.0
_NICENESS = -10
STOP_TIMEOUT_S = 6.0
"""After SIGTERM; pjsua2's own shutdown takes a second or more."""
KEPT_LOG_LINES = 200
LINE_LIMIT = 1 << 20

Begin = Callable[[], Awaitable[asyncio.subprocess.Process | Nursling]]

_running: set[int] = set()
"""The processes that we started, each the leader of its group, and that have not ended."""


class ProcessError(RuntimeError):
    """A process of the run could not be started, or died: the run itself cannot go on."""


def kill_all() -> None:
    """End every child that runs, with what it has started, at once. For any thread."""
    for pid in tuple(_running):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


class ChildProcess:
    """One of our programs, run as a child.

    Args:
        name: in messages.
        command: its command line.
        log_path: a file, for what it logs.
        environment: all of it.
        on_line: gets what it says, but for its `ready`.
        begin: begins it in another way than by its command line.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log_path: Path,
        environment: Mapping[str, str],
        on_line: Callable[[str], None] | None = None,
        begin: Begin | None = None,
    ) -> None:
        self.name = name
        self.ready_line = ""
        self.log_tail: deque[str] = deque(maxlen=KEPT_LOG_LINES)
        self._command = command
        self._log_path = log_path
        self._environment = environment
        self._on_line = on_line
        self._begin = begin or self._by_its_command
        self._process: asyncio.subprocess.Process | Nursling | None = None
        self._readers: list[asyncio.Task[None]] = []
        self._ready = asyncio.Event()
        self._stopping = False
        self.died = asyncio.Event()
        """Set when it has exited without having been asked to."""

    async def start(self) -> None:
        """Start it and wait until it says that it is ready.

        A Ctrl-C goes to all of a terminal's foreground group: it is not to end the agent in the
        middle of calls that the run is ending politely, so each child has a group of its own.

        Raises:
            ProcessError: it exited first, or said nothing in `READY_TIMEOUT_S`.
        """
        process = self._process = await self._begin()
        _running.add(process.pid)
        prefer(process.pid, _NICENESS)
        assert process.stdout and process.stderr  # noqa: S101, PT018 - pipes were asked for
        self._readers = [
            asyncio.create_task(self._read_output(process.stdout)),
            asyncio.create_task(self._read_log(process.stderr)),
            asyncio.create_task(self._watch(process)),
        ]
        waits = [asyncio.create_task(event.wait()) for event in (self._ready, self.died)]
        await asyncio.wait(waits, timeout=READY_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if self._ready.is_set():
            return
        how = f"exited with {self.exit_code}" if self.died.is_set() else "did not get ready"
        await self.stop()
        raise ProcessError(f"{self.name} {how}: {self.last_words()}")

    async def _by_its_command(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(self._environment),
            limit=LINE_LIMIT,
            process_group=0,
        )

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.returncode if self._process else None

    @property
    def pid(self) -> int | None:
        """The process's id, once started."""
        return self._process.pid if self._process else None

    def send_line(self, line: str) -> None:
        """Write a line to its standard input; a process that is gone does not hear it."""
        if self._process and self._process.stdin and not self._process.stdin.is_closing():
            self._process.stdin.write(line.encode() + b"\n")

    def last_words(self, count: int = 3) -> str:
        """Its last log lines, as one."""
        lines = [line for line in self.log_tail if line.strip()][-count:]
        return " | ".join(lines) or "it logged nothing"

    async def stop(self) -> int | None:
        """SIGTERM, and SIGKILL if that does not help; its exit code."""
        self._stopping = True
        process = self._process
        if process is None:
            return None
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        await asyncio.wait(self._readers, timeout=STOP_TIMEOUT_S)
        return process.returncode

    async def _read_output(self, stream: asyncio.StreamReader) -> None:
        async for raw in stream:
            line = raw.decode(errors="replace").rstrip("\n")
            if line.startswith("ready") and not self._ready.is_set():
                self.ready_line = line
                self._ready.set()
            elif self._on_line:
                self._on_line(line)

    async def _read_log(self, stream: asyncio.StreamReader) -> None:
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        with self._log_path.open("a", encoding="utf-8") as file:
            async for raw in stream:
                line = raw.decode(errors="replace").rstrip("\n")
                self.log_tail.append(line)
                file.write(line + "\n")
                file.flush()

    async def _watch(self, process: asyncio.subprocess.Process | Nursling) -> None:
        await process.wait()
        _running.discard(process.pid)
        if not self._stopping:
            self.died.set()
