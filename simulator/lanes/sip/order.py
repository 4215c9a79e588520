"""What the runner asks of a caller's process: a call of a scenario that is resolved already.

Suite and matrix are in it, its speech is made: the process needs no loader and no synthesiser.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from callerside.agent.telephony.options import SipAccount, TlsOptions
from callerside.audio_files import read_wav
from callerside.simulator.scenario.model import Scenario

ACCOUNT = "CALLERSIDE_CALLER_ACCOUNT"
"""The variable in which it gets the account with its password: no file and no command line has it.
"""

MAX_BYTES = 16_000_000
"""Of an order's line: a scenario of the longest file there may be is well below."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """One call to make."""

    call: str
    """Its name in the run."""
    scenario: str
    """A `Scenario` as JSON."""
    audio: dict[str, str] = field(default_factory=dict)
    """WAV files of what the caller makes heard, by position as `utterances.prepare` has it; ""
    stands for silence of no length, which is no WAV file."""
    uri: str
    seed: int
    directory: str
    """Where the evidence goes."""

    def to_line(self) -> str:
        """One JSON object, without the end of line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_line(cls, line: str | bytes) -> "Order":
        """The other way round."""
        return cls(**json.loads(line))

    def resolved(self) -> Scenario:
        """The scenario; it knows no file any more."""
        return Scenario.model_validate_json(self.scenario)

    def read_audio(self, rate_hz: int) -> dict[int, bytes]:
        """PCM at `rate_hz` by position, as `utterances.prepare` returns it. Blocks.

        Raises:
            callerside.audio_files.AudioFileError: a file is gone.
        """
        return {
            int(position): read_wav(Path(path), rate_hz) if path else b""
            for position, path in self.audio.items()
        }


def to_environment(account: SipAccount | None) -> dict[str, str]:
    """What a caller's process is given of it."""
    return {} if account is None else {ACCOUNT: json.dumps(asdict(account), default=str)}


def from_environment(environment: Mapping[str, str]) -> SipAccount | None:
    """The other way round."""
    if ACCOUNT not in environment:
        return None
    given = json.loads(environment[ACCOUNT])
    headers = tuple((name, value) for name, value in given.pop("headers"))
    tls = given.pop("tls")
    if tls is not None:
        files = {name: tls[name] and Path(tls[name]) for name in ("certificate", "key", "ca")}
        tls = TlsOptions(**{**tls, **files})
    return SipAccount(**given, headers=headers, tls=tls)
