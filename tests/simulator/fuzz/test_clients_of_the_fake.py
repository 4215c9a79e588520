"""What a client of the fake that nobody thought of must get: each of these can be missed."""

import pytest

from callerside.fakes.session import interface
from callerside.fakes.session.response import Response
from callerside.fakes.session.session import RealtimeSession
from callerside.simulator.fuzz.choices import SeededChoices
from callerside.simulator.fuzz.play import play_client_of

CLIENTS = 20


def complaints() -> set[str]:
    """Of some clients."""
    played = (play_client_of("client", SeededChoices(f"client {n} 0")) for n in range(CLIENTS))
    return {breach.detail for outcome in played for breach in outcome.breaches}


def test_they_are_served() -> None:
    assert complaints() == set()


def test_a_part_that_is_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def end_part(response: Response) -> None:
        response._part = None

    monkeypatch.setattr(Response, "_end_part", end_part)
    assert "a response was done before all that had been added to it" in complaints()


def test_a_session_that_takes_what_is_anothers(monkeypatch: pytest.MonkeyPatch) -> None:
    handle, began = RealtimeSession.handle, list[RealtimeSession]()

    def handled(
        session: RealtimeSession, given: interface.Input, now_ns: int
    ) -> list[interface.Effect]:
        if isinstance(given, interface.ConnectionRequested):
            began.append(session)
        is_anothers = isinstance(given, interface.TimerFired) and began[-1] is not session
        return [] if is_anothers else list(handle(session, given, now_ns))

    monkeypatch.setattr(RealtimeSession, "handle", handled)
    assert any(one.startswith("beside others a client gets another") for one in complaints())
