"""Who waited for a processor, and for how long."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import pytest

from callerside import host
from callerside.clock import NS_PER_MS, ms_to_ns
from callerside.simulator.lanes.sip.cpu_wait import WaitWatch
from callerside.simulator.lanes.sip.stall import Stall

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="schedstat is Linux's")


AGENT, CALLER, WORKER, CHILD, GRANDCHILD = 1, 2, 3, 4, 5
TICK_MS = 10


class Counters:
    """The system's counters, in milliseconds, as a test turns them."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, children: Mapping[int, int] = MappingProxyType({})
    ) -> None:
        self.main_ran = dict.fromkeys((AGENT, CALLER, WORKER), 0)
        self.waited = dict.fromkeys((AGENT, CALLER, WORKER), 0)
        self.ran = dict.fromkeys((AGENT, CALLER, WORKER), 1)
        self.gone = dict.fromkeys((AGENT, CALLER, WORKER), 0)
        self.parents = dict.fromkeys((AGENT, CALLER, WORKER), 0)
        self.newest = WORKER
        """The number that was given out last."""
        for pid, parent in children.items():
            self.begin(pid, 100, parent)
        self.stolen = 0
        self.now_ms = 0
        self.stalls: list[Stall] = []
        self.watching = WaitWatch(self.stalls.append, clock=lambda: ms_to_ns(self.now_ms))
        ns = 1_000_000
        monkeypatch.setattr(
            host, "scheduled_ns", lambda pid: (self.main_ran[pid] * ns, self.waited[pid] * ns)
        )
        monkeypatch.setattr(host, "ran_ns", lambda pid: self.ran.get(pid, 0) * ns)
        monkeypatch.setattr(host, "ran_by_gone_children_ns", lambda pid: self.gone.get(pid, 0) * ns)
        monkeypatch.setattr(host, "pids", self.pids)
        monkeypatch.setattr(host, "newest_pid", lambda: self.newest)
        monkeypatch.setattr(host, "parent", self.parent)
        monkeypatch.setattr(host, "stolen_ns", lambda: self.stolen * ns)
        self.look()

    def pids(self) -> list[int]:
        """What processes there are."""
        return sorted(self.ran)

    def parent(self, pid: int) -> int | None:
        """Whose child one is."""
        return self.parents.get(pid) if pid in self.ran else None

    def begin(self, pid: int, ran_ms: int, parent: int) -> None:
        """A process begins, and runs so long."""
        self.parents[pid], self.ran[pid], self.newest = parent, ran_ms, pid

    def end(self, pid: int, *, more_ms: int = 0, unwaited: bool = False) -> None:
        """It runs on for so long and ends, and its parent has waited for that."""
        ran_ms = self.ran.pop(pid) + more_ms + self.gone.pop(pid, 0)
        if not unwaited:
            parent = self.parents[pid]
            self.gone[parent] = self.gone.get(parent, 0) + ran_ms // TICK_MS * TICK_MS

    def look(self, after_ms: int = 50) -> list[tuple[str, float]]:
        """What is told now."""
        self.stalls.clear()
        self.now_ms += after_ms
        pids = {"agent": AGENT, "agent2": WORKER, "caller": CALLER}
        self.watching.look(pids)
        return [(stall.process, stall.late_ms) for stall in self.stalls]


@pytest.fixture
def counters(monkeypatch: pytest.MonkeyPatch) -> Counters:
    return Counters(monkeypatch)


def test_of_a_wait_that_began_before_all_looks_that_time_is_not_told(counters: Counters) -> None:
    """What the agent ran in it nobody has counted."""
    counters.waited[CALLER] += 200
    assert counters.look(after_ms=50) == [("caller", 50.0)]


def test_what_lies_before_all_looks_makes_no_later_wait_longer(counters: Counters) -> None:
    """Nobody knows when in the time between two looks the first one was over."""
    counters.waited[CALLER] += 200
    assert counters.look(after_ms=50) == [("caller", 50.0)]
    counters.waited[CALLER] += 30
    assert counters.look(after_ms=10) == [("caller", 10.0)], "60 in all: so long it was looked at"


def test_what_is_waited_behind_foreign_work_is_told(counters: Counters) -> None:
    counters.waited[AGENT] += 40
    counters.waited[CALLER] += 9
    counters.ran[AGENT] += 6
    counters.main_ran[AGENT] += 6
    assert counters.look() == [("agent", 40.0), ("caller", 3.0)], "6 of 9 may be the agent's"
    assert counters.look() == [], "since the last look"


