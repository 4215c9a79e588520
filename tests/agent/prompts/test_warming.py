"""Prompts are made in the background, again after a reload, and again when it did not work."""

import asyncio
from collections.abc import Callable

import pytest

from callerside.agent.config.loader import Secrets
from callerside.agent.config.settings import Settings
from callerside.agent.prompts import prefetch
from callerside.agent.prompts.prefetch import Outcome, Warming


class Maker:
    """Stands for `warm`: what it was asked for, and whether it works."""

    def __init__(self, *works: bool) -> None:
        self.asked: list[list[str]] = []
        self._works = iter(works)

    async def __call__(
        self, settings: Settings, secrets: Secrets, tell: Callable[[Outcome], None]
    ) -> bool:
        self.asked.append([route.called for route in settings.routes])
        return next(self._works)


def settings(**more: object) -> Settings:
    return Settings.model_validate(more)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefetch, "RETRY_S", (0.01, 0.01))


async def settle() -> None:
    await asyncio.sleep(0.1)


async def test_what_works_is_made_once() -> None:
    maker = Maker(True)
    warm = Warming(Secrets(), maker)
    warm.begin(settings(routes=[{"called": "100"}]))
    await settle()
    assert maker.asked == [["100", "*"]]
    await warm.stop()


async def test_what_does_not_is_tried_again_for_a_bounded_number_of_times() -> None:
    maker = Maker(False, False, False)
    warm = Warming(Secrets(), maker)
    warm.begin(settings())
    await settle()
    assert len(maker.asked) == 3
    await warm.stop()


async def test_a_reload_begins_anew() -> None:
    maker = Maker(True, True)
    warm = Warming(Secrets(), maker)
    warm.begin(settings())
    warm.begin(settings(routes=[{"called": "200"}]))
    await settle()
    assert maker.asked[-1] == ["200", "*"]
    await warm.stop()


async def test_routes_that_do_not_want_it_are_left_out() -> None:
    maker = Maker(True)
    warm = Warming(Secrets(), maker)
    warm.begin(settings(greeting={"warm_at_start": False}))
    await settle()
    assert maker.asked == []
    wants = {"called": "1", "greeting": {"warm_at_start": True}}
    warm.begin(settings(greeting={"warm_at_start": False}, routes=[wants]))
    await settle()
    assert maker.asked == [["1"]]
    await warm.stop()


async def test_stopping_does_not_wait_for_the_next_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefetch, "RETRY_S", (3600,))
    warm = Warming(Secrets(), Maker(False))
    warm.begin(settings())
    await settle()
    async with asyncio.timeout(1):
        await warm.stop()
