"""Recordings as others keep them: WAV, FLAC, OGG, MP3; stereo, mono, or a file for each party.

A file is read in pieces and brought to a telephone's rate at once, so that an hour of a studio's
sound needs no more memory than an hour of a telephone's.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from callerside.audio_files import MAGIC_BYTES, missing_of, silent_mpg123
from callerside.files import is_there, regular

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".w64"})
"""By which sound is found in a folder; what a file is, its header says."""
MOST_S = 4 * 3600
"""The longest recording."""

_MOST_CHANNELS = 2
_RATES_HZ = (8000, 16_000)
_BLOCK_S = 10
_FULL_SCALE = 32_768
_LEAST_OFFSET = 33  # -60 dBFS: sound is in the middle to less, and silence of G.711's is off by 8
_CLIPPED = 32_000  # G.711's largest sample is 32,124
_CLIPPED_RUN = 3
_HEADER_UNDONE = re.compile(r"^data *: 0$", re.MULTILINE)
_LONGEST_HEADER = 4096  # bytes
_PARTIES = {
    "caller": ("caller", "customer", "in", "rx", "left"),
    "agent": ("agent", "bot", "out", "tx", "right"),
}
"""How recorders call the files of two parties, behind a hyphen, dot or underscore. Asterisk's `in`
is what came in from the caller."""
_ROLE = re.compile(
    rf"(.+)[-._](?:({'|'.join(_PARTIES['caller'])})|({'|'.join(_PARTIES['agent'])}))", re.IGNORECASE
)

Samples = NDArray[np.int16]


class SoundFileError(ValueError):
    """A recording that cannot be used: says which, and why."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A recording as it was kept.

    `channels` are one or two, of equal length, at `rate_hz`.
    """

    name: str
    """Of the call: that of its file."""
    files: tuple[Path, ...]
    channels: tuple[Samples, ...]
    rate_hz: int
    names: tuple[str, ...]
    """What to call each channel: `left` and `right`, or the names of files."""
    clipped: tuple[int, ...]
    """How many samples of each channel are cut off at the top."""
    caller: int | None = None
    """Which channel is the caller's, if the files' names say so."""
    told: tuple[str, ...] = field(default=())
    """What is to be known about how it was kept."""
    cut_short: tuple[str, ...] = ()
    """Those of them that say that a part of the call is not there."""


@dataclass(frozen=True, slots=True)
class ToRead:
    """The files of one call: one, or one of each party, the caller's first if names say so."""

    name: str
    files: tuple[Path, ...]
    by_name: bool = False


def calls_in(folder: Path) -> list[ToRead]:
    """The calls of a folder, by name. Two files whose names differ by the party are one call."""
    found = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    pairs = _paired(found)
    paired = {path for pair in pairs for path in pair.files}
    alone = [ToRead(path.stem, (path,)) for path in found if path not in paired]
    return _told_apart(sorted([*pairs, *alone], key=lambda call: call.name))


def _paired(files: Sequence[Path]) -> list[ToRead]:
    """The calls of two files each, by their names."""
    by_stem: dict[tuple[str, str], dict[str, Path]] = {}
    for path in files:
        role = _ROLE.fullmatch(path.stem)
        if role is not None:
            party = "caller" if role[2] else "agent"
            by_stem.setdefault((role[1], path.suffix), {})[party] = path
    return [
        ToRead(stem, (parties["caller"], parties["agent"]), by_name=True)
        for (stem, _), parties in by_stem.items()
        if len(parties) == len(_PARTIES) and all(map(_may_be_mono, parties.values()))
    ]


def _may_be_mono(path: Path) -> bool:
    """Whether a file may hold one party: what cannot be read is told where it is read."""
    try:
        return _is_mono(path)
    except SoundFileError:
        return True


def _told_apart(calls: list[ToRead]) -> list[ToRead]:
    """`a.wav` beside `a.mp3` are two calls, and need two names."""
    names = [call.name for call in calls]
    return [
        ToRead(call.files[0].name, call.files, call.by_name) if names.count(call.name) > 1 else call
        for call in calls
    ]


