"""Client secrets: short-lived keys for browsers, each with the session that it opens.

`POST /v1/realtime/client_secrets` makes one. The fake takes any other key, and none; but what looks
like a client secret has to be one of its own that has not expired.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from callerside.fakes.server.kept import Kept
from callerside.fakes.session.config import SessionConfig, doubt_of_model
from callerside.fakes.session.context import Ids
from callerside.fakes.session.refusals import RequestError
from callerside.fakes.session.requests import read_part
from callerside.fakes.session.schema import SecretFields, SessionFields, TranscriptionFields
from callerside.fakes.session.session import DEFAULT_MODEL

PREFIX = "ek_"
_MOST_KEPT = 10_000

Fields = SessionFields | TranscriptionFields


@dataclass(frozen=True, slots=True)
class _Secret:
    expires_at_s: int
    session: Fields | None


class ClientSecrets:
    """All secrets of a server; the oldest are forgotten when they are too much (`Kept`)."""

    def __init__(self, rng: random.Random) -> None:
        self._ids = Ids(rng)
        self._all = Kept[_Secret](_MOST_KEPT)

    def __len__(self) -> int:
        return len(self._all)

    def create(self, asked: Mapping[str, Any], now_s: int) -> dict[str, Any]:
        """Make a secret: `value`, `expires_at` (seconds since the epoch), and its `session`.

        Raises:
            RequestError: what is asked for cannot be.
        """
        fields = read_part(SecretFields, asked)
        seconds = 600 if fields.expires_after is None else fields.expires_after.seconds
        only_transcribes = isinstance(fields.session, TranscriptionFields)
        model = getattr(fields.session, "model", None) or DEFAULT_MODEL
        doubt = None if only_transcribes else doubt_of_model(model, "session.model")
        if doubt is not None:
            raise doubt
        config = SessionConfig(
            self._ids.new("sess"), model, 0, "transcription" if only_transcribes else "realtime"
        )
        if fields.session is not None:
            for doubt in config.doubts(fields.session):
                raise doubt
            config.update(fields.session)
        value = f"{PREFIX}{self._ids.letters(32)}"
        for name in [name for name, kept in self._all.items() if now_s >= kept.expires_at_s]:
            self._all.forget(name)
        self._all.keep(value, _Secret(now_s + seconds, fields.session), asked)
        return {"value": value, "expires_at": now_s + seconds, "session": config.snapshot()}

    def session_of(self, key: str, now_s: float) -> Fields | None:
        """The session that a key opens; None if any.

        Raises:
            RequestError: `invalid_api_key`: a client secret that is unknown, or has expired.
        """
        if not key.startswith(PREFIX):
            return None
        secret = self._all.get(key)
        if secret is None or now_s >= secret.expires_at_s:
            raise RequestError("wrong_key", key=_masked(key))
        return secret.session


def _masked(key: str) -> str:
    """As the API quotes a key."""
    return f"{key[:7]}...{key[-4:]}" if len(key) > 16 else key
