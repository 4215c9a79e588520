"""The settings that workers start with: those that were found right, whatever becomes of the file.

A worker that dies is started anew at any time: while somebody writes the file, or after a reload
that was refused. It gets what the others have. What needs a restart of all of them (ports, for
one, which a proxy has a list of) it gets as it was at the start.
"""

from collections.abc import Callable
from pathlib import Path

from callerside.agent.config.loader import ConfigError
from callerside.agent.config.settings import Settings
from callerside.atomic_files import PRIVATE, write_atomically

NEEDS_RESTART = ("workers", "sip", "http", "drain", "records", "retention", "logs")
"""Sections that a running process does not take anew."""


class KeptSettings:
    """Copies of a file of settings, in a folder that lives as long as the supervisor."""

    def __init__(self, config: Path, folder: Path) -> None:
        """Copy what is there now, which was read without complaint.

        Raises:
            OSError: it cannot be copied.
        """
        self._config = config
        self.at_start = folder / "at-start.yaml"
        self.current = folder / "current.yaml"
        for copy in (self.at_start, self.current):
            write_atomically(copy, config.read_bytes(), PRIVATE)

    def renew(self, load: Callable[[], Settings]) -> Settings:
        """Read the file again, and take it if it is right; returns what it says.

        Raises:
            ConfigError: it is not, or it is just being written: all is as it was.
        """
        try:
            before = self._config.read_bytes()
            settings = load()
            after = self._config.read_bytes()
            if before != after:
                raise ConfigError(f"{self._config}: is being written: reload when it is done")
            write_atomically(self.current, after, PRIVATE)
        except OSError as error:
            raise ConfigError(f"{self._config}: cannot be read: {error.strerror}") from None
        return settings


def with_start_of(settings: Settings, at_start: Settings) -> Settings:
    """Settings with what needs a restart as it was at the start."""
    return settings.model_copy(
        update={section: getattr(at_start, section) for section in NEEDS_RESTART}
    )
