"""Which judge is which: made by name, and made ready before a session needs one."""

from typing import Literal

from callerside.vad import silero
from callerside.vad.energy import EnergyJudge
from callerside.vad.turn_detector import Judge


def reserve(engine: Literal["energy", "silero"]) -> None:
    """Have a judge ready for a session to come. Silero takes 0.1 s and more to load: not in a call.

    Raises:
        ValueError: the engine is not installed.
    """
    if engine == "silero":
        silero.reserve()


def is_reserved(engine: Literal["energy", "silero"]) -> bool:
    """Whether a judge can be made at once."""
    return engine == "energy" or silero.is_reserved()


def make_judge(engine: Literal["energy", "silero"], rate_hz: int) -> Judge:
    """A judge for one stream of PCM16 at 8 or 24 kHz.

    Raises:
        ValueError: the engine is not installed.
    """
    return EnergyJudge() if engine == "energy" else silero.SileroJudge(rate_hz)
