"""One process that takes calls: its service, what watches it, and how it stops.

SIGTERM and SIGINT drain (`service.drain` says what that means), SIGHUP reloads the settings of
calls.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from pathlib import Path
from typing import assert_never

import structlog

from callerside.addresses import joined
from callerside.agent.config.loader import ConfigError, Secrets
from callerside.agent.config.settings import Settings
from callerside.agent.observe.call_records import CallRecords, RecordFile, record_writer
from callerside.agent.observe.logs import MarkLog
from callerside.agent.observe.metrics import AgentMetrics
from callerside.agent.observe.traces import call_traces
from callerside.agent.service.crash_records import InFlightCalls
from callerside.agent.service.drain import (
    CallsChanged,
    Drain,
    DrainAsked,
    DrainEffect,
    DrainInput,
    DrainTimerFired,
    EndCalls,
    RefuseCalls,
    SetDrainTimer,
    StopProcess,
)
from callerside.agent.service.held_folders import holding
from callerside.agent.service.http import JSON, PROMETHEUS, HttpServer, Page, Pages
from callerside.agent.service.kept_settings import NEEDS_RESTART
from callerside.agent.service.service import Service
from callerside.agent.service.signals import end_of_input, keep_what_is_there, signals
from callerside.agent.tools.interface import ToolError
from callerside.clock import Timer
from callerside.loop_clock import LoopClock
from callerside.marks import MarkSink

EXIT_OK, EXIT_FAILED = 0, 1

_log = structlog.get_logger(__name__)


async def run_worker(
    settings: Settings,
    secrets: Secrets,
    load: Callable[[], Settings],
    *,
    on_ready: Callable[[str], None],
    on_timeline_closed: Callable[[Path], None] | None = None,
    socket: Path | None = None,
) -> int:
    """Take calls until ordered to stop; returns the exit code.

    Args:
        settings: of this worker, its ports already its own.
        secrets: the API key and the registrar's password.
        load: reads the settings again, for SIGHUP; raises ConfigError.
        on_ready: called with the address that takes calls, or both of them, with a space between.
        on_timeline_closed: called with the timeline of each call that has ended.
        socket: serve the pages on this Unix socket, for a supervisor, and stop when it is gone
            (standard input ends). Without it, the pages are where the settings say.

    Raises:
        SipError: the SIP endpoint cannot be started.
        ToolError: a function for the model cannot be used.
        OSError: the pages cannot be served.
    """
    worker = Worker(settings, secrets, load)
    if on_timeline_closed is not None:
        worker.service.on_timeline_closed = on_timeline_closed
    async with contextlib.AsyncExitStack() as stack:
        if socket is not None:
            stack.enter_context(holding(socket.parent))
        stack.callback(worker.close)
        await stack.enter_async_context(serving(worker.pages(), settings, socket))
        port = await worker.service.start()
        stack.push_async_callback(worker.service.stop)
        stack.enter_context(signals(stop=worker.drain, reload=worker.reload))
        if socket is not None:
            stack.enter_context(end_of_input(worker.drain))
        keep_what_is_there()
        hosts = filter(None, (settings.sip.host, settings.sip.second_host))
        on_ready(" ".join(f"sip:{joined(host, port)}" for host in hosts))
        return await worker.until_stopped()


@contextlib.asynccontextmanager
async def serving(
    pages: Pages, settings: Settings, socket: Path | None = None
) -> AsyncIterator[None]:
    """Serve pages on a Unix socket, or where the settings say, or (no port) nowhere.

    Raises:
        OSError: they cannot be served there; says where.
    """
    server = HttpServer(pages)
    if socket is not None:
        await server.start_unix(socket)
    elif settings.http.port is not None:
        try:
            port = await server.start(settings.http.host, settings.http.port)
        except OSError as error:
            where = f"{settings.http.host}:{settings.http.port}"
            raise OSError(f"http: the pages cannot be served on {where}: {error}") from None
        _log.info("pages_served", url=f"http://{settings.http.host}:{port}/", pages=list(pages))
    try:
        yield
    finally:
        await server.stop()


class Worker:
    """A service with its metrics, records, pages and drain."""

    def __init__(self, settings: Settings, secrets: Secrets, load: Callable[[], Settings]) -> None:
        self.metrics = AgentMetrics()
        self._in_flight: InFlightCalls | None = None
        self._traces = call_traces()
        self.service = Service(settings, secrets, sinks=self._sinks(settings))
        self.service.on_calls_changed = lambda active: self._send_answer(CallsChanged(active))
        self.service.on_refused = self.metrics.call_refused
        self.service.on_lost = self.metrics.write_lost
        self.metrics.set_lines(self.service.max_calls)
        self._settings = settings
        self._load = load
        self._drain = Drain(settings.drain.limit_ms)
        self._clock = LoopClock(asyncio.get_running_loop())
        self._timer: Timer | None = None
        self._reload: asyncio.Task[None] | None = None
        self._stopped: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def until_stopped(self) -> int:
        """Wait for the drain's end; returns the exit code."""
        return await self._stopped

    def close(self) -> None:
        """The service has stopped: nothing is owed any more."""
        if self._in_flight is not None:
            self._in_flight.close()
        if self._traces is not None:
            self._traces.close()

    def drain(self) -> None:
        """Begin to stop; asked again, be quick about it."""
        _log.info("stop_asked", calls=self.service.active_calls)
        self._send_answer(DrainAsked())

    def reload(self) -> None:
        """Take what calls need from the settings anew; if that fails, the old ones hold.

        It takes as long as functions need to be found, and calls go on meanwhile.
        """
        self._reload = asyncio.create_task(self._reload_after(self._reload))

    async def _reload_after(self, earlier: "asyncio.Task[None] | None") -> None:
        if earlier is not None:
            await earlier
        try:
            fresh = self._load()
            await self.service.reload(fresh)
        except (ConfigError, ToolError) as error:
            _log.error("reload_failed", error=str(error))
            return
        except Exception as error:  # a fault, and not of the settings: the next reload may do
            _log.exception("reload_failed", error=str(error))
            return
        for section in NEEDS_RESTART:
            if getattr(fresh, section) != getattr(self._settings, section):
                _log.warning("reload_needs_restart", section=section)
        _log.info("reloaded")

    def pages(self) -> Pages:
        """`/healthz`: the loop turns; `/readyz`: calls are taken; `/metrics`."""

        async def healthz() -> Page:
            return self._status(HTTPStatus.OK)

        async def readyz() -> Page:
            ready = self._drain.state == "serving" and self.service.is_reachable
            return self._status(HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE)

        async def metrics() -> Page:
            return Page(content_type=PROMETHEUS, body=self.metrics.page())

        return {"/healthz": healthz, "/readyz": readyz, "/metrics": metrics}

    def _status(self, status: HTTPStatus) -> Page:
        data = {
            "state": self._drain.state,
            "calls": self.service.active_calls,
            "reachable": self.service.is_reachable,
        }
        return Page(status=status, content_type=JSON, body=json.dumps(data).encode() + b"\n")

    def _sinks(self, settings: Settings) -> list[MarkSink]:
        traces = self._traces
        sinks: list[MarkSink] = [self.metrics, *([] if traces is None else [traces])]
        sinks.append(MarkLog(trace_of=None if traces is None else traces.trace_of))
        file = settings.records.file
        if file is not None:
            self._in_flight = InFlightCalls(file)
            write = record_writer(RecordFile(file), lambda: self.metrics.write_lost("record"))
            sinks.append(CallRecords(write, note=self._in_flight))
        return sinks

    def _send_answer(self, happened: DrainInput) -> None:
        for effect in self._drain.handle(happened, self._clock.now_ns()):
            self._do(effect)

    def _do(self, effect: DrainEffect) -> None:
        match effect:
            case RefuseCalls():
                self.metrics.set_draining(draining=True)
                self.service.refuse_calls()
            case EndCalls():
                self.service.end_calls("shutting down", at_once=True)
            case SetDrainTimer(at_ns):
                if self._timer is not None:
                    self._timer.cancel()
                self._timer = self._clock.call_at(
                    at_ns, lambda: self._send_answer(DrainTimerFired())
                )
            case StopProcess(left_behind):
                if left_behind:
                    _log.error("calls_left_behind", calls=left_behind)
                self._stopped.set_result(EXIT_FAILED if left_behind else EXIT_OK)
            case unknown:
                assert_never(unknown)
