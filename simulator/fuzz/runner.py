"""Fuzzing: thousands of generated calls, as fast as the machine allows, each judged by invariants.

A pipeline of plain functions: seeds are played in several processes, what they found is shrunk and
written as a small scenario, and a summary says what was reached and what never was. A seed and the
version are enough to play a call again; the written scenario is enough without either.
"""

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from callerside.simulator.fuzz.coverage import broken_pairs, expected, possible_pairs
from callerside.simulator.fuzz.play import MAX_PLAYS, Outcome, play_seed, shrink_outcome
from callerside.simulator.runner.process_pool import process_pool
from callerside.yaml.versions import NEWEST

SEEDS_A_BATCH = 10
"""Large enough to make handing them over cheap, small enough to show progress and to stop soon."""
MAX_WRITTEN = 100
"""Failures of one run that goes on."""
_BATCHES_AHEAD = 2
"""A process: it must never wait for the next one, nor may thousands queue up."""


@dataclass(frozen=True, kw_only=True)
class FuzzOptions:
    """What `callerside fuzz` was asked for."""

    seeds: int = 1000
    first_seed: int = 0
    jobs: int = 1
    keep_going: bool = False
    """Go on after the first failure."""
    found: Path = Path("out/found")
    """Where the scenarios of failures are written."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A seed that broke an invariant, and the scenario that shows it."""

    seed: int
    invariant: str
    detail: str
    path: Path
    after: Path | None
    """The scenario that must be played before it, if there is one."""
    for_sip: bool
    """Whether the sip lane can play it, too."""
    game: str = "call"
    """As in `simulator.fuzz.play.Outcome`: what must fail is played as such by its seed alone."""
    unwritten: str = ""
    """Why there is no file of it; empty: there is one."""

    @property
    def paths(self) -> list[Path]:
        """What to play, in this order."""
        return [self.after, self.path] if self.after else [self.path]


