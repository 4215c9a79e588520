"""Run a module as systemd would: under the filter of system calls that the agent's unit sets.

    python tests/support/under_unit.py UNIT MODULE [ARGUMENT...]

The filter is made of the unit's `SystemCallFilter=` lines, of what `systemd-analyze` says is in
each set, and of libseccomp, which systemd itself uses; a call that it takes away kills by SIGSYS.
"""

import ctypes
import os
import re
import subprocess
import sys
from pathlib import Path

KILL_PROCESS, ALLOW = 0x80000000, 0x7FFF0000
"""`SCMP_ACT_KILL_PROCESS`, which is systemd's way, and `SCMP_ACT_ALLOW`."""

IMPLICIT = frozenset({"execve", "exit", "exit_group", "getrlimit", "rt_sigreturn", "sigreturn"})
"""systemd.exec(5): what a filter never takes away."""


def allowed(unit: str, sets: dict[str, list[str]]) -> set[str]:
    """The system calls that a unit leaves: its first line says which, those behind it change that.

    Raises:
        ValueError: the unit has no filter, or one that begins by taking away.
    """
    lines = re.findall(r"^SystemCallFilter=(~?)(.*)$", unit, re.MULTILINE)
    if not lines or lines[0][0]:
        raise ValueError(f"expected a list of what is allowed first, got {lines}")
    calls: set[str] = set()
    for minus, names in lines:
        named = {call for name in names.split() for call in _expanded(name, sets)}
        calls = calls - named if minus else calls | named
    return calls | IMPLICIT


def _expanded(name: str, sets: dict[str, list[str]]) -> set[str]:
    if not name.startswith("@"):
        return {name}
    return {call for each in sets[name] for call in _expanded(each, sets)}


def known_sets() -> dict[str, list[str]]:
    """The sets that this systemd knows, and what is in each."""
    shown = subprocess.run(
        ["systemd-analyze", "--no-pager", "syscall-filter"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    sets: dict[str, list[str]] = {}
    for line in shown.splitlines():
        if line.startswith("@"):
            name = line.strip()
            sets[name] = []
        elif line.startswith(" ") and not line.lstrip().startswith("#"):
            sets[name].append(line.strip())
        elif line.startswith("#"):
            break  # calls that are in no set
    return sets


def restrict(calls: set[str]) -> None:
    """Leave this process, and all that it starts, these system calls.

    Raises:
        OSError: libseccomp is not there, or the kernel does not take the filter.
    """
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = (ctypes.c_uint32,)
    rule = (ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint)
    library.seccomp_rule_add.argtypes = rule
    library.seccomp_load.argtypes = (ctypes.c_void_p,)
    context = library.seccomp_init(KILL_PROCESS)
    for call in calls:
        number = library.seccomp_syscall_resolve_name(call.encode())
        if number >= 0:  # others are of another architecture
            library.seccomp_rule_add(context, ALLOW, number, 0)
    failed = library.seccomp_load(context)
    if failed:
        raise OSError(-failed, "the kernel does not take the filter")


if __name__ == "__main__":
    restrict(allowed(Path(sys.argv[1]).read_text(encoding="utf-8"), known_sets()))
    os.execv(sys.executable, [sys.executable, "-m", *sys.argv[2:]])  # noqa: S606 - as systemd does
