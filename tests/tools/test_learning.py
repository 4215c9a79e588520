"""What the ear in noise learnt from: nothing that is held out, and what is left out is apart."""

import learn_speech
import numpy as np

from callerside.reports.hearing import faint_speech as learnt


def test_nothing_that_is_held_out_is_learnt_from() -> None:
    speech = learn_speech._speech()
    assert speech
    assert not any(one.held_out for one in speech)
    left_out = [one for one in speech if learn_speech._is_left_out(one)]
    assert 0.1 < len(left_out) / len(speech) < 0.3


def test_a_recording_is_the_same_each_time_and_what_is_kept_fits_to_it() -> None:
    one, again = (learn_speech.rows(3, left_out=True) for _ in range(2))
    assert one is not None
    assert again is not None
    assert np.array_equal(one[0], again[0])
    assert 0 < one[1].mean() < 1
    assert learnt._learnt()["w1"].shape == (one[0].shape[1], learn_speech.LAYERS[0])


def test_what_is_there_to_be_learnt_is_learnt() -> None:
    """Of numbers whose sum says it."""
    rng = np.random.default_rng(0)
    known = rng.normal(size=(60_000, 6)).astype(np.float32)
    true = (known[:, :3].sum(axis=1) > 0).astype(np.float32)
    layers = dict(learn_speech.learn((known, true), (known[:2000], true[:2000])))
    odds = learn_speech._layers(layers, known[:2000])[-1][:, 0]
    assert ((odds > 0) == (true[:2000] > 0)).mean() > 0.97
