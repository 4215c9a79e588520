"""The policy of keeping N worker processes alive: a state machine without any I/O.

pjsua2 allows four calls a process, so more calls need more processes. A worker that dies takes
only its own calls; it is started again, at once the first time and later and later if it keeps
dying. A worker that does not answer its health probes is as good as dead and is killed.
`agent.service.supervisor` connects this to real processes, signals and time.
"""

from dataclasses import dataclass
from typing import Literal, assert_never

from callerside.clock import ms_to_ns

FIRST_BACKOFF_MS = 500
MAX_BACKOFF_MS = 30_000
STABLE_MS = 60_000
"""A worker that has been up for so long has proved itself: its next death is a first one."""

START_LIMIT_MS = 30_000
"""From its start until it is ready. Loading a library and warming greetings take seconds."""

PROBE_INTERVAL_MS = 2000
MAX_MISSED_PROBES = 5
"""So many in a row, and a worker hangs: ten seconds in which its callers heard nothing."""

STOP_MARGIN_MS = 10_000
"""How much longer than its own drain limit a worker may take to stop before it is killed."""

EXIT_FINE, EXIT_FAILED, EXIT_COULD_NOT_RUN = 0, 1, 2

WorkerState = Literal["starting", "ready", "waiting", "gone"]
Order = Literal["stop", "reload", "kill"]


@dataclass(frozen=True, slots=True)
class Started:
    """The supervisor runs: the first input."""


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """A worker takes calls at `address`."""

    index: int
    address: str


@dataclass(frozen=True, slots=True)
class WorkerExited:
    """A worker's process is over: its exit code, or minus the signal that ended it."""

    index: int
    status: int


@dataclass(frozen=True, slots=True)
class WorkerProbed:
    """What became of a health probe of a worker that was ready."""

    index: int
    healthy: bool


@dataclass(frozen=True, slots=True)
class WorkerTimerFired:
    """A timer that was set for a worker."""

    index: int
    token: int


@dataclass(frozen=True, slots=True)
class StopAsked:
    """SIGTERM or SIGINT."""


@dataclass(frozen=True, slots=True)
class StopLimitReached:
    """The timer of `LimitStop`."""


@dataclass(frozen=True, slots=True)
class ReloadAsked:
    """SIGHUP."""


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start this worker's process."""

    index: int


@dataclass(frozen=True, slots=True)
class SendOrder:
    """Send the worker a signal: drain and stop, reload its settings, or die."""

    index: int
    order: Order


