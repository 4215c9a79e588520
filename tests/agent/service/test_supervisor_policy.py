import random

import pytest

from callerside.agent.service.supervisor_policy import (
    FIRST_BACKOFF_MS,
    MAX_BACKOFF_MS,
    MAX_MISSED_PROBES,
    STABLE_MS,
    START_LIMIT_MS,
    STOP_MARGIN_MS,
    Announce,
    Finish,
    LimitStop,
    Note,
    ReloadAsked,
    SendOrder,
    SetWorkerTimer,
    Spawn,
    Started,
    StopAsked,
    StopLimitReached,
    Supervisor,
    SupervisorEffect,
    SupervisorInput,
    WorkerExited,
    WorkerProbed,
    WorkerReady,
    WorkerTimerFired,
)
from callerside.clock import NS_PER_MS, ms_to_ns

DRAIN_MS = 60_000


class World:
    """A supervisor under a clock that a test moves."""

    def __init__(self, count: int = 3) -> None:
        self.supervisor = Supervisor(count, drain_limit_ms=DRAIN_MS)
        self.now_ns = 0
        self.timers: dict[int, SetWorkerTimer] = {}
        self.tell(Started())

    def tell(self, happened: SupervisorInput) -> list[SupervisorEffect]:
        effects = self.supervisor.handle(happened, self.now_ns)
        for effect in effects:
            if isinstance(effect, SetWorkerTimer):
                self.timers[effect.index] = effect
        return [e for e in effects if not isinstance(e, SetWorkerTimer | Note)]

    def ready(self, *indexes: int) -> list[SupervisorEffect]:
        return [e for i in indexes for e in self.tell(WorkerReady(i, f"sip:h:{5060 + i}"))]

    def wait_for_timer(self, index: int) -> list[SupervisorEffect]:
        timer = self.timers[index]
        self.now_ns = max(self.now_ns, timer.at_ns)
        return self.tell(WorkerTimerFired(index, timer.token))

    def die_and_wait_ms(self, index: int, status: int = -9) -> float:
        """How long after its death the worker is started again."""
        died_ns = self.now_ns
        assert self.tell(WorkerExited(index, status)) == []
        assert self.wait_for_timer(index) == [Spawn(index)]
        return (self.now_ns - died_ns) / NS_PER_MS


def test_all_are_started_and_announced_once_when_all_are_ready() -> None:
    supervisor = Supervisor(2, drain_limit_ms=DRAIN_MS)
    effects = supervisor.handle(Started(), 0)
    assert [e for e in effects if isinstance(e, Spawn)] == [Spawn(0), Spawn(1)]
    world = World(2)
    assert world.ready(1) == []
    assert world.ready(0) == [Announce(("sip:h:5060", "sip:h:5061"))]
    world.die_and_wait_ms(0)
    assert world.ready(0) == []


def test_a_death_concerns_one_worker_only() -> None:
    world = World()
    world.ready(0, 1, 2)
    assert world.die_and_wait_ms(1) == FIRST_BACKOFF_MS
    assert [worker.state for worker in world.supervisor.workers] == ["ready", "starting", "ready"]
    assert [worker.restarts for worker in world.supervisor.workers] == [0, 1, 0]


def test_who_keeps_dying_waits_longer_and_longer_up_to_a_limit() -> None:
    world = World(1)
    waits = []
    for _ in range(9):
        world.ready(0)
        waits.append(world.die_and_wait_ms(0))
    assert waits == [500, 1000, 2000, 4000, 8000, 16000, MAX_BACKOFF_MS, 30000, 30000]


def test_a_long_life_is_forgiven() -> None:
    world = World(1)
    for _ in range(5):
        world.ready(0)
        world.die_and_wait_ms(0)
    world.ready(0)
    world.now_ns += ms_to_ns(STABLE_MS)
    assert world.die_and_wait_ms(0) == FIRST_BACKOFF_MS


def test_who_is_never_ready_is_killed() -> None:
    world = World(1)
    assert world.wait_for_timer(0) == [SendOrder(0, "kill")]
    assert world.now_ns == ms_to_ns(START_LIMIT_MS)


def test_the_start_limit_of_a_former_life_kills_nobody() -> None:
    world = World(1)
    old = world.timers[0]
    world.ready(0)
    assert world.tell(WorkerTimerFired(0, old.token)) == []
    world.die_and_wait_ms(0)
    assert world.tell(WorkerTimerFired(0, old.token)) == []


def test_who_hangs_is_killed_once() -> None:
    world = World(1)
    world.ready(0)
    told = [world.tell(WorkerProbed(0, False)) for _ in range(MAX_MISSED_PROBES + 3)]
    assert told == [*[[]] * (MAX_MISSED_PROBES - 1), [SendOrder(0, "kill")], [], [], []]


def test_one_good_answer_forgives_the_missed_ones() -> None:
    world = World(1)
    world.ready(0)
    for healthy in [*[False] * (MAX_MISSED_PROBES - 1), True] * 3:
        assert world.tell(WorkerProbed(0, healthy)) == []


