"""Calls of a run that somebody will look at: they have pages, the others the command for one."""

from collections.abc import Sequence

from callerside.reports.verdict.call_result import CallResult

SLOWEST = 3
"""So many, by their slowest turn."""
FEW = 1 + SLOWEST
"""Calls. Where there are no more, each is looked at."""


def looked_at(calls: Sequence[CallResult]) -> set[str]:
    """Slugs: of the first call, the slowest ones, and of all that is to be known.

    That is what went otherwise than well, or with a warning.
    """
    if len(calls) <= FEW:
        return {call.slug for call in calls}
    slowest = sorted(calls, key=_slowest_turn_ms, reverse=True)[:SLOWEST]
    amiss = [call for call in calls if call.verdict != "passed" or call.earlier or call.warnings]
    return {call.slug for call in (calls[0], *slowest, *amiss)}


def _slowest_turn_ms(call: CallResult) -> float:
    turns = [one.value for one in call.judged if one.name == "turn_ms" and one.statistic is None]
    return max(turns, default=0.0)
