"""Which judge is which: made by name, and made ready before a session needs one."""

from typing import Literal

from callerside.vad.energy import EnergyJudge
from callerside.vad.silero import _MOST_SPARE_MODELS, _SPARE_MODELS, SileroJudge, _load_model
from callerside.vad.turn_detector import Judge


def reserve(engine: Literal["energy", "silero"]) -> None:
    """Have a judge ready for a session to come. Silero takes 0.1 s and more to load: not in a call.

    Raises:
        ValueError: the engine is not installed.
    """
    if engine == "silero" and len(_SPARE_MODELS) < _MOST_SPARE_MODELS:
        _SPARE_MODELS.append(_load_model())


def is_reserved(engine: Literal["energy", "silero"]) -> bool:
    """Whether a judge can be made at once."""
    return engine == "energy" or bool(_SPARE_MODELS)


def make_judge(engine: Literal["energy", "silero"], rate_hz: int) -> Judge:
    """A judge for one stream of PCM16 at 8 or 24 kHz.

    Raises:
        ValueError: the engine is not installed.
    """
    return EnergyJudge() if engine == "energy" else SileroJudge(rate_hz)
