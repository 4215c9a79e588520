"""Performs the faults of a session when the conversation reaches their points.

They come from its script, from whoever has control of the server meanwhile, and from chance.
"""

from collections.abc import Sequence
from dataclasses import replace

from callerside.clock import ms_to_ns
from callerside.fakes.session.chaos import Chaos
from callerside.fakes.session.faults import (
    BaseFault,
    Fault,
    FaultySession,
    Handshake,
    HandshakeFault,
    Place,
    ResponseFault,
    SessionFault,
    TriggerPoint,
    name_of,
    parse_trigger_point,
    written,
)
from callerside.fakes.session.response_plan import ResponseSpec


class FaultInjector:
    """Waits for the points of a session's faults. Every fault strikes once."""

    def __init__(
        self, faults: Sequence[Fault], session: FaultySession, chaos: Chaos | None = None
    ) -> None:
        """`chaos` draws more of them; None: there are no others."""
        self._session = session
        self._chaos = chaos
        self._at_handshake: list[HandshakeFault] = []
        self._at_response: list[ResponseFault] = []
        self._waiting: dict[int, SessionFault] = {}
        self._places: set[str] = set()
        self._added = 0
        self._drawn: set[int] = set()
        """Those that chance has added: by the number of a waiting one."""
        self._shaken = False
        self._shaped: dict[Place, int] = {}
        self._reached: dict[Place, int] = {}
        """By place, the last number of one that was planned, and of one that has begun."""
        for fault in faults:
            self.add(fault)

    @property
    def waiting(self) -> int:
        """How many have not struck yet."""
        return (
            len(self._at_handshake) * (not self._shaken)
            + len(self._at_response)
            + len(self._waiting)
        )

    def why_too_late(self, fault: Fault) -> str | None:
        """Why a fault would never strike if it were added now; None if it may."""
        point = fault.point
        if isinstance(fault, HandshakeFault):
            return "the handshake is over: it is for the next session" if self._shaken else None
        begun = self._shaped if isinstance(fault, ResponseFault) else self._reached
        if point.place in ("event", "greeting") or point.number > begun.get(point.place, -1):
            return None
        if point.place == "connect":
            return "the session is open already: 'now', or for the next session"
        place = TriggerPoint(point.place, point.number)
        return f"{place} has been: 'next {point.place}'"

    def add(self, fault: Fault) -> None:
        """One more, in time for its place. At an event that has been sent it strikes now."""
        match fault:
            case HandshakeFault():
                self._at_handshake.append(fault)
            case ResponseFault():
                self._at_response.append(fault)
            case _:
                number, point = self._wait_for(fault), fault.point
                if point.place == "event" and point.number <= self._session.out.events_sent:
                    self._schedule(number, point)

    def handshake(self) -> Handshake:
        """What becomes of the handshake."""
        self._shaken = True
        handshake = Handshake()
        drawn = self._chaos and self._chaos.of_handshake()
        if drawn:
            self._at_handshake.append(drawn)
        for fault in sorted(self._at_handshake, key=lambda fault: not fault.decides):
            self._mark(fault, drawn=fault is drawn)
            fault.apply(handshake)
            if fault.decides:
                break
        return handshake

    def distort(self, spec: ResponseSpec) -> ResponseSpec:
        """What becomes of a response that faults have been planned for."""
        if spec.name == "out_of_band":
            return spec
        place = parse_trigger_point(spec.name)
        self._shaped[place.place] = place.number
        drawn = self._chaos and self._chaos.of_response(spec.name)
        if drawn:
            self._at_response.append(drawn)
        for fault in [fault for fault in self._at_response if fault.point == place]:
            self._at_response.remove(fault)
            self._mark(fault, drawn=fault is drawn)
            spec = fault.apply(spec)
        return spec

    def reached(self, place: str) -> None:
        """The conversation has come to a place: what waits for it strikes, now or later."""
        if place == "out_of_band":
            return
        drawn = self._chaos and self._chaos.of_session(place)
        if drawn:
            number = self._wait_for(drawn)
            self._drawn.add(number)
            self._schedule(number, drawn.point)
        point = parse_trigger_point(place)
        self._reached[point.place] = point.number
        if point.place not in self._places:
            return
        for number, fault in list(self._waiting.items()):
            if number not in self._drawn and replace(fault.point, offset_ms=0.0) == point:
                self._schedule(number, fault.point)

    def inject(self, number: int) -> None:
        """Perform a fault; its timer `fault:{number}` is due."""
        fault = self._waiting.pop(number, None)
        if fault is not None:
            self._mark(fault, drawn=number in self._drawn)
            fault.apply(self._session)

    def _wait_for(self, fault: SessionFault) -> int:
        number, self._added = self._added, self._added + 1
        self._waiting[number] = fault
        self._places.add(fault.point.place)
        if fault.point.place == "event":
            self._session.out.after_event = self._event_sent
        return number

    def _event_sent(self, number: int) -> None:
        if self._waiting:
            point = TriggerPoint("event", number)
            for waiting, fault in list(self._waiting.items()):
                if replace(fault.point, offset_ms=0.0) == point:
                    self._schedule(waiting, fault.point)

    def _schedule(self, number: int, point: TriggerPoint) -> None:
        if point.offset_ms:
            out = self._session.out
            out.set_timer(f"fault:{number}", out.now_ns + ms_to_ns(point.offset_ms))
        else:
            self.inject(number)

    def _mark(self, fault: BaseFault, *, drawn: bool = False) -> None:
        extra: dict[str, object] = {"detail": fault.detail} if fault.detail else {}
        if drawn:
            extra["drawn"] = written(fault)
        self._session.out.mark("fault_applied", fault=name_of(type(fault)), at=fault.at, **extra)
