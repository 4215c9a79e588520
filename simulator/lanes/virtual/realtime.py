"""A connection to the fake Realtime API in memory: its session machine, without a socket.

`VirtualRealtimeServer` stands where the fake's WebSocket server stands in the sip lane, and
`VirtualRealtimeConnection` where the agent's WebSocket adapter does, on the same door. Events cross
as they are, mappings with audio as bytes, after the network's time and in order. Its delays and
faults are the session machine's own, so that they strike here as they do over a socket.

What it does not show: JSON and base64, TCP's congestion, and WebSocket frames.
"""

import random
from collections.abc import Callable
from functools import partial
from typing import Protocol, assert_never

from callerside.agent.realtime.client import MAX_MESSAGE_BYTES, MAX_WAITING_EVENTS
from callerside.agent.realtime.interface import (
    Event,
    RealtimeClosed,
    RealtimeConnected,
    RealtimeEvent,
    RealtimeGarbage,
    RealtimeInput,
)
from callerside.agent.realtime.requests import append
from callerside.clock import Clock, ms_to_ns
from callerside.fakes.script.model import PathDelay
from callerside.fakes.session import interface
from callerside.fakes.session.one_way import OneWay
from callerside.marks import MarkSink
from callerside.timers import TimerSet

_Ended = interface.RefuseConnection | interface.CloseConnection | interface.DropConnection
_Carried = (
    interface.SendEvent
    | interface.SendText
    | interface.SetTimer
    | interface.CancelTimer
    | interface.AcceptConnection
    | _Ended
)

_NORMAL, _ABNORMAL, _TOO_BIG = 1000, 1006, 1009
"""Close codes (RFC 6455 §7.4.1); 1006: lost without a close frame."""


class Session(Protocol):
    """The fake's session machine (`fakes.session.session`)."""

    def handle(self, event: interface.Input, now_ns: int) -> list[interface.Effect]:
        """Takes what happened and when; returns what should be done."""

    def routine_ms(self, *, silent: bool) -> float:
        """How much audio may be appended at once."""


_LEAST_MS = 0.4
"""What the way takes that a script does not speak of. The way back takes it for both, as nobody can
see the difference, and events for the server need not be queued."""


class VirtualRealtimeServer:
    """Opens sessions, one for each connection, and keeps what they heard and sent.

    Args:
        clock: the run's time.
        open_session: makes the machine of a new connection.
        path: what the script says of the network's delays.
        rng: what is left to chance there.
        marks: takes the sessions' marks.
    """

    def __init__(
        self,
        clock: Clock,
        open_session: Callable[[], Session],
        *,
        path: PathDelay,
        rng: random.Random,
        marks: MarkSink,
    ) -> None:
        self._clock = clock
        self._open_session = open_session
        self._path = path
        self._rng = rng
        self._marks = marks
        self._connections: list[VirtualRealtimeConnection] = []
        self.heard = bytearray()
        """PCM16 that the sessions received, one after another, at `heard_rate_hz`."""
        self.heard_rate_hz = 0
        self.sent = bytearray()
        """PCM16 of the deltas that they sent, likewise, at `sent_rate_hz`."""
        self.sent_rate_hz = 0

    def connect(self, *, model: str, dialect: str, timeout_ms: int) -> "VirtualRealtimeConnection":
        """A new connection, not yet started."""
        connection = VirtualRealtimeConnection(
            self._clock,
            self._open_session(),
            request=interface.ConnectionRequested(model=model, beta_header=dialect == "beta"),
            timeout_ms=timeout_ms,
            to_server=OneWay(self._path, self._rng),
            to_client=OneWay(self._path, self._rng, least_ms=_LEAST_MS),
            marks=self._marks,
            keep=self._keep,
        )
        self._connections.append(connection)
        return connection

    def stop(self) -> None:
        """Close what is still open, as a server does that ends."""
        for connection in self._connections:
            connection.stop_server()

    def _keep(self, audio: interface.KeepAudio | interface.KeepSent) -> None:
        if isinstance(audio, interface.KeepSent):
            self.sent += audio.pcm
            self.sent_rate_hz = audio.rate_hz
        else:
            self.heard += audio.pcm
            self.heard_rate_hz = audio.rate_hz