def test_a_busy_loop_and_a_collection_of_the_agents_are_no_waits(counters: Counters) -> None:
    """It runs all the while, and its caller waits behind it."""
    counters.ran[AGENT] += 50
    counters.main_ran[AGENT] += 50
    counters.waited[CALLER] += 50
    assert counters.look() == []


def test_a_lock_that_a_thread_of_the_agent_holds_is_no_wait(counters: Counters) -> None:
    """The thread that has it runs; the main thread cannot, and so does not wait to."""
    counters.ran[AGENT] += 45
    counters.waited[AGENT] += 4
    counters.waited[CALLER] += 45
    assert counters.look() == []


@pytest.mark.parametrize("before", [True, False])
def test_what_is_waited_behind_a_child_of_the_agent_is_the_agents(
    counters: Counters, before: bool
) -> None:
    if before:
        counters.begin(CHILD, 1, AGENT)
        counters.look()
        counters.ran[CHILD] += 40
    else:
        counters.begin(CHILD, 40, AGENT)
    counters.waited[AGENT] += 40
    counters.waited[CALLER] += 40
    assert counters.look() == []


def test_what_is_waited_behind_a_childs_child_is_the_agents(counters: Counters) -> None:
    """Also if that has ended by now: a shell that leaves another program behind."""
    counters.begin(CHILD, 1, AGENT)
    counters.begin(GRANDCHILD, 20, CHILD)
    counters.waited[CALLER] += 20
    assert counters.look() == []
    counters.end(CHILD)
    counters.parents[GRANDCHILD] = AGENT  # the system's doing
    for _ in range(3):
        counters.ran[GRANDCHILD] += 45
        counters.waited[CALLER] += 45
        assert counters.look() == []


def test_a_child_of_somebody_elses_is_not_the_agents(counters: Counters) -> None:
    counters.begin(CHILD, 40, CALLER)
    counters.waited[AGENT] += 40
    assert counters.look() == [("agent", 40.0)]


def test_what_the_agents_children_ran_before_all_looks_is_not_counted() -> None:
    with pytest.MonkeyPatch.context() as patched:
        counters = Counters(patched, children={CHILD: AGENT, GRANDCHILD: CHILD})
        counters.waited[CALLER] += 40
        counters.ran[GRANDCHILD] += 10
        assert counters.look() == [("caller", 30.0)]


def test_a_number_is_given_out_before_its_process_is_there(counters: Counters) -> None:
    counters.begin(CHILD, 1, AGENT)
    del counters.ran[CHILD]
    assert counters.look(8) == []
    counters.ran[CHILD] = 8
    counters.waited[CALLER] += 8
    assert counters.look(8) == []


def test_where_many_have_begun_all_are_gone_through(counters: Counters) -> None:
    counters.begin(CHILD + 10_000, 40, AGENT)
    counters.waited[CALLER] += 40
    assert counters.look() == []


def test_where_the_numbers_begin_anew_a_child_is_found(counters: Counters) -> None:
    counters.begin(10_000, 1, CALLER)
    for _ in range(5):
        counters.look()
    counters.begin(CHILD, 40, AGENT)
    counters.waited[CALLER] += 40
    assert counters.look() == []


def test_a_child_that_has_ended_meanwhile_has_run_too(counters: Counters) -> None:
    counters.begin(CHILD, 49, AGENT)
    counters.end(CHILD)
    counters.waited[AGENT] += 50
    assert counters.look() == [], "of a process that is gone the system counts ticks of 10 ms"


def test_what_a_childs_child_ran_that_has_ended_counts_while_the_child_goes_on(
    counters: Counters,
) -> None:
    """As under `make`: no more than a moment of each is ever seen."""
    counters.begin(CHILD, 1, AGENT)
    counters.look()
    for number in range(5):
        counters.begin(GRANDCHILD + number, 50, CHILD)
        counters.end(GRANDCHILD + number)
        counters.waited[CALLER] += 50
        assert counters.look() == []


def test_what_a_child_ran_is_not_counted_again_when_it_ends(counters: Counters) -> None:
    counters.begin(CHILD, 200, AGENT)
    for _ in range(6):
        counters.look()
    counters.end(CHILD, more_ms=10)
    counters.waited[CALLER] += 40
    assert counters.look() == [("caller", 10.0)], "10 it ran after the last look, and two ticks"


def test_the_ticks_of_many_children_are_lost_once(counters: Counters) -> None:
    """In a wait of many looks, in each of which one ended."""
    for number in range(10):
        counters.begin(CHILD + number, 10, AGENT)
        counters.end(CHILD + number)
        assert counters.look() == []
    counters.waited[CALLER] += 500
    assert counters.look() == [("caller", 500.0 - 10 * 10 - 2 * TICK_MS)]


