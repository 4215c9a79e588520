"""What a line does to the sound of a call in a calibration on speech."""

import random
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from callerside import audio
from callerside.reports.evidence import OPUS_MS
from callerside.simulator.caller.audio import noise as noises
from callerside.simulator.caller.recorder import CALLER_RATE_HZ
from callerside.simulator.scenario.model import Noise

Wave = NDArray[np.float64]
Codec = Literal["none", "pcmu", "pcma", "g722", "opus"]
NoiseKind = Literal["white", "pink", "brown", "babble", "music", "hum", "comfort"]

_FRAME = CALLER_RATE_HZ // 50


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """One way of a line to be."""

    name: str
    group: str
    """Of the table: its row."""
    codec: Codec = "pcmu"
    level_dbfs: float = -22.0
    """The active level of what is said, by P.56."""
    noise: NoiseKind | None = None
    snr_db: float = 0.0
    """Of the noise, against the active level; of `hum` and `comfort`: against full scale."""
    echo_db: float | None = None
    """How much less of the other's voice comes back, 120 ms later, in both channels."""
    loss: float = 0.0
    """Share of the packets to the caller that never come."""
    late: float = 0.0
    """Share of the packets to the caller that come after their time."""


CLEAN = Condition(name="clean", group="clean, no codec", codec="none")
OPUS = Condition(name="Opus", group="clean, Opus", codec="opus")
"""No part of the tables: no call has it that does not ask for it."""
CONDITIONS: tuple[Condition, ...] = (
    CLEAN,
    Condition(name="PCMU", group="clean, G.711"),
    Condition(name="PCMA", group="clean, G.711", codec="pcma"),
    Condition(name="G.722", group="clean, G.722", codec="g722"),
    *(
        Condition(name=f"{level} dBFS", group=f"{level} dBFS", level_dbfs=level)
        for level in (-10, -30, -40)
    ),
    *(
        Condition(name=f"{kind} at {snr} dB", group=f"noise, {snr} dB", noise=kind, snr_db=snr)
        for snr in (20, 10, 5)
        for kind in ("white", "pink", "brown", "babble", "music")
    ),
    Condition(name="hum", group="hum, -45 dBFS", noise="hum", snr_db=-45),
    Condition(name="comfort noise", group="comfort noise, -60 dBFS", noise="comfort", snr_db=-60),
    Condition(name="echo", group="echo, -30 dB", echo_db=-30),
    Condition(name="loss", group="loss 3 %, jitter", loss=0.03, late=0.01),
    Condition(
        name="G.722, loss", group="loss 3 %, jitter", codec="g722", loss=0.03, late=0.01
    ),
)  # fmt: skip


def available() -> tuple[tuple[Condition, ...], list[str]]:
    """The conditions that this machine can make, and why not the others."""
    try:
        _of_engine("G722")()
    except (ImportError, OSError) as error:
        left = tuple(one for one in CONDITIONS if one.codec != "g722")
        return left, [f"no G.722: {error}"]
    return CONDITIONS, []


def coded(wave: Wave, codec: Codec) -> Wave:
    """A sound at the caller's rate as it comes out of a codec, in step with what went in."""
    if codec == "none":
        return wave
    pcm = audio.to_bytes(wave * 32768)
    if codec == "g722":
        made = _of_engine("G722")()
        out = audio.to_samples(made.decode(made.encode(pcm))) / 32768
        late = _g722_delay()
        return np.pad(out, (0, late))[late : late + wave.size]
    if codec == "opus":
        return _in_opus(pcm)
    narrow = audio.resample(pcm, CALLER_RATE_HZ, 8000)
    wide = audio.resample(audio.AudioFormat(codec).quantise(narrow), 8000, CALLER_RATE_HZ)
    return np.asarray(audio.to_samples(wide)[: wave.size] / 32768)


def _of_engine(name: str) -> Any:
    """A codec of an engine, which is loaded by its name as the engine is."""
    return resolve_name(f"callerside.agent.telephony.baresip.codecs:{name}")


