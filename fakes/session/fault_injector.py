"""Performs the faults of a script when the conversation reaches their points."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from callerside.clock import ms_to_ns
from callerside.fakes.session.context import SessionOutput
from callerside.fakes.session.faults import (
    AcceptLate,
    Close,
    Drop,
    Duplicate,
    Expire,
    Fail,
    Fault,
    Malformed,
    NeverDone,
    Oversized,
    Refuse,
    Reorder,
    SendError,
    Slow,
    Stall,
    TriggerPoint,
    UnknownEvent,
    parse_trigger_point,
)
from callerside.fakes.session.interface import (
    CloseConnection,
    DropConnection,
    RefuseConnection,
    SendText,
)
from callerside.fakes.session.response_plan import ResponseSpec

_MALFORMED = '{"type": "response.output_audio.delta", "delta": "AAAA'
_DISTORTING = (Slow, Fail, NeverDone)
_AT_HANDSHAKE = (Refuse, AcceptLate)

FaultKind = TypeVar("FaultKind", Refuse, AcceptLate)
EndSession = Callable[[CloseConnection | DropConnection | Expire], None]


class FaultInjector:
    """Waits for the points of a session's faults. Every fault strikes once."""

    def __init__(
        self, faults: Sequence[Fault], out: SessionOutput, end_session: EndSession
    ) -> None:
        """`end_session` does what those faults do that end the session."""
        self._out = out
        self._end_session = end_session
        self._waiting: dict[int, Fault] = dict(enumerate(faults))
        self._places = {fault.point.place for fault in faults}
        if "event" in self._places:
            out.after_event = lambda number: self.reached(f"event {number}")

    def refusal(self) -> RefuseConnection | None:
        """Whether the handshake is to be refused."""
        for fault in self._take(Refuse):
            self._mark(fault, f"status {fault.status}")
            return RefuseConnection(fault.status, "refused by the script")
        return None

    def lateness_ms(self) -> float:
        """How much later than otherwise the handshake is accepted."""
        late_ms = 0.0
        for fault in self._take(AcceptLate):
            self._mark(fault, f"{fault.by_ms:g} ms")
            late_ms += fault.by_ms
        return late_ms

    def distort(self, spec: ResponseSpec) -> ResponseSpec:
        """What becomes of a response that faults have been planned for."""
        place = parse_trigger_point(spec.name) if spec.name != "out_of_band" else None
        for number, fault in list(self._waiting.items()):
            if not isinstance(fault, _DISTORTING) or fault.point != place:
                continue
            del self._waiting[number]
            self._mark(fault)
            if isinstance(fault, Slow):
                spec = replace(spec, pace=fault.pace)
            elif isinstance(fault, Fail):
                spec = replace(spec, fails_with=fault.code)
            else:
                spec = replace(spec, never_done=True)
        return spec

    def reached(self, place: str) -> None:
        """The conversation has come to a place: what waits for it strikes, now or later."""
        if not self._waiting or place == "out_of_band":
            return
        point = parse_trigger_point(place)
        if point.place not in self._places:
            return
        for number, fault in list(self._waiting.items()):
            if isinstance(fault, _DISTORTING + _AT_HANDSHAKE):
                continue
            if replace(fault.point, offset_ms=0.0) == point:
                self._schedule(number, fault.point)

    def inject(self, number: int) -> None:
        """Perform a fault; its timer `fault:{number}` is due."""
        fault = self._waiting.pop(number, None)
        if fault is None:
            return
        self._mark(fault)
        match fault:
            case Drop():
                self._end_session(DropConnection())
            case Close(code=code, reason=reason):
                self._end_session(CloseConnection(code, reason))
            case Expire():
                self._end_session(fault)
            case _:
                self._disturb(fault)

    def _disturb(self, fault: Fault) -> None:
        """Faults that a session survives."""
        out = self._out
        match fault:
            case Stall(for_ms=for_ms):
                out.delivery.stall(keeps=for_ms is not None)
                if for_ms is not None:
                    out.set_timer("stall", out.now_ns + ms_to_ns(for_ms))
            case Duplicate(events=events):
                out.delivery.double(events)
            case Reorder():
                out.delivery.swap()
            case Malformed():
                out.delivery.push(SendText(_MALFORMED))
            case UnknownEvent():
                out.send("session.rearranged", detail="an event of a type that nobody knows")
            case Oversized(size_bytes=size_bytes):
                out.send("session.padded", padding="x" * size_bytes)
            case SendError(code=code, message=message):
                out.error(code, message, kind="server_error")

    def _take(self, kind: type[FaultKind]) -> list[FaultKind]:
        """Take the waiting faults of a kind."""
        taken = {n: fault for n, fault in self._waiting.items() if isinstance(fault, kind)}
        for number in taken:
            del self._waiting[number]
        return list(taken.values())

    def _schedule(self, number: int, point: TriggerPoint) -> None:
        if point.offset_ms:
            at_ns = self._out.now_ns + ms_to_ns(point.offset_ms)
            self._out.set_timer(f"fault:{number}", at_ns)
        else:
            self.inject(number)

    def _mark(self, fault: Fault, detail: str = "") -> None:
        extra = {"detail": detail} if detail else {}
        self._out.mark("fault_applied", fault=fault.fault, at=fault.at, **extra)
