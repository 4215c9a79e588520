"""Processes of ours that begin with everything imported: forks of one that has only imported.

A program of ours starts in a second, nearly all of which is Python reading modules; the tests start
hundreds. What is tested of a program begins behind that. Tests of how a program is started, and of
what lies in its way, start it as a user does.
"""

import atexit
import ctypes
import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

IMPORTED = (
    "callerside.agent.service.run",
    "callerside.agent.telephony.engines",
    "callerside.fakes.server.server",
    "callerside.simulator.lanes.sip.telephone",
)
"""None of them starts a thread or opens a file; the SIP engines, which do, come afterwards."""


_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(list(IMPORTED))


def pipe() -> tuple[Connection, Connection]:
    """Two ends, one of which such a process may be given."""
    return _forks.Pipe()


def start(target: Callable[..., object], *arguments: object, daemon: bool = True) -> BaseProcess:
    """Have a module's function run in a process, in the environment and folder of this one.

    `daemon`: it ends with this one, at the latest, and may start no processes of multiprocessing's.
    """
    here = (dict(os.environ), Path.cwd())
    process = _forks.Process(target=_as_there, args=(*here, target, arguments), daemon=daemon)
    process.start()
    return process


def _as_there(
    environment: dict[str, str],
    folder: Path,
    target: Callable[..., object],
    arguments: tuple[object, ...],
) -> None:
    cold = [name for name in IMPORTED if name not in sys.modules]
    assert not cold, f"not imported beforehand, perhaps no longer there: {cold}"
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    target(*arguments)


def run(
    module: str,
    *arguments: str,
    folder: Path | None = None,
    environment: Mapping[str, str] = os.environ,
    timeout: float,
) -> subprocess.CompletedProcess[str]:
    """`main` of a module, to its end; as `subprocess.run` with its output as text.

    Raises:
        subprocess.TimeoutExpired: it went on, and was killed.
    """
    with TemporaryFile("w+") as out, TemporaryFile("w+") as err, Path(os.devnull).open() as nothing:
        ends = [Connection(os.dup(one.fileno())) for one in (nothing, out, err)]
        given = ([module, *arguments], dict(environment), folder, ends)
        process = start(_main, module, *given, daemon=False)
        for end in ends:
            end.close()
        process.join(timeout)
        code = process.exitcode
        if code is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired([module, *arguments], timeout)
        for one in (out, err):
            one.seek(0)
        return subprocess.CompletedProcess([module, *arguments], code, out.read(), err.read())


class WarmProgram:
    """`main` of a module in a process of its own; as `subprocess.Popen`, as far as tests use that.

    Args:
        module: whose `main` it is.
        arguments: of its command line.
        environment: all of it.
        log: a file, for standard error.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        log: IO[str],
    ) -> None:
        stdin, own_stdin = os.pipe()
        own_stdout, stdout = os.pipe()
        self.stdin = os.fdopen(own_stdin, "wb")
        self.stdout = os.fdopen(own_stdout, "rb")
        ends = [Connection(fd) for fd in (stdin, stdout, os.dup(log.fileno()))]
        self._process = start(_main, module, [module, *arguments], dict(environment), None, ends)
        for end in ends:
            end.close()
        self.pid: int = self._process.pid or 0

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """The same, at its end.

        Raises:
            subprocess.TimeoutExpired: it goes on.
        """
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """To it alone."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _main(
    module: str,
    arguments: list[str],
    environment: dict[str, str],
    folder: Path | None,
    ends: list[Connection],
) -> None:
    """In the process: what a shell and Python do before a module begins."""
    for number, end in enumerate(ends):
        os.dup2(end.fileno(), number)
        end.close()
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, buffering=1, closefd=False)
        for number, mode in enumerate(("r", "w", "w"))
    )
    os.environ.clear()
    os.environ.update(environment)
    if folder is not None:
        os.chdir(folder)
    sys.argv = arguments
    asked = [one for one in environment.get("PYTHONPATH", "").split(os.pathsep) if one]
    sys.path[:0] = [one for one in asked if one not in sys.path]
    try:
        sys.exit(importlib.import_module(module).main())
    finally:  # what Python does at the end of a process that it has begun
        atexit._run_exitfuncs()
        ctypes.CDLL(None).fflush(None)
