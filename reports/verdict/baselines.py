"""Results that are on disk: reading them back, and baselines."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, FiniteFloat, ValidationError

from callerside.atomic_files import write_atomically
from callerside.files import read_bytes
from callerside.paths import inside
from callerside.reports.verdict.results import RESULTS, VERSION

BASELINES = Path("baselines")
"""Where baselines are kept, under the current directory: small files, meant to be committed."""

_LOOKED_BACK = 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class _Metric(BaseModel):
    name: str
    turn: int | None
    value: FiniteFloat


_WithinRun = Annotated[str, AfterValidator(inside)]


class _Artifacts(BaseModel):
    timeline: _WithinRun
    recording: _WithinRun | None


class _Scenario(BaseModel):
    name: str
    metrics: list[_Metric]
    artifacts: _Artifacts


class _Error(BaseModel):
    name: str
    p95: FiniteFloat


class _Calibration(BaseModel):
    metrics: list[_Error]


class _Run(BaseModel):
    lane: str = "sip"
    calibration: _Calibration | None = None


class _Results(BaseModel):
    """What is read again of a `results.json`; all of it: `results.schema.json`."""

    run: _Run
    scenarios: list[_Scenario]


class StoredError(ValueError):
    """Results that cannot be read: says which, and what was expected there."""


class NewerResultsError(StoredError):
    """Results of a callerside that came after this one."""


def load_results(path: Path) -> dict[str, Any]:
    """The contents of a `results.json`, given itself or its run's directory.

    Raises:
        StoredError: there is none, or it is not one, or it is of another version;
            `NewerResultsError`: of a later one.
    """
    file = path
    try:
        file = path / RESULTS if path.is_dir() else path
        data = json.loads(read_bytes(file))
    except FileNotFoundError:
        raise StoredError(
            f"{file}: no such file; expected a run's directory or its {RESULTS}"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise StoredError(f"{file}: cannot be read: {error}") from None
    if not isinstance(data, dict) or "scenarios" not in data or "run" not in data:
        raise StoredError(f"{file}: not the {RESULTS} of a run")
    version = data.get("version")
    if isinstance(version, int) and version > VERSION:
        raise NewerResultsError(
            f"{file}: version {version}, and this callerside knows versions up to {VERSION}: "
            "upgrade callerside"
        )
    if version != VERSION:
        raise StoredError(
            f"{file}: version {version}, this callerside reads {VERSION}: "
            "make it again with `callerside report`"
        )
    try:
        _Results.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise StoredError(f"{file}: {where}: {first['msg']}") from None
    return data


def save_baseline(name: str, run: Path, *, folder: Path = BASELINES) -> Path:
    """Keep a run's results under a name; a baseline of that name is replaced.

    Raises:
        StoredError: the name is no file name, or the run cannot be read.
    """
    data = load_results(run)
    path = baseline_path(name, folder=folder)
    write_atomically(path, (json.dumps(data, indent=1) + "\n").encode())
    return path


def baseline_path(name: str, *, folder: Path = BASELINES) -> Path:
    """The file of a baseline.

    Raises:
        StoredError: the name is no file name.
    """
    if not _NAME.fullmatch(name):
        raise StoredError(f"{name!r}: expected a name of letters, digits, `.`, `_` and `-`")
    return folder / f"{name}.json"


def previous_run(out_dir: Path, now: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Name and results of the run before this one that it can be compared with.

    It is one of the directories beside it, of the same lane and of the same agent, and has a
    scenario that this one has, too. Names of runs sort by time. Runs that cannot be read are passed
    over; of the others, the last `_LOOKED_BACK` are looked at.

    Args:
        out_dir: this run's directory.
        now: its results.
    """
    out_dir = out_dir.resolve()  # `latest` is a link: by its own name it would come after itself
    earlier = (
        path
        for path in out_dir.parent.iterdir()
        if path.name < out_dir.name and not path.is_symlink() and (path / RESULTS).is_file()
    )
    for path in sorted(earlier, reverse=True)[:_LOOKED_BACK]:
        try:
            data = load_results(path)
        except StoredError:
            continue
        if _is_of_the_same(data, now):
            return path.name, data
    return None


def _is_of_the_same(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Lane and agent, and at least one scenario."""
    of = [
        (run["run"].get("lane"), run["run"].get("environment", {}).get("agent"))
        for run in (before, now)
    ]
    names = [{one["name"] for one in run["scenarios"]} for run in (before, now)]
    return of[0] == of[1] and not names[0].isdisjoint(names[1])
