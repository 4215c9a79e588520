"""The connection to the Realtime API as the call sees it: opened in the background, renewed.

It is `ready` when the session is as we asked for it. Whatever goes wrong before or after is
marked, tried again with growing delays, and given up after a bounded number of tries.
"""

from collections.abc import Callable, Sequence
from enum import Enum, auto

from callerside.agent.call.context import CallContext
from callerside.agent.call.events import CloseRealtime, ConnectRealtime, Timer
from callerside.agent.config.settings import CallSettings, realtime_url
from callerside.agent.realtime.events import SessionCreated, SessionUpdated
from callerside.agent.realtime.interface import RealtimeClosed
from callerside.agent.realtime.requests import Event, format_name, session_update
from callerside.audio import AudioFormat
from callerside.clock import NS_PER_S

_MAX_BACKOFF_DOUBLINGS = 16
_PROVEN_NS = 10 * NS_PER_S
"""A session that lasted so long was a good one: the failures before it count no more."""


class ApiSessionState(Enum):
    """How far the connection has come."""

    IDLE = auto()
    CONNECTING = auto()
    CONNECTED = auto()
    """The socket is open; waits for `session.created` or the audio format."""
    UPDATING = auto()
    """`session.update` is on its way."""
    READY = auto()
    WAITING = auto()
    """For the next try."""
    FAILED = auto()
    CLOSED = auto()


UP = frozenset(
    {
        ApiSessionState.CONNECTING,
        ApiSessionState.CONNECTED,
        ApiSessionState.UPDATING,
        ApiSessionState.READY,
    }
)
"""There is a connection, of whose server something may come."""


class ApiSession:
    """One call's line to the model, over as many connections as it takes."""

    def __init__(
        self, context: CallContext, settings: CallSettings, called: str, tools: Sequence[Event]
    ) -> None:
        self._context = context
        self._settings = settings
        self._url = realtime_url(settings.realtime, called)
        self._tools = tools
        self._format: AudioFormat | None = None
        self._created = False
        self._update_id: str | None = None
        self._attempt = 0
        self._failures = 0
        self._ready_ns: int | None = None
        self.state = ApiSessionState.IDLE
        self.on_session_lost: Callable[[], None] = lambda: None
        """Called whenever a session, or the hope of one, is gone: who waits for it must know."""

    @property
    def ready(self) -> bool:
        """The session is as we asked for it."""
        return self.state is ApiSessionState.READY

    @property
    def failed(self) -> bool:
        """Every try has failed."""
        return self.state is ApiSessionState.FAILED

    def connect(self) -> None:
        """Open a connection; this does not wait for it."""
        realtime = self._settings.realtime
        self._attempt += 1
        self._created = False
        self.state = ApiSessionState.CONNECTING
        self._context.mark("realtime_connecting", {"attempt": self._attempt})
        self._context.set_timer(Timer.CONNECT_LIMIT, realtime.connect_timeout_ms)
        self._context.add(
            ConnectRealtime(
                url=self._url,
                model=realtime.model,
                dialect=realtime.dialect,
                timeout_ms=realtime.connect_timeout_ms,
            )
        )

    def use_format(self, audio_format: AudioFormat) -> None:
        """The audio format is known: the session can be asked for."""
        if self._format is None:
            self._format = audio_format
            self._update_if_possible()

    def connected(self) -> None:
        """The socket is open."""
        if self.state is ApiSessionState.CONNECTING:
            self.state = ApiSessionState.CONNECTED
            self._context.mark("realtime_connected")
            self._update_if_possible()

    def session_created(self, event: SessionCreated) -> None:
        """The server has made a session, with its own defaults."""
        fields = {"session": event.session_id} if event.session_id else {}
        self._context.mark("session_created", fields)
        self._created = True
        self._update_if_possible()

    def session_updated(self, event: SessionUpdated) -> bool:
        """The session is as we asked for it. True if it became ready by this."""
        if self.state is not ApiSessionState.UPDATING or self._format is None:
            return False
        wanted = format_name(self._format, self._settings.realtime.dialect)
        for direction, found in (("input", event.input_format), ("output", event.output_format)):
            if found is not None and found != wanted:
                # Anything else would be noise in somebody's ear.
                self.drop(f"the session's {direction} format is {found}, asked for {wanted}")
                return False
        self.state = ApiSessionState.READY
        self._ready_ns = self._context.now_ns
        self._context.cancel_timer(Timer.CONNECT_LIMIT)
        self._context.mark("session_updated")
        if self._settings.realtime.session_move_ms:
            self._context.set_timer(Timer.SESSION_MOVE_DUE, self._settings.realtime.session_move_ms)
        return True

    def refused(self, event_id: str | None, message: str) -> bool:
        """An `error` names an event of ours: whether it was `session.update`.

        One that comes when the session is as we asked for it changes nothing.
        """
        if event_id is None or event_id != self._update_id:
            return False
        if self.state is ApiSessionState.UPDATING:
            self.drop(f"session.update was refused: {message}")
        return True

    def lost(self, event: RealtimeClosed) -> None:
        """The connection is over, or never came to be."""
        fields: dict[str, object] = {"reason": event.reason}
        if event.status is not None:
            fields["status"] = event.status
        self._context.mark("realtime_failed", fields)
        if event.code is not None:
            self._context.mark("realtime_closed", {"code": event.code, "reason": event.reason})
        self._try_again()

    def drop(self, reason: str) -> None:
        """Close a connection that is of no use, however long it lasted, and try another."""
        self._ready_ns = None
        self._context.add(CloseRealtime())
        self._context.mark("realtime_failed", {"reason": reason})
        self._try_again()

    def move(self) -> None:
        """Change to a new session before the old one expires."""
        self._context.add(CloseRealtime())
        self._context.mark(
            "realtime_closed", {"code": 1000, "reason": "session is about to expire"}
        )
        self.connect()
        self.on_session_lost()

    def close(self) -> None:
        """The call is over."""
        self._cancel_timers()
        if self.state not in (
            ApiSessionState.IDLE,
            ApiSessionState.WAITING,
            ApiSessionState.FAILED,
            ApiSessionState.CLOSED,
        ):
            self._context.add(CloseRealtime())
            self._context.mark("realtime_closed", {"code": 1000, "reason": "call ended"})
        self.state = ApiSessionState.CLOSED

    def _update_if_possible(self) -> None:
        if self.state is ApiSessionState.CONNECTED and self._created and self._format is not None:
            self.state = ApiSessionState.UPDATING
            update = session_update(self._settings, self._format, self._tools)
            self._update_id = self._context.send(update)

    def _try_again(self) -> None:
        self._cancel_timers()
        reconnect = self._settings.realtime.reconnect
        if self._ready_ns is not None and self._context.now_ns - self._ready_ns >= _PROVEN_NS:
            self._failures = 0
        self._ready_ns = None
        self._failures += 1
        if self._failures > reconnect.attempts:
            self.state = ApiSessionState.FAILED
        else:
            self.state = ApiSessionState.WAITING
            doublings = min(self._failures - 1, _MAX_BACKOFF_DOUBLINGS)
            delay_ms = min(reconnect.first_delay_ms << doublings, reconnect.max_delay_ms)
            self._context.set_timer(Timer.RECONNECT_DUE, delay_ms)
        self.on_session_lost()

    def _cancel_timers(self) -> None:
        for timer in (Timer.CONNECT_LIMIT, Timer.RECONNECT_DUE, Timer.SESSION_MOVE_DUE):
            self._context.cancel_timer(timer)
