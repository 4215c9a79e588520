"""Where a session's evidence goes: its timeline, and the sound that was heard and sent.

Sound is written while the session runs, so that a long session, or one that is flooded, takes no
memory for it. A file takes its place when the session has ended: what is there is whole.
"""

import contextlib
import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import soundfile

from callerside.atomic_files import PRIVATE
from callerside.timelines import TimelineWriter

_WRITE_AT_BYTES = 2**16
_LONGEST_BYTES = 2**30  # more than six hours: no call, but a flood

log = logging.getLogger("callerside.fakes.server.server")


@dataclass(frozen=True, slots=True)
class SessionFiles:
    """The folder, and the name that all files of a session begin with; no folder, no files."""

    folder: Path | None
    name: str

    def unused(self) -> "SessionFiles":
        """These, or the first of a name with a number that nobody has written to yet."""
        files, number = self, 1
        while files.timeline_path is not None and files.timeline_path.is_file():
            number += 1
            files = SessionFiles(self.folder, f"{self.name}-{number}")
        return files

    @property
    def timeline_path(self) -> Path | None:
        """Where its marks go."""
        return self.folder and self.folder / f"{self.name}.realtime.jsonl"

    def timeline(self) -> TimelineWriter | None:
        """A writer for its marks."""
        path = self.timeline_path
        return None if path is None else TimelineWriter(path)

    def sound(self, what: str, rate_hz: int) -> "SoundFile | None":
        """`NAME.WHAT.wav`, to be written."""
        if self.folder is None:
            return None
        return SoundFile(self.folder, f"{self.name}.{what}", rate_hz)


class SoundFile:
    """A WAV file that grows; a disk that fails ends it, with a line in the log."""

    def __init__(self, folder: Path, stem: str, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self._folder = folder
        self._stem = stem
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._left_bytes = _LONGEST_BYTES
        self._partial: Path | None = None
        self._file: soundfile.SoundFile | None = None
        try:
            descriptor, name = tempfile.mkstemp(dir=folder, prefix=f".{stem}.", suffix=".part")
            os.close(descriptor)
            self._partial = Path(name)
            self._file = soundfile.SoundFile(
                name, "w", samplerate=rate_hz, channels=1, subtype="PCM_16", format="WAV"
            )
        except (OSError, soundfile.LibsndfileError) as error:
            self._give_up(str(error))

    def add(self, pcm: bytes) -> None:
        """Append PCM16."""
        if self._file is None:
            return
        self._waiting.append(pcm)
        self._waiting_bytes += len(pcm)
        if self._waiting_bytes >= _WRITE_AT_BYTES:
            self._write()

    def discard(self) -> None:
        """Leave nothing behind."""
        file, self._file = self._file, None
        if file is not None:
            file.close()
        if self._partial is not None:
            self._partial.unlink(missing_ok=True)

    def close(self) -> None:
        """Finish the file. What a second session of the same name leaves gets a number."""
        self._write()
        if self._file is None or self._partial is None:
            return
        try:
            self._take_place(self._file, self._partial)
        except (OSError, soundfile.LibsndfileError) as error:
            self._give_up(str(error))

    def _take_place(self, file: soundfile.SoundFile, partial: Path) -> None:
        file.close()
        path = self._folder / f"{self._stem}.wav"
        number = 2
        while path.exists():
            path = self._folder / f"{self._stem}-{number}.wav"
            number += 1
        partial.chmod(PRIVATE)
        partial.replace(path)

    def _write(self) -> None:
        if self._file is None:
            return
        pcm, self._waiting, self._waiting_bytes = b"".join(self._waiting), [], 0
        self._left_bytes -= len(pcm)
        if self._left_bytes < 0:
            self._give_up("it is too long")
            return
        try:
            self._file.buffer_write(pcm, dtype="int16")
        except (OSError, soundfile.LibsndfileError) as error:
            self._give_up(str(error))

    def _give_up(self, why: str) -> None:
        log.warning("%s.wav is not kept: %s", self._folder / self._stem, why)
        with contextlib.suppress(OSError, soundfile.LibsndfileError):
            self.discard()
