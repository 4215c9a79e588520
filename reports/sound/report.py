"""Bare recordings judged as calls are: a page for each, and one with the worst moments of all."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from callerside.marks import Mark
from callerside.reports.evidence import (
    EAR,
    MOUTH,
    CallEvidence,
    CallInfo,
    RecordingInfo,
    save_evidence,
)
from callerside.reports.formats.write import call_directory, write_judged, write_page
from callerside.reports.hearing.detector import Segment
from callerside.reports.metrics.registry import METRICS
from callerside.reports.sound import channels as of_channels
from callerside.reports.sound.files import Recorded, SoundFileError, ToRead, read
from callerside.reports.verdict.budget import BudgetError, is_lifted, parse_limits
from callerside.reports.verdict.call_result import (
    CallResult,
    judge_call,
    judge_together,
    unmeasured_call,
)
from callerside.reports.verdict.results import RunInfo

NAME = "recordings"
"""All recordings of a report are calls of one name, so that limits of percentiles are for all."""
TELLS = frozenset(
    {
        "turn_ms",
        "barge_in_stop_ms",
        "talk_over_ms",
        "double_talk_share",
        "dead_air_ms",
        "gap_ms",
        "beep_hz",
        "beep_length_ms",
        "agent_level_dbfs",
        "agent_clipping_share",
        "echo_return_loss_db",
        "echo_delay_ms",
    }
)
"""The metrics that sound alone can give: of each other one it takes somebody's marks."""
SURE_ENOUGH = 0.7
"""Below this confidence nobody is said to be the caller, and what hangs on that is not measured."""

_OF_ANY_CHANNEL = frozenset({"dead_air_ms", "beep_hz", "beep_length_ms"})
_ACROSS = frozenset({"turn_ms", "barge_in_stop_ms", "talk_over_ms", "dead_air_ms"})
_SIDES = {"left": 0, "right": 1}


def report(
    calls: Sequence[ToRead],
    out_dir: Path,
    *,
    caller: str | None = None,
    limits: Mapping[str, Any] | None = None,
) -> tuple[RunInfo, list[CallResult]]:
    """Measure recordings, hold them to limits, and write the whole report.

    A recording that cannot be read is a call of the report, in error; it hides no other.

    Args:
        calls: whose recordings to read.
        out_dir: where to.
        caller: `left` or `right` (of two files: the first or the second); None: guessed.
        limits: as a scenario's `budget:`; without them nothing is held to anything.

    Raises:
        callerside.reports.verdict.budget.BudgetError: a limit that cannot be understood, or that
            no bare recording can be held to.
    """
    if untold := [*_untold(limits or {})]:
        raise BudgetError("\n".join(untold))
    info = RunInfo(started_at=datetime.now(UTC).isoformat(timespec="seconds"), lane="recording")
    results, written = [], []
    for number, call in enumerate(calls, start=1):
        result, whole = _result(number, call, caller, limits or {})
        if whole:
            directory = call_directory(out_dir, result.slug)
            save_evidence(result.evidence, directory)
            write_page(directory, info, result)
            written.append(result.slug)
        results.append(replace(result, evidence=result.evidence.outline()) if whole else result)
    together = judge_together(results)
    changed = {
        one.slug for one, other in zip(together, results, strict=True) if one is not other
    }  # their percentiles have been judged: their page shows these, too
    write_judged(out_dir, info, together, written=[slug for slug in written if slug not in changed])
    return info, together


