"""What processes cost, and what an agent's calls cost it, seen from outside."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import psutil
import soundfile
from agent_rig import Agent
from raw_sip import RawPhone
from sip_rig import Phone

from callerside.agent.telephony.interface import AudioReceived, HungUp, MediaReady

LOOK_S = 0.2


def cpu_s(process: psutil.Process) -> float:
    """Of a process and its children that are alive."""
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return float(sum(one.user + one.system for one in times))


def resident_bytes(process: psutil.Process) -> int:
    """Likewise."""
    return sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))


def share(processes: Sequence[psutil.Process], length_s: float) -> list[float]:
    """Of a core, of each, over a time."""
    before, began_s = [cpu_s(one) for one in processes], time.monotonic()
    time.sleep(length_s)
    passed_s = time.monotonic() - began_s
    return [(cpu_s(one) - cpu) / passed_s for one, cpu in zip(processes, before, strict=True)]


@dataclass
class CommandCost:
    """What a command cost, with all the processes that it waited for."""

    cpu_s: float
    by_role: dict[str, float] = field(default_factory=dict)
    """CPU seconds of its children, as far as they were seen."""


def run_cost(
    command: Sequence[str], role: Callable[[Sequence[str]], str], folder: Path
) -> CommandCost:
    """Run it in a folder; `role` names a child by its name and its command line.

    Not here: Python looks for modules where it is started, and another commit's children would find
    this one's.
    """
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    seen: dict[int, tuple[str, float]] = {}
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(process.pid, role, seen, over), daemon=True)
    watch.start()
    _, status, used = os.wait4(process.pid, 0)
    over.set()
    watch.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    cost = CommandCost(used.ru_utime + used.ru_stime)
    for name, cpu in seen.values():
        cost.by_role[name] = cost.by_role.get(name, 0.0) + cpu
    return cost


def _watch(
    pid: int,
    role: Callable[[Sequence[str]], str],
    seen: dict[int, tuple[str, float]],
    over: threading.Event,
) -> None:
    with suppress(psutil.Error):
        parent = psutil.Process(pid)
        while not over.wait(LOOK_S):
            for child in parent.children(recursive=True):
                with suppress(psutil.Error):
                    times = child.cpu_times()
                    seen[child.pid] = (
                        role([child.name(), *child.cmdline()]),
                        times.user + times.system,
                    )


def seconds_of_calls(run: Path) -> float:
    """The length of all recordings of a run, of second attempts as well."""
    found = [path for name in ("*.wav", "*.flac") for path in run.rglob(f"call{name[1:]}")]
    return float(sum(soundfile.info(str(path)).duration for path in found))


@dataclass(frozen=True)
class CallCost:
    """Of one of several calls at once."""

    share: float
    """Of a core; what the agent takes without calls is taken off."""
    resident_bytes: float


def call_cost(
    agent: Agent, phone: Phone, calls: int, length_s: float, question: bytes, idle: float
) -> CallCost:
    """Have so many calls talk for a time."""
    process = psutil.Process(agent.process.pid)
    before_bytes = resident_bytes(process)
    numbers = [
        phone.dial(agent.addresses[n % len(agent.addresses)].replace("sip:", "sip:100@"))
        for n in range(calls)
    ]
    for number in numbers:
        phone.wait_for(number, MediaReady, within_s=30)
    time.sleep(min(2.0, length_s))  # greetings are being played by now
    for number in numbers:
        phone.do(number, "play", question)
    (used,) = share([process], length_s)
    grown = resident_bytes(process) - before_bytes
    for number in numbers:
        phone.do(number, "hang_up")
        phone.wait_for(number, HungUp)
    return CallCost((used - idle) / calls, grown / calls)


def answers_ms(agent: Agent, count: int) -> list[float]:
    """From INVITE to 200, call after call."""
    port = int(agent.addresses[0].rpartition(":")[2])
    found = []
    for _ in range(count):
        with RawPhone(port) as phone:
            began_ns = time.monotonic_ns()
            answer = phone.call(phone.sdp())
            found.append((time.monotonic_ns() - began_ns) / 1e6)
            assert answer.status == 200
            phone.acknowledge()
            time.sleep(0.02)
            assert phone.request("BYE") == 200
    return found


def sent_intervals_ms(agent: Phone, caller: Phone, length_s: float) -> list[float]:
    """Between one packet of the agent's and the next, by the kernel's stamps at the caller."""
    call = caller.dial(f"sip:100@127.0.0.1:{agent.port}")
    caller.wait_for(call, MediaReady)
    time.sleep(length_s)
    told = [one.input for one in caller.told(call)]
    caller.do(call, "hang_up")
    caller.wait_for(call, HungUp)
    came_ns = [one.at_ns for one in told if isinstance(one, AudioReceived)]
    return [(after - before) / 1e6 for before, after in pairwise(came_ns)]
