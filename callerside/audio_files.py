"""Sound in files: WAV, FLAC, and whatever else libsndfile reads."""

import contextlib
import io
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from callerside.atomic_files import write_atomically
from callerside.audio import resample, to_bytes
from callerside.files import read_bytes

MOST_S = 3600
"""The longest call."""
MOST_BYTES = 2**28
"""Of a file: the longest call at 24 kHz has 173 million."""
MOST_SAMPLES = MOST_BYTES // 2
"""Of all its channels, as 16 bits."""

NO_FILE = "there is no such file"


class AudioFileError(ValueError):
    """A sound file that cannot be used: says which, and why."""


def read_wav(path: Path, rate_hz: int) -> bytes:
    """A sound file of any rate and number of channels as mono PCM at `rate_hz`.

    What a file is its header says, and not its name: a name that stands for headerless sound would
    have any bytes read as such.

    Raises:
        AudioFileError: there is no such file, it is no sound file, it is empty, or some of its
            samples are no numbers.
    """
    data, file_hz, _ = _read(path)
    # Wide, for a sample may be as large as its format can say: it is clipped, as any beyond 1.
    return resample(to_bytes(data.mean(axis=1, dtype=np.float64) * 32768), file_hz, rate_hz)


def most_of_full_scale(path: Path, near: float) -> tuple[float, float]:
    """The share of a file's samples that are as large as `near`, and the largest; 1: full scale.

    Raises:
        AudioFileError: as `read_wav`.
    """
    sizes = np.abs(_read(path).data).max(axis=1)
    return float(np.mean(sizes >= near)), float(sizes.max())


def cut_short(path: Path) -> str:
    """How a file says that there was more in it than there is; empty: it does not.

    Raises:
        AudioFileError: as `read_wav`.
    """
    return _read(path).missing


def missing_of(file: soundfile.SoundFile, count: int, most_s: int = MOST_S) -> str:
    """The same of one that was read, so many samples a channel.

    Args:
        file: still open.
        count: of its samples.
        most_s: a header that speaks of more was written before the sound was there.
    """
    declared = float(file.frames if file.frames <= most_s * file.samplerate else count)
    chunk = _SHORT_CHUNK.search(file.extra_info)
    if chunk is not None and int(chunk[1]) < _NO_LENGTH:
        declared = count * int(chunk[1]) / int(chunk[2])
    there_s = count / file.samplerate
    if declared / file.samplerate - there_s >= _CUT_SHORT_S:
        return f"its header speaks of {declared / file.samplerate:.1f} s, {there_s:.1f} are there"
    return f"it stops unfinished after {there_s:.1f} s" if _OPEN_OGG in file.extra_info else ""


class _Sound(NamedTuple):
    data: NDArray[np.float32]
    """Shape (n, channels)."""
    rate_hz: int
    missing: str
    """See `cut_short`."""


def _read(path: Path) -> _Sound:
    try:
        sound = io.BytesIO(read_bytes(path, at_most=MOST_BYTES))
    except FileNotFoundError:
        raise AudioFileError(f"{path}: {NO_FILE}") from None
    except OSError as error:
        raise AudioFileError(f"{path}: cannot be read: {error.strerror}") from None
    if not sound.getbuffer().nbytes:
        raise AudioFileError(f"{path}: is empty: it has no bytes")
    try:
        with silent_mpg123(sound.getvalue()[:MAGIC_BYTES]), soundfile.SoundFile(sound) as file:
            file_hz = file.samplerate
            _see_that_it_ends(path, file)
            data = file.read(_most_frames(file), dtype="float32", always_2d=True)
            missing = missing_of(file, len(data))
    except soundfile.LibsndfileError as error:
        why, hint = _reason(error), ""
        if path.suffix.lower() in _HEADERLESS_SUFFIXES:
            hint = _HEADERLESS.format(path)
        elif why == _UNKNOWN:
            hint = _EXPECTED.format(path)
        raise AudioFileError(f"{path}: cannot be read as sound: {why}{hint}") from None
    if not len(data):
        raise AudioFileError(f"{path}: holds no sound")
    finite = np.isfinite(data).all(axis=1)
    if not finite.all():
        first = int(np.argmin(finite))
        raise AudioFileError(
            f"{path}: {np.count_nonzero(~finite)} of {len(data)} samples are no finite numbers, "
            f"the first at {first / file_hz:.3f} s"
        )
    return _Sound(data, file_hz, missing)