def recordings_at(paths: Sequence[Path]) -> list[ToRead]:
    """The calls of files that somebody names, or of a folder that holds nothing but recordings.

    Two mono files are one call. A folder with timelines is another's: then there are none.

    Raises:
        SoundFileError: a file is no sound.
    """
    for path in paths:
        if not is_there(path):
            raise SoundFileError(f"{path}: there is no such file or folder")
    files = [path for path in paths if not path.is_dir()]
    if not files:
        (folder, *more) = paths
        if more or any(folder.glob("*.jsonl")) or any(folder.glob("calls/*/*.jsonl")):
            return []
        return calls_in(folder)
    if len(files) < len(paths):
        folder = next(path for path in paths if path.is_dir())
        raise SoundFileError(f"{folder}: files or one folder, not both")
    if len(files) == len(_PARTIES) and all(_is_mono(path) for path in files):
        (found,) = _paired(files) or [ToRead(f"{files[0].stem}+{files[1].stem}", tuple(files))]
        return [found]
    return _told_apart([ToRead(path.stem, (path,)) for path in files])


def _is_mono(path: Path) -> bool:
    with _opened(path) as file:
        return bool(file.channels == 1)


def read(call: ToRead) -> Recorded:
    """Read a call's recording.

    Raises:
        SoundFileError: a file is no sound, is empty, too long, cut short, or of three channels; of
            two files each must be mono.
    """
    if len(call.files) == 1:
        (path,) = call.files
        rate_hz = _rate_of([path])
        one = _channels(path, rate_hz)
        names = ("left", "right") if len(one.channels) == _MOST_CHANNELS else ("its one channel",)
        return Recorded(
            name=call.name,
            files=call.files,
            channels=one.channels,
            rate_hz=rate_hz,
            names=names,
            clipped=one.clipped,
            told=one.told,
            cut_short=one.cut_short,
        )
    return _of_two(call)


def _of_two(call: ToRead) -> Recorded:
    rate_hz = _rate_of(call.files)
    parts = [_channels(path, rate_hz) for path in call.files]
    for path, part in zip(call.files, parts, strict=True):
        if len(part.channels) != 1:
            raise SoundFileError(
                f"{path}: {len(part.channels)} channels; of two files each must be mono, one a "
                "party"
            )
    one, other = (part.channels[0] for part in parts)
    length = max(one.size, other.size)
    told = [sentence for part in parts for sentence in part.told]
    if one.size != other.size:
        shorter = call.files[0] if one.size < other.size else call.files[1]
        short_ms = abs(one.size - other.size) * 1000 / rate_hz
        told.append(
            f"{shorter.name} is {short_ms:.0f} ms shorter than the other file; both are taken to "
            "begin at the same instant"
        )
    return Recorded(
        name=call.name,
        files=call.files,
        channels=tuple(np.pad(wave, (0, length - wave.size)) for wave in (one, other)),
        rate_hz=rate_hz,
        names=tuple(path.name for path in call.files),
        clipped=tuple(part.clipped[0] for part in parts),
        caller=0 if call.by_name else None,
        told=(*told, "two files have two clocks, unless one recorder wrote both"),
        cut_short=tuple(sentence for part in parts for sentence in part.cut_short),
    )


def _rate_of(paths: Sequence[Path]) -> int:
    """The rate to bring files to: a telephone's narrow or wide band, by the widest of them."""
    rates = []
    for path in paths:
        with _opened(path) as file:
            rates.append(file.samplerate)
    return _RATES_HZ[0] if max(rates) <= _RATES_HZ[0] else _RATES_HZ[1]


def _opened(path: Path) -> soundfile.SoundFile:
    try:
        with silent_mpg123(_first_bytes(regular(path))):
            return soundfile.SoundFile(str(path))
    except OSError as error:
        raise SoundFileError(f"{path}: cannot be read: {error.strerror}") from None
    except soundfile.LibsndfileError as error:
        why = str(error.error_string).rstrip(".") or "it cannot be decoded"
        raise SoundFileError(
            f"{path}: cannot be read as sound: {why} (expected WAV, FLAC, OGG or MP3)"
        ) from None


