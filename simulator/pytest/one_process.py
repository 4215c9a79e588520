"""Scenarios of a session that pytest-xdist spreads over processes: one of these plays them all.

A run places several calls at once by itself, and judges the calls of a scenario together. Were its
scenarios spread, each process would play a run of its own, with the same ports and processors.
"""

import fnmatch
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_UNIT = "scenarios"
_FILE = ".yaml::"


def yaml_files(config: pytest.Config) -> Iterator[Path]:
    """Those that a session collects, before any process has."""
    unvisited = config.getini("norecursedirs")
    for argument in config.args:
        path = config.invocation_params.dir / argument.partition("::")[0]
        if path.is_file():
            yield from (path,) * (path.suffix == ".yaml")
        for folder, folders, names in os.walk(path):
            folders[:] = [
                name
                for name in folders
                if not any(fnmatch.fnmatch(name, pattern) for pattern in unvisited)
            ]
            yield from (Path(folder, name) for name in names if name.endswith(".yaml"))


def scheduler(config: pytest.Config, log: Any) -> object:
    """Who hands tests out as `--dist` says, and all scenarios to one process."""
    from xdist import scheduler as theirs  # not there where nobody asks for it

    by_scope = {
        "loadscope": theirs.LoadScopeScheduling,
        "loadfile": theirs.LoadFileScheduling,
        "loadgroup": theirs.LoadGroupScheduling,
    }
    dist = config.getoption("dist")

    class Scheduler(by_scope.get(dist, theirs.LoadScopeScheduling)):  # type: ignore[misc]  # untyped
        """Of a test that is no scenario's, theirs says what it goes with; else it goes alone."""

        def _split_scope(self, nodeid: str) -> str:
            if _FILE in nodeid:
                return _UNIT
            return str(super()._split_scope(nodeid)) if dist in by_scope else nodeid

    return Scheduler(config, log)
