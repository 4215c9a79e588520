"""What the call's machine tells apart by tables has a line for each that there is."""

from typing import get_args

import pytest

from callerside.agent.call.events import CallInput, ConsultReported, Timer
from callerside.agent.call.machine import CallMachine
from callerside.agent.config.settings import CallSettings
from callerside.agent.realtime import events
from callerside.agent.realtime.interface import RealtimeEvent
from callerside.agent.telephony.interface import AudioReceived, CallProgressed, FramePlayed


@pytest.fixture
def machine() -> CallMachine:
    return CallMachine(CallSettings(), called="shop", sample_rate_hz=24_000)


def test_each_input_but_for_the_progress_of_a_call_that_others_place(machine: CallMachine) -> None:
    often = {AudioReceived, FramePlayed, RealtimeEvent, ConsultReported}
    placed = {CallProgressed}  # an agent takes calls, and places none
    assert machine._handlers.keys() | often | placed == set(get_args(CallInput))


def test_each_event_of_the_api(machine: CallMachine) -> None:
    often = {events.AudioDelta, events.ResponseProgressed}
    handled = machine._conversation._handlers.keys()
    assert handled | often | {events.Ignored} == set(get_args(events.ServerEvent))


def test_each_timer(machine: CallMachine) -> None:
    assert machine._timer_handlers.keys() == set(Timer)
