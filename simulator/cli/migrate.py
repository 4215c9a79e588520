"""`callerside migrate`: files of an older version, written in the newest.

Scenarios, suites, settings and scripts are told apart by their first keys; what is none of them is
left alone in a folder, and refused by its name. What cannot be used is not rewritten. Links are not
followed: what they lead to may be anywhere, and is migrated where it is.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import assert_never

import yaml

from callerside.agent.config.loader import ConfigError
from callerside.agent.config.loader import load as load_settings
from callerside.agent.config.settings import Settings
from callerside.atomic_files import write_atomically
from callerside.fakes.script.loader import ScriptError, load_script
from callerside.fakes.script.model import Script
from callerside.simulator.lanes.sip.account import load as load_account
from callerside.simulator.scenario.includes import SUFFIX, load_steps
from callerside.simulator.scenario.loader import ScenarioError
from callerside.simulator.scenario.loader import load_file as load_scenario
from callerside.simulator.scenario.suite import SHARED_KEYS, SUITE_FILE, SuiteError, load_suite
from callerside.yaml import reader
from callerside.yaml.source import Loader, SeveralDocumentsError, YamlError, parse
from callerside.yaml.versions import NEWEST, Kind, migrated

EXIT_FINE, EXIT_OLD, EXIT_COULD_NOT = 0, 1, 2

_SUFFIXES = (".yaml", ".yml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.description = (
        f"Rewrites scenarios, suites, settings and scripts as version {NEWEST} has "
        "them. Only keys are renamed, or taken out if they mean nothing any more: comments, order "
        "and quoting stay. Exit code 2: some cannot be used or rewritten, and are named; the "
        "others are."
    )
    parser.add_argument("paths", type=Path, nargs="+", metavar="FILE|DIR")
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit code 1 if something would be"
    )
    parser.set_defaults(command=_migrate)


def _migrate(given: argparse.Namespace) -> int:
    old, problems = 0, list[str]()
    files = dict.fromkeys(path for name in given.paths for path in _files(name, problems))
    for path in files:
        try:
            changes = _migrate_file(path, named=path in given.paths, check=given.check)
        except (YamlError, ConfigError, ScenarioError, ScriptError, SuiteError) as error:
            problems.append(str(error))
            continue
        except OSError as error:
            problems.append(f"{path}: cannot be written: {error.strerror}")
            continue
        old += bool(changes)
        for change in changes:
            print(change)
    for problem in problems:
        print(problem, file=sys.stderr)
    what = "to rewrite" if given.check else "rewritten"
    print(f"{old} of {len(files)} file{'' if len(files) == 1 else 's'} {what}")
    if problems:
        return EXIT_COULD_NOT
    return EXIT_OLD if given.check and old else EXIT_FINE


def _files(name: Path, problems: list[str]) -> Iterator[Path]:
    """The file of that name, or all YAML below the folder, but in hidden ones and behind links."""
    if name.is_symlink() or not name.is_dir():
        yield name
        return

    def closed(error: OSError) -> None:
        problems.append(f"{error.filename}: this folder cannot be read: {error.strerror}")

    for parent, folders, files in os.walk(name, onerror=closed):
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        for path in (Path(parent, file) for file in sorted(files)):
            if path.suffix in _SUFFIXES and not path.is_symlink():
                yield path


def _migrate_file(path: Path, *, named: bool, check: bool) -> list[str]:
    """Write a file anew, unless only to `check`; returns a line for each change.

    Raises:
        YamlError: it cannot be read or migrated; or it was `named`, and is none of ours.
        ConfigError, ScenarioError, ScriptError, SuiteError: it cannot be used.
        OSError: it cannot be written.
    """
    if path.is_symlink():
        raise YamlError(f"{path}: a link: name the file that it leads to, {path.readlink()}")
    text = reader.text_of(path)
    kind = _kind(path, text)
    if kind is None:
        if named:
            raise YamlError(f"{path}: neither a scenario or suite, nor settings, nor a script")
        return []
    new, changes = migrated(path, text, kind)
    if changes:
        _use(path, kind)
    if changes and not check:
        write_atomically(path, new.encode())
    return changes


def _use(path: Path, kind: Kind) -> None:
    """Load a file as it will be.

    Raises:
        ConfigError, ScenarioError, ScriptError, SuiteError: its mistakes.
    """
    match kind:
        case "settings":
            load_settings(path, {})
        case "scenario" if path.name == SUITE_FILE:
            load_suite(path)
        case "scenario" if path.name.endswith(SUFFIX):
            load_steps(path)
        case "scenario":
            load_scenario(path)
        case "script":
            load_script(path)
        case "account":
            load_account(path, {})
        case unknown:
            assert_never(unknown)


def _kind(path: Path, text: str) -> Kind | None:
    """What a file is, by its first keys; None if it is none of ours.

    Raises:
        YamlError: it is no YAML, or one of ours and something else.
    """
    try:
        return _kind_of(path, parse(path, text))
    except SeveralDocumentsError:
        if _kind_of(path, next(yaml.compose_all(text, Loader=Loader))) is None:
            return None
        raise


def _kind_of(path: Path, root: yaml.Node | None) -> Kind | None:
    pairs = root.value if root is not None and isinstance(root.value, list) else []
    keys = {str(pair[0].value) for pair in pairs if isinstance(pair, tuple)} - {"version"}
    if {"about", "steps"} <= keys:
        return "scenario"
    if path.name.endswith(SUFFIX) and keys == {"steps"}:
        return "scenario"
    if path.name == SUITE_FILE and (not keys or keys & set(SHARED_KEYS)):
        return "scenario"
    settings, script = keys & set(Settings.model_fields), keys & set(Script.model_fields)
    if not settings and not script:
        return None
    return "settings" if len(settings) >= len(script) else "script"
