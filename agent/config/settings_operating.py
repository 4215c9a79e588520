"""Settings of how the agent is run and watched, as opposed to what it does in a call."""

from pydantic import Field

from callerside.agent.config.settings_base import Milliseconds, Model, Port, UserPath
from callerside.agent.observe.logs import LogFormat, LogLevel

MAX_WORKERS = 64


class HttpSettings(Model):
    """The pages for monitoring: `/healthz`, `/readyz`, `/metrics`."""

    host: str = "127.0.0.1"
    """Address of the pages."""
    port: Port | None = None
    """None: there are no pages; 0: any free port, told in the log."""


class DrainSettings(Model):
    """What happens to calls when the process is asked to stop."""

    limit_ms: Milliseconds = 120_000
    """How long they may go on; then they are ended."""


class RecordSettings(Model):
    """The call records: one JSON line for each call that has ended."""

    file: UserPath | None = None
    """None: no records are kept."""


class RecordingSettings(Model):
    """Recordings of calls. Ask your callers' consent where the law wants it."""

    dir: UserPath | None = None
    """None: nothing is recorded."""
    audio: bool = True
    """`{called}-{call}.wav`: left the caller, right the agent as it was played."""
    realtime: bool = True
    """`{called}-{call}.realtime`: the events of the Realtime session; `-2` and so on after a
    reconnection."""


class LogSettings(Model):
    """The log on standard error."""

    format: LogFormat = "auto"
    """`auto`: for people on a terminal, else one JSON object a line."""
    level: LogLevel = "info"
    """The least that is shown."""
    words: bool = False
    """Show what callers say and type."""


class OperatingSettings(Model):
    """All of them."""

    workers: int = Field(1, ge=1, le=MAX_WORKERS)
    """Processes; each holds `sip.max_calls` calls on ports of its own."""
    http: HttpSettings = HttpSettings()
    drain: DrainSettings = DrainSettings()
    records: RecordSettings = RecordSettings()
    logs: LogSettings = LogSettings()
