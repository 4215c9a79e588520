"""A run in Markdown: short enough for a comment or a job's summary."""

from collections.abc import Sequence

from callerside.reports.verdict.call_result import CallResult
from callerside.reports.verdict.compare import Change
from callerside.reports.verdict.outcome import called, counted
from callerside.reports.verdict.results import RunInfo, certainty, summarise
from callerside.reports.verdict.summary import Summary

_MOST_WRONG = 20


def markdown(info: RunInfo, calls: Sequence[CallResult]) -> str:
    """Verdict, what went wrong, and the budget over all calls."""
    wrong = [call for call in calls if call.verdict != "passed"]
    outcome = info.outcome(calls)
    lines = [
        f"## callerside: {outcome.verdict}",
        "",
        f"{counted(calls)} ({info.lane} lane).",
        "",
    ]
    if outcome.verdict == "not measured":
        for why in outcome.why:  # a paragraph each
            lines += [f"**Too little was measured**: {_cell(why)}", ""]
    if info.failure:
        lines += [f"**The run could not go on**: {_cell(info.failure)}", ""]
    lines += [
        f"- **{_cell(call.slug)}** ({called(call)}): {_cell(call.detail)}"
        for call in wrong[:_MOST_WRONG]
    ]
    if len(wrong) > _MOST_WRONG:
        lines.append(f"- and {len(wrong) - _MOST_WRONG} more")
    warned = [call for call in calls if call.warnings]
    lines += [
        f"- **{_cell(call.slug)}** (passed, with a warning): {_cell('; '.join(call.warnings))}"
        for call in warned[:_MOST_WRONG]
    ]
    if len(warned) > _MOST_WRONG:
        lines.append(f"- and {len(warned) - _MOST_WRONG} more with warnings")
    if wrong or warned:
        lines.append("")
    lines += ["| metric | p50 | p95 | max | limit | least margin |", "|---|--:|--:|--:|--:|--:|"]
    lines += [
        f"| `{s.name}` | {s.p50:.1f} | {s.p95:.1f} | {_worst(s)} {s.unit} "
        f"| {s.limits} | {_margin(s.margin)}{' ❌' if s.failed else ''} |"
        for s in summarise(calls)
    ]
    lines += ["", f"{certainty(calls)}."]
    lines += ["", f"The harness's own error: {info.harness_error}."]
    return "\n".join(lines) + "\n"


def changes_table(changes: Sequence[Change]) -> str:
    """A comparison as a Markdown table."""
    lines = ["| metric | before | after | difference (90 % interval) | |", "|---|--:|--:|--:|---|"]
    lines += [
        f"| `{c.name}` | {c.before:.1f} | {c.after:.1f} {c.unit} "
        f"| {c.difference:+.1f} ({c.low:+.1f} … {c.high:+.1f}) "
        f"| {c.judged}{' ❌' if c.regression else ''} |"
        for c in changes
    ]
    return "\n".join(lines) + "\n"


def _margin(value: float | None) -> str:
    return "" if value is None else f"{value:+.1f}"


def _worst(one: Summary) -> str:
    return f"{'min ' if one.worst < one.max else ''}{one.worst:.1f}"


def _cell(text: str) -> str:
    """Text that cannot break a table or a list."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
