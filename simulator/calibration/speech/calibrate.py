"""`callerside calibrate`, on speech: how far off the ear is, by metric and by what the line does.

Every utterance is said in several calls, each on another line (`conditions`), made in memory with
its truth (`spoken_call`) and measured by the code that measures every call.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from callerside.reports.evidence import CallEvidence
from callerside.reports.metrics.audible import NS_PER_MS, spoken
from callerside.reports.metrics.metrics import Measured, measure
from callerside.simulator.calibration.speech import conditions, utterances
from callerside.simulator.calibration.speech.conditions import CONDITIONS, Condition
from callerside.simulator.calibration.speech.hearing_limit import Limit, at_best, moved
from callerside.simulator.calibration.speech.spoken_call import Ear, SpokenCall, make
from callerside.simulator.calibration.speech.utterances import RATE_HZ, Utterance, Wave
from callerside.simulator.runner.process_pool import process_pool

EARS: tuple["Ear", ...] = ("known", "sent", "unknown")
GROUPS = {one.name: one.group for one in CONDITIONS}
SEED = 16
_LINES_AN_UTTERANCE = 4
_PAUSE_MS = 250
_SHORTEST_ANSWER_S = 2.0
_FAR_MS = 1500
_OF_WHAT_WAS_SENT = ("gap_ms", "missing_ms", "repeated_ms")
_OF_MARKS = ("heard_error_ms", "false_stops")
_NOT_OF: dict[Ear, tuple[str, ...]] = {
    "known": (),
    "sent": _OF_MARKS,
    "unknown": (*_OF_WHAT_WAS_SENT, *_OF_MARKS),
}
"""What nobody knows of such an agent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Error:
    """One value: measured less true; None where there was none."""

    metric: str
    ear: Ear | Limit
    condition: str
    held_out: bool
    error_ms: float | None
    """In the metric's own unit, where that is another one; so is the bound."""
    bound_ms: float | None = None
    """How far off the value may be, by its own word."""
    call: str = ""


