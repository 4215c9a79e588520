"""Where the harness's own processes of a run begin: as copies of the run's, which has loaded them.

Loading is nearly all that such a program costs before its first call, and the process of the run
has done it. A nursery is a copy of that, made while it has one thread, which never has more. It
makes copies of itself, and each runs a program of ours as if that had been started by itself.

What is tested is not begun so: an agent starts as its users start it.
"""

import asyncio
import contextlib
import gc
import importlib
import json
import logging
import os
import signal
import socket
import struct
import sys
from collections.abc import Collection, Mapping, Sequence
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any, Self

from callerside import host

_LENGTH = struct.Struct("!I")
_STREAMS = 3
_END_S = 5.0
"""How long it may take to end when nobody can ask any more, which is nothing to do."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


class Nursery:
    """Begins programs; to be closed when they have ended. For one event loop."""

    def __init__(self, pid: int, door: socket.socket) -> None:
        self._pid = pid
        self._door = door
        self._begun: dict[int, Nursling] = {}
        self._asked: asyncio.Queue[int] = asyncio.Queue()
        """The ids of processes, in the order in which they were asked for; 0: there is none."""
        self._heard = b""
        self._is_heard = False

    @classmethod
    def made(cls) -> Self | None:
        """One for this process; None where there can be none.

        There is none where this process has another thread, which may hold a lock that nobody would
        give back in a copy, or where the system is none of which it is known that it works.
        """
        if not host.IS_LINUX or len([*Path("/proc/self/task").iterdir()]) > 1:
            return None
        ours, theirs = socket.socketpair()
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # until its own are set
        pid = os.fork()
        if not pid:
            ours.close()
            _serve(theirs, blocked)  # never returns
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        theirs.close()
        return cls(pid, ours)

    async def begin(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        limit: int,
    ) -> "Nursling":
        """Have a copy run `main` of a module, in a process group of its own.

        Args:
            name: of the process, for who looks at the system's.
            module: of ours.
            arguments: of its command line.
            environment: all of it.
            limit: of a line that it writes, in bytes.

        Raises:
            OSError: it cannot be begun.
        """
        loop = asyncio.get_running_loop()
        if not self._is_heard:
            self._is_heard = True
            self._door.setblocking(True)
            loop.add_reader(self._door, self._hear)
        order = json.dumps([name, module, [*arguments], dict(environment)]).encode()
        (stdin, its_stdin), (its_stdout, stdout), (its_stderr, stderr) = (
            reversed(os.pipe()), os.pipe(), os.pipe(),
        )  # fmt: skip
        theirs = [its_stdin, stdout, stderr]
        try:
            socket.send_fds(self._door, [_LENGTH.pack(len(order))], theirs)
            self._door.sendall(order)
        finally:
            for end in theirs:
                os.close(end)
        streams = [await _reader(end, limit) for end in (its_stdout, its_stderr)]
        writer, _ = await loop.connect_write_pipe(asyncio.Protocol, os.fdopen(stdin, "wb", 0))
        pid = await self._asked.get()
        if not pid:
            writer.close()
            raise ChildProcessError(f"{module}: the process that was to begin it is gone")
        nursling = self._begun[pid]
        nursling.stdin, nursling.stdout, nursling.stderr = writer, *streams
        return nursling

    def close(self) -> None:
        """To be called when all that was begun has ended; one that does not end is killed."""
        if self._is_heard:
            asyncio.get_running_loop().remove_reader(self._door)
        with self._door, contextlib.suppress(OSError):  # it is gone, or does not end
            self._door.settimeout(_END_S)
            self._door.shutdown(socket.SHUT_WR)  # copies of this process may have it, too
            while self._door.recv(1 << 16):
                pass
        os.kill(self._pid, signal.SIGKILL)  # its last breath, where it has let go of the door
        os.waitpid(self._pid, 0)

    def _hear(self) -> None:
        told = b""
        with contextlib.suppress(ConnectionResetError):
            told = self._door.recv(1 << 16)
        if not told:
            asyncio.get_running_loop().remove_reader(self._door)
            self._asked.put_nowait(0)
            for nursling in self._begun.values():
                nursling.ended(-signal.SIGKILL)
            return
        *lines, self._heard = (self._heard + told).split(b"\n")
        for line in lines:
            pid, code = json.loads(line)
            if code is None:
                self._begun[pid] = Nursling(pid)
                self._asked.put_nowait(pid)
            else:
                self._begun.pop(pid).ended(code)


class Nursling:
    """A process that a nursery has begun; as `asyncio.subprocess.Process`, as far as that is used.

    Attributes:
        pid: its id, and that of its group.
        returncode: None while it runs; negative: the signal that ended it.
        stdin: where it reads.
        stdout: what it says.
        stderr: what it logs.
    """

    stdin: asyncio.WriteTransport
    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._over = asyncio.Event()

    async def wait(self) -> int:
        """Its exit code, when it has one."""
        await self._over.wait()
        assert self.returncode is not None  # noqa: S101 - it is over
        return self.returncode

    def send_signal(self, number: int) -> None:
        """To it alone, if it is not over."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def ended(self, code: int) -> None:
        """It is over; told by its nursery."""
        self.returncode = code
        self._over.set()


