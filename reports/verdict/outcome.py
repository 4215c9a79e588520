"""What the calls of a run come to: one verdict, and the reasons for it.

    passed         all behaviour is right, nothing measured is beyond its limit, and enough was
                   measured: three quarters of the calls, each metric with a limit that these calls
                   should yield in one of them, each scenario's own limits in one of its calls;
                   and all that a scenario expects could be looked at
    failed         something is wrong, and nobody knew
    not measured   nothing is wrong that could be measured, and too little could
    error          the run, or a call of it, could not be played

Strictly, a call that is flaky is a failure, and a call that is not measured leaves too little.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from callerside.reports.verdict.call_result import NOTHING, NOTHING_AT_ALL, CallResult, limits_of

RunVerdict = Literal["passed", "failed", "not measured", "error"]

LEAST_MEASURED = 0.75
"""Of the calls."""
EXIT_CODES: dict[RunVerdict, int] = {"passed": 0, "failed": 1, "not measured": 2, "error": 2}


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run's verdict and why, a sentence each; empty where it has passed."""

    verdict: RunVerdict
    why: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """Of the commands that end with it."""
        return EXIT_CODES[self.verdict]


def outcome_of(calls: Sequence[CallResult], *, failure: str = "", strict: bool = False) -> Outcome:
    """The verdict of a run.

    Args:
        calls: all that there are.
        failure: why the run could not go on, if it could not.
        strict: see above.
    """
    if failure:
        return Outcome("error", (failure,))
    if not calls:
        return Outcome("error", ("no call was made",))
    failed = [call for call in calls if call.verdict == "failed" and call.known is None]
    flaky = [call for call in calls if call.verdict == "flaky"] if strict else []
    if failed or flaky:
        return Outcome("failed", tuple(_told([*failed, *flaky])))
    if errors := [call for call in calls if call.verdict == "error"]:
        return Outcome("error", tuple(_told(errors)))
    if why := (*_too_little(calls, strict=strict),):
        return Outcome("not measured", why)
    return Outcome("passed")


def called(call: CallResult) -> str:
    """A call's verdict in words: what is known to fail is told as such."""
    return "known failure" if call.known else call.verdict


def counted(calls: Sequence[CallResult]) -> str:
    """How many calls there are of each verdict: `77 passed, 1 flaky, 1 not measured`."""
    counts = Counter(called(call) for call in calls)
    words = ("passed", "failed", "known failure", "flaky", "not measured", "error")
    return ", ".join(f"{counts[word]} {word}" for word in words if counts[word] or word == "passed")


def _told(calls: Sequence[CallResult]) -> Iterator[str]:
    for call in calls:
        yield f"{call.slug}: {call.detail}"


def _too_little(calls: Sequence[CallResult], *, strict: bool) -> Iterator[str]:
    unmeasured = [call for call in calls if call.not_measured and call.timing.verdict != "failed"]
    told: list[CallResult] = []
    if len(calls) - len(unmeasured) < LEAST_MEASURED * len(calls) or (strict and unmeasured):
        least = "all" if strict else f"{LEAST_MEASURED:.0%}"
        told = unmeasured
        yield (
            f"{len(unmeasured)} of {len(calls)} calls are not measured, and {least} must be: "
            f"{', '.join(map(_with_what_nothing_held, told))}"
        )
    measured = {name for call in calls for name in _measured(call)}
    wanted = {name for call in calls for name in _should_yield(call)}
    own = _own_limits(calls)
    # The same cause is told once.
    known = {name for call in [*told, *(call for call, _ in own)] for name in call.unheld}
    for name in sorted(wanted - measured - known):
        yield f"{name} is measured in no call, and these calls should yield it"
    named = {call.slug for call in told}
    for call, missing in own:
        if call.slug not in named:
            why = (f"{name}: {call.why_none(name)}" for name in missing)
            yield f"{call.slug}: {'; '.join(why)}"
    for call in calls:
        if call.slug not in named and call.behaviour.verdict == "not measured":
            yield f"{call.slug}: {call.behaviour.detail}"


def _with_what_nothing_held(call: CallResult) -> str:
    if call.behaviour.verdict == "not measured":
        return f"{call.slug} ({'; '.join(call.not_measured)})"
    if call.unheld:
        return f"{call.slug} ({', '.join(call.unheld)}: {NOTHING})"
    bare = call.not_measured == [NOTHING_AT_ALL]
    return f"{call.slug} ({NOTHING_AT_ALL})" if bare else call.slug


def _own_limits(calls: Sequence[CallResult]) -> list[tuple[CallResult, list[str]]]:
    """The calls with limits of their scenario's own that were held to in none of its calls."""
    held: dict[str, set[str]] = {}
    for call in calls:
        own = set(call.evidence.info.own_limits)
        held.setdefault(call.evidence.name, set()).update(own - set(call.unheld))
    return [
        (call, missing)
        for call in calls
        if (missing := sorted(set(call.unheld) - held[call.evidence.name]))
    ]


def _measured(call: CallResult) -> set[str]:
    """What has a value that says something; one without a limit in this call does, too.

    An answer of an agent that is not ours is heard, but nobody knows what of it the model took.
    """
    return {one.name for one in call.judged if one.verdict != "not measured"}


def _should_yield(call: CallResult) -> set[str]:
    """Of what a call should yield, what is held to a limit."""
    info = call.evidence.info
    return set(info.should_yield) & set(limits_of(info))


_MOST_WARNED = 3
"""Calls with warnings that a line names."""


def told_of_warnings(calls: Sequence[CallResult]) -> str:
    """One line about the calls that have passed with warnings; empty if there are none.

    Of a single one its first warning is told, of several the first names.
    """
    warned = [call for call in calls if call.warnings]
    if not warned:
        return ""
    if len(warned) == 1:
        return f"1 call has passed with a warning: {warned[0].slug}: {warned[0].warnings[0]}"
    names = ", ".join(call.slug for call in warned[:_MOST_WARNED])
    more = len(warned) - _MOST_WARNED
    rest = f" and {more} more" if more > 0 else ""
    return f"{len(warned)} calls have passed with warnings, told on their pages: {names}{rest}"
