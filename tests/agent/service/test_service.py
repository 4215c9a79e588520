"""A call's leg and its driver are brought together by its first input."""

import asyncio
from collections.abc import Callable, Collection

import pytest

from callerside.agent.config.loader import Secrets
from callerside.agent.config.settings import Settings
from callerside.agent.service.driver import CallDriver
from callerside.agent.service.service import Service
from callerside.agent.telephony.engine import PROFILES
from callerside.agent.telephony.interface import (
    CallLeg,
    CallReceived,
    DtmfMethod,
    HungUp,
    LegInput,
)
from callerside.loop_clock import LoopClock

RECEIVED = CallReceived(called="100", caller="200", sip_call_id="s1")
HUNG_UP = HungUp(by="caller", status=200, reason="OK")


class SilentLeg:
    """Knows who listens, and how it was hung up."""

    sample_rate_hz = 24_000

    def __init__(self) -> None:
        self.on_input: Callable[[LegInput], None] = lambda _input: None
        self.hung_up_with: list[int] = []

    def start(self, on_input: Callable[[LegInput], None]) -> None:
        self.on_input = on_input

    def answer(self, status: int = 200) -> None:
        pass

    def play(self, pcm: bytes, tag: int = 0) -> None:
        pass

    def clear(self, tags: Collection[int] | None = None) -> None:
        pass

    def hang_up(self, status: int = 200) -> None:
        self.hung_up_with.append(status)

    def send_dtmf(self, digits: str, method: DtmfMethod = "rfc4733") -> None:
        pass

    def consult(self, uri: str) -> CallLeg:
        raise NotImplementedError

    def transfer(self, uri: str, consulted: CallLeg | None = None) -> None:
        pass


class NoEngine:
    """Has no endpoint to answer calls at."""

    profile = PROFILES["baresip"]

    def answering(self, *_: object, **__: object) -> None:
        """See `telephony.engine.Engine`."""


@pytest.fixture
async def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    """Running, but for its endpoint."""
    monkeypatch.setattr("callerside.agent.service.service.choose", lambda _choice: NoEngine())
    service = Service(Settings(), Secrets(api_key="k"))
    service._clock = LoopClock(asyncio.get_running_loop())
    return service


def accepted(service: Service) -> SilentLeg:
    leg = SilentLeg()
    service._accept(leg)
    return leg


async def test_after_the_first_input_the_leg_tells_the_driver_itself(service: Service) -> None:
    leg = accepted(service)
    leg.on_input(RECEIVED)
    assert service.active_calls == 1
    assert getattr(leg.on_input, "__func__", None) is CallDriver.feed
    leg.on_input(HUNG_UP)
    assert service.active_calls == 0


async def test_a_call_that_cannot_be_set_up_is_hung_up(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_arguments: object) -> None:
        raise LookupError("a bug")

    monkeypatch.setattr(service, "_new_call", fails)
    leg = accepted(service)
    leg.on_input(RECEIVED)
    leg.on_input(HUNG_UP)
    assert leg.hung_up_with == [500]
    assert service.active_calls == 0


async def test_a_worker_takes_as_many_calls_as_its_engine_holds_and_has_ports_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("callerside.agent.service.service.choose", lambda _choice: NoEngine())

    def places(**sip: int) -> int:
        return Service(Settings.model_validate({"sip": sip}), Secrets(api_key="k")).max_calls

    assert places() == PROFILES["baresip"].calls_a_process == 12
    assert places(rtp_port=4000, rtp_port_count=8) == 4
    assert places(rtp_port=4001, rtp_port_count=8) == 3
    assert places(max_calls=2) == 2