@dataclass(frozen=True, slots=True)
class SetWorkerTimer:
    """Come back with a `WorkerTimerFired`. A timer with an old token is ignored then."""

    index: int
    token: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class LimitStop:
    """Come back with a `StopLimitReached`."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class Announce:
    """Every worker has become ready, for the first time."""

    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """Something an operator should read in the log."""

    event: str
    worker: int
    status: int | None = None
    retry_in_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """No worker is left: exit with this code."""

    exit_code: int


SupervisorInput = (
    Started
    | WorkerReady
    | WorkerExited
    | WorkerProbed
    | WorkerTimerFired
    | StopAsked
    | StopLimitReached
    | ReloadAsked
)
SupervisorEffect = Spawn | SendOrder | SetWorkerTimer | LimitStop | Announce | Note | Finish


@dataclass(slots=True)
class Worker:
    """What is known of one worker."""

    index: int
    state: WorkerState = "gone"
    address: str | None = None
    since_ns: int = 0
    restarts: int = 0
    failures: int = 0
    """Deaths in a row, none of them after a stable life."""
    missed_probes: int = 0
    is_stale: bool = False
    """A reload was asked for while it was starting, when a signal would have ended it."""
    token: int = 0


class Supervisor:
    """The state machine of all workers."""

    def __init__(self, count: int, *, drain_limit_ms: int) -> None:
        self.workers = [Worker(index) for index in range(count)]
        self.stopping = False
        self._stop_limit_ns = ms_to_ns(drain_limit_ms + STOP_MARGIN_MS)
        self._announced = False
        self._exit_code = EXIT_FINE

    def handle(self, happened: SupervisorInput, now_ns: int) -> list[SupervisorEffect]:
        """What to do about it, in this order."""
        match happened:
            case Started():
                return [effect for worker in self.workers for effect in self._spawn(worker, now_ns)]
            case WorkerReady(index, address):
                return self._on_ready(self.workers[index], address, now_ns)
            case WorkerExited(index, status):
                return self._on_exit(self.workers[index], status, now_ns)
            case WorkerProbed(index, healthy):
                return self._on_probe(self.workers[index], healthy=healthy)
            case WorkerTimerFired(index, token):
                return self._on_timer(self.workers[index], token, now_ns)
            case StopAsked():
                return self._stop(now_ns)
            case StopLimitReached():
                self._exit_code = self._exit_code or EXIT_FAILED
                return [Note("workers_killed", w.index) for w in self._alive()] + self._order(
                    "kill"
                )
            case ReloadAsked():
                for worker in self._alive():
                    worker.is_stale = worker.state == "starting"
                return self._order("reload", only="ready")
            case unknown:
                assert_never(unknown)

    def _spawn(self, worker: Worker, now_ns: int) -> list[SupervisorEffect]:
        worker.state, worker.address, worker.since_ns = "starting", None, now_ns
        worker.missed_probes, worker.is_stale = 0, False
        return [Spawn(worker.index), self._timer(worker, now_ns + ms_to_ns(START_LIMIT_MS))]

    def _on_ready(self, worker: Worker, address: str, now_ns: int) -> list[SupervisorEffect]:
        if worker.state != "starting":
            return []
        worker.state, worker.address, worker.since_ns = "ready", address, now_ns
        worker.token += 1
        effects: list[SupervisorEffect] = [Note("worker_ready", worker.index)]
        if worker.is_stale:
            worker.is_stale = False
            effects.append(SendOrder(worker.index, "reload"))
        if not self._announced and all(each.state == "ready" for each in self.workers):
            self._announced = True
            effects.append(Announce(tuple(each.address or "" for each in self.workers)))
        return effects

    def _on_exit(self, worker: Worker, status: int, now_ns: int) -> list[SupervisorEffect]:
        was_stable = worker.state == "ready" and now_ns - worker.since_ns >= ms_to_ns(STABLE_MS)
        never_ran = worker.state == "starting" and not worker.restarts
        worker.token += 1
        worker.address = None
        if self.stopping:
            worker.state = "gone"
            return [Note("worker_exited", worker.index, status), *self._finish_if_empty()]
        if never_ran and status == EXIT_COULD_NOT_RUN:
            return self._give_up(worker, now_ns)
        worker.state = "waiting"
        worker.failures = 1 if was_stable else worker.failures + 1
        wait_ms = min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** min(worker.failures - 1, 16))
        return [
            Note("worker_died", worker.index, status, wait_ms),
            self._timer(worker, now_ns + ms_to_ns(wait_ms)),
        ]

    def _give_up(self, worker: Worker, now_ns: int) -> list[SupervisorEffect]:
        """A worker that says its input is bad says so for all of them: trying again is no use."""
        worker.state = "gone"
        self._exit_code = EXIT_COULD_NOT_RUN
        note = Note("worker_could_not_run", worker.index, EXIT_COULD_NOT_RUN)
        return [note, *self._stop(now_ns)]

    def _on_probe(self, worker: Worker, *, healthy: bool) -> list[SupervisorEffect]:
        if worker.state != "ready":
            return []
        worker.missed_probes = 0 if healthy else worker.missed_probes + 1
        if worker.missed_probes != MAX_MISSED_PROBES:
            return []
        return [Note("worker_hangs", worker.index), SendOrder(worker.index, "kill")]

    def _on_timer(self, worker: Worker, token: int, now_ns: int) -> list[SupervisorEffect]:
        if token != worker.token or self.stopping:
            return []
        if worker.state == "waiting":
            worker.restarts += 1
            return self._spawn(worker, now_ns)
        return [Note("worker_never_ready", worker.index), SendOrder(worker.index, "kill")]

    def _stop(self, now_ns: int) -> list[SupervisorEffect]:
        for worker in self.workers:
            if worker.state == "waiting":
                worker.state = "gone"
        effects = self._order("stop")
        if not self.stopping:
            self.stopping = True
            effects.append(LimitStop(now_ns + self._stop_limit_ns))
        return effects + self._finish_if_empty()

    def _finish_if_empty(self) -> list[SupervisorEffect]:
        return [] if self._alive() else [Finish(self._exit_code)]

    def _alive(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.state in ("starting", "ready")]

    def _order(self, order: Order, only: WorkerState | None = None) -> list[SupervisorEffect]:
        alive = self._alive()
        return [SendOrder(w.index, order) for w in alive if only is None or w.state == only]

    @staticmethod
    def _timer(worker: Worker, at_ns: int) -> SetWorkerTimer:
        worker.token += 1
        return SetWorkerTimer(worker.index, worker.token, at_ns)