@dataclass(kw_only=True)
class Summary:
    """What a fuzzing run did."""

    first_seed: int
    calls: int = 0
    virtual_s: float = 0.0
    took_s: float = 0.0
    failed: Counter[str] = field(default_factory=Counter)
    """Calls by the first invariant that they broke."""
    findings: list[Finding] = field(default_factory=list)
    """Those that were written up."""
    unwritten: int = 0
    """How many others failed."""
    reached: set[str] = field(default_factory=set)
    pairs: set[str] = field(default_factory=set)
    """What came together; see `simulator.fuzz.coverage`."""

    @property
    def never_together(self) -> list[str]:
        """Pairs that can be, and that there were not."""
        return sorted(possible_pairs() - self.pairs)

    @property
    def by_a_broken_protocol(self) -> list[str]:
        """Pairs that there were, and that only a broken protocol brings."""
        return sorted(broken_pairs() & self.pairs)

    @property
    def against_the_table(self) -> list[str]:
        """Pairs that there were, and that cannot be: then the table that says so is wrong."""
        return sorted(self.pairs - possible_pairs() - broken_pairs())

    def share_of_pairs(self, kind: str) -> tuple[int, int]:
        """How many pairs of a kind (`event`, `step`, `fault`) there were, of those that can be."""
        whole = {pair for pair in possible_pairs() if pair.startswith(f"{kind} ")}
        return len(whole & self.pairs), len(whole)

    @property
    def never_reached(self) -> list[str]:
        """Points of `simulator.fuzz.coverage` that no call came to."""
        return sorted(expected() - self.reached)

    @property
    def calls_a_second(self) -> float:
        """Over the whole run, all processes together."""
        return self.calls / self.took_s if self.took_s else 0.0


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What some seeds led to; small enough to cross between processes."""

    calls: int
    virtual_s: float
    reached: frozenset[str]
    pairs: frozenset[str]
    failures: tuple[tuple[int, str], ...]
    """Seeds that failed, and the first invariant that each broke."""


def fuzz(options: FuzzOptions, on_progress: Callable[[Summary], None]) -> Summary:
    """Play the seeds, then write up the failure at which it stopped, or every one of them.

    The first of each invariant is shrunk, which takes a while; others are written as they are.

    `on_progress` is called with the summary so far, several times a second when calls are short.
    """
    started = time.monotonic()
    summary = Summary(first_seed=options.first_seed)
    failures: list[tuple[int, str]] = []
    for batch in _play(options):
        summary.calls += batch.calls
        summary.virtual_s += batch.virtual_s
        summary.reached |= batch.reached
        summary.pairs |= batch.pairs
        failures += batch.failures
        summary.failed.update(invariant for _, invariant in batch.failures)
        summary.took_s = time.monotonic() - started
        on_progress(summary)
        if summary.failed and not options.keep_going:
            break
    known: set[str] = set()
    for seed, invariant in sorted(failures)[: MAX_WRITTEN if options.keep_going else 1]:
        summary.findings.append(write_up(seed, options.found, small=invariant not in known))
        known.add(invariant)
    summary.unwritten = len(failures) - len(summary.findings)
    return summary


def play_batch(seeds: range) -> Batch:
    """Play some seeds one after the other."""
    outcomes = [(seed, play_seed(seed)) for seed in seeds]
    return Batch(
        calls=len(outcomes),
        virtual_s=sum(outcome.virtual_s for _, outcome in outcomes),
        reached=frozenset().union(*(outcome.reached for _, outcome in outcomes)),
        pairs=frozenset().union(*(outcome.pairs for _, outcome in outcomes)),
        failures=tuple(
            (seed, outcome.breaches[0].invariant) for seed, outcome in outcomes if outcome.breaches
        ),
    )


def write_up(
    seed: int, directory: Path, *, small: bool = True, max_plays: int = MAX_PLAYS
) -> Finding:
    """Write the scenario that shows how the call of a seed fails; shrink it before if `small`.

    Args:
        seed: it fails.
        directory: where it is written; if it cannot be, the finding says why.
        small: whether it is shrunk.
        max_plays: how many simpler calls are tried for that, at most.

    Raises:
        ValueError: it does not fail.
    """
    outcome = play_seed(seed)
    if not outcome.breaches:
        raise ValueError(f"seed {seed} does not fail")
    shrunk = shrink_outcome(outcome, max_plays=max_plays) if small else outcome
    breach = shrunk.breaches[0]
    path = directory / f"{shrunk.name}.{'txt' if shrunk.game == 'client' else 'yaml'}"
    after, unwritten = None, ""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        path.write_text(as_scenario_file(shrunk, seed), encoding="utf-8")
        after = _write_before(shrunk, directory)
    except OSError as error:  # what was found is worth more than its file
        unwritten = f"{error.filename}: cannot be written: {error.strerror}"
    return Finding(
        seed=seed,
        invariant=breach.invariant,
        detail=breach.detail,
        path=path,
        after=after,
        unwritten=unwritten,
        for_sip=shrunk.game == "call" and "lanes" not in shrunk.data,
        game=shrunk.game,
    )


def steps_of(path: Path) -> int:
    """How many steps a written scenario has, or requests a client."""
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    return len(data.get("steps") or data["requests"])


def _write_before(outcome: Outcome, directory: Path) -> Path | None:
    """What is to be played before it, under the name that it says; None if nothing is."""
    if outcome.before is None:
        return None
    path = directory / f"{outcome.data['after']}.yaml"
    data = {"version": NEWEST, **outcome.before, "judged_by": "invariants"}
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return path


def as_scenario_file(outcome: Outcome, seed: int) -> str:
    """A scenario that plays the call again, with a sentence that says what it showed."""
    breach = outcome.breaches[0]
    shown = " ".join(f"{breach.invariant}: {breach.detail}".split())
    lines = [f"# Found by the fuzzer, seed {seed}: {shown}"]
    about = f"Seed {seed} of the fuzzer: {breach.invariant}."
    if outcome.game == "client":
        return "\n".join(lines) + "\n" + yaml.safe_dump(dict(outcome.data), sort_keys=False)
    data = {"version": NEWEST, **outcome.data, "about": about}
    return "\n".join(lines) + "\n" + yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def _play(options: FuzzOptions) -> Iterator[Batch]:
    batches = _batches(options)
    if options.jobs == 1:
        yield from map(play_batch, batches)
        return
    with process_pool(options.jobs) as pool:
        running: set[Future[Batch]] = set()
        try:
            while True:
                ahead = options.jobs * _BATCHES_AHEAD - len(running)
                running |= {
                    pool.submit(play_batch, batch) for batch in itertools.islice(batches, ahead)
                }
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _batches(options: FuzzOptions) -> Iterator[range]:
    end = options.first_seed + options.seeds
    for first in range(options.first_seed, end, SEEDS_A_BATCH):
        yield range(first, min(first + SEEDS_A_BATCH, end))
