"""`callerside-agent serve`: this process takes calls itself, or supervises workers that do."""

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path

import structlog

from callerside.agent.config.loader import ConfigError, Secrets
from callerside.agent.config.settings import Settings
from callerside.agent.observe.call_recording import finish_recording
from callerside.agent.observe.call_records import RecordFile, record_writer
from callerside.agent.observe.retention import expire, unfinished_recordings
from callerside.agent.prompts.prefetch import Warming
from callerside.agent.service.crash_records import lost_calls
from callerside.agent.service.held_folders import held_folder, remove_abandoned
from callerside.agent.service.kept_settings import KeptSettings
from callerside.agent.service.pages import supervisor_pages
from callerside.agent.service.service import sip_options
from callerside.agent.service.signals import signals
from callerside.agent.service.supervisor import WorkerPool
from callerside.agent.service.worker import run_worker, serving
from callerside.agent.telephony.engine import PROFILES, EngineName, check_options
from callerside.agent.telephony.engines import resolve
from callerside.agent.telephony.options import TlsOptions
from callerside.agent.telephony.tls import check_files
from callerside.child_processes import command
from callerside.files import make_private
from callerside.ports import HIGHEST_PORT

OnReady = Callable[[Sequence[str]], None]
"""Called with the addresses that take calls, once all do."""

OnTimelineClosed = Callable[[Path], None]
"""Called with the timeline of each call that has ended."""

_EXPIRE_S = 3_600
_CLOCK_SET_S = 600
"""By more than that within an hour no clock goes wrong: it has been set."""
_log = structlog.get_logger(__name__)


def check_ports(settings: Settings) -> None:
    """See that every worker's ports exist.

    Raises:
        ConfigError: they do not.
    """
    sip, last = settings.sip, settings.workers - 1
    if sip.port + last > HIGHEST_PORT:
        raise ConfigError(
            f"sip.port: {settings.workers} workers from {sip.port} on need ports up to "
            f"{sip.port + last}, and {HIGHEST_PORT} is the last"
        )
    tls = sip.tls if sip.tls is not None and "tls" in sip.transports else None
    if tls is not None and tls.port:
        if tls.port + last > HIGHEST_PORT:
            raise ConfigError(
                f"sip.tls.port: {settings.workers} workers from {tls.port} on need ports up to "
                f"{tls.port + last}, and {HIGHEST_PORT} is the last"
            )
        if abs(tls.port - sip.port) <= last and sip.port and sip.transports != ["tls"]:
            raise ConfigError(
                f"sip.tls.port: {settings.workers} workers take the ports from {sip.port} on and "
                f"those from {tls.port} on: these must not be the same"
            )
    last_rtp = sip.rtp_port + settings.workers * sip.rtp_port_count - 1
    if sip.rtp_port and last_rtp > HIGHEST_PORT:
        raise ConfigError(
            f"sip.rtp_port: {settings.workers} workers with {sip.rtp_port_count} ports each from "
            f"{sip.rtp_port} on need ports up to {last_rtp}, and {HIGHEST_PORT} is the last"
        )


def check_certificates(settings: Settings) -> None:
    """See that those of `sip.tls` can be used.

    Raises:
        SipError: one cannot be.
    """
    if settings.sip.tls is not None:
        check_files(TlsOptions(**settings.sip.tls.model_dump()))


def check_engine(settings: Settings, secrets: Secrets) -> EngineName:
    """See that the SIP engine can do what the settings say; returns which one it is.

    Raises:
        SipError: it cannot, or there is none.
    """
    name = resolve(settings.sip.engine)
    check_options(name, sip_options(settings, secrets, PROFILES[name]))
    return name


def check_places(settings: Settings) -> None:
    """See that there is room for what calls leave: they go on without it, and only the log says so.

    Raises:
        ConfigError: it cannot be written; directories that are missing are made.
    """
    routes = [(f"routes.{n}.", route) for n, route in enumerate(settings.routes)]
    for name, one in [("", settings), *routes]:
        _check_directory(f"{name}timeline.dir", one.timeline.dir)
        _check_directory(f"{name}recordings.dir", one.recordings.dir)
    file = settings.records.file
    if file is not None:
        _check_directory("records.file", file.parent)
        try:  # and not only asked: root has every right, and still cannot write to some
            os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigError(
                f"records.file: {file} is no file that can be written: {reason}"
            ) from None


def _check_directory(name: str, directory: Path | None) -> None:
    if directory is None:
        return
    try:
        make_private(directory)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"{name}: {directory} cannot be made: {reason}") from None
    try:
        tempfile.TemporaryFile(dir=directory).close()  # of which nothing is to be seen
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"{name}: {directory} cannot be written: {reason}") from None


