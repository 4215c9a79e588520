"""The running agent: a SIP endpoint whose calls each get a machine, a driver and a timeline.

Nothing here decides anything about a call. Whoever operates the service (the command line, a drain,
a supervisor) uses `start`, `refuse_calls`, `end_calls`, `reload` and `stop`.
"""

import asyncio
import re
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from callerside.agent.call.events import CallInput, ConnectRealtime
from callerside.agent.call.machine import CallMachine
from callerside.agent.config.environment import filled
from callerside.agent.config.loader import Secrets
from callerside.agent.config.settings import (
    MAX_PLAYOUT_MS,
    CallSettings,
    RecordingSettings,
    Settings,
    SipSettings,
)
from callerside.agent.observe.call_recording import (
    CallRecordingError,
    RecordingLeg,
    StereoWavWriter,
)
from callerside.agent.observe.mark_sinks import SafeSink, fan_out
from callerside.agent.observe.masking import Masking
from callerside.agent.observe.metrics import Written
from callerside.agent.observe.secrets import SecretFilter
from callerside.agent.prompts.cache import PromptCache, default_cache_dir
from callerside.agent.realtime.client import WebSocketConnection
from callerside.agent.realtime.interface import RealtimeConnection
from callerside.agent.realtime.recorder import RecordedConnection, Room, StreamFile
from callerside.agent.service.driver import CallDriver, Connect
from callerside.agent.service.handles import carried
from callerside.agent.telephony.engine import Profile
from callerside.agent.telephony.engines import choose
from callerside.agent.telephony.interface import CallLeg, CallReceived, LegInput
from callerside.agent.telephony.options import Registration, SipOptions, TlsOptions
from callerside.agent.tools.executor import ThreadPool
from callerside.agent.tools.toolboxes import Toolboxes, reload_toolboxes
from callerside.loop_clock import LoopClock
from callerside.marks import MarkSink
from callerside.timelines import TimelineWriter

_log = structlog.get_logger(__name__)

_PROMPT_THREADS = 16
_TOOL_THREADS = 32
"""A function that hangs keeps one; its call goes on without it after `limits.tool_ms`."""
_END_POLL_S = 0.02
_SERVER_ERROR = 500


