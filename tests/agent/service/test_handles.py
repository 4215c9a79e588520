"""Handles are counted at the start: the limit is raised, or fewer calls are taken."""

import resource

import pytest
import structlog

from callerside.agent.config.loader import ConfigError
from callerside.agent.service.handles import A_CALL, carried, needed

Limits = list[tuple[int, int]]
NONE = resource.RLIM_INFINITY


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Limits:
    """This process's limit as it is set, the last one in force."""
    told: Limits = [(1024, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda _which: told[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _which, given: told.append(given))
    return told


@pytest.mark.parametrize("soft", [needed(12), 16_384, NONE])
def test_where_there_are_enough_nothing_is_changed(limits: Limits, soft: int) -> None:
    limits[:] = [(soft, NONE)]
    assert carried(12) == 12
    assert len(limits) == 1


@pytest.mark.parametrize("hard", [needed(12), 4096, NONE])
def test_the_limit_is_raised_as_far_as_it_has_to_be(limits: Limits, hard: int) -> None:
    limits[:] = [(64, hard)]
    assert carried(12) == 12
    assert limits[-1] == (needed(12), hard)


def test_what_the_limit_does_not_carry_is_not_taken_and_that_is_told(limits: Limits) -> None:
    hard = needed(3) + A_CALL - 1
    limits[:] = [(64, hard)]
    with structlog.testing.capture_logs() as logged:
        assert carried(12) == 3
    assert limits[-1] == (hard, hard)
    (line,) = logged
    assert (line["event"], line["calls"], line["wanted"]) == ("files_too_few", 3, 12)


def test_where_there_is_none_for_one_call_it_does_not_start(limits: Limits) -> None:
    limits[:] = [(64, needed(1) - 1)]
    with pytest.raises(ConfigError, match=rf"one call needs {needed(1)}: raise the limit"):
        carried(12)
