"""Learns what `reports/hearing/faint_speech.py` knows: `faint_speech.npz` beside it.

    python tools/learn_speech.py             # some ten minutes of two processors

Recordings are made as those of `callerside calibrate --speech` are, of the same utterances without
the third that is held out, under noise that is none of the calibration's: of any colour, talk of
two to eight people, music of any notes, hum. A fifth of the utterances is left out of what is
learnt from, and tells how well it is learnt. Three layers (ReLU), learnt by Adam with weight decay.

Each run's numbers are others. Those that are kept were learnt in this way from 6,000 recordings
that were drawn in another order: 0.1025 nats a hop of utterances that are left out.
"""

import hashlib
import math
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soxr
from numpy.typing import NDArray

from callerside import audio
from callerside.reports.hearing import active_level, faint_speech, retrospect
from callerside.simulator.calibration.speech.conditions import coded
from callerside.simulator.calibration.speech.spoken_call import levelled
from callerside.simulator.calibration.speech.utterances import RATE_HZ, Utterance, utterances

Wave = NDArray[np.float64]
Values = NDArray[np.float32]
Rows = tuple[Values, Values]
Random = np.random.Generator

KEPT = Path(faint_speech.__file__).with_suffix(".npz")
HZ = 16_000
HOP = HZ // 200
RECORDINGS, OTHERS = 6000, 500
LONGEST_S = 8.0
PAUSE_MS = 400
LEFT_OUT = 50  # of 256 utterances
SHARE, FAR_SHARE = 0.3, 0.15  # of the hops near an edge, and of these of the others
NEAR_HOPS = 80
LAYERS = (48, 24)
EPOCHS, BATCH, RATE, DECAY, BLUR = 4, 512, 2e-3, 1e-2, 0.03
SEED = 1


class Recording(NamedTuple):
    """Speech in noise."""

    samples: NDArray[np.int16]
    tones: list[tuple[int, int]]
    speech: list[tuple[int, int]]
    """Utterances, as they truly are."""


def main() -> None:
    """Make recordings, learn, and write what was learnt."""
    learnt_from = _all_rows(range(RECORDINGS), left_out=False)
    others = _all_rows(range(RECORDINGS, RECORDINGS + OTHERS), left_out=True)
    print(f"{len(learnt_from[1])} hops to learn from, {len(others[1])} others")
    kept: dict[str, Any] = {
        name: one.astype(np.float16) for name, one in learn(learnt_from, others)
    }
    np.savez(KEPT, **kept)


def _all_rows(seeds: range, *, left_out: bool) -> Rows:
    with ProcessPoolExecutor(2) as pool:
        found = [*pool.map(partial(rows, left_out=left_out), seeds, chunksize=16)]
    known, true = zip(*(one for one in found if one is not None), strict=True)
    return np.concatenate(known), np.concatenate(true)


def rows(seed: int, *, left_out: bool) -> Rows | None:
    """What is known of some hops of a recording, and whether each is within an utterance."""
    rng = np.random.default_rng(seed)
    made = recording(rng, [one for one in _speech() if _is_left_out(one) == left_out])
    evidence = retrospect.evidence(made.samples, HZ, made.tones)
    if evidence is None:
        return None
    true = np.zeros(evidence.hops, np.float32)
    share = np.full(evidence.hops, SHARE * FAR_SHARE)
    for span in made.speech:
        first, past = (round(place / HOP) for place in span)
        true[first:past] = 1
        for edge in (first, past):
            share[max(0, edge - NEAR_HOPS) : edge + NEAR_HOPS] = SHARE
    near = evidence.near
    some = near[rng.random(near.size) < share[near]]
    return evidence.of(some).astype(np.float16), true[some]


def _speech() -> list[Utterance]:
    return [one for one in utterances() if not one.held_out]


def _is_left_out(one: Utterance) -> bool:
    return hashlib.sha256(one.name.encode()).digest()[0] < LEFT_OUT


