"""The E-model: a mean opinion score from the delay and the loss of packets, direction by direction.

ITU-T G.107 (06/2015) for narrow band, G.107.1 (06/2015) for wide band, with the default values of
all that a packet does not show, and the codecs' values of ITU-T G.113, Appendices I and IV. It is a
planner's estimate of what listeners would say, of loss at random and without echo; no one listened.
"""

import math
from dataclasses import dataclass

_NARROW_BAND_RATING = 93.2
"""With all of G.107's defaults (§7.7): its basic signal-to-noise ratio less what they impair."""
_WIDE_BAND_RATING = 129.0
_WIDE_BAND_SCALE = 1.29
"""A wide-band rating is as many times that of narrow band where the opinion is the same."""
_NOTICED_MS = 100.0
"""mT of G.107, Table 1, for ordinary users: no shorter delay is noticed."""


class UnknownCodecError(ValueError):
    """A codec, or its loss, of which no value is known: says which."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Codec:
    rating: float
    scale: float
    impairment: float
    """Ie, or Ie,WB."""
    robustness: float | None
    """Bpl where lost packets are made up for; None: not known."""
    unconcealed: float | None
    """Bpl where they are silence."""


_G711 = _Codec(
    rating=_NARROW_BAND_RATING, scale=1.0, impairment=0.0, robustness=25.1, unconcealed=4.3
)
_CODECS = {
    "PCMU": _G711,
    "PCMA": _G711,
    "G722": _Codec(
        rating=_WIDE_BAND_RATING,
        scale=_WIDE_BAND_SCALE,
        impairment=13.0,
        robustness=None,
        unconcealed=None,
    ),
}


def opinion(codec: str, *, loss_percent: float, delay_ms: float, concealed: bool) -> float:
    """The mean opinion score of listeners, 1 to 4.5.

    Args:
        codec: as SDP names it, `PCMU`, `PCMA` or `G722`.
        loss_percent: of the packets.
        delay_ms: from mouth to ear, one way.
        concealed: whether lost packets are made up for; else they are silence.

    Raises:
        UnknownCodecError: nothing is known of the codec, or of what its loss costs.
    """
    known = _CODECS.get(codec.partition("/")[0].upper())
    if known is None:
        raise UnknownCodecError(f"the E-model has no value of {codec}")
    impaired = known.impairment
    if loss_percent:
        robustness = known.robustness if concealed else known.unconcealed
        if robustness is None:
            raise UnknownCodecError(f"the E-model's value of what loss costs {codec} is not known")
        impaired = loss_impairment(known.impairment, robustness, loss_percent)
    rating = known.rating - delay_impairment(delay_ms) - impaired
    return opinion_of(rating / known.scale)


def opinion_of(rating: float) -> float:
    """The mean opinion score of a rating of narrow band (G.107, Annex B)."""
    if rating <= 0:
        return 1.0
    if rating >= 100:
        return 4.5
    return max(1.0, 1 + 0.035 * rating + rating * (rating - 60) * (100 - rating) * 7e-6)


def loss_impairment(impairment: float, robustness: float, loss_percent: float) -> float:
    """Ie,eff (G.107 §7.5), of packets that are lost at random (BurstR = 1)."""
    return impairment + (95 - impairment) * loss_percent / (loss_percent + robustness)


def delay_impairment(delay_ms: float) -> float:
    """Idd (G.107 §7.4), of a delay from mouth to ear without echo."""
    if delay_ms <= _NOTICED_MS:
        return 0.0
    x = math.log2(delay_ms / _NOTICED_MS)
    sixth: float = (1 + x**6) ** (1 / 6) - 3 * (1 + (x / 3) ** 6) ** (1 / 6) + 2
    return 25 * sixth
