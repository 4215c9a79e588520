"""A call of the stack's that becomes no leg is ended: it has ports, and would ring for ever."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("baresip")

from baresip import Event, StackEvent, StaleHandleError

from callerside.agent.telephony.baresip import endpoint as room
from callerside.agent.telephony.options import SipOptions


@pytest.mark.parametrize("is_over", [False, True])
async def test_a_call_that_nobody_knows_is_rejected(
    monkeypatch: pytest.MonkeyPatch, is_over: bool
) -> None:
    ended: list[int] = []

    async def reject() -> None:
        ended.append(1)
        if is_over:
            raise StaleHandleError("call no longer exists")

    def told(_runtime: object, event: StackEvent) -> Any:
        return SimpleNamespace(call_id=event.call_id, reject=reject)

    monkeypatch.setattr(room, "Call", SimpleNamespace(_from_incoming=told))
    station = room.BaresipEndpoint(SipOptions(), lambda _: None)
    station.stack._loop = asyncio.get_running_loop()
    station._admitted["a"] = "127.0.0.1:5060"
    station._on_event(StackEvent(event=Event.CALL_INCOMING, handle=0, ua=1, call=2, call_id="a"))
    await asyncio.gather(*station._endings)
    assert ended == [1]
    assert station._admitted == {}
