"""The E-model against what the ITU publishes of it."""

import math

import pytest

from callerside.reports.metrics.e_model import (
    UnknownCodecError,
    delay_impairment,
    loss_impairment,
    opinion,
    opinion_of,
)


@pytest.mark.parametrize(
    ("rating", "score"),
    [(50, 2.58), (60, 3.10), (70, 3.60), (80, 4.03), (90, 4.34), (93.2, 4.41), (0, 1), (100, 4.5)],
)
def test_a_rating_is_the_opinion_of_g109(rating: float, score: float) -> None:
    """The limits of its categories of quality (Table 1), the default, and the ends."""
    assert opinion_of(rating) == pytest.approx(score, abs=0.011)


@pytest.mark.parametrize(("percent", "impairment"), [(0, 0), (2, 7), (3, 10), (5, 15), (7, 20)])
def test_loss_costs_g711_with_concealment_as_much_as_g113_has_it(
    percent: float, impairment: float
) -> None:
    """Table I.2 of 1999, whose values listeners gave: the formula came later, and is a fit."""
    assert loss_impairment(0, 25.1, percent) == pytest.approx(impairment, abs=1)


@pytest.mark.parametrize(
    ("percent", "impairment"),
    [(0, 0), (2, 7), (3, 10), (5, 15), (7, 20), (10, 25), (15, 35), (20, 45)],
)
def test_nor_is_it_far_from_what_listeners_said_of_many_lost_packets(
    percent: float, impairment: float
) -> None:
    """The whole column of that table: a call that loses a fifth of its packets is in it, too."""
    assert loss_impairment(0, 25.1, percent) == pytest.approx(impairment, abs=3)


@pytest.mark.parametrize(
    ("rating", "good_or_better", "score"),
    [(90, 97, 4.34), (80, 89, 4.03), (70, 73, 3.60), (60, 50, 3.10), (50, 27, 2.58)],
)
def test_opinions_go_with_the_shares_of_listeners_of_g107(
    rating: float, good_or_better: float, score: float
) -> None:
    """Table B.1 of G.107: the share of good or better (Annex B) and the score of one rating."""
    share = 50 * (1 + math.erf((rating - 60) / 16 / math.sqrt(2)))
    assert share == pytest.approx(good_or_better, abs=0.6)
    assert opinion_of(rating) == pytest.approx(score, abs=0.011)


def test_a_wide_band_line_is_rated_on_the_longer_scale_of_g107_1() -> None:
    """R of 129 where nothing impairs it, which is 1.29 times what narrow band reaches at most."""
    assert opinion_of(129 / 1.29) == 4.5
    best, worse = (opinion("G722", loss_percent=0, delay_ms=ms, concealed=True) for ms in (20, 300))
    rating = 129 - 13 - delay_impairment(300)
    assert best == pytest.approx(opinion_of(116 / 1.29))
    assert worse == pytest.approx(opinion_of(rating / 1.29))


@pytest.mark.parametrize(
    ("delay_ms", "impairment"), [(0, 0), (100, 0), (150, 0.2), (200, 3.0), (400, 24.1)]
)
def test_delay_costs_what_g107_has_it(delay_ms: float, impairment: float) -> None:
    """Its equations 7-27 and 7-28, worked out by hand."""
    assert delay_impairment(delay_ms) == pytest.approx(impairment, abs=0.3)


def test_an_undisturbed_line_has_the_opinion_of_its_codec() -> None:
    assert undisturbed("PCMU") == undisturbed("PCMA/8000") == pytest.approx(4.41, abs=0.005)
    assert undisturbed("G722") == pytest.approx(opinion_of(116 / 1.29))


def undisturbed(codec: str) -> float:
    return opinion(codec, loss_percent=0.0, delay_ms=20.0, concealed=True)


@pytest.mark.parametrize("codec", ["opus", "GSM", ""])
def test_of_other_codecs_nothing_is_guessed(codec: str) -> None:
    with pytest.raises(UnknownCodecError, match="no value"):
        undisturbed(codec)


def test_nor_is_what_loss_costs_wide_band() -> None:
    with pytest.raises(UnknownCodecError, match="what loss costs G722"):
        opinion("G722", loss_percent=1.0, delay_ms=20.0, concealed=True)