class KnownCall(Protocol):
    """What is true of a call, however it was made; samples are those of its recording."""

    heard: list[list[tuple[int, int]]]
    """Of the greeting and of the answer: the stretches that were heard."""

    def at_ns(self, sample: int) -> int:
        """When a sample of the recording was heard, on the clock of the marks."""

    @property
    def turn_ms(self) -> float:
        """From when the packet with the end of the question leaves to its answer."""

    @property
    def stop_ms(self) -> float:
        """From the onset of the interruption to the last that was heard of the answer."""

    @property
    def talk_over_ms(self) -> float:
        """How long both spoke, pauses of an utterance included."""

    @property
    def others(self) -> Iterable[tuple[str, int | None, float]]:
        """Every other metric that has a truth: its name, its turn, and what is true."""

    def evidence(self, ear: Ear) -> CallEvidence:
        """The call as a report reads it who knows so much of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """One call to be made."""

    utterance: Utterance
    condition: Condition
    others: tuple[Utterance, ...]
    """What else is said in it: three, of the same held-out third or of the rest."""

    @property
    def name(self) -> str:
        """Of the call, and the seed of all that is random in it."""
        return f"{self.utterance.name} | {self.condition.name}"


def plans(
    *,
    sample: int | None = None,
    seed: int = SEED,
    suits: Callable[[Condition], bool] = lambda _: True,
) -> list[Plan]:
    """Which calls are made: each utterance on a plain line and on some others, drawn by the seed.

    Args:
        sample: only so many calls, drawn by the seed: of as many utterances as can be.
        seed: of all that is drawn.
        suits: on which lines.
    """
    lines = [line for line in conditions.available()[0] if suits(line)]
    every = utterances.utterances()
    found: list[Plan] = []
    deck: list[Condition] = []
    for one in every:
        rng = random.Random(f"{seed}/{one.name}")
        alike = [other for other in every if other.held_out == one.held_out and other != one]
        chosen: list[Condition] = []
        while len(chosen) < _LINES_AN_UTTERANCE:
            if not deck:
                deck = list(lines)
                random.Random(f"{seed}/{len(found)}").shuffle(deck)
            chosen.append(deck.pop())
        same = [other for other in alike if other.voice == one.voice] or alike
        for line in chosen:
            others = (rng.choice(same), rng.choice(alike), rng.choice(alike))
            found.append(Plan(utterance=one, condition=line, others=others))
    if sample is not None:
        # Every utterance once, before any is said on a second line.
        order = random.Random(seed).sample(range(len(found)), len(found))
        order.sort(key=lambda place: place % _LINES_AN_UTTERANCE)
        found = [found[place] for place in order[:sample]]
    return found


def call_of(plan: Plan) -> SpokenCall:
    """Make a call as planned."""
    rng = random.Random(plan.name)
    more, question, barge = (one.wave() for one in plan.others)
    wave = plan.utterance.wave()
    answer = answer_of(wave, more, _SHORTEST_ANSWER_S)
    longest = 4 * RATE_HZ
    cut_off = rng.random() < 0.25  # the greeting is cut off anywhere, too
    greeting = wave[: round(wave.size * rng.uniform(0.4, 0.95))] if cut_off else wave
    return make(plan.condition, greeting, question[-longest:], answer, barge[:longest], plan.name)


def answer_of(wave: Wave, more: Wave, shortest_s: float) -> Wave:
    """What is said, long enough to be talked over: if need be something else behind it."""
    if wave.size >= shortest_s * RATE_HZ:
        return wave
    return np.concatenate([wave, np.zeros(_PAUSE_MS * RATE_HZ // 1000), more])


def errors_of(plan: Plan) -> list[Error]:
    """What is measured in a call, less what is true, by every ear; in noise also at best."""
    call = call_of(plan)
    return errors_in(plan, call) + [
        _error(plan, ear, metric, error_ms) for ear, metric, error_ms in at_best(call)
    ]


def errors_in(plan: Plan, call: KnownCall) -> list[Error]:
    """What is measured in a call that was made already."""
    return [error for ear in EARS for error in _errors(plan, call, ear)]


def _errors(plan: Plan, call: KnownCall, ear: Ear) -> Iterator[Error]:
    measured = measure(call.evidence(ear))
    for metric, error_ms, bound_ms in _compared(call, measured, ear):
        yield _error(plan, ear, metric, error_ms, bound_ms)


def _error(
    plan: Plan,
    ear: Ear | Limit,
    metric: str,
    error_ms: float | None,
    bound_ms: float | None = None,
) -> Error:
    return Error(
        metric=metric,
        ear=ear,
        condition=plan.condition.name,
        held_out=plan.utterance.held_out,
        error_ms=error_ms,
        bound_ms=bound_ms,
        call=plan.name,
    )


def _compared(
    call: KnownCall, measured: Measured, ear: Ear
) -> Iterator[tuple[str, float | None, float | None]]:
    """(metric, measured less true, its own bound)."""
    yield from _edges(call, measured)
    for name, turn, true in (
        ("turn_ms", 1, call.turn_ms),
        ("barge_in_stop_ms", 2, call.stop_ms),
        ("talk_over_ms", None, call.talk_over_ms),
        *call.others,
    ):
        found = next((m for m in measured.measurements if (m.name, m.turn) == (name, turn)), None)
        if name in _NOT_OF[ear]:
            continue
        if found is None:
            yield name, None, None
        else:
            yield name, found.value - true, found.bound.size if found.bound else None


def _edges(call: KnownCall, measured: Measured) -> Iterator[tuple[str, float | None, float | None]]:
    """Onsets of greeting and answer, and the greeting's end: of what was heard nearest to each."""
    ear = measured.audible.ear
    known = [one for one in ear if one.source == "sent"]  # else, by energy, everything
    heard = spoken(known or ear)
    for number, stretches in enumerate(call.heard):
        onset_ns, end_ns = call.at_ns(stretches[0][0]), call.at_ns(stretches[-1][1])
        near = [one for one in heard if one.start_ns < end_ns and one.end_ns > onset_ns]
        if not near:
            yield "onset", None, None
        else:
            yield "onset", _far(near[0].start_ns - onset_ns), near[0].start_bound.size
        if number == 0 and near:
            yield "end", _far(near[-1].end_ns - end_ns), near[-1].end_bound.size
        elif number == 0:
            yield "end", None, None


def _far(error_ns: int | None) -> float | None:
    """An edge that is another sound's was not found."""
    if error_ns is None or abs(error_ns) > _FAR_MS * NS_PER_MS:
        return None
    return error_ns / NS_PER_MS


def calibrate_on_speech(
    *,
    sample: int | None = None,
    jobs: int = 1,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> list[Error]:
    """Make the calls and measure them.

    Args:
        sample: only so many calls, drawn by a seed.
        jobs: processes.
        progress: called now and then with how many calls are done, and of how many.
    """
    planned = plans(sample=sample)
    found: list[Error] = []
    if jobs == 1:
        for done, plan in enumerate(planned, start=1):
            found += errors_of(plan)
            progress(done, len(planned))
        return with_limits_moved(found)
    with process_pool(jobs) as pool:
        for done, errors in enumerate(pool.map(errors_of, planned, chunksize=8), start=1):
            found += errors
            progress(done, len(planned))
    return with_limits_moved(found)


def with_limits_moved(errors: Sequence[Error]) -> list[Error]:
    """Errors, those at best moved by what is best for the calls that are not held out.

    By one constant for each metric and each level of noise.
    """
    groups: dict[tuple[str, str], list[Error]] = defaultdict(list)
    for error in errors:
        if error.ear == "unknown, at best":
            groups[error.metric, GROUPS[error.condition]].append(error)
    found = [error for error in errors if error.ear != "unknown, at best"]
    for some in groups.values():
        sizes = moved(
            [one.error_ms for one in some], [one.error_ms for one in some if not one.held_out]
        )
        found += [replace(one, error_ms=ms) for one, ms in zip(some, sizes, strict=True)]
    return found
