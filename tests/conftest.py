"""What all tests share: no skips where every peer is installed, and machines that stand still."""

import gc
import os
import sys
import time
from collections.abc import Generator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import begun  # noqa: F401 - before anything imports numpy
import pytest
from compiled import compile_before
from reference_work import loop_s
from side_by_side import give_way_if_quiet, is_quiet, is_side_by_side, place, scheduler, turn
from stood_still import Stalls, Watcher

from callerside.agent.telephony.engines import survey

collect_ignore_glob = [] if find_spec("pjsua2") else ["agent/telephony/pjsua/*"]
"""What is written for PJSUA2, which has no wheel above Python 3.12."""

ROOT = Path(__file__).parents[1]
ROOMS = ("agent", "callerside", "fakes", "reports", "simulator", "tests/support", "tools")
ATTEMPTS_ON_A_STALLING_MACHINE = 3
LONGEST_BYTES_COMPARED = 1_000

_begun_ns = pytest.StashKey[int]()
_watcher = pytest.StashKey[Watcher]()
_seen = pytest.StashKey[Stalls]()


collect_ignore = [
    *("test_distribution.py", "e2e/test_image.py"),
    *("e2e/test_disturbed.py", "e2e/test_pages_played.py", "attack"),
]
"""Played where they are named: what builds wheels and an image by `nox -s installed`, what disturbs
the machine by `nox -s disturbed`, for nothing else could be measured meanwhile; the pages' calls at
five seeds by `nox -s pages`; what an enemy does by `nox -s attack`.
"""


def pytest_configure() -> None:
    """Each process of several is one that plays calls or one that only computes."""
    give_way_if_quiet()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and collected stays: no collection of garbage looks through it again.

    There are some hundred thousand objects of it, and each test makes others.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With CALLERSIDE_NO_SKIPS=1 a skip is a failure: that machine is meant to have everything."""
    report = yield
    if (
        report.skipped
        and os.environ.get("CALLERSIDE_NO_SKIPS") == "1"
        and not hasattr(report, "wasxfail")
    ):
        report.outcome = "failed"
        report.longrepr = f"skipped where no test may be: {report.longrepr}"
    return report


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Sound that differs, in two lines: pytest's own comparison of seconds of it takes minutes."""
    if op != "==" or not (isinstance(left, bytes) and isinstance(right, bytes)):
        return None
    if max(len(left), len(right)) <= LONGEST_BYTES_COMPARED:
        return None
    common = min(len(left), len(right))
    differing = [at for at in range(common) if left[at] != right[at]]
    where = f"{len(differing)} of {common} differ" + (
        f", from {differing[0]} to {differing[-1]}" if differing else ""
    )
    return [f"{len(left)} bytes == {len(right)} bytes", where]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """A benchmark stands beside reference work in the same run: machines differ, and their hours.

    `loops` among its figures is its median in loops that were played before it and after it; also
    of one that is beyond its limit, which its history is to show.
    """
    benchmark = getattr(item, "funcargs", {}).get("benchmark")
    if benchmark is None or benchmark.disabled:
        return (yield)
    before_s = loop_s()
    try:
        return (yield)
    finally:
        if benchmark.stats is not None:
            reference_s = (before_s + loop_s()) / 2
            median_s = benchmark.stats.stats.median
            benchmark.extra_info.update(reference_loop_s=reference_s, loops=median_s / reference_s)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """Do once, before several processes begin at once, what each of them would do."""
    config.stash[_watcher] = Watcher(_told(config))
    if not sys.dont_write_bytecode:
        compile_before((ROOT / room for room in ROOMS), Path(__file__).parent.rglob("test_*.py"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """With `-n N --dist loadfile`, as `nox -s tests` has it, files are spread by our order."""
    return scheduler(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """What measures the machine (`alone`) is played beside no call of ours. No limit runs yet."""
    alone = item.get_closest_marker("alone") is not None
    if not is_side_by_side(item.config) or (is_quiet() and not alone):
        return (yield)
    with turn(_shared(item.config), alone=alone):
        return (yield)


def _shared(config: pytest.Config) -> Path:
    """The folder of this session: of several processes each has one of its own in there."""
    factory: pytest.TempPathFactory = config._tmp_path_factory  # type: ignore[attr-defined]
    folder = factory.getbasetemp()
    return folder.parent if is_side_by_side(config) else folder


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Real calls cannot be judged on a machine that stands still, as in a run (`second_attempt`).

    A test of real calls that fails is run again if the machine stood still for longer than half a
    frame meanwhile, and only then. pytest tells of each (`RERUN`).
    """
    if is_side_by_side(config):
        items.sort(key=place)
    for item in items:
        if item.get_closest_marker("e2e"):
            again = pytest.mark.flaky(
                reruns=ATTEMPTS_ON_A_STALLING_MACHINE - 1,
                condition=partial(_stood_still_meanwhile, item),
            )
            item.add_marker(again)


def _stood_still_meanwhile(item: pytest.Item, _failure: object = None) -> bool:
    """Whether a test of real calls, which failed, was begun before the machine stood still."""
    return _stalls(item.config).since(item.stash[_begun_ns])


def pytest_runtest_setup(item: pytest.Item) -> None:
    """From here on a stall matters to the test. One of an engine needs it."""
    if item.get_closest_marker("e2e"):
        for problem in _engines_missing(item):
            pytest.skip(problem)
        _stalls(item.config)
        item.stash[_begun_ns] = time.monotonic_ns()


def _engines_missing(item: pytest.Item) -> list[str]:
    """Why those that a test names in its parameters cannot be used here: no wheel, mostly."""
    callspec = getattr(item, "callspec", None)
    named = callspec.id if callspec is not None else ""
    return [one.problem for one in survey() if one.problem and one.name in named]


def _stalls(config: pytest.Config) -> Stalls:
    """Of the machine, since the first test of real calls was begun, or earlier."""
    if _seen not in config.stash:
        told = _told(config)
        if not is_side_by_side(config):
            config.stash[_watcher] = Watcher(told)
        config.stash[_seen] = Stalls(told)
    return config.stash[_seen]


def _told(config: pytest.Config) -> Path:
    """Where whoever watches writes, for all processes."""
    return _shared(config) / "stalls"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave nothing behind."""
    if _watcher in session.config.stash:
        session.config.stash[_watcher].close()
