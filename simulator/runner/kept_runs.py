"""Which runs stay in `out/`: the newest few. What is not a run of ours is never touched."""

import json
import re
import shutil
from contextlib import suppress
from pathlib import Path

from callerside import host
from callerside.files import read_text

KEEP = 10
GOES_ON = ".goes-on"
"""Held by the process that plays the run; what is left of it tells that the run is ours."""

_NAME = re.compile(r"(\d{8}-\d{6})(?:-(\d+))?")
_RESULTS = "results.json"
_KEYS = {"version", "run", "summary", "scenarios"}


def remove_old_runs(out: Path, keep: int) -> None:
    """Remove all but the newest runs of a folder.

    A run is a folder that is called as `callerside run` calls one, and has results of ours in it,
    or was left without them, as by a second Ctrl-C. One that goes on stays. What `latest` points at
    stays, and does not count. Baselines are files elsewhere, which need no run. What cannot be
    removed stays as well.

    Args:
        out: where runs lie.
        keep: how many stay; 0: all of them.
    """
    if not keep:
        return
    latest = (out / "latest").resolve()
    runs = sorted(filter(_is_a_run, out.iterdir()), key=_time)
    for run in runs[:-keep]:
        if run.resolve() != latest:
            shutil.rmtree(run, ignore_errors=True)


def _time(run: Path) -> tuple[str, int]:
    found = _NAME.fullmatch(run.name)
    return (found[1], int(found[2] or 1)) if found else ("", 0)


def _is_a_run(path: Path) -> bool:
    if not _NAME.fullmatch(path.name) or path.is_symlink() or not path.is_dir():
        return False
    goes_on = path / GOES_ON
    if goes_on.is_file():
        return not host.is_held(goes_on)
    with suppress(OSError, ValueError, RecursionError):
        results = json.loads(read_text(path / _RESULTS))
        return isinstance(results, dict) and results.keys() >= _KEYS
    return False