def test_who_ends_and_nobody_waits_for_it_may_have_run_to_its_end(counters: Counters) -> None:
    """Where SIGCHLD is ignored, what it ran is in no account."""
    counters.begin(CHILD, 200, AGENT)
    for _ in range(6):
        counters.look()
    counters.end(CHILD, unwaited=True)
    counters.waited[CALLER] += 8
    assert counters.look(8) == []


def test_an_agent_that_has_ended_is_not_looked_for(
    counters: Counters, monkeypatch: pytest.MonkeyPatch
) -> None:
    counters.end(WORKER, unwaited=True)
    counters.look()
    monkeypatch.setattr(host, "pids", lambda: pytest.fail("it is gone"))
    assert counters.look() == []


def test_what_is_waited_behind_another_process_of_the_agent_is_the_agents(
    counters: Counters,
) -> None:
    counters.ran[WORKER] += 40
    counters.main_ran[WORKER] += 40
    counters.waited[AGENT] += 40
    counters.waited[CALLER] += 40
    assert counters.look() == []


def test_a_wait_of_many_looks_is_told_at_its_end_less_what_the_agent_ran_in_it(
    counters: Counters,
) -> None:
    """The system counts a wait when it is over; a busy child of the agent's ran from its start."""
    for _ in range(10):
        counters.ran[WORKER] += 40
        assert counters.look() == []
    counters.waited[CALLER] += 500
    counters.ran[WORKER] += 40
    assert counters.look() == [("caller", 500.0 - 11 * 40)]
    (stall,) = counters.stalls
    assert stall.within_ms == 550, "it may have begun a look earlier"


def test_what_the_agent_ran_while_a_look_stood_still_is_the_agents(
    counters: Counters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wait that began in the middle of that look began before it knew what the agent had run."""
    ran_ns = host.ran_ns

    def stand_still(pid: int) -> int:
        monkeypatch.setattr(host, "ran_ns", ran_ns)
        counters.now_ms += 40
        counters.ran[AGENT] += 40
        return ran_ns(pid)

    for _ in range(3):
        assert counters.look(8) == []
    monkeypatch.setattr(host, "ran_ns", stand_still)
    assert counters.look(8) == []
    assert counters.look(8) == []
    counters.waited[CALLER] += 48  # it ended just after the last look: all of it lies behind
    assert counters.look(8) == [("caller", 8.0)]


def test_what_it_ran_itself_while_a_look_stood_still_is_no_others_time(
    counters: Counters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What all of the agent has run, and its main thread, are read at two instants."""
    ran_ns = host.ran_ns

    def stand_still(pid: int) -> int:
        monkeypatch.setattr(host, "ran_ns", ran_ns)
        counters.now_ms += 40
        counters.ran[AGENT] += 40
        counters.main_ran[AGENT] += 40
        return ran_ns(pid)

    for _ in range(3):
        assert counters.look(8) == []
    monkeypatch.setattr(host, "ran_ns", stand_still)
    assert counters.look(8) == []
    for _ in range(8):
        assert counters.look(8) == []
    counters.waited[AGENT] += 64  # since that look, and behind the agent's other process for 40
    counters.ran[WORKER] += 40
    assert counters.look(8) == [("agent", 24.0)]


def test_it_says_whether_its_looks_are_sure() -> None:
    told: list[Stall] = []
    for sure in (False, True):
        times_ns = iter([0, 0, 0, 10**7, 10**7])
        watching = WaitWatch(told.append, clock=times_ns.__next__, sure=sure)
        with pytest.MonkeyPatch.context() as patched:
            waited = iter([0, 5_000_000])
            patched.setattr(host, "scheduled_ns", lambda _pid, waited=waited: (0, next(waited)))
            for _ in range(2):
                watching.look({"caller": CALLER})
    assert [stall.sure for stall in told] == [False, True]


def test_nobody_is_asked_for_its_parent_while_nothing_begins(
    counters: Counters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looks come 125 times a second: that takes longer than all the rest."""
    asked: list[int] = []

    def ask(pid: int) -> int | None:
        asked.append(pid)
        return counters.parent(pid)

    newest = host.newest_pid

    def ask_for_the_newest() -> int:
        asked_for_the_newest.append(counters.now_ms)
        return newest()

    asked_for_the_newest: list[int] = []
    monkeypatch.setattr(host, "newest_pid", ask_for_the_newest)
    monkeypatch.setattr(host, "parent", ask)
    monkeypatch.setattr(host, "pids", lambda: pytest.fail("all processes"))
    for _ in range(100):
        assert counters.look(8) == []
    assert (asked, len(asked_for_the_newest)) == ([], 100 / 5)
    counters.begin(CHILD, 8, CALLER)
    for _ in range(100):
        assert counters.look(8) == []
    assert asked == [CHILD] * 4, "it may have had no parent yet"
    counters.begin(GRANDCHILD, 30, AGENT)
    for _ in range(3):
        counters.ran[GRANDCHILD] += 8
        counters.waited[CALLER] += 8
        assert counters.look(8) == [], "who began just now had the processor"


@needs_linux
def test_looking_at_a_process_opens_its_files_once(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    open_it = os.open
    watching = WaitWatch(lambda _: None)

    def note(path: str, *how: int) -> int:
        opened.append(path)
        return open_it(path, *how)

    with subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.readline()"], stdin=subprocess.PIPE
    ) as process:
        pid = process.pid
        monkeypatch.setattr(os, "open", note)
        for _ in range(50):
            watching.look({"caller": pid})
        assert opened.count(f"/proc/{pid}/schedstat") == 1
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are enough
    assert host.scheduled_ns(pid) is None, "it is gone"
    assert len(os.listdir("/proc/self/fd")) < before, "and nothing of it is kept open"  # noqa: PTH208


def test_what_the_host_has_taken_is_told_and_never_sure(counters: Counters) -> None:
    """Its account is in ticks of 10 ms: nobody knows when, and how much of a tick."""
    counters.stolen += 20
    told = [stall for _ in range(12) for stall in (counters.look(8), counters.stalls[:])[1]]
    (stall,) = told
    assert (stall.late_ms, stall.within_ms, stall.sure) == (20.0, 12 * 8, False)


def test_a_process_that_is_gone_has_not_waited() -> None:
    told: list[Stall] = []
    WaitWatch(told.append).look({"agent-gone": 2**22 + 1})
    assert host.scheduled_ns(2**22 + 1) is None
    assert told == []


BURNS = """
import subprocess, sys, threading, time
def burn(until):
    while time.process_time() < until: pass
if "child" in sys.argv:
    burn(0.2)
else:
    thread = threading.Thread(target=burn, args=(0.2,)); thread.start(); thread.join()
    child = subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[1], "child"])
    print("on", flush=True); sys.stdin.readline()
    child.wait()
    print("over", flush=True); sys.stdin.readline()
