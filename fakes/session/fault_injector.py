"""Performs the faults of a script when the conversation reaches their points."""

from collections.abc import Sequence
from dataclasses import replace

from callerside.clock import ms_to_ns
from callerside.fakes.session.faults import (
    Fault,
    FaultySession,
    Handshake,
    HandshakeFault,
    ResponseFault,
    SessionFault,
    TriggerPoint,
    parse_trigger_point,
)
from callerside.fakes.session.response_plan import ResponseSpec


class FaultInjector:
    """Waits for the points of a session's faults. Every fault strikes once."""

    def __init__(self, faults: Sequence[Fault], session: FaultySession) -> None:
        self._session = session
        self._at_handshake = [fault for fault in faults if isinstance(fault, HandshakeFault)]
        self._at_response = [fault for fault in faults if isinstance(fault, ResponseFault)]
        self._waiting = {n: one for n, one in enumerate(faults) if isinstance(one, SessionFault)}
        self._places = {fault.point.place for fault in self._waiting.values()}
        if "event" in self._places:
            session.out.after_event = lambda number: self.reached(f"event {number}")

    def handshake(self) -> Handshake:
        """What becomes of the handshake."""
        handshake = Handshake()
        for fault in sorted(self._at_handshake, key=lambda fault: not fault.decides):
            self._mark(fault)
            fault.apply(handshake)
            if fault.decides:
                break
        return handshake

    def distort(self, spec: ResponseSpec) -> ResponseSpec:
        """What becomes of a response that faults have been planned for."""
        place = parse_trigger_point(spec.name) if spec.name != "out_of_band" else None
        for fault in [fault for fault in self._at_response if fault.point == place]:
            self._at_response.remove(fault)
            self._mark(fault)
            spec = fault.apply(spec)
        return spec

    def reached(self, place: str) -> None:
        """The conversation has come to a place: what waits for it strikes, now or later."""
        if not self._waiting or place == "out_of_band":
            return
        point = parse_trigger_point(place)
        if point.place not in self._places:
            return
        for number, fault in list(self._waiting.items()):
            if replace(fault.point, offset_ms=0.0) == point:
                self._schedule(number, fault.point)

    def inject(self, number: int) -> None:
        """Perform a fault; its timer `fault:{number}` is due."""
        fault = self._waiting.pop(number, None)
        if fault is not None:
            self._mark(fault)
            fault.apply(self._session)

    def _schedule(self, number: int, point: TriggerPoint) -> None:
        if point.offset_ms:
            out = self._session.out
            out.set_timer(f"fault:{number}", out.now_ns + ms_to_ns(point.offset_ms))
        else:
            self.inject(number)

    def _mark(self, fault: Fault) -> None:
        extra = {"detail": fault.detail} if fault.detail else {}
        self._session.out.mark("fault_applied", fault=fault.fault, at=fault.at, **extra)