class VirtualRealtimeConnection:
    """An `agent.realtime.interface.RealtimeConnection`, with the server's side of it."""

    def __init__(
        self,
        clock: Clock,
        session: Session,
        *,
        request: interface.ConnectionRequested,
        timeout_ms: int,
        to_server: OneWay,
        to_client: OneWay,
        marks: MarkSink,
        keep: Callable[[interface.KeepAudio | interface.KeepSent], None],
    ) -> None:
        self._clock = clock
        self._session = session
        self._request = request
        self._timeout_ms = timeout_ms
        self._way_there = to_server
        self._way_back = to_client
        self._marks = marks
        self._keep = keep
        self._on_input: Callable[[RealtimeInput], None] | None = None
        self._unsent: list[Event] | None = []  # None: the handshake is done
        self._timers = TimerSet[str](clock, lambda name: self._serve(interface.TimerFired(name)))
        self._server_open = False

    # The client's end

    def start(self, on_input: Callable[[RealtimeInput], None]) -> None:
        """See `RealtimeConnection.start`."""
        self._on_input = on_input
        self._server_open = True
        self._to_server(self._request)
        limit_ns = self._clock.now_ns() + ms_to_ns(self._timeout_ms)
        self._clock.call_at(limit_ns, self._give_up)

    def send(self, event: Event) -> None:
        """See `RealtimeConnection.send`."""
        if self._on_input is None:
            return
        if self._unsent is None:
            self._to_server(interface.ClientEvent(event))
        elif len(self._unsent) < MAX_WAITING_EVENTS:
            self._unsent.append(event)
        else:
            reason = f"{MAX_WAITING_EVENTS} events waited to be sent"
            self._end_client(RealtimeClosed(reason=reason))

    def append(self, audio: bytes) -> None:
        """See `RealtimeConnection.append`."""
        self.send(append(audio))

    def routine_ms(self, *, silent: bool) -> float:
        """So much audio may be appended at once; see `session.RealtimeSession.routine_ms`."""
        if not self._way_there.is_instant or self._unsent is not None or not self._server_open:
            return 0.0
        return self._session.routine_ms(silent=silent)

    def close(self) -> None:
        """See `RealtimeConnection.close`."""
        if self._on_input is not None:
            self._on_input = None
            self._to_server(interface.ConnectionLost(_NORMAL))

    def _give_up(self) -> None:
        if self._unsent is not None:
            reason = f"no handshake within {self._timeout_ms / 1000:g} s"
            self._end_client(RealtimeClosed(reason=reason))

    def _end_client(self, closed: RealtimeClosed) -> None:
        """The client's end gives up: it is notified soon, and the server notices."""
        self._clock.call_at(self._clock.now_ns(), partial(self._notify, closed))
        self._to_server(interface.ConnectionLost(_ABNORMAL))

    def _notify(self, realtime_input: RealtimeInput) -> None:
        """What has arrived at the client; nothing is reported once it has closed."""
        on_input = self._on_input
        if on_input is None:
            return
        match realtime_input:
            case RealtimeConnected():
                unsent, self._unsent = self._unsent or [], None
                for event in unsent:
                    self._to_server(interface.ClientEvent(event))
            case RealtimeClosed():
                self._on_input = None
            case RealtimeEvent() | RealtimeGarbage():
                pass  # changes nothing here
            case unknown:
                assert_never(unknown)
        on_input(realtime_input)

    # The server's end

    def stop_server(self) -> None:
        """The server ends."""
        self._serve(interface.ServerStopping())

    def _serve(self, session_input: interface.Input) -> None:
        if not self._server_open:
            return
        for effect in self._session.handle(session_input, self._clock.now_ns()):
            if isinstance(effect, interface.EmitMark):  # most are one of these two
                self._marks(effect.mark)
            elif isinstance(effect, interface.KeepAudio | interface.KeepSent):
                self._keep(effect)
            else:
                self._carry_out(effect)
        if isinstance(session_input, interface.ConnectionLost):
            self._end_server()

    def _carry_out(self, effect: _Carried) -> None:
        match effect:
            case interface.SendEvent(event):
                self._to_client(RealtimeEvent(event=event))
            case interface.SetTimer(name, at_ns):
                self._timers.set(name, at_ns)
            case interface.CancelTimer(name):
                self._timers.cancel(name)
            case interface.AcceptConnection():
                self._to_client(RealtimeConnected())
            case interface.SendText(text):
                self._to_client(_mark_of_text(text))
            case (
                interface.RefuseConnection()
                | interface.CloseConnection()
                | interface.DropConnection()
            ):
                self._to_client(_closed_by(effect))
                self._end_server()
            case unknown:
                assert_never(unknown)

    def _end_server(self) -> None:
        self._server_open = False
        self._timers.cancel_all()

    # Between them

    def _to_server(self, session_input: interface.Input) -> None:
        if self._way_there.is_instant:
            self._serve(session_input)
            return
        when_ns = self._way_there.arrival_ns(self._clock.now_ns())
        self._clock.call_at(when_ns, partial(self._serve, session_input))

    def _to_client(self, realtime_input: RealtimeInput) -> None:
        when_ns = self._way_back.arrival_ns(self._clock.now_ns())
        self._clock.call_at(when_ns, partial(self._notify, realtime_input))


def _closed_by(effect: _Ended) -> RealtimeClosed:
    match effect:
        case interface.RefuseConnection(status, _):
            return RealtimeClosed(reason=f"handshake refused: HTTP {status}", status=status)
        case interface.CloseConnection(code, reason):
            return RealtimeClosed(reason=reason or "closed by the server", code=code)
        case interface.DropConnection():
            return RealtimeClosed(reason="the connection was lost", code=_ABNORMAL)
        case unknown:
            assert_never(unknown)


def _mark_of_text(text: str) -> RealtimeInput:
    """What the agent's adapter makes of a text that is no event."""
    if len(text) > MAX_MESSAGE_BYTES:
        return RealtimeClosed(reason="message too big", code=_TOO_BIG)
    return RealtimeGarbage(reason="not JSON")