"""


@needs_linux
def test_the_system_counts_threads_and_children() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BURNS, BURNS], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        assert host.ran_ns(process.pid) >= 200_000_000, "a thread that is not the main one"
        counted = host.scheduled_ns(process.pid)
        assert counted is not None
        assert counted[0] < host.ran_ns(process.pid)
        (child,) = [pid for pid in host.pids() if host.parent(pid) == process.pid]
        assert process.pid < child <= host.newest_pid()
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        assert host.parent(child) is None
        assert host.ran_ns(child) == 0
        assert host.ran_by_gone_children_ns(process.pid) >= 150_000_000
        process.stdin.write(b"\n")


PARTY = """
import gc, os, subprocess, sys, threading, time
from callerside import host

def burn(ms, clock=time.thread_time):
    until = clock() + ms / 1000
    while clock() < until: pass

def lock():
    held, begun = threading.Lock(), threading.Event()
    def hold():
        with held:
            begun.set()
            burn(80)
    thread = threading.Thread(target=hold); thread.start(); begun.wait()
    with held: pass
    thread.join()

def collection():
    until = time.thread_time() + 0.08
    while time.thread_time() < until: gc.collect()

def child():
    running = subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[1], "now busy"])
    while running.poll() is None: time.sleep(0.001)

def child_of_a_thread():
    thread = threading.Thread(target=child); thread.start(); thread.join()

def orphan():
    host.adopt_orphans()
    shell = '"$0" -c "$1" "$1" "now busy" &'
    subprocess.run(["sh", "-c", shell, sys.executable, sys.argv[1]])
    os.wait()

kinds = {
    "busy": lambda: burn(80), "lock": lock, "collection": collection, "child": child,
    "child of a thread": child_of_a_thread, "orphan": orphan,
}
kind = sys.argv[2]
if kind == "now busy":
    burn(80)
elif kind in ("burns", "waits"):
    print("on", flush=True)
    while True: pass
else:
    garbage = [[number] for number in range(300_000)]
    print("on", flush=True); sys.stdin.readline()
    while True:
        kinds[kind]()
        print("over", flush=True); sys.stdin.readline()