async def _reader(end: int, limit: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(end, "rb", 0)
    )
    return reader


# ---- in the nursery's process


def _serve(door: socket.socket, mask: Collection[int]) -> None:
    """Begin what is asked for until nobody can ask any more; never returns.

    Args:
        door: the orders come from there, and what has begun or ended is told there.
        mask: the signals that whatever is begun does not get at first.
    """
    try:
        gc.freeze()  # what is there is looked through by no copy: that would copy its memory
        _let_go(door.fileno())
        children: dict[int, ForkProcess] = {}
        while True:
            for ready in wait([door, *children]):
                if ready is door:
                    order, streams = _order(door)
                    child = ForkProcess(target=_become, args=(order, streams, door, mask))
                    child.start()
                    for stream in streams:
                        os.close(stream)
                    assert child.pid is not None  # noqa: S101 - it is started
                    children[child.sentinel] = child
                    door.sendall(json.dumps([child.pid, None]).encode() + b"\n")
                elif isinstance(ready, int):
                    child = children.pop(ready)
                    child.join()
                    door.sendall(json.dumps([child.pid, child.exitcode]).encode() + b"\n")
    finally:
        os._exit(0)


def _let_go(kept: int) -> None:
    """Hold nothing of the run's open but its standard streams.

    Whatever has such a number here may close it once more: it stays taken, by nothing.
    """
    with Path(os.devnull).open("rb") as nothing:
        for number in [int(one.name) for one in Path("/proc/self/fd").iterdir()]:
            if number > _STREAMS - 1 and number not in (kept, nothing.fileno()):
                with contextlib.suppress(OSError):  # the one that reads this list
                    os.fstat(number)
                    os.dup2(nothing.fileno(), number, inheritable=False)


def _order(door: socket.socket) -> tuple[list[Any], list[int]]:
    """The next one, with the child's ends of its streams.

    Raises:
        EOFError: there are no more.
    """
    head, streams, _, _ = socket.recv_fds(door, _LENGTH.size, _STREAMS)
    if not head:
        raise EOFError
    (left,) = _LENGTH.unpack(head)
    told = b""
    while len(told) < left:
        told += door.recv(left - len(told))
    return json.loads(told), streams


# ---- in a copy


def _become(
    order: Sequence[Any], streams: Sequence[int], door: socket.socket, mask: Collection[int]
) -> None:
    """Run a program: what a shell and Python do before it begins, and then its `main`."""
    name, module, arguments, environment = order
    host.name_process(name)
    os.setpgid(0, 0)
    door.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - a stream that is there, and stays
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115 - likewise
    sys.stderr = open(  # noqa: SIM115 - likewise
        2, "w", buffering=1, errors="backslashreplace", closefd=False
    )
    os.environ.clear()
    os.environ.update(environment)
    signal.set_wakeup_fd(-1)
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            is_pythons = number == signal.SIGINT
            signal.signal(number, signal.default_int_handler if is_pythons else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    logging.getLogger().handlers.clear()
    here = Path.cwd()
    sys.path.sort(key=lambda entry: Path(entry).resolve() == here)  # as `child_processes` has it
    sys.argv = [module, *arguments]
    sys.exit(importlib.import_module(module).main())
