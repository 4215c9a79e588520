"""`earshot-agent serve`: this process takes calls itself, or supervises workers that do."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from agent.config import ConfigError
from agent.process import signals
from agent.settings import Settings
from agent.worker import serving
from agent.workers import WorkerPool
from agent.workers_pages import supervisor_pages

MAX_PORT = 65535


def check_ports(settings: Settings) -> None:
    """See that every worker's ports exist.

    Raises:
        ConfigError: they do not.
    """
    sip, last = settings.sip, settings.workers - 1
    if sip.port + last > MAX_PORT:
        raise ConfigError(
            f"sip.port: {settings.workers} workers from {sip.port} on need ports up to "
            f"{sip.port + last}, and {MAX_PORT} is the last"
        )
    last_rtp = sip.rtp_port + settings.workers * sip.rtp_port_count - 1
    if sip.rtp_port and last_rtp > MAX_PORT:
        raise ConfigError(
            f"sip.rtp_port: {settings.workers} workers with {sip.rtp_port_count} ports each from "
            f"{sip.rtp_port} on need ports up to {last_rtp}, and {MAX_PORT} is the last"
        )


def worker_settings(settings: Settings, index: int) -> Settings:
    """The settings of one of several workers: the file's, with the ports shifted by its number.

    A port that is 0 stays 0: every worker takes any free one.
    """
    sip = settings.sip
    rtp_port = sip.rtp_port and sip.rtp_port + index * sip.rtp_port_count
    own = sip.model_copy(update={"port": sip.port and sip.port + index, "rtp_port": rtp_port})
    return settings.model_copy(update={"sip": own})


def worker_command(config: Path, index: int, socket: Path) -> list[str]:
    """The command line of a worker of this agent."""
    return [
        *(sys.executable, "-m", "agent.cli", "serve", "--config", str(config)),
        *("--worker", str(index), "--socket", str(socket)),
    ]


async def run_supervisor(
    settings: Settings, config: Path, on_ready: Callable[[Sequence[str]], None]
) -> int:
    """Keep the workers alive until told to stop; returns the exit code.

    Raises:
        OSError: the pages cannot be served.
    """
    pool = WorkerPool(
        settings.workers,
        lambda index, socket: worker_command(config, index, socket),
        drain_limit_ms=settings.drain.limit_ms,
        on_ready=on_ready,
    )
    async with serving(supervisor_pages(pool), settings):
        with signals(stop=pool.stop, reload=pool.reload):
            return await pool.run()
