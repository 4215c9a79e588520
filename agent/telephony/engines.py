"""Which SIP engines are here: installed, and usable on this machine.

An engine that cannot be used is *unavailable*, for a reason that says what to do about it.
"""

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from callerside.agent.telephony.engine import PROFILES, Engine, EngineChoice, EngineName
from callerside.agent.telephony.errors import SipError

_MODULES: dict[EngineName, str] = {
    "pjsua2": "callerside.agent.telephony.pjsua.engine",
    "baresip": "callerside.agent.telephony.baresip.engine",
}
"""By name, so that an engine that is not installed is never imported."""


class EngineUnavailableError(SipError):
    """An engine that was asked for cannot be used here; says why, and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What there is of an engine here."""

    name: EngineName
    version: str = ""
    """Of its package; empty: not installed."""
    problem: str = ""
    """Why it cannot be used; empty: it can."""


def survey() -> Sequence[Found]:
    """All engines, the better ones first."""
    return [_look(name) for name in PROFILES]


def sentence() -> str:
    """Which engines are here, and why others are not."""
    found = survey()
    here = [f"{one.name} {one.version}" for one in found if not one.problem]
    told = f"SIP engines: {', '.join(here) or 'none'}"
    return "; ".join([told, *(one.problem for one in found if one.problem)])


def told_version(program: str) -> str:
    """What a program that carries calls says to `--version`."""
    return f"{program} {version('callerside')}\n{sentence()}"


def resolve(choice: EngineChoice) -> EngineName:
    """The engine of that name; `auto`: the best that can be used.

    Raises:
        EngineUnavailableError: it cannot be used, or none can.
    """
    return looked_at(choice)[-1].name


def looked_at(choice: EngineChoice) -> Sequence[Found]:
    """The engine of that name, the last, behind better ones that cannot be used.

    No other is loaded: that costs time and memory.

    Raises:
        EngineUnavailableError: as `resolve`.
    """
    found: list[Found] = []
    wanted: Sequence[EngineName] = tuple(PROFILES) if choice == "auto" else (choice,)
    for name in wanted:
        found.append(_look(name))
        if not found[-1].problem:
            return found
    raise EngineUnavailableError("; ".join(one.problem for one in found))


def choose(choice: EngineChoice) -> Engine:
    """As `resolve`, and loaded.

    Raises:
        EngineUnavailableError: it cannot be used, or none can.
    """
    return _load(resolve(choice))


def _load(name: EngineName) -> Engine:
    engine: Engine = importlib.import_module(_MODULES[name]).engine()
    return engine


def _how_to_get(name: EngineName) -> str:
    newest = PROFILES[name].newest_python
    if sys.version_info[:2] > newest:
        return f"{name} is not installed: it has no wheel above Python {newest[0]}.{newest[1]}"
    return f"{name} is not installed (pip install 'callerside[{name}]')"


def _said(error: Exception) -> str:
    if isinstance(error, (ImportError, SipError)):
        return str(error)
    return f"{type(error).__name__}: {error}"


@cache
def _look(name: EngineName) -> Found:
    package = PROFILES[name].package
    try:
        installed = version(package)
    except PackageNotFoundError:
        return Found(name=name, problem=_how_to_get(name))
    try:
        _load(name)
    except Exception as error:  # another layout of the package: it fails in a way of its own
        problem = f"{name} cannot be used: {package} {installed}: {_said(error)}"
        problem += f"; {package} {PROFILES[name].works} works"
        return Found(name=name, version=installed, problem=problem)
    return Found(name=name, version=installed)