def _in_opus(pcm: bytes) -> Wave:
    """In packets of 20 ms."""
    codec, size = _of_engine("Opus")(CALLER_RATE_HZ), _FRAME * audio.BYTES_PER_SAMPLE
    whole = pcm + bytes(-len(pcm) % size + size)
    packets = (codec.encode(whole[at : at + size]) for at in range(0, len(whole), size))
    out = audio.to_samples(b"".join(map(codec.decode, packets))) / 32768
    late = round(OPUS_MS * CALLER_RATE_HZ / 1000)
    return np.asarray(out[late : late + len(pcm) // audio.BYTES_PER_SAMPLE])


@cache
def _g722_delay() -> int:
    """Of its filters: where a click comes out, less where it went in."""
    click = np.zeros(1600)
    click[800] = 0.5
    made = _of_engine("G722")()
    out = audio.to_samples(made.decode(made.encode(audio.to_bytes(click * 32768))))
    return int(np.abs(out.astype(np.int32)).argmax()) - 800


def noise(condition: Condition, count: int, seed: str) -> Wave:
    """So many samples of a condition's noise, from any place of its loop."""
    if condition.noise is None:
        return np.zeros(count)
    start = random.Random(seed).randrange(CALLER_RATE_HZ * noises.LOOP_S)
    loop = _loop(condition.noise)
    if condition.noise in ("hum", "comfort"):
        dbfs = condition.snr_db
    else:
        dbfs = condition.level_dbfs - condition.snr_db
    places = (start + np.arange(count)) % loop.size
    return np.asarray(loop[places] * 10 ** (dbfs / 20))


@cache
def _loop(kind: NoiseKind) -> Wave:
    """Ten seconds of a noise at 0 dBFS."""
    count = CALLER_RATE_HZ * noises.LOOP_S
    if kind == "hum":
        t = np.arange(count) / CALLER_RATE_HZ
        wave = np.sin(2 * np.pi * 50 * t) + 0.5 * np.sin(2 * np.pi * 150 * t)
    elif kind == "music":
        wave = _music(count)
    else:
        named = "white" if kind == "comfort" else kind
        said = Noise(kind=named, snr_db=0)
        pcm = noises.make_noise(said, -30.0, Path(), CALLER_RATE_HZ)
        wave = audio.to_samples(pcm).astype(np.float64)
    return np.asarray(wave / np.sqrt(np.mean(wave**2)))


def _music(count: int) -> Wave:
    """Chords that fade, a note of each plucked anew every 400 ms."""
    rng, wave = np.random.default_rng(5), np.zeros(count)
    length = CALLER_RATE_HZ * 2 // 5
    t = np.arange(length) / CALLER_RATE_HZ
    for first in range(0, count, length):
        for hz in rng.choice([220, 262, 330, 392, 494, 587], 3, replace=False):
            tones = sum(np.sin(2 * np.pi * hz * k * t) / k**2 for k in (1, 2, 3))
            wave[first : first + length] += tones * np.exp(-t / 0.3)
    return wave


class Packets:
    """Which packets reach the caller, and when: one map for all that lies on the channel."""

    def __init__(self, condition: Condition, count: int, seed: str) -> None:
        rng = random.Random(zlib.crc32(seed.encode()))
        self._pieces: list[tuple[int, int, int]] = []  # from, to, place at the ear
        self._count = count
        delay = calm = 0
        for first in range(0, count, _FRAME):
            if condition.late and rng.random() < condition.late:
                delay += rng.choice((_FRAME // 2, _FRAME, 2 * _FRAME))
                calm = 0
            elif delay and calm >= 20 * _FRAME:
                delay = 0
            calm += _FRAME
            if not (condition.loss and rng.random() < condition.loss):
                self._pieces.append((first, min(first + _FRAME, count), first + delay))

    def carry(self, wave: Wave) -> Wave:
        """What is heard of a channel."""
        heard = np.zeros(self._count)
        taken = 0
        for first, past, place in self._pieces:
            skip = max(0, taken - place)  # what waited is given up: the piece loses its beginning
            part = wave[first + skip : past][: max(0, self._count - place - skip)]
            heard[place + skip : place + skip + part.size] = part
            taken = place + past - first
        return heard
