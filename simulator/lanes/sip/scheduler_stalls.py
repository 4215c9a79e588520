"""When this machine stood still: what no process of a call can be blamed for.

A virtual machine's processors are taken away for milliseconds now and then, and whatever ran on
them is late: a frame, a poll, a whole call. The lag of one event loop (`runner.loop_lag`) shows
only what befell that loop. So a process of its own sleeps in short ticks on every processor, at a
priority above everything that takes part in a call, where the system allows that; a tick that comes
late was late because of the machine. Between two ticks it looks at how long the processes of the
run have waited (`cpu_wait`). Run as a program it prints a JSON object a line, a `Stall`, until its
standard input ends; a line of that is the processes to look at, by name: `{"agent": 4711}`.
"""

import asyncio
import contextlib
import gc
import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict

from callerside import host
from callerside.child_processes import command
from callerside.clock import NS_PER_MS, ms_to_ns
from callerside.simulator.lanes.sip.cpu_wait import WaitWatch
from callerside.simulator.lanes.sip.stall import Stall

TICK_S = 0.004
STALL_MS = 3.0
"""What is shorter costs less than a frame's slack, and happens all the time."""
MOST_CPUS = 8
"""Watched of a large machine: watching costs each about one percent."""
LOOK_TICKS = 2
"""Between two looks at what processes waited: no wake is for that alone."""
KEPT_STALLS = 20_000
LONG_STALL_MS = 10.0
"""Half a frame."""
CALM_S = 3.0
MOST_WAIT_S = 30.0
PATIENCE_S = 120.0
"""For calm, of all waits together: a machine that is never still shall not hold up a run."""

_PRIORITY = 20
"""Above the media threads of the parties (`agent.telephony.media.pacer`)."""
_START_TIMEOUT_S = 20.0


class StallWatch:
    """Watches for as long as it is open: `async with StallWatch() as watch`.

    It keeps the newest `KEPT_STALLS`.
    """

    def __init__(self) -> None:
        self._stalls: deque[Stall] = deque(maxlen=KEPT_STALLS)
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._patience_s = PATIENCE_S

    async def __aenter__(self) -> "StallWatch":
        """Start watching. Where the watcher cannot be started, there is nothing to report."""
        self._process = await asyncio.create_subprocess_exec(
            *command("callerside.simulator.lanes.sip.scheduler_stalls"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            process_group=0,  # a Ctrl-C is not for it: it watches until the calls are over
        )
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.stdout.readline(), _START_TIMEOUT_S)  # ready
        self._reader = asyncio.create_task(self._read(self._process.stdout))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop watching."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()  # it has nothing to put away
            await self._process.wait()
        if self._reader is not None:
            await asyncio.wait([self._reader])

    def look_at(self, processes: Mapping[str, int]) -> None:
        """From now on tell also what these processes wait for; their ids, by name."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(json.dumps(dict(processes)).encode() + b"\n")

    def between(self, start_ns: int, end_ns: int) -> list[Stall]:
        """The stalls that ended in a time, in order; of those that are known so far."""
        return [stall for stall in self._stalls if start_ns <= stall.at_ns <= end_ns]

    async def calm(self) -> None:
        """Wait until the machine has kept still for a while, as far as there is patience."""
        nap_s = CALM_S / 4
        left_s = min(MOST_WAIT_S, self._patience_s)
        while left_s > 0 and not self._is_calm(time.monotonic_ns()):
            await asyncio.sleep(nap_s)
            left_s -= nap_s
            self._patience_s -= nap_s

    def _is_calm(self, now_ns: int) -> bool:
        latest = self.between(now_ns - round(CALM_S * 1e9), now_ns)
        return all(stall.late_ms < LONG_STALL_MS for stall in latest)

    async def _read(self, lines: asyncio.StreamReader) -> None:
        async for line in lines:
            self._stalls.append(Stall(**json.loads(line)))


def watch(
    cpu: int | None,
    report: Callable[[Stall], None],
    until: Callable[[], bool],
    *,
    cpus: int = 1,
    look: Callable[[bool], None] | None = None,
) -> None:
    """Sleep in ticks on one processor (None: on any), and report every tick that came late.

    Args:
        cpu: on which one.
        report: called with every late tick.
        until: whether it is to end.
        cpus: how many are watched so.
        look: called after every `LOOK_TICKS`, with whether ticks are sure to come when they are
            due.
    """
    if cpu is not None:
        host.bind(cpu)
    sure = host.hurry(_PRIORITY)
    # 250 times a second, out of a sleep in which the processor has forgotten all of this: a tick
    # costs what it touches.
    clock, sleep, tick_s = time.monotonic_ns, time.sleep, TICK_S
    tick_ns = ms_to_ns(TICK_S * 1e3)
    late_ns = tick_ns + ms_to_ns(STALL_MS)
    ticks = 0
    while not until():
        slept_ns = clock()
        sleep(tick_s)
        now_ns = clock()
        if now_ns - slept_ns >= late_ns:
            report(
                Stall(
                    now_ns,
                    round((now_ns - slept_ns - tick_ns) / NS_PER_MS, 3),
                    -1 if cpu is None else cpu,
                    within_ms=round((now_ns - slept_ns) / NS_PER_MS, 3),
                    sure=sure,
                    cpus=cpus,
                )
            )
        if look is not None:
            ticks += 1
            if ticks % LOOK_TICKS == 0:
                look(sure)


def _cpus() -> list[int | None]:
    """Those to watch, each by a thread that is bound to it; None: one thread, wherever it runs."""
    return [*host.processors()[:MOST_CPUS]] if host.IS_LINUX else [None]


class _Looks:
    """What one of the threads looks at between its ticks: who waits of those that were named."""

    def __init__(self, report: Callable[[Stall], None]) -> None:
        self._report = report
        self._waits: WaitWatch | None = None
        self.processes: Mapping[str, int] = {}
        """As they were named last; set by another thread."""

    def look(self, sure: bool) -> None:
        if self._waits is None:
            self._waits = WaitWatch(self._report, sure=sure)
        self._waits.look(self.processes)


def main() -> None:
    """Print stalls until standard input ends."""
    gc.disable()  # nothing here is ever garbage, and a collection would be a stall of our own
    over = threading.Event()

    def report(stall: Stall) -> None:
        sys.stdout.write(json.dumps(asdict(stall)) + "\n")
        sys.stdout.flush()

    looks = _Looks(report)
    first, *others = _cpus()
    count = 1 + len(others)
    threads = [
        threading.Thread(
            target=watch, args=(cpu, report, over.is_set), kwargs={"cpus": count}, daemon=True
        )
        for cpu in others
    ]
    threads.append(
        threading.Thread(
            target=watch,
            args=(first, report, over.is_set),
            kwargs={"cpus": count, "look": looks.look},
            daemon=True,
        )
    )
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for thread in threads:
        thread.start()
    for line in sys.stdin:
        looks.processes = json.loads(line)
    over.set()


if __name__ == "__main__":
    main()