def test_a_late_probe_of_a_dead_worker_is_nothing() -> None:
    world = World(1)
    world.ready(0)
    world.tell(WorkerExited(0, 1))
    assert world.tell(WorkerProbed(0, False)) == []


def test_stopping_lets_all_finish() -> None:
    world = World(2)
    world.ready(0, 1)
    limit = LimitStop(ms_to_ns(DRAIN_MS + STOP_MARGIN_MS))
    assert world.tell(StopAsked()) == [SendOrder(0, "stop"), SendOrder(1, "stop"), limit]
    assert world.tell(WorkerExited(1, 0)) == []
    assert world.tell(WorkerExited(0, 0)) == [Finish(0)]


def test_asked_to_stop_twice_the_workers_hear_it_twice() -> None:
    world = World(1)
    world.ready(0)
    world.tell(StopAsked())
    assert world.tell(StopAsked()) == [SendOrder(0, "stop")]


def test_who_will_not_stop_is_killed_and_the_exit_code_tells() -> None:
    world = World(2)
    world.ready(0, 1)
    world.tell(StopAsked())
    world.tell(WorkerExited(0, 0))
    assert world.tell(StopLimitReached()) == [SendOrder(1, "kill")]
    assert world.tell(WorkerExited(1, -9)) == [Finish(1)]


def test_who_waits_for_its_restart_is_not_started_while_stopping() -> None:
    world = World(2)
    world.ready(0, 1)
    world.tell(WorkerExited(0, -11))
    world.tell(StopAsked())
    assert world.wait_for_timer(0) == []
    assert world.tell(WorkerExited(1, 0)) == [Finish(0)]


def test_with_nobody_up_stopping_is_done_at_once() -> None:
    world = World(1)
    world.ready(0)
    world.tell(WorkerExited(0, -11))
    assert world.tell(StopAsked())[-1] == Finish(0)


def test_bad_input_is_not_tried_again() -> None:
    world = World(2)
    effects = world.tell(WorkerExited(0, 2))
    assert SendOrder(1, "stop") in effects
    assert world.tell(WorkerExited(1, -15)) == [Finish(2)]


def test_input_that_became_bad_is_tried_again_as_the_others_still_run() -> None:
    world = World(2)
    world.ready(0, 1)
    world.die_and_wait_ms(0)
    assert world.die_and_wait_ms(0, status=2) == 2 * FIRST_BACKOFF_MS


def test_reloading_is_for_those_that_run() -> None:
    world = World(3)
    world.ready(0, 2)
    assert world.tell(ReloadAsked()) == [SendOrder(0, "reload"), SendOrder(2, "reload")]


def test_who_starts_while_a_reload_is_asked_for_reloads_when_it_is_ready() -> None:
    world = World(2)
    world.ready(0)
    world.tell(ReloadAsked())
    assert SendOrder(1, "reload") in world.ready(1), "it may have read the settings before"
    world.tell(ReloadAsked())
    world.die_and_wait_ms(1)
    assert world.ready(1) == [], "its new life has read the new ones"


class Chaos:
    """A supervisor to whom anything that is possible happens, in any order."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.supervisor = Supervisor(3, drain_limit_ms=DRAIN_MS)
        self.now_ns = 0
        self.alive: set[int] = set()
        self.timers: list[SetWorkerTimer] = []
        self.finished: list[int] = []
        self.tell(Started())

    def tell(self, happened: SupervisorInput) -> None:
        for effect in self.supervisor.handle(happened, self.now_ns):
            if isinstance(effect, Spawn):
                assert effect.index not in self.alive, "two lives at once"
                assert not self.supervisor.stopping, "started while stopping"
                self.alive.add(effect.index)
            elif isinstance(effect, SetWorkerTimer):
                self.timers.append(effect)
            elif isinstance(effect, Finish):
                assert not self.alive, "finished with workers left"
                self.finished.append(effect.exit_code)

    def step(self) -> None:
        self.now_ns += self.rng.randrange(ms_to_ns(20_000))
        index = self.rng.randrange(3)
        possible: list[SupervisorInput] = [
            WorkerProbed(index, self.rng.random() < 0.5),
            ReloadAsked(),
        ]
        if index in self.alive:
            possible += [
                WorkerExited(index, self.rng.choice([0, 1, 2, -9])),
                WorkerReady(index, ""),
            ]
        if self.timers:
            timer = self.rng.choice(self.timers)
            possible.append(WorkerTimerFired(timer.index, timer.token))
        happened = self.rng.choice(possible)
        if isinstance(happened, WorkerExited):
            self.alive.discard(index)
        self.tell(happened)

    def stop(self) -> None:
        self.tell(StopAsked())
        for index in sorted(self.alive):
            self.alive.discard(index)
            self.tell(WorkerExited(index, 0))


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_no_two_lives_overlap_and_the_end_comes(seed: int) -> None:
    chaos = Chaos(seed)
    for _ in range(200):
        if not chaos.finished:
            chaos.step()
    if not chaos.finished:
        chaos.stop()
    assert len(chaos.finished) == 1
