"""A worker's settings, read anew while it serves."""

import pytest

from callerside.agent.config.loader import ConfigError, Secrets
from callerside.agent.config.settings import Settings
from callerside.agent.service import worker as worker_module


@pytest.mark.parametrize("failure", [ConfigError("no such key"), RuntimeError("a fault")])
async def test_a_reload_that_fails_is_no_hindrance_to_the_next(
    monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    settings = Settings()
    outcomes: list[Exception | Settings] = [failure, settings]

    def load() -> Settings:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    taken: list[Settings] = []

    class Calls:
        """Of a service, what a worker needs here: it has no SIP, of which a process has one."""

        max_calls = 4

        def __init__(self, *_: object, **__: object) -> None:
            pass

        async def reload(self, fresh: Settings) -> None:
            taken.append(fresh)

    monkeypatch.setattr(worker_module, "Service", Calls)
    worker = worker_module.Worker(settings, Secrets(api_key=None), load)
    for _ in range(2):
        worker.reload()
    assert worker._reload is not None
    await worker._reload
    assert taken == [settings]
