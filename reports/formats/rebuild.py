"""Building a report anew from what is on disk, also for calls that an agent took in production."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from callerside.marks import merge
from callerside.reports.evidence import (
    TIMELINE,
    CallEvidence,
    CallInfo,
    EvidenceError,
    load_evidence,
    read_recording,
)
from callerside.reports.formats.write import CALLS, call_directory, write_pages, write_run
from callerside.reports.sound.files import SUFFIXES, read, recordings_at
from callerside.reports.sound.report import evidence_of
from callerside.reports.verdict.baselines import NewerResultsError, StoredError, load_results
from callerside.reports.verdict.calibration import from_data
from callerside.reports.verdict.call_result import CallResult, judge_call, judge_together
from callerside.reports.verdict.results import RESULTS, RunInfo
from callerside.timelines import read_timeline

_log = logging.getLogger(__name__)


def rebuild(
    directory: Path,
    out_dir: Path | None = None,
    *,
    recordings: Path | None = None,
    against: Path | None = None,
    limits: Mapping[str, Any] | None = None,
) -> tuple[Path, RunInfo, list[CallResult]]:
    """Make a report again from what is in a directory; nothing is measured that is not there.

    `directory` is a run's (with `calls/`), a call's (with `timeline.jsonl`), or one into which an
    agent wrote timelines (`*.jsonl`; its recordings, `*.wav`, lie there too or in `recordings`).
    A run's report is replaced; others go to `report/` in it. `against` are results to show changes
    from, instead of the run before. `limits` are those of an agent's calls, over the defaults.

    Returns:
        Where the report is, what is known about the run, and its calls.

    Raises:
        StoredError: there is no timeline.
        EvidenceError, TimelineError, BudgetError: evidence that cannot be used.
    """
    calls = _calls_of(directory)
    if limits and (calls or (directory / TIMELINE).is_file()):
        raise StoredError(
            f"{directory}: its calls have the limits of their scenarios, and no others"
        )
    if calls:
        target = out_dir or directory
        evidence = list(map(load_evidence, calls))
        info = _run_info(directory, lane=evidence[0].info.lane)
        return target, info, write_run(target, info, evidence, against=against)
    target = out_dir or directory / "report"
    if (directory / TIMELINE).is_file():
        evidence = [load_evidence(directory)]
    else:
        timelines = _begun(sorted(directory.glob("*.jsonl")))
        evidence = [_production(path, recordings or directory, limits or {}) for path in timelines]
    if not evidence:
        raise StoredError(
            f"{directory}: nothing to report: expected {CALLS}/*/{TIMELINE} (a run), {TIMELINE} "
            "(a call), *.jsonl (an agent's timelines), or recordings "
            f"({', '.join(sorted(SUFFIXES))}), in it and not in folders of it"
        )
    lane = evidence[0].info.lane
    info = RunInfo(started_at="", lane=lane)
    if lane != "production":  # a run's call: the run is two folders up
        info = _run_info(directory.resolve().parent.parent, lane=lane)
    return target, info, write_run(target, info, evidence, against=against)


def write_page_of(run: Path, slug: str) -> None:
    """Write the page of one call of a run, and those of its earlier attempts.

    Raises:
        StoredError, EvidenceError, TimelineError, BudgetError: its evidence cannot be used.
    """
    info = _run_info(run, lane="")
    together = _last_of_percentiles(run, slug)
    slugs = together or [slug]
    evidence = [load_evidence(call_directory(run, one)) for one in slugs]
    judged = [judge_call(one, info.calibration) for one in evidence]
    judged = judge_together(judged) if together else judged
    write_pages(run, info, judged[slugs.index(slug)])


def _last_of_percentiles(run: Path, slug: str) -> list[str]:
    """All calls of a scenario, if percentiles were judged over them and stand with this one."""
    try:
        scenarios = load_results(run)["scenarios"]
    except StoredError:
        return []
    folder = f"{CALLS}/{slug}"
    of = {Path(one["artifacts"]["timeline"]).parent.as_posix(): one for one in scenarios}
    own = of.get(folder)
    if own is None or not any("statistic" in metric for metric in own["metrics"]):
        return []
    return [Path(one).name for one, call in of.items() if call["name"] == own["name"]]


def call_at(path: Path, caller: str | None = None) -> CallEvidence:
    """The evidence of one call: its directory, an agent's timeline, or a bare recording.

    Args:
        path: see above; beside a timeline lies its recording, as `NAME.wav` for `NAME.jsonl`.
        caller: of a bare recording, `left` or `right`; None: guessed.

    Raises:
        EvidenceError, TimelineError, callerside.reports.sound.files.SoundFileError: what is there
            cannot be used.
    """
    if path.is_dir():
        return load_evidence(path)
    if path.suffix == ".jsonl":
        return _production(path, path.parent, {})
    (call,) = recordings_at([path])
    info = CallInfo(name=call.name, lane="recording")
    return evidence_of(read(call), info, caller)


def evidence_name(evidence: CallEvidence, path: Path) -> str:
    """What to call a call: its own name, or its file's."""
    return evidence.info.stage or evidence.name or path.stem