@contextlib.contextmanager
def silent_mpg123(begins: bytes) -> Iterator[None]:
    """Keep what libsndfile's decoder of MP3 writes to standard error by itself from being seen.

    It warns of headers that are off, once with each opening; what there is to say of a file we say.

    Args:
        begins: the file's first bytes: of others nothing is kept.
    """
    if not begins.startswith(_MP3):
        yield
        return
    with _ERRORS_HELD:
        kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)


def _see_that_it_ends(path: Path, file: soundfile.SoundFile) -> None:
    """A packed sound, or one of a few samples a second, may be small and still fill the memory."""
    if file.frames > _most_frames(file):
        raise AudioFileError(
            f"{path}: {file.frames} samples of {file.channels} channels at {file.samplerate} Hz: "
            f"longer than {MOST_S // 60} minutes, or more than {MOST_SAMPLES} samples"
        )


def _most_frames(file: soundfile.SoundFile) -> int:
    return min(MOST_S * int(file.samplerate), MOST_SAMPLES // int(file.channels))


def write_wav(path: Path, samples: NDArray[np.int16], rate_hz: int) -> None:
    """Write 16-bit WAV, shape (n,) or (n, channels), atomically: the file is whole or absent."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format="WAV", subtype="PCM_16")
    write_atomically(path, file.getvalue())


def write_flac(path: Path, samples: NDArray[np.int16], rate_hz: int) -> None:
    """Write 16-bit FLAC, shape (n,) or (n, channels), n at least 1; atomic, without loss."""
    write_atomically(path, flac(samples, rate_hz))


def flac(samples: NDArray[np.int16], rate_hz: int) -> bytes:
    """The same as bytes. At its fastest level: the others make speech smaller by 1 to 4 %."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format="FLAC", subtype="PCM_16", compression_level=0.0)
    return file.getvalue()


_HEADERLESS_SUFFIXES = frozenset(
    {".raw", ".pcm", ".sln", ".ul", ".ulaw", ".al", ".alaw", ".vox", ".gsm", ".g722"}
)


_CUT_SHORT_S = 0.1  # less may be a codec's padding
_SHORT_CHUNK = re.compile(r"(?:data|SSND) *: (\d+) \(should be (\d+)\)")
"""How libsndfile notes that a WAV's or AIFF's header speaks of more bytes than are there."""
_NO_LENGTH = 0x7FFF_0000
"""From here on what a header says is no length: it was written before the sound was there."""
_OPEN_OGG = "lacks an end-of-stream bit"

_MP3 = (b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"\xff\xfa")
"""How one begins: with tags, or with its first frame."""
MAGIC_BYTES = 3
"""So many of a file's first bytes tell that."""
_ERRORS_HELD = threading.RLock()

_UNKNOWN = "Format not recognised"
_EXPECTED = " (expected WAV, FLAC, OGG or MP3, as ffmpeg -i {0} {0}.wav makes it)"
_HEADERLESS = (
    "; sound without a header has neither its rate nor its format: make a WAV file of it, as "
    "with ffmpeg -f s16le -ar 8000 -ac 1 -i {0} {0}.wav (or -f mulaw, alaw, ...)"
)


def _reason(error: soundfile.LibsndfileError) -> str:
    """Why, without the name of the buffer in memory that it was read from."""
    return str(error.error_string).rstrip(".")