def worker_settings(settings: Settings, index: int) -> Settings:
    """The settings of one of several workers: the file's, with the ports shifted by its number.

    A port that is 0 stays 0: every worker takes any free one.
    """
    sip = settings.sip
    rtp_port = sip.rtp_port and sip.rtp_port + index * sip.rtp_port_count
    tls = sip.tls and sip.tls.model_copy(update={"port": sip.tls.port and sip.tls.port + index})
    port = sip.port and sip.port + index
    own = sip.model_copy(update={"port": port, "rtp_port": rtp_port, "tls": tls})
    return settings.model_copy(update={"sip": own})


def worker_command(
    kept: KeptSettings, index: int, socket: Path, *, announce: bool = False
) -> list[str]:
    """The command line of a worker of this agent; `announce`: it says which timelines it closed."""
    return [
        *command("callerside.agent.cli", "serve", "--config", str(kept.current)),
        *("--at-start", str(kept.at_start)),
        *("--worker", str(index), "--socket", str(socket)),
        *(["--announce"] if announce else []),
    ]


async def run_alone(
    settings: Settings,
    secrets: Secrets,
    load: Callable[[], Settings],
    on_ready: OnReady,
    on_timeline_closed: OnTimelineClosed | None = None,
) -> int:
    """Take calls in this process until ordered to stop; returns the exit code.

    Raises:
        SipError, ToolError, OSError: see `run_worker`.
    """
    remove_abandoned()
    record_lost_calls(settings)
    warming = Warming(secrets)

    def ready(address: str) -> None:
        on_ready([address])
        warming.begin(settings)

    def load_and_warm() -> Settings:
        fresh = load()
        warming.begin(fresh)
        return fresh

    try:
        async with expiring(settings):
            return await run_worker(
                settings,
                secrets,
                load_and_warm,
                on_ready=ready,
                on_timeline_closed=on_timeline_closed,
            )
    finally:
        await warming.stop()


async def run_supervisor(
    settings: Settings,
    secrets: Secrets,
    config: Path,
    load: Callable[[], Settings],
    on_ready: OnReady,
    on_timeline_closed: OnTimelineClosed | None = None,
) -> int:
    """Keep the workers alive until ordered to stop; returns the exit code.

    Raises:
        OSError: the pages cannot be served.
    """
    remove_abandoned()
    record_lost_calls(settings)
    warming = Warming(secrets)

    def ready(addresses: Sequence[str]) -> None:
        on_ready(addresses)
        warming.begin(settings)

    def reload() -> None:
        try:
            fresh = kept.renew(load)
        except ConfigError as error:
            _log.error("reload_failed", error=str(error))
            return
        pool.reload()
        warming.begin(fresh)

    with held_folder() as folder:
        kept = KeptSettings(config, folder)
        pool = WorkerPool(
            settings.workers,
            partial(worker_command, kept, announce=on_timeline_closed is not None),
            drain_limit_ms=settings.drain.limit_ms,
            on_ready=ready,
            on_exit=lambda pid: record_lost_calls(settings, pid),
            on_timeline_closed=on_timeline_closed,
        )
        try:
            async with serving(supervisor_pages(pool), settings), expiring(settings):
                with signals(stop=pool.stop, reload=reload):
                    return await pool.run()
        finally:
            await warming.stop()


class DayClock:
    """Whether the clock of the day has been set: one that is wrong for a while deletes nothing."""

    def __init__(
        self,
        wall_s: Callable[[], float] = time.time,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall_s, self._monotonic_s = wall_s, monotonic_s
        self._before_s = wall_s() - monotonic_s()

    def is_steady(self) -> bool:
        """Whether it has gone as time does since this was asked last."""
        before_s, self._before_s = self._before_s, self._wall_s() - self._monotonic_s()
        return abs(self._before_s - before_s) <= _CLOCK_SET_S


@contextlib.asynccontextmanager
async def expiring(settings: Settings) -> AsyncIterator[None]:
    """Delete what is too old, now and every hour."""

    async def expire_for_ever() -> None:
        clock = DayClock()
        while True:
            if not clock.is_steady():
                _log.warning("clock_set", expires_in_s=_EXPIRE_S)
            elif count := await asyncio.to_thread(expire, settings):
                _log.info("expired", deleted=count, days=settings.retention.days)
            await asyncio.sleep(_EXPIRE_S)

    task = asyncio.create_task(expire_for_ever()) if settings.retention.days else None
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
            await asyncio.wait([task])


def record_lost_calls(settings: Settings, pid: int | None = None) -> None:
    """Write the records of calls whose process was killed: of `pid`, or of any that is gone.

    And finish their recordings, as far as they go.
    """
    for path in unfinished_recordings(settings):
        recorded_ms = finish_recording(path)
        if recorded_ms is not None:
            _log.warning("recording_finished", file=str(path), recorded_ms=recorded_ms)
    file = settings.records.file
    if file is not None:
        write = record_writer(RecordFile(file))
        for record in lost_calls(file, pid):
            _log.warning("call_lost", call=record["call"], sip_call_id=record["sip_call_id"])
            write(record)
