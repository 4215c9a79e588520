"""Sound in files: WAV, FLAC, and whatever else libsndfile reads."""

import io
from pathlib import Path

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
    data, file_hz = _read(path)
    # Wide, for a sample may be as large as its format can say: it is clipped, as any beyond 1.
    return resample(to_bytes(data.mean(axis=1, dtype=np.float64) * 32768), file_hz, rate_hz)


def most_of_full_scale(path: Path, near: float) -> tuple[float, float]:
    """The share of a file's samples that are as large as `near`, and the largest; 1: full scale.

    Raises:
        AudioFileError: as `read_wav`.
    """
    sizes = np.abs(_read(path)[0]).max(axis=1)
    return float(np.mean(sizes >= near)), float(sizes.max())


def _read(path: Path) -> tuple[NDArray[np.float32], int]:
    """Samples, shape (n, channels), and their rate."""
    try:
        sound = io.BytesIO(read_bytes(path, at_most=MOST_BYTES))
    except FileNotFoundError:
        raise AudioFileError(f"{path}: there is no such file") from None
    except OSError as error:
        raise AudioFileError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        with soundfile.SoundFile(sound) as file:
            file_hz = file.samplerate
            _see_that_it_ends(path, file)
            data = file.read(_most_frames(file), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        hint = _HEADERLESS.format(path) if path.suffix.lower() in _HEADERLESS_SUFFIXES else ""
        raise AudioFileError(f"{path}: cannot be read as sound: {_reason(error)}{hint}") from None
    if not len(data):
        raise AudioFileError(f"{path}: holds no sound")
    finite = np.isfinite(data).all(axis=1)
    if not finite.all():
        first = int(np.argmin(finite))
        raise AudioFileError(
            f"{path}: {np.count_nonzero(~finite)} of {len(data)} samples are no finite numbers, "
            f"the first at {first / file_hz:.3f} s"
        )
    return data, file_hz


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


_HEADERLESS = (
    "; sound without a header has neither its rate nor its format: make a WAV file of it, as "
    "with ffmpeg -f s16le -ar 8000 -ac 1 -i {0} {0}.wav (or -f mulaw, alaw, ...)"
)


def _reason(error: soundfile.LibsndfileError) -> str:
    """Why, without the name of the buffer in memory that it was read from."""
    return str(error.error_string).rstrip(".")
