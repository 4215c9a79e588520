"""Calls that come in over SIP: announced by a webhook, accepted or rejected over HTTP.

The caller's sound takes no part: it would come over SIP, which the fake does not speak. What an
application does about a call is what can be tried: it answers the webhook, joins the session by
`?call_id=`, and hangs up.
"""

import base64
import hashlib
import hmac
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from callerside.fakes.server.kept import Kept
from callerside.fakes.session.context import Ids
from callerside.fakes.session.refusals import RequestError
from callerside.fakes.session.requests import read_part
from callerside.fakes.session.schema import Refer, Reject, Ring, SessionFields

State = Literal["ringing", "accepted", "rejected", "transferred", "over"]
_MOST_KEPT = 1000


@dataclass(slots=True)
class Call:
    """One call."""

    id: str
    state: State = "ringing"
    session: SessionFields | None = None
    """What it was accepted with, as long as it lasts."""
    detail: str = ""
    """The status that it was rejected with, or where it was transferred to."""


class Calls:
    """All calls of a server; the oldest are forgotten when they are too much (`Kept`)."""

    def __init__(self, rng: random.Random, on_over: Callable[[str], None]) -> None:
        """`on_over` is called with the id of a call that has ended."""
        self._ids = Ids(rng)
        self._on_over = on_over
        self._all = Kept[Call](_MOST_KEPT)

    def ring(self, asked: Mapping[str, Any], now_s: int) -> dict[str, Any]:
        """A call comes in: the webhook's `body` and `headers`, signed if there is a secret.

        Raises:
            RequestError: what is asked for cannot be.
        """
        ring = read_part(Ring, asked)
        call = Call(f"rtc_{self._ids.letters(32)}")
        self._all.keep(call.id, call, {})
        named = {"From": ring.caller, "To": ring.called, "Call-ID": self._ids.letters(32)}
        event_id = self._ids.new("evt")
        event = {
            "object": "event",
            "id": event_id,
            "type": "realtime.call.incoming",
            "created_at": now_s,
            "data": {
                "call_id": call.id,
                "sip_headers": [{"name": name, "value": value} for name, value in named.items()],
            },
        }
        body = json.dumps(event)
        headers = _signed(event_id, now_s, body, ring.webhook_secret)
        return {"call_id": call.id, "body": body, "headers": headers}

    def accept(self, call_id: str, asked: Mapping[str, Any]) -> None:
        """Answer a call with this session.

        Raises:
            RequestError: there is no such call, it does not ring, or the session cannot be.
        """
        call = self._get(call_id, "ringing")
        call.session = read_part(SessionFields, asked)
        call.state = "accepted"
        self._all.keep(call_id, call, asked)

    def reject(self, call_id: str, asked: Mapping[str, Any]) -> None:
        """Do not answer it: `status_code` is SIP's.

        Raises:
            RequestError: see `accept`.
        """
        call = self._get(call_id, "ringing")
        call.detail = str(read_part(Reject, asked).status_code)
        call.state = "rejected"

    def refer(self, call_id: str, asked: Mapping[str, Any]) -> None:
        """Transfer it.

        Raises:
            RequestError: see `accept`.
        """
        call = self._get(call_id, "accepted")
        call.detail = read_part(Refer, asked).target_uri
        self._end(call, "transferred", asked)

    def hang_up(self, call_id: str) -> None:
        """End it.

        Raises:
            RequestError: see `accept`.
        """
        self._end(self._get(call_id, "accepted"), "over", {})

    def session_of(self, call_id: str) -> SessionFields:
        """What a call was accepted with, for who joins it.

        Raises:
            RequestError: see `accept`.
        """
        return self._get(call_id, "accepted").session or SessionFields(type="realtime")

    def state(self, call_id: str) -> dict[str, Any]:
        """What has become of a call.

        Raises:
            RequestError: there is no such call.
        """
        call = self._get(call_id)
        return {"call_id": call.id, "state": call.state, "detail": call.detail}

    def _end(self, call: Call, state: State, asked: Mapping[str, Any]) -> None:
        call.state, call.session = state, None
        self._all.keep(call.id, call, asked)
        self._on_over(call.id)

    def _get(self, call_id: str, state: State | None = None) -> Call:
        call = self._all.get(call_id)
        if call is None:
            raise RequestError("call_unknown", "call_id", value=call_id)
        if state is not None and call.state != state:
            raise RequestError("call_state", "call_id", value=call_id, state=call.state)
        return call


def _signed(event_id: str, now_s: int, body: str, secret: str | None) -> dict[str, str]:
    """The headers of a webhook (standardwebhooks.com)."""
    headers = {
        "Content-Type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": str(now_s),
    }
    if secret is not None:
        key = _key(secret)
        digest = hmac.new(key, f"{event_id}.{now_s}.{body}".encode(), hashlib.sha256).digest()
        headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return headers


def _key(secret: str) -> bytes:
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        raise RequestError("no_base64", "webhook_secret") from None
