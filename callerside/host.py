"""What is asked of the operating system beyond what every one has: processors and priorities.

Linux has all of it. Elsewhere (macOS; tried by nobody) nothing here fails: threads are not hurried
or bound, and what is not counted is not known. Both ways stand side by side in each function.
"""

import contextlib
import ctypes
import os
import socket
import sys
import threading
import time
from pathlib import Path

_ALL_THREADS = 2
"""Of a process's clock (`clock_getcpuclockid`): what the scheduler has counted."""
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
"""Of `mallopt`, glibc: what is larger has pages of its own; more that is free is given back."""
_DISCARD_PORT = 9
"""RFC 863."""
_SET_NAME, _SET_CHILD_SUBREAPER = 15, 36
"""Of `prctl`."""
TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
"""What the system counts in, where it does not count to the nanosecond."""
IS_LINUX: bool = sys.platform.startswith("linux")


def processors() -> list[int]:
    """The processors that this process may use; elsewhere than on Linux, all that there are."""
    if IS_LINUX:
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def has_route(host: str, source: str = "") -> bool:
    """Whether anything can be sent to an address: not to a broadcast, nor where no way leads.

    Nothing is sent.

    Args:
        host: the address.
        source: from which of the machine's addresses; empty: from any.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((source, 0))
            probe.connect((host, _DISCARD_PORT))
        except OSError:
            return False
    return True


def hurry(priority: int, thread: int = 0) -> bool:
    """Ask for real-time scheduling of a thread, by its system's id; 0: the calling one.

    Linux grants it to root, and to processes with CAP_SYS_NICE or a limit on `rtprio`.

    Args:
        priority: of 1 to 99.
        thread: whose.

    Returns:
        Whether it was granted.
    """
    if not IS_LINUX:
        return False
    # Not for what the thread may start: that has no frame to be in time for.
    policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
    try:
        os.sched_setscheduler(thread, policy, os.sched_param(priority))
    except OSError:
        return False
    return True


def bind(processor: int) -> None:
    """Keep the calling thread on one processor, where the system can."""
    if IS_LINUX:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(threading.get_native_id(), {processor})


def keep_freed_memory() -> None:
    """Have the C library keep what is freed for what is asked for next, up to half a gigabyte.

    What it gives back to the system comes again as pages that are not there: each of them is a
    fault, and for a large array there are thousands. Nothing happens where the library is another
    than glibc.
    """
    with contextlib.suppress(OSError, TypeError, AttributeError):
        adjust = ctypes.CDLL(None).mallopt
        adjust(_MMAP_THRESHOLD, 2**30)
        adjust(_TRIM_THRESHOLD, 2**29)


def prefer(pid: int, niceness: int) -> None:
    """Let a process run before others, where that is allowed (root)."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, niceness)


def hold(path: Path) -> int:
    """Make a file that is held until what is returned is closed, or this process ends.

    Returns:
        The number of the open file.

    Raises:
        OSError: there can be no such file.
    """
    number = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644)
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return number


def lock(number: int) -> None:
    """Wait until an open file is ours alone, which it is until it is closed; without locks, don't.

    Raises:
        OSError: it cannot be locked where it lies.
    """
    with contextlib.suppress(ImportError):
        import fcntl

        fcntl.flock(number, fcntl.LOCK_EX)


def is_held(path: Path) -> bool:
    """Whether some process holds a file that is there; yes, too, where that cannot be known."""
    try:
        import fcntl

        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return True
    return False


def scheduled_ns(pid: int) -> tuple[int, int] | None:
    """Nanoseconds that a process's main thread has run, and waited, so far.

    None where nobody counts.
    """
    try:
        ran, waited, _ = _read_again(f"/proc/{pid}/schedstat").split()
        return int(ran), int(waited)
    except (OSError, ValueError):
        return None


def ran_ns(pid: int) -> int:
    """Nanoseconds that all threads of a process have run so far; 0 where nobody counts."""
    try:
        return time.clock_gettime_ns((~pid << 3) | _ALL_THREADS)
    except OSError:
        return 0


def ran_by_gone_children_ns(pid: int) -> int:
    """The same of its children that have ended, in steps of a tick."""
    try:
        fields = _read_again(f"/proc/{pid}/stat").rpartition(b")")[2].split()
        return (int(fields[13]) + int(fields[14])) * TICK_NS
    except (OSError, ValueError, IndexError):
        return 0


def pids() -> list[int]:
    """All processes that there are; none where nobody tells."""
    try:
        return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208
    except OSError:
        return []


def newest_pid() -> int:
    """The number that a process, or a thread of one, was given last; 0 where nobody tells."""
    try:
        return int(_read_again("/proc/loadavg").split()[4])
    except (OSError, ValueError, IndexError):
        return 0


def parent(pid: int) -> int | None:
    """The process whose child a process is; None: there is none of that number."""
    try:
        return int(_read(f"/proc/{pid}/stat").rpartition(b")")[2].split(maxsplit=2)[1])
    except (OSError, ValueError, IndexError):
        return None


def adopt_orphans() -> None:
    """Be the parent of what children of this process leave behind, where the system can."""
    with contextlib.suppress(OSError, TypeError, AttributeError):
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def name_process(name: str) -> None:
    """Have the system show this process by that name, 15 letters of it, where it can."""
    with contextlib.suppress(OSError, TypeError, AttributeError):
        ctypes.CDLL(None).prctl(_SET_NAME, name.encode(), 0, 0, 0)


def stolen_ns() -> int:
    """Nanoseconds that the host of a virtual machine has kept its processors, in steps of a tick.

    Of all processors together; 0 where nobody counts.
    """
    try:
        return int(_read("/proc/stat", 256).split(maxsplit=9)[8]) * TICK_NS
    except (OSError, ValueError, IndexError):
        return 0


def idle_ns() -> int:
    """Nanoseconds in which processors had nothing to do so far, in steps of a tick.

    Of all together; 0 where nobody counts.
    """
    try:
        fields = _read("/proc/stat", 256).split(maxsplit=9)
        return (int(fields[4]) + int(fields[5])) * TICK_NS
    except (OSError, ValueError, IndexError):
        return 0


_MOST_OPEN = 64
_open: dict[str, int] = {}
"""Files of the system's that are looked at all the time, by path: each is opened once."""
_opening = threading.Lock()
"""A file must not be closed while another thread reads by its number."""


def _read_again(path: str, size: int = 4096) -> bytes:
    """As `_read`, of a process that is looked at for as long as it lives: a third of the calls."""
    with _opening:
        number = _open.get(path)
        if number is None:
            if len(_open) >= _MOST_OPEN:  # of processes that have ended, unseen
                os.close(_open.pop(next(iter(_open))))
            number = _open[path] = os.open(path, os.O_RDONLY)
        try:
            return os.pread(number, size, 0)
        except OSError:  # it is gone; another may get its number
            os.close(_open.pop(path))
            raise


def _read(path: str, size: int = 4096) -> bytes:
    """The beginning of a file of the system's, cheaply: it is looked at all the time."""
    number = os.open(path, os.O_RDONLY)
    try:
        return os.read(number, size)
    finally:
        os.close(number)