def _calls_of(directory: Path) -> list[Path]:
    """The calls of a run, as its results list them; all there are, where there are no results.

    Raises:
        StoredError: evidence that the results name is gone; a report without it would be another.
    """
    found = sorted(path.parent for path in directory.glob(f"{CALLS}/*/{TIMELINE}"))
    try:
        scenarios = load_results(directory)["scenarios"]
    except NewerResultsError:  # not to be replaced by what is known here
        raise
    except StoredError:
        return found
    named = [scenario["artifacts"] for scenario in scenarios]
    for file in (file for one in named for file in (one["timeline"], one["recording"]) if file):
        if not (directory / file).is_file():
            raise StoredError(f"{directory / file}: no such file, but {RESULTS} names it")
    return [directory / Path(one["timeline"]).parent for one in named]


def _begun(timelines: Sequence[Path]) -> list[Path]:
    """Those that hold anything, unless none does: an agent writes a call's first marks together.

    So while calls go on, one of them may have an empty timeline, which must not hide the others.
    """
    begun = [path for path in timelines if path.stat().st_size]
    if not begun:
        return [*timelines]
    for path in timelines:
        if path not in begun:
            _log.warning("%s: left out: it is empty, as that of a call that has just begun", path)
    return begun


def _production(path: Path, recordings: Path, limits: Mapping[str, Any]) -> CallEvidence:
    """A call that an agent took: its timeline, and the recording of the same name if there is one.

    The agent records where it stands: left the caller as it arrived, right what it played.
    """
    marks = merge([read_timeline(path)])
    if not marks:
        raise EvidenceError(f"{path}: an empty timeline")
    info = CallInfo(name=path.stem, lane="production", limits=dict(limits))
    started = next((mark for mark in marks if mark.name == "recording_started"), None)
    recording = recordings / f"{path.stem}.wav"
    if started is None or not recording.is_file():
        return CallEvidence(info=info, marks=marks)
    samples, rate_hz = read_recording(recording)
    return CallEvidence(
        info=info,
        marks=marks,
        recording=samples,
        rate_hz=rate_hz,
        recording_start_ns=started.at_ns,
    )


def _run_info(directory: Path, *, lane: str) -> RunInfo:
    """What was known about a run, from its old results if there are any; the lane, if not."""
    try:
        run: Mapping[str, Any] = load_results(directory)["run"]
    except StoredError:
        return RunInfo(started_at="", lane=lane)
    known = {field for field in RunInfo.__dataclass_fields__ if field in run}
    fields = {"started_at": ""} | {field: run[field] for field in known - {"calibration"}}
    try:
        calibration = from_data(run["calibration"]) if run.get("calibration") else None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoredError(f"{directory / RESULTS}: run.calibration: {error!r}") from None
    return RunInfo(**fields, calibration=calibration)