class Service:
    """One worker: an endpoint and its calls."""

    def __init__(
        self, settings: Settings, secrets: Secrets, *, sinks: Sequence[MarkSink] = ()
    ) -> None:
        """A service that is not started yet.

        Args:
            settings: everything but the secrets.
            secrets: the API key and the registrar's password.
            sinks: every mark of every call goes to each of these, besides the call's timeline.

        Raises:
            SipError: the SIP engine cannot be used, or cannot do what the settings say.
            ToolError: a function for the model cannot be used; says which and why.
            ConfigError: this process may open too few files for a call.
        """
        self._settings = settings
        self._secrets = secrets
        self._sinks = tuple(sinks)
        self._clean = SecretFilter(secrets.values(settings))
        engine = choose(settings.sip.engine)
        options = sip_options(settings, secrets, engine.profile)
        options = replace(options, max_calls=carried(options.max_calls))
        self.max_calls = options.max_calls
        """How many can be up at once."""
        self._endpoint = engine.answering(
            options,
            self._accept,
            on_refused=lambda status, reason: self.on_refused(status, reason),
        )
        self._drivers: dict[str, CallDriver] = {}
        self._tools = Toolboxes(settings)
        self._prompt_work = ThreadPool("prompts", _PROMPT_THREADS)
        self._tool_work = ThreadPool("tools", _TOOL_THREADS)
        self._clock: LoopClock | None = None
        self.on_calls_changed: Callable[[int], None] = lambda _active: None
        """Called with the number of calls that are up, whenever it changes."""
        self.on_refused: Callable[[int, str], None] = lambda _status, _reason: None
        """Called with the SIP status of each call that is refused before it begins, and why."""
        self.on_lost: Callable[[Written], None] = lambda _what: None
        """Called with what could not be written of a call."""
        self.on_timeline_closed: Callable[[Path], None] = lambda _path: None
        """Called with the timeline of each call, when no mark will be added to it any more."""

    @property
    def active_calls(self) -> int:
        """Calls that are up."""
        return len(self._drivers)

    @property
    def is_reachable(self) -> bool:
        """Whether callers can get here: false while a registrar that we need does not know us."""
        return self._settings.sip.registration is None or bool(self._endpoint.registered)

    async def start(self) -> int:
        """Listen; answers the SIP port.

        Raises:
            SipError: the endpoint cannot be started; says why.
        """
        self._clock = LoopClock(asyncio.get_running_loop())
        return await self._endpoint.start()

    def refuse_calls(self) -> None:
        """Turn new calls away with 503."""
        self._endpoint.refuse_calls(503)

    def end_calls(self, reason: str, *, at_once: bool = False) -> None:
        """End the calls that are up, after their last words unless told otherwise."""
        for driver in list(self._drivers.values()):
            driver.end(reason, at_once=at_once)

    async def reload(self, settings: Settings) -> None:
        """Take new prompts, routes and tools for the calls that come from now on.

        Raises:
            ToolError: a function for the model cannot be used; nothing has changed then.
        """
        self._tools = await asyncio.to_thread(reload_toolboxes, settings)
        self._settings = settings
        self._clean = SecretFilter(self._secrets.values(settings))

    async def stop(self, *, limit_s: float = 3.0) -> None:
        """End what is left within `limit_s`, and stop listening."""
        self.refuse_calls()
        self.end_calls("shutting down", at_once=True)
        polls = int(limit_s / _END_POLL_S)
        while self._drivers and polls:
            await asyncio.sleep(_END_POLL_S)
            polls -= 1
        await self._endpoint.stop()

    def _accept(self, leg: CallLeg) -> None:
        """A call is here; who is called, its first input says."""

        def receive(event: LegInput) -> None:
            if not isinstance(event, CallReceived):
                return  # of a call that could not be set up
            try:
                driver = self._new_call(leg, event)
            except Exception as error:  # ends that call, and not in silence
                _report_failure(event, error)
                leg.hang_up(_SERVER_ERROR)
                return
            driver.start()  # what follows goes to it, and not through here
            driver.feed(event)

        leg.start(receive)

    def _new_call(self, leg: CallLeg, received: CallReceived) -> CallDriver:
        """Set up what a call needs."""
        call = uuid.uuid4().hex[:12]
        settings = self._settings.for_call(received.called)
        name = f"{_safe_name(received.called)}-{call}"
        timeline = _open_timeline(settings.timeline.dir, name, self._lost("timeline"))
        safe = None if timeline is None else SafeSink("timeline", timeline, self._lost("timeline"))
        own = [] if safe is None else [safe]
        masking = Masking(settings.privacy.mask, keys=settings.privacy.mask_keys)
        mark = self._clean.sink(masking.sink(fan_out([*self._sinks, *own])))
        lost = self._lost("recording")
        recording = _open_recording(settings.recordings, name, leg.sample_rate_hz, lost)
        recording_leg = (
            None
            if recording is None
            else RecordingLeg(
                leg,
                recording,
                mark,
                call=call,
                on_lost=lost,
                is_announced=settings.recordings.announced is not None,
            )
        )

        def ended() -> None:
            self._drivers.pop(call, None)
            self.on_calls_changed(len(self._drivers))
            if timeline is not None and safe is not None:
                safe.close(timeline.close)
                self.on_timeline_closed(timeline.path)

        lost = self._lost("realtime")
        connect = _Connector(self._secrets, self._clean, masking, settings, name, lost)

        def begin_recording() -> None:
            connect.may_record = True
            if recording_leg is not None:
                recording_leg.begin()

        driver = self._new_driver(
            settings,
            received,
            recording_leg or leg,
            connect,
            mark,
            call=call,
            on_recording=begin_recording,
            on_end=ended,
        )
        self._drivers[call] = driver
        self.on_calls_changed(len(self._drivers))
        return driver

    def _lost(self, what: Written) -> Callable[[], None]:
        """To be called, once, when that cannot be written of a call."""
        return lambda: self.on_lost(what)

    def _new_driver(
        self,
        settings: CallSettings,
        received: CallReceived,
        leg: CallLeg,
        connect: Connect,
        mark: MarkSink,
        *,
        call: str,
        on_recording: Callable[[], None],
        on_end: Callable[[], None],
    ) -> CallDriver:
        assert self._clock is not None  # noqa: S101 - no call comes before `start`
        tools = self._tools.for_call(settings)
        machine = CallMachine(
            settings,
            called=received.called,
            sample_rate_hz=leg.sample_rate_hz,
            tools=[tool.declaration for tool in tools.values()],
        )
        return CallDriver(
            machine,
            leg,
            connect,
            self._clock,
            _prompt_cache(settings),
            mark,
            call=call,
            tools=tools,
            background=self._prompt_work.run,
            run_tools=self._tool_work.run,
            on_recording=on_recording,
            on_end=on_end,
            on_failure=_report_failure,
        )


