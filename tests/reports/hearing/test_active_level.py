"""The one definition of a beginning and an end, by ITU-T P.56."""

import numpy as np
import pytest
from numpy.typing import NDArray

from callerside.reports.hearing.active_level import active_level_dbfs, edges, voiced

RATE_HZ = 16_000


def sine(length_ms: float, dbfs: float) -> NDArray[np.int16]:
    count = round(length_ms * RATE_HZ / 1000)
    wave = 10 ** (dbfs / 20) * 2**0.5 * np.sin(2 * np.pi * 440 * np.arange(count) / RATE_HZ)
    return np.rint(32768 * wave).astype(np.int16)


def silence(length_ms: float) -> NDArray[np.int16]:
    return np.zeros(round(length_ms * RATE_HZ / 1000), np.int16)


@pytest.mark.parametrize("dbfs", [-40, -26, -12])
def test_a_steady_sound_has_its_own_level(dbfs: float) -> None:
    assert active_level_dbfs(sine(2000, dbfs), RATE_HZ) == pytest.approx(dbfs, abs=0.2)


def test_pauses_do_not_count() -> None:
    """But for the 0.2 s behind each sound that are P.56's hangover."""
    spoken = np.concatenate([sine(2000, -20), silence(8000), sine(2000, -20)])
    level = active_level_dbfs(spoken, RATE_HZ)
    assert level == pytest.approx(-20 - 10 * np.log10(4.4 / 4), abs=0.3)


@pytest.mark.parametrize(("below_db", "is_part"), [(25, True), (36, False)])
def test_what_is_within_30_db_is_part_of_the_sound(below_db: float, is_part: bool) -> None:
    sound = np.concatenate([sine(2000, -20), sine(100, -20 - below_db)])
    found = edges(sound, RATE_HZ)
    assert found is not None
    assert found[0] < 16
    assert found[1] == pytest.approx(sound.size if is_part else 2 * RATE_HZ, abs=32)


def test_stretches_begin_and_end_where_the_sound_does() -> None:
    sound = np.concatenate([silence(50), sine(300, -20), silence(100), sine(300, -20)])
    spans = voiced(sound, RATE_HZ, pause_ms=60)
    assert (spans[0][0], spans[-1][1]) == edges(sound, RATE_HZ)
    assert len(spans) == 2
    assert len(voiced(sound, RATE_HZ, pause_ms=200)) == 1


def test_silence_has_neither() -> None:
    assert edges(silence(500), RATE_HZ) is None
    assert active_level_dbfs(silence(500), RATE_HZ) is None