"""


@contextlib.contextmanager
def party(kind: str, processor: int) -> Iterator["subprocess.Popen[bytes]"]:
    """A process on one processor, ready to do something with it; who is to wait comes last.

    It would run all the time: whoever sleeps now and then has the processor as soon as it wakes.
    """
    first = ["nice", "-n", "19"] if kind == "waits" else []
    with subprocess.Popen(
        [*first, "taskset", "-c", str(processor), sys.executable, "-c", PARTY, PARTY, kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"on\n"
            yield process
        finally:
            process.kill()


WAITS_MS = 30.0
"""So long they have to wait: of the 80 that the agent is busy, or of several such times."""
TIMES = 20


def waited_ms(pid: int) -> float:
    counted = host.scheduled_ns(pid)
    assert counted is not None
    return counted[1] / NS_PER_MS


def main_ran_ns(pid: int) -> int:
    counted = host.scheduled_ns(pid)
    assert counted is not None
    return counted[0]


def told_while(
    process: "subprocess.Popen[bytes]", named: dict[str, int]
) -> tuple[dict[str, float], float]:
    """What is told while a party does what it does, and what the agent left of that time."""
    told = dict.fromkeys(named, 0.0)

    def take(stall: Stall) -> None:
        if stall.process:
            told[stall.process] += stall.late_ms

    watching = WaitWatch(take)
    agents = [pid for name, pid in named.items() if name.startswith("agent")]

    def ran_ns() -> int:
        parents = {pid: host.parent(pid) for pid in host.pids()}
        family = {pid for pid, parent in parents.items() if parent in agents}
        alive = sum(host.ran_ns(one) for one in {*agents, *family})
        return alive + sum(host.ran_by_gone_children_ns(pid) for pid in agents)

    assert process.stdin is not None
    assert process.stdout is not None
    # Others may have this processor between any two lines: what is left is counted from before the
    # first look to after the last, and what was run within these.
    begun_ns = time.monotonic_ns()
    watching.look(named)
    ran_before_ns = ran_ns()
    process.stdin.write(b"\n")
    process.stdin.flush()
    os.set_blocking(process.stdout.fileno(), False)
    while process.stdout.read(1) is None:
        time.sleep(0.005)
        watching.look(named)
    os.set_blocking(process.stdout.fileno(), True)
    process.stdout.readline()
    ran = {pid: main_ran_ns(pid) for pid in named.values() if pid != process.pid}
    while any(main_ran_ns(pid) == before for pid, before in ran.items()):
        time.sleep(0.005)  # a wait is counted when it is over
        watching.look(named)
    time.sleep(0.005)
    ran_since_ns = ran_ns() - ran_before_ns
    watching.look(named)
    left_ns = time.monotonic_ns() - begun_ns - ran_since_ns
    return told, left_ns / NS_PER_MS


@needs_linux
@pytest.mark.parametrize(
    "kind",
    ["busy", "lock", "collection", "child", "child of a thread", "orphan", "another process"],
)
def test_none_of_what_the_agent_does_is_told_as_the_machines(kind: str) -> None:
    """All on one processor: what the agent did not run there is the most that anybody else had."""
    processor = host.processors()[0]
    with contextlib.ExitStack() as parties:
        caller = parties.enter_context(party("waits", processor))
        named = {"caller": caller.pid}
        if kind == "another process":
            waits = parties.enter_context(party("waits", processor))
            named["agent"] = waits.pid
        agent = parties.enter_context(party("busy" if "another" in kind else kind, processor))
        named["agent2"] = agent.pid
        before = {name: waited_ms(pid) for name, pid in named.items()}
        tick_ms = 20.0 if "child" in kind or kind == "orphan" else 0.0
        for _ in range(TIMES):
            told, left_ms = told_while(agent, named)
            for name, told_ms in told.items():
                assert told_ms <= left_ms + tick_ms + 1.0, f"{name}: the agent's own time is told"
            waited = [waited_ms(named[one]) - before[one] for one in set(named) - {"agent2"}]
            if min(waited) >= WAITS_MS:
                break
        assert min(waited) >= WAITS_MS, "or there is nothing to tell"


@needs_linux
def test_what_foreign_work_takes_of_a_busy_agent_is_told() -> None:
    processor = host.processors()[0]
    with party("burns", processor), party("busy", processor) as agent:
        told, left_ms = told_while(agent, {"agent": agent.pid})
    assert 30.0 <= told["agent"] <= left_ms + 1.0