def _untold(limits: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each limit that no bare recording can be held to.

    Raises:
        BudgetError: a limit that cannot be understood.
    """
    for name, limit in parse_limits(limits).items():
        if name not in TELLS and not is_lifted(limits[name]):
            marks = ", ".join(one for one in METRICS[name].sources if one != "recording")
            yield (
                f"{name}: a bare recording does not tell it, for it is measured from {marks}, too; "
                "take the limit out"
            )
        elif limit.above_own is not None:
            yield (
                f"{name}: above_own: it adds to the server's own delay, which a bare recording "
                "does not tell; say the limit itself"
            )


def report_directory(paths: Sequence[Path]) -> Path:
    """Where a report on recordings goes by default: into their folder, or beside the first file."""
    first = paths[0]
    return first / "report" if first.is_dir() else first.with_name(f"{first.name}.report")


def _result(
    number: int, call: ToRead, caller: str | None, limits: Mapping[str, Any]
) -> tuple[CallResult, bool]:
    """A call's result, and whether there is evidence of it."""
    info = CallInfo(
        name=NAME, stage=call.name, lane="recording", repeat=number, limits=dict(limits)
    )
    try:
        recorded = read(call)
    except SoundFileError as error:
        broken = info.model_copy(update={"verdict": "error", "detail": str(error)})
        return unmeasured_call(broken), False
    return judge_call(evidence_of(recorded, info, caller)), True


def evidence_of(recorded: Recorded, info: CallInfo, caller: str | None = None) -> CallEvidence:
    """A recording as the evidence of a call: left the caller, right the agent.

    Raises:
        SoundFileError: `caller` is neither `left` nor `right`.
    """
    if len(recorded.channels) == 1:
        mix = recorded.channels[0]
        sound = np.stack([np.zeros_like(mix), mix], axis=1)
        by_channel = of_channels.hear([mix], recorded.rate_hz)
        told = [_MIX.format("it is mono"), *_edges_told(recorded, by_channel)]
        heard = {EAR: by_channel[0]}
        bare = RecordingInfo(
            files=[str(path) for path in recorded.files],
            told=told,
            unfit=_unfit_of_a_mix(),
            clipped=(0, recorded.clipped[0]),
        )
    else:
        sound, bare, heard = _of_two_channels(recorded, caller)
    started = Mark(
        at_ns=0,
        source="agent",
        call=recorded.name,
        name="recording_started",
        fields={"sample_rate_hz": recorded.rate_hz},
    )
    return CallEvidence(
        info=info.model_copy(update={"recording": bare, "warnings": [*recorded.cut_short]}),
        marks=[started],
        recording=sound,
        rate_hz=recorded.rate_hz,
        heard=heard,
    )


_MIX = "{}: a mix of both parties, in which nobody can say by the sound who speaks"


def _of_two_channels(
    recorded: Recorded, caller: str | None
) -> tuple[Any, RecordingInfo, dict[int, list[Segment]]]:
    one, other = recorded.channels
    first, second = of_channels.hear(recorded.channels, recorded.rate_hz)
    relation = of_channels.relate(one, other, (first, second), recorded.rate_hz)
    told = [*recorded.told, *_edges_told(recorded, [first, second])]
    unfit: dict[str, str] = {}
    which = 0
    if relation.is_mix:
        told.append(_MIX.format("both channels hold the same"))
        unfit = _unfit_of_a_mix()
    else:
        which, how, is_known = _whose(recorded, (first, second), caller)
        told.insert(0, how)
        if not is_known:
            unfit = _unfit(_needs_the_caller(), "which channel is the caller's is not known")
        told += _bleeds_told(recorded, relation)
        unfit |= _unfit_of_bleed(recorded, relation)
        told_of_drift, unfit_of_drift = _drift(recorded, relation)
        told += told_of_drift
        unfit |= unfit_of_drift
    order = [which, 1 - which]
    sound = np.stack([recorded.channels[channel] for channel in order], axis=1)
    if relation.is_mix:
        sound[:, 0] = 0
    bare = RecordingInfo(
        files=[str(path) for path in recorded.files],
        caller="" if relation.is_mix else recorded.names[which],
        told=told,
        unfit=unfit,
        clipped=(recorded.clipped[order[0]], recorded.clipped[order[1]]),
    )
    by_channel = [first, second]
    heard = {EAR: by_channel[order[1]]}
    if not relation.is_mix:
        heard[MOUTH] = by_channel[order[0]]
    return sound, bare, heard


def _whose(
    recorded: Recorded, heard: tuple[list[Any], list[Any]], caller: str | None
) -> tuple[int, str, bool]:
    """Which channel is the caller's, a sentence on that, and whether it is known well enough."""
    if caller is not None:
        which = _SIDES[caller]
        return which, f"the caller is {recorded.names[which]}, as was said", True
    if recorded.caller is not None:
        which = recorded.caller
        return which, f"the caller is {recorded.names[which]}, by the files' names", True
    one, other = recorded.channels
    guess = of_channels.guess_caller((one, other), heard, recorded.rate_hz)
    sentence = (
        f"the caller is taken to be {recorded.names[guess.channel]}, with a confidence of "
        f"{guess.confidence:.2f} ({guess.because})"
    )
    if guess.confidence < SURE_ENOUGH:
        sentence += ": say which with --caller left or --caller right"
    return guess.channel, sentence, guess.confidence >= SURE_ENOUGH


def _edges_told(recorded: Recorded, heard: Iterable[list[Any]]) -> Iterator[str]:
    for name, found, wave in zip(recorded.names, heard, recorded.channels, strict=True):
        where = name if len(recorded.names) > 1 else "somebody"
        if of_channels.begins_amid(found, recorded.rate_hz):
            yield f"it starts in the middle of the call: {where} is speaking as it begins"
        if of_channels.ends_amid(found, wave.size, recorded.rate_hz):
            yield f"it stops before the call does: {where} is speaking as it ends"
        if not found:
            yield f"nothing is heard in {name}"


def _bleeds_told(recorded: Recorded, relation: of_channels.Relation) -> Iterator[str]:
    for channel, bleed in enumerate(relation.bleeds):
        here, there = recorded.names[channel], recorded.names[1 - channel]
        if relation.hears_both[channel]:
            down_db = max(0.0, -bleed.gain_db)
            yield f"{here} hears both parties: what is said in {there} is {down_db:.0f} dB down"
        elif bleed.is_there:
            yield (
                f"{here} has an echo of {there}, {-bleed.gain_db:.0f} dB down and "
                f"{bleed.delay_ms:.0f} ms later (in {bleed.found} of {bleed.tried} places)"
            )


def _drift(recorded: Recorded, relation: of_channels.Relation) -> tuple[list[str], dict[str, str]]:
    ppm = relation.drift_ppm
    if ppm is None:
        if len(recorded.files) > 1:
            how = "neither hears the other for long enough"
            return [f"whether the two files drift apart is not known: {how}"], {}
        return [], {}
    apart_ms = abs(ppm) * recorded.channels[0].size / recorded.rate_hz / 1000
    if not ppm:
        return [], {}
    told = f"the channels drift apart by {abs(ppm):.0f} ppm, {apart_ms:.0f} ms to its end"
    if apart_ms <= of_channels.MOST_DRIFT_MS:
        return [told], {}
    return [told], _unfit(_ACROSS, told)


def _unfit_of_bleed(recorded: Recorded, relation: of_channels.Relation) -> dict[str, str]:
    for channel, hears in enumerate(relation.hears_both):
        if hears:
            return _unfit(_needs_the_caller(), f"{recorded.names[channel]} hears both parties")
    return {}


def _unfit_of_a_mix() -> dict[str, str]:
    return _unfit(_needs_the_caller(), "it is a mix: nobody can say by the sound who speaks")


def _needs_the_caller() -> set[str]:
    """The metrics for which it must be known which sound is whose."""
    heard = {name for name, metric in METRICS.items() if "recording" in metric.sources}
    return heard - _OF_ANY_CHANNEL


def _unfit(names: Iterable[str], reason: str) -> dict[str, str]:
    return dict.fromkeys(sorted(names), reason)
