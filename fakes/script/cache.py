"""A folder of scripts, each ready to be performed before its session is asked for.

Reading a script and its sounds takes tens of milliseconds, which a client would take for the
server's handshake. So they are read when the server starts, and again when a file has changed.
"""

import logging
from pathlib import Path

from callerside.fakes.script.loader import ScriptError, load_prepared
from callerside.fakes.script.prepared import PreparedScript

log = logging.getLogger("callerside.fakes.script.cache")


class ScriptCache:
    """The scripts of a folder by name: `NAME.yaml`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ready: dict[Path, tuple[int, PreparedScript]] = {}

    def fill(self) -> None:
        """Make every script ready; one that cannot be used is logged, and refused later."""
        for path in sorted({path.resolve() for path in self._folder.glob("*.yaml")}):
            try:
                self._prepare(path)
            except ScriptError as error:
                log.warning("%s", error)

    def ready(self, name: str) -> PreparedScript | None:
        """The script of that name, if it is ready and its file has not changed since."""
        path = self._path(name)
        modified_ns, prepared = self._ready.get(path, (None, None))
        return prepared if path.is_file() and _modified_ns(path) == modified_ns else None

    def find(self, name: str) -> PreparedScript | None:
        """The script of that name, made ready if need be; None if there is no such file.

        Raises:
            ScriptError: it cannot be performed.
        """
        path = self._path(name)
        return self._prepare(path) if path.is_file() else None

    def _prepare(self, path: Path) -> PreparedScript:
        modified_ns = _modified_ns(path)
        # A list: other threads make scripts ready meanwhile.
        prepared = load_prepared(path, [known for _, known in list(self._ready.values())])
        self._ready[path] = modified_ns, prepared
        return prepared

    def _path(self, name: str) -> Path:
        # Of a script with several names, the others are links to the one.
        return (self._folder / f"{name}.yaml").resolve()


def _modified_ns(path: Path) -> int:
    return path.stat().st_mtime_ns