def recording(rng: Random, speech: list[Utterance]) -> Recording:
    """Somebody speaks two or three times; some of it is cut off; there may be a tone before."""
    level_dbfs = float(rng.choice([-22, -22, rng.uniform(-38, -10)]))
    at = int(HZ * rng.choice([0.2, 0.2, rng.uniform(0.05, 1.5)]))
    parts, tones, places = [np.zeros(at)], [], []
    if rng.random() < 0.25:
        tone = _tone(rng, level_dbfs)
        tones.append((at, at + tone.size))
        parts += [tone, np.zeros(int(HZ * rng.uniform(0.1, 0.6)))]
        at += parts[-1].size + tone.size
    one = speech[rng.integers(len(speech))]
    same = [other for other in speech if other.voice == one.voice]
    for _ in range(rng.integers(2, 4)):
        wave, loud = _said(rng, same[rng.integers(len(same))], level_dbfs)
        places.append(loud + at)
        parts += [wave, np.zeros(int(HZ * rng.uniform(0.6, 4.0)))]
        at += wave.size + parts[-1].size
    clean = np.concatenate(parts)
    noise = _noise(rng, clean.size, speech)
    snr_db = float(rng.choice([rng.uniform(3, 25), rng.uniform(7, 14)]))
    noise *= 10 ** ((level_dbfs - snr_db) / 20) / (np.sqrt(np.square(noise).mean()) + 1e-12)
    if rng.random() < 0.1:
        noise += 10 ** (-45 / 20) * np.sin(2 * np.pi * 50 * np.arange(noise.size) / HZ)
    line: Any = rng.choice(["none", "pcmu", "pcma", "g722"], p=[0.15, 0.45, 0.2, 0.2])
    samples = _int16(coded(clean + noise, str(line)))  # type: ignore[arg-type] # one of these
    spans = active_level.without_pauses(np.concatenate(places), PAUSE_MS * HZ // 1000)
    return Recording(samples, tones, spans)


def _said(rng: Random, one: Utterance, level_dbfs: float) -> tuple[Wave, NDArray[np.int64]]:
    """A sound, and which of its samples are part of it by the definition."""
    source = one.wave()
    longest = int(LONGEST_S * RATE_HZ)
    if source.size > longest:
        first = int(rng.integers(0, source.size - longest))
        source = source[first : first + longest]
    source = levelled(source, level_dbfs)
    loud = np.rint(active_level.loud(_int16(source), RATE_HZ) * HZ / RATE_HZ).astype(np.int64)
    wave = np.asarray(soxr.resample(source, RATE_HZ, HZ))
    first, past = 0, wave.size
    if rng.random() < 0.5:
        past = int(wave.size * rng.uniform(0.3, 0.9))
    if rng.random() < 0.15:
        first = int(past * rng.uniform(0.1, 0.5))
    return wave[first:past], loud[(loud >= first) & (loud < past)] - first


def _tone(rng: Random, level_dbfs: float) -> Wave:
    size = np.sqrt(2) * 10 ** ((level_dbfs + rng.uniform(-6, 3)) / 20)
    phase = 2 * np.pi * rng.uniform(300, 2000) * np.arange(int(HZ * rng.uniform(0.1, 0.5))) / HZ
    return np.asarray(size * np.sin(phase))


def _noise(rng: Random, count: int, speech: list[Utterance]) -> Wave:
    kind = rng.random()
    if kind < 0.5:
        return _coloured(rng, count)
    return _babble(rng, count, speech) if kind < 0.77 else _music(rng, count)


def _coloured(rng: Random, count: int) -> Wave:
    hz = np.maximum(np.fft.rfftfreq(count, 1 / HZ), 1.0)
    spectrum = rng.standard_normal(hz.size) + 1j * rng.standard_normal(hz.size)
    slope_db = rng.choice([0, -3, -6, rng.uniform(-9, 3)])
    shape = np.where(hz >= 60, hz ** (slope_db / 6.02), 0.0)
    if rng.random() < 0.25:  # with something that resounds
        middle, width = np.exp(rng.uniform(np.log(150), np.log(3500))), rng.uniform(0.15, 0.6)
        shape *= 1 + rng.uniform(1, 8) * np.exp(-np.square(np.log(hz / middle) / width))
    wave = np.fft.irfft(spectrum * shape, count)
    if rng.random() < 0.2:  # louder and softer
        step = HZ // 20
        course = np.convolve(
            rng.standard_normal(count // step + 50), np.hanning(rng.integers(5, 40)), "same"
        )
        places = np.arange(course.size) * step
        louder_db = rng.uniform(0.5, 2.5) * course / course.std()
        wave = wave * 10 ** (np.interp(np.arange(count), places, louder_db) / 20)
    return np.asarray(wave)


def _babble(rng: Random, count: int, speech: list[Utterance]) -> Wave:
    """Two to eight people, each with pauses of a length."""
    wave = np.zeros(count)
    for _ in range(rng.integers(2, 9)):
        one = speech[rng.integers(len(speech))]
        same = [other for other in speech if other.voice == one.voice]
        at, pause = -int(rng.integers(0, 3 * HZ)), int(rng.integers(0, HZ // 2))
        size = 10 ** (rng.uniform(-4, 4) / 20)
        while at < count:
            said = _at_one(same[rng.integers(len(same))])
            low, high = max(0, at), min(count, at + said.size)
            if high > low:
                wave[low:high] += size * said[low - at : high - at]
            at += said.size + pause
    return wave


@lru_cache(maxsize=400)
def _at_one(one: Utterance) -> Wave:
    wave = np.asarray(soxr.resample(one.wave(), RATE_HZ, HZ))
    return np.asarray(wave / np.sqrt(np.square(wave).mean()))


def _music(rng: Random, count: int) -> Wave:
    """Chords of one key, of one instrument."""
    wave, length = np.zeros(count), int(HZ * rng.uniform(0.15, 0.9))
    seconds = np.arange(length * int(rng.integers(1, 3))) / HZ
    notes = rng.uniform(110, 330) * 2 ** (np.array([0, 2, 4, 5, 7, 9, 11, 12, 14, 16]) / 12)
    falls, fades_s, sets_in_s = rng.uniform(1, 2.5), rng.uniform(0.1, 1.5), rng.uniform(1e-3, 0.08)
    overtones, at_once = int(rng.integers(3, 9)), int(rng.integers(1, 5))
    shape = np.exp(-seconds / fades_s) * np.minimum(1, seconds / sets_in_s)
    for first in range(0, count, length):
        for hz in rng.choice(notes, at_once, replace=False):
            tones = sum(
                np.sin(2 * np.pi * hz * number * seconds + rng.uniform(0, 6)) / number**falls
                for number in range(1, overtones)
            )
            part = wave[first : first + seconds.size]
            part += (tones * shape * rng.uniform(0.5, 1))[: part.size]
    return wave


def learn(learnt_from: Rows, others: Rows) -> Iterator[tuple[str, Values]]:
    """Each layer's numbers, by name."""
    rng = np.random.default_rng(SEED)
    known, true = learnt_from
    sizes = (known.shape[1], *LAYERS, 1)
    learnt: dict[str, Values] = {}
    for number, (wide, narrow) in enumerate(pairwise(sizes), start=1):
        learnt[f"w{number}"] = rng.normal(0, np.sqrt(2 / wide), (wide, narrow)).astype(np.float32)
        learnt[f"b{number}"] = np.zeros(narrow, np.float32)
    means = {name: np.zeros_like(one) for name, one in learnt.items()}
    squares = {name: np.zeros_like(one) for name, one in learnt.items()}
    step, steps = 0, EPOCHS * (true.size // BATCH)
    for epoch in range(EPOCHS):
        order = rng.permutation(true.size)
        for first in range(0, true.size - BATCH + 1, BATCH):
            some, step = order[first : first + BATCH], step + 1
            rate = RATE * 0.5 * (1 + math.cos(math.pi * step / steps)) + 1e-5
            blurred = known[some] + rng.normal(0, BLUR, (BATCH, sizes[0])).astype(np.float32)
            for name, slope in _slopes(learnt, blurred, true[some]):
                means[name] += np.float32(0.1) * (slope - means[name])
                squares[name] += np.float32(0.001) * (np.square(slope) - squares[name])
                size = np.sqrt(squares[name] / (1 - 0.999**step)) + 1e-8
                decay = DECAY if name.startswith("w") else 0.0
                change = means[name] / (1 - 0.9**step) / size + decay * learnt[name]
                learnt[name] = np.asarray(learnt[name] - rate * change, np.float32)
        odds = _layers(learnt, others[0].astype(np.float32))[-1][:, 0]
        nats = float(np.mean(np.logaddexp(0, odds) - others[1] * odds))
        print(f"epoch {epoch + 1}: {nats:.4f} nats a hop of utterances that are left out")
    yield from learnt.items()


def _layers(learnt: dict[str, Values], known: Values) -> list[Values]:
    one = np.maximum(known @ learnt["w1"] + learnt["b1"], 0)
    two = np.maximum(one @ learnt["w2"] + learnt["b2"], 0)
    return [one, two, two @ learnt["w3"] + learnt["b3"]]


def _slopes(learnt: dict[str, Values], known: Values, true: Values) -> list[tuple[str, Values]]:
    """Of the mean error in nats, by every number."""
    one, two, odds = _layers(learnt, known)
    of_odds = (1 / (1 + np.exp(-odds)) - true[:, None]) / true.size
    of_two = (of_odds @ learnt["w3"].T) * (two > 0)
    of_one = (of_two @ learnt["w2"].T) * (one > 0)
    layers = ((known, of_one), (one, of_two), (two, of_odds))
    found: list[tuple[str, Values]] = []
    for number, (below, slope) in enumerate(layers, start=1):
        found += [(f"w{number}", below.T @ slope), (f"b{number}", slope.sum(axis=0))]
    return found


def _int16(wave: Wave) -> NDArray[np.int16]:
    return audio.to_samples(audio.to_bytes(wave * 32768))


if __name__ == "__main__":
    main()
