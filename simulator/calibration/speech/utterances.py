"""What is said in a calibration on speech: synthesised, and by people.

Nothing is shipped with the project: voices are those that are installed, and human recordings are
those of a Debian package, where it is installed (`asterisk-core-sounds-LANGUAGE-wav`).
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from callerside.simulator.calibration.held_out import is_held_out
from callerside.speech import voices
from callerside.speech.synthesis import synthesise

Wave = NDArray[np.float64]

RATE_HZ = 24_000
"""Of everything here: the server's."""

_PROMPTS = Path("/usr/share/asterisk/sounds")
_PACKAGES = {
    "en": "en_US_f_Allison",
    "es": "es_MX_f_Allison",
    "fr": "fr_CA_f_June",
    "it": "it_IT_m_Carlo",
    "ru": "ru_RU_f_IvrvoiceRU",
}
_PROMPTS_A_LANGUAGE = 48
_NO_SPEECH = re.compile("tone|beep|busy|silence|ring|screech|weasel|monkey|music|sound")
_SHORTEST_S, _LONGEST_S = 0.7, 30.0
_SEED = "prompts"

_ENGLISH = (
    "On a Saturday morning we are here from nine o'clock.",
    "I would like to know whether you are open on Saturday morning until six.",
    "My name is Miller and I am calling about the invoice that you sent me last week.",
    "Until six?",
    "Yes, please.",
    "Is that enough?",
    "The price is ninety six pounds and fifty six pence.",
    "You can park behind the house.",
    "There is nobody left in the office.",
    "I am sorry, but I do not know how much.",
    "Could you say that again, a little more slowly?",
    "We have two rooms free, both of them with a bath.",
    "Thank you very much for calling, and have a nice day.",
    "What is your address?",
    "He asked whether the last bus stops at the station or at the market these days.",
    "She has moved to the north, where her brother has been living for several months.",
    "Hello, this is the shop on the corner, how can I help you?",
    (
        "If you want to speak to somebody who works here, press six, and if you do not, stay on "
        "the line and we will answer you as soon as one of us is free to talk to you about it."
    ),
)
_VOICES = ("heart", "en-gb", "en-us", "en-us+f3", "en-gb+m3", "en-us+m5", "en-gb+f2", "en-us+f5")
_LANGUAGES = {
    "de": ("Wir haben samstags bis sechs Uhr geöffnet.", "Das macht zusammen fünfundsechzig Euro."),
    "fr": ("Nous sommes ouverts le samedi jusqu'à six heures.", "C'est une bonne adresse, merci."),
    "es": ("Los sábados abrimos hasta las seis.", "Muchas gracias, y hasta luego."),
    "it": ("Il sabato siamo aperti fino alle sei.", "Mi dispiace, non c'è nessuno in ufficio."),
    "nl": ("Op zaterdag zijn we tot zes uur open.", "Dat is precies wat ik zoek."),
    "pl": ("W sobotę mamy otwarte do szóstej.", "Proszę poczekać na połączenie."),
    "pt": ("Aos sábados abrimos até às seis.", "Obrigado e bom dia para todos."),
    "ru": ("По субботам мы открыты до шести часов.", "Спасибо, я подожду ещё несколько минут."),
}

Kind = Literal["synthesised", "recorded"]


@dataclass(frozen=True, slots=True)
class Utterance:
    """Something that is said."""

    name: str
    """`VOICE/TEXT` or `PACKAGE/FILE`: what decides whether it is held out."""
    kind: Kind
    voice: str
    """Synthesised: the voice; recorded: the package."""
    source: str
    """Synthesised: the text; recorded: the file's path."""

    @property
    def held_out(self) -> bool:
        """Whether nobody listened to it while the ear was made."""
        return is_held_out(self.name)

    def wave(self) -> Wave:
        """Its samples at `RATE_HZ`, full scale 1, without digital silence around it."""
        return _wave(self)


@lru_cache(maxsize=64)
def _wave(said: Utterance) -> Wave:
    if said.kind == "synthesised":
        pcm = synthesise(said.source, voice=said.voice, rate_hz=RATE_HZ)
        return np.asarray(np.frombuffer(pcm, "<i2") / 32768)
    samples, rate_hz = soundfile.read(said.source, dtype="float64")
    return np.asarray(soxr.resample(samples, rate_hz, RATE_HZ))


def utterances() -> list[Utterance]:
    """All that this machine can say, in an order that is always the same."""
    return [*_synthesised(), *_recorded()]


def missing() -> list[str]:
    """What is not installed, in words."""
    engines = [
        f"{engine.distribution} is not installed: none of {engine.name}'s voices"
        for engine in voices.ENGINES.values()
        if not engine.version
    ]
    return engines + [
        f"asterisk-core-sounds-{language}-wav is not installed: no human recordings in {language}"
        for language, folder in _PACKAGES.items()
        if not (_PROMPTS / folder).is_dir()
    ]


def _synthesised() -> Iterator[Utterance]:
    spoken = dict.fromkeys(_VOICES, _ENGLISH) | _LANGUAGES
    for voice, texts in spoken.items():
        if not voices.engine_of(voice)[0].version:
            continue
        for text in texts:
            yield Utterance(f"{voice}/{text}", "synthesised", voice, text)


def _recorded() -> Iterator[Utterance]:
    for language, folder in _PACKAGES.items():
        package = f"asterisk-core-sounds-{language}-wav"
        files = sorted((_PROMPTS / folder).rglob("*.wav"))
        usable = [path for path in files if _is_speech(path, _PROMPTS / folder)]
        chosen = random.Random(f"{_SEED}/{language}").sample(
            usable, min(_PROMPTS_A_LANGUAGE, len(usable))
        )
        for path in sorted(chosen):
            name = path.relative_to(_PROMPTS / folder).with_suffix("").as_posix()
            yield Utterance(f"{package}/{name}", "recorded", package, str(path))


def _is_speech(path: Path, folder: Path) -> bool:
    """Whether a file is a prompt of a fitting length, by its name and header."""
    if _NO_SPEECH.search(path.relative_to(folder).as_posix()):
        return False
    return bool(_SHORTEST_S <= soundfile.info(path).duration <= _LONGEST_S)
