"""A run on disk: pages, `results.json`, `junit.xml`, `summary.md`, a directory for each call."""

import shlex
from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from callerside.atomic_files import write_atomically
from callerside.reports.evidence import TIMELINE, CallEvidence, load_evidence, save_evidence
from callerside.reports.formats.junit import junit
from callerside.reports.formats.markdown import markdown
from callerside.reports.pages import html
from callerside.reports.verdict.baselines import load_results, previous_run
from callerside.reports.verdict.call_result import CallResult, judge_call, judge_together
from callerside.reports.verdict.compare import compare, notes
from callerside.reports.verdict.results import RESULTS, RunInfo, results, to_json

CALLS = "calls"
INDEX = "index.html"


def write_run(
    out_dir: Path, info: RunInfo, calls: Iterable[CallEvidence], *, against: Path | None = None
) -> list[CallResult]:
    """Judge every call and write the whole report of a run.

    Evidence that is not in its directory (`call_directory`) yet is saved there. Every file is
    whole or absent; `results.json` comes last, so whoever sees it sees everything.

    Args:
        out_dir: the run's directory.
        info: what is known about the run as a whole.
        calls: the evidence.
        against: results to show changes from; by default those of the run before it in its lane.

    Raises:
        BudgetError: a call's own limits cannot be understood.
        EvidenceError: a call cannot be measured.
        StoredError: `against` cannot be read.
    """
    judged = judge_together([judge_call(evidence, info.calibration) for evidence in calls])
    write_judged(out_dir, info, judged, against=against)
    return judged


def write_judged(
    out_dir: Path,
    info: RunInfo,
    judged: Sequence[CallResult],
    *,
    against: Path | None = None,
    written: Container[str] = (),
    pages: Container[str] | None = None,
) -> dict[str, Any]:
    """Write the report of a run whose calls are judged already, as `write_run` does.

    Answers with what `results.json` holds. `written` are the slugs of those whose evidence and page
    are there already, `pages` of those that are to have a page; by default all.
    """
    wanted = {call.slug for call in judged if pages is None or call.slug in pages}
    for call in judged:
        if call.slug in written:
            continue
        directory = call_directory(out_dir, call.slug)
        if not (directory / TIMELINE).exists():
            save_evidence(call.evidence, directory)
        if call.slug in wanted:
            write_pages(out_dir, info, call)
    data = results(info, judged, wanted)
    others = {call.slug for call in judged} - wanted
    without = {slug: _command(call_directory(out_dir, slug)) for slug in others}
    serve = f"{_command(out_dir)} --serve"
    index = html.index_page(info, judged, _changes(out_dir, data, against), without, serve)
    write_atomically(out_dir / INDEX, index.encode())
    write_atomically(out_dir / "junit.xml", junit(info, judged))
    write_atomically(out_dir / "summary.md", markdown(info, judged).encode())
    write_atomically(out_dir / RESULTS, to_json(data))
    return data


def write_pages(out_dir: Path, info: RunInfo, call: CallResult) -> None:
    """Write the page of a call of a run, and of each attempt before the one that counts."""
    directory = call_directory(out_dir, call.slug)
    write_page(directory, info, call)
    for attempt in call.earlier:
        write_page(directory / attempt.folder, info, attempt, counts=False)


def write_page(directory: Path, info: RunInfo, call: CallResult, *, counts: bool = True) -> None:
    """Write the page of an attempt into its directory; an outline is read from there again.

    `counts`: whether it is the call's last attempt, whose directory is the call's own.
    """
    if call.evidence.outlined:
        evidence = load_evidence(directory)
        call = replace(call, evidence=evidence, measured=call.measured.whole(evidence))
    write_atomically(directory / "call.html", html.call_page(info, call, counts=counts).encode())


def _command(directory: Path) -> str:
    """What makes the report of a call, or of a run, from what lies there."""
    return f"callerside report {shlex.quote(str(directory))}"


def _changes(out_dir: Path, data: dict[str, Any], against: Path | None) -> html.Changes | None:
    """What changed; nothing if there is no run before this one to compare with."""
    if against is not None:
        before, name = load_results(against), against.stem
    else:
        previous = previous_run(out_dir, data)
        if previous is None:
            return None
        name, before = previous
    return html.Changes(against=name, rows=compare(before, data), notes=notes(before, data))


def call_directory(out_dir: Path, slug: str) -> Path:
    """Where the evidence of a call belongs: the runner may write it there itself."""
    return out_dir / CALLS / slug
