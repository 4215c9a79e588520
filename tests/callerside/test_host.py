"""What only Linux has is asked of Linux alone; elsewhere the virtual lane plays all the same."""

import os
import resource
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
IMPORTS = """
import asyncio, concurrent.futures.process, importlib, multiprocessing.shared_memory, os, pkgutil
import select, signal, socket, subprocess, sys, time
import hypothesis, prometheus_client, psutil, soundfile
for name in ("pjsua2", "baresip", "spwd", "uvloop"):
    sys.modules[name] = None
LINUX = {
    os: ("sched_", "SCHED_", "CLONE_", "EFD_", "MFD_", "TFD_", "SPLICE_", "XATTR_", "pidfd_open",
         "memfd_create", "eventfd", "setns", "unshare", "copy_file_range", "splice", "getrandom",
         "setxattr", "getxattr", "listxattr", "getresuid", "setresuid", "O_TMPFILE", "O_PATH",
         "O_DIRECT", "O_NOATIME", "posix_fallocate", "posix_fadvise"),
    select: ("epoll", "EPOLL"),
    signal: ("SIGPWR", "SIGSTKFLT", "SIGRTM", "SIGPOLL", "SIGCLD"),
    socket: ("AF_PACKET", "AF_NETLINK", "AF_VSOCK", "AF_CAN", "NETLINK_", "SO_BINDTODEVICE",
             "SO_MARK", "SO_PRIORITY", "SO_DOMAIN", "SO_PROTOCOL", "SOCK_CLOEXEC",
             "SOCK_NONBLOCK", "MSG_ERRQUEUE", "MSG_CONFIRM", "MSG_MORE", "IP_RECVERR",
             "TCP_USER_TIMEOUT", "TCP_QUICKACK", "TCP_DEFER", "TCP_CORK", "TCP_SYNCNT"),
    time: ("CLOCK_BOOTTIME", "CLOCK_TAI", "pthread_getcpuclockid"),
}
for module, names in LINUX.items():
    for name in [one for one in dir(module) if one.startswith(names)]:
        delattr(module, name)
sys.platform = "darwin"

def imported(package):
    for one in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if one.name.endswith((".pjsua", ".baresip", ".__main__")):  # where there is the engine
            continue
        module = importlib.import_module(one.name)
        yield one.name
        if one.ispkg:
            yield from imported(module)

import callerside
print(len(list(imported(callerside))))
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


FAULTS = """
import resource, sys
from callerside import host
if sys.argv[1:]:
    host.keep_freed_memory()
for _ in range(5):
    bytearray(b"x") * 2**26
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def test_freed_memory_is_kept_for_what_is_asked_for_next() -> None:
    faults = [
        int(subprocess.check_output([sys.executable, "-c", FAULTS, *given], text=True))
        for given in ((), ("keeps",))
    ]
    of_one = 2**26 // resource.getpagesize()
    assert faults[0] > 4 * of_one, "each time anew"
    assert faults[1] < 2 * of_one


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


def test_nothing_needs_linux_to_be_imported() -> None:
    """As on macOS, but for the engines: they are imported where there are wheels of them."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    rooms = ("callerside", "agent", "fakes", "reports", "simulator")  # all but one are links there
    modules = [path for room in rooms for path in (LIBRARY.parent / room).rglob("[a-z]*.py")]
    assert int(done.stdout.split()[-1]) > 0.8 * len(modules)


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


@pytest.mark.parametrize(
    ("to", "source", "there_is"),
    [
        ("127.0.0.1", "", True),
        ("127.0.0.9", "127.0.0.1", True),
        ("127.255.255.255", "", False),
        ("255.255.255.255", "", False),
        ("240.0.0.1", "127.0.0.1", False),
        ("::1", "::1", True),
        ("::1", "", True),
        ("127.0.0.1", "192.0.2.1", False),
    ],
)
def test_a_way_leads_to_an_address_or_not(to: str, source: str, *, there_is: bool) -> None:
    assert host.has_route(to, source) is there_is