def _first_bytes(path: Path) -> bytes:
    """Of a file; what is handed over open could not be read again."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(MAGIC_BYTES)


class _Read(NamedTuple):
    """What a file holds: each channel, how much of each is cut off at the top, and what to tell."""

    channels: tuple[Samples, ...]
    clipped: tuple[int, ...]
    told: tuple[str, ...]
    cut_short: tuple[str, ...]


def _channels(path: Path, rate_hz: int) -> _Read:
    """Each channel at a rate."""
    with _opened(path) as file:
        if file.channels > _MOST_CHANNELS:
            raise SoundFileError(f"{path}: {file.channels} channels, expected one or two")
        blocks: list[Samples] = []
        clipped = np.zeros(file.channels, np.int64)
        for block in _blocks(path, file):
            clipped += _count_clipped(block)
            blocks.append(block)
        whole = _resampled(blocks, file.samplerate, rate_hz, file.channels)
        if not len(whole):
            is_more = path.stat().st_size > _LONGEST_HEADER
            undone = is_more and _HEADER_UNDONE.search(file.extra_info)
            why = " by its header, which whatever wrote it did not finish" if undone else ""
            raise SoundFileError(f"{path}: holds no sound{why}")
        missing = missing_of(file, sum(len(block) for block in blocks), MOST_S)
    cut_short = [f"{path.name} is cut short: {missing}"] if missing else []
    told = [*cut_short]
    channels = []
    for number in range(whole.shape[1]):
        wave, offset = _without_offset(np.ascontiguousarray(whole[:, number]))
        channels.append(wave)
        if offset:
            which = f", channel {number + 1}" if whole.shape[1] > 1 else ""
            told.append(
                f"{path.name}{which}: all of it is {offset / _FULL_SCALE:+.3f} of full scale "
                "beside zero (DC), which is taken off"
            )
    return _Read(tuple(channels), tuple(clipped.tolist()), tuple(told), tuple(cut_short))


def _without_offset(wave: Samples) -> tuple[Samples, int]:
    """A channel without what a recorder's input adds to each sample; and how much that is."""
    offset = round(float(wave.mean()))
    if abs(offset) < _LEAST_OFFSET:
        return wave, 0
    low, high = -_FULL_SCALE, _FULL_SCALE - 1
    return np.clip(wave.astype(np.int32) - offset, low, high).astype(np.int16), offset


def _blocks(path: Path, file: soundfile.SoundFile) -> Iterator[Samples]:
    block, read_samples = int(_BLOCK_S * file.samplerate), 0
    while True:
        try:
            wave = file.read(block, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            why = str(error.error_string).rstrip(".") or "it cannot be decoded"
            at_s = read_samples / file.samplerate
            raise SoundFileError(
                f"{path}: cut short or damaged after {at_s:.0f} s: {why}"
            ) from None
        if not len(wave):
            return
        if not np.isfinite(wave).all():
            raise SoundFileError(f"{path}: holds samples that are no finite numbers")
        read_samples += len(wave)
        if read_samples > MOST_S * file.samplerate:
            raise SoundFileError(f"{path}: longer than {MOST_S // 3600} hours")
        yield np.clip(np.rint(wave * 32768), -32768, 32767).astype(np.int16)


def _resampled(blocks: list[Samples], from_hz: int, rate_hz: int, channels: int) -> Samples:
    if not blocks:
        return np.zeros((0, channels), np.int16)
    if from_hz == rate_hz:
        return np.concatenate(blocks)
    stream = soxr.ResampleStream(from_hz, rate_hz, channels, dtype="int16")
    done = [
        stream.resample_chunk(block, last=number == len(blocks))
        for number, block in enumerate(blocks, start=1)
    ]
    return np.concatenate([part.reshape(-1, channels) for part in done])


def _count_clipped(block: Samples) -> NDArray[np.int64]:
    """Samples in runs of three or more that are as large as they can be."""
    at_top = np.abs(block.astype(np.int32)) >= _CLIPPED
    counts = np.zeros(block.shape[1], np.int64)
    for channel in np.flatnonzero(at_top.any(axis=0)).tolist():
        edges = np.flatnonzero(np.diff(at_top[:, channel].astype(np.int8), prepend=0, append=0))
        lengths = edges[1::2] - edges[::2]
        counts[channel] = lengths[lengths >= _CLIPPED_RUN].sum()
    return counts