class _Connector:
    """Makes one call's connections to the Realtime API, recorded where that was asked for."""

    def __init__(
        self,
        secrets: Secrets,
        clean: SecretFilter,
        masking: Masking,
        settings: CallSettings,
        name: str,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_lost = on_lost
        self._secrets = secrets
        self._clean = lambda event: masking.event(clean.data(event))
        self._realtime = settings.realtime
        self._recordings = settings.recordings
        self._room = Room(settings.recordings.realtime_max_bytes)
        self._name = name
        self._count = 0
        self.may_record = settings.recordings.announced is None
        """Whether the caller knows of it, or need not."""

    def __call__(self, effect: ConnectRealtime) -> RealtimeConnection:
        """A new connection, not started yet."""
        self._count += 1
        connection = WebSocketConnection(
            effect.url,
            model=effect.model,
            api_key=None if self._realtime.has_a_key else self._secrets.api_key,
            headers=filled(self._realtime.headers, self._secrets.environment),
            query=filled(self._realtime.query, self._secrets.environment),
            dialect=effect.dialect,
            timeout_ms=effect.timeout_ms,
        )
        if self._recordings.dir is None or not (self._recordings.realtime and self._room.is_left):
            return connection
        suffix = "" if self._count == 1 else f"-{self._count}"
        file = StreamFile(
            self._recordings.dir / f"{self._name}{suffix}.realtime",
            time.monotonic_ns,
            model=effect.model,
            dialect=effect.dialect,
            room=self._room,
            clean=self._clean,
            on_lost=self._on_lost,
        )
        return RecordedConnection(connection, file, lambda: self.may_record)


def _report_failure(event: CallInput, error: Exception) -> None:
    _log.error("call_failed", input=type(event).__name__, exc_info=error)


def _safe_name(called: str) -> str:
    """The called number as part of a file's name, whatever the caller put into it."""
    return re.sub(r"[^A-Za-z0-9_.+-]", "_", called)[:100].lstrip(".") or "unknown"


def _open_timeline(
    directory: Path | None, name: str, on_lost: Callable[[], None]
) -> TimelineWriter | None:
    """A call goes on without its timeline if that cannot be written."""
    if directory is None:
        return None
    try:
        return TimelineWriter(directory / f"{name}.jsonl")
    except OSError as error:
        _log.error("timeline_failed", directory=str(directory), error=str(error))
        on_lost()
        return None


def _open_recording(
    settings: RecordingSettings, name: str, rate_hz: int, on_lost: Callable[[], None]
) -> StereoWavWriter | None:
    """A call goes on without its recording if that cannot be written."""
    if settings.dir is None or not settings.audio:
        return None
    try:
        return StereoWavWriter(settings.dir / f"{name}.wav", rate_hz)
    except CallRecordingError as error:
        _log.error("recording_failed", error=str(error))
        on_lost()
        return None


def _prompt_cache(settings: CallSettings) -> PromptCache:
    return PromptCache(settings.greeting.cache_dir or default_cache_dir())


def _places(sip: SipSettings, profile: Profile) -> int:
    """As many as the engine holds, if there are ports for them."""
    ports = sip.rtp_port_count - sip.rtp_port % 2 if sip.rtp_port else 2 * profile.calls_a_process
    return max(1, min(profile.calls_a_process, ports // 2))


def sip_options(settings: Settings, secrets: Secrets, profile: Profile) -> SipOptions:
    """What the settings ask of a SIP engine."""
    sip = settings.sip
    registration = None
    if sip.registration is not None:
        registration = Registration(
            **sip.registration.model_dump(), password=secrets.sip_password or ""
        )
    return SipOptions(
        listen_host=sip.host,
        second_host=sip.second_host,
        port=sip.port,
        transports=tuple(sip.transports),
        tls=None if sip.tls is None else TlsOptions(**sip.tls.model_dump()),
        rtp_port=sip.rtp_port,
        rtp_port_count=sip.rtp_port_count,
        public_host=sip.public_host,
        rtp_public_host=sip.rtp_public_host,
        codecs=tuple(sip.codecs),
        sample_rate_hz=None if sip.sample_rate_hz == "auto" else sip.sample_rate_hz,
        max_calls=sip.max_calls or _places(sip, profile),
        # The calls' own bounds are the machine's business, and may change while we run.
        max_playout_ms=MAX_PLAYOUT_MS,
        conceal_loss=sip.conceal_loss,
        rtp_timeout_ms=sip.rtp_timeout_ms,
        retry_after_s=sip.retry_after_s,
        allowed_peers=tuple(sip.allowed_peers),
        srtp=sip.srtp,
        srtp_peers=tuple(sip.srtp_peers.items()),
        rtp_sources=sip.rtp_sources,
        strangers=sip.strangers,
        requests_per_source_per_s=sip.requests_per_source_per_s,
        requests_per_s=sip.requests_per_s,
        over_limit=sip.over_limit,
        registration=registration,
        outbound_proxy=sip.outbound_proxy or "",
    )
