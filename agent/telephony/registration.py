"""When a registrar that refuses or does not answer is asked again, and for how long it knows us."""

import re

from callerside.agent.telephony.options import AGENT_PASSWORD, Registration
from callerside.agent.telephony.sip_message import SipMessage

_OK = 200
NO_ANSWER = 408
STILL_KNOWN = "no answer to our un-REGISTER: calls may be sent here until the registration runs out"
_CHALLENGES, _FORBIDDEN = (401, 407), 403
_PASSING = frozenset({408, 480, 500, 502, 503, 504})
_GLOBAL_FAILURE = 600
_FACTOR, _MAX_S, _MAX_DOUBLINGS = 6, 3600, 10

_CONTACT_EXPIRES = re.compile(r";[ \t]*expires[ \t]*=[ \t]*\"?(\d+)", re.IGNORECASE)


def is_passing(status: int) -> bool:
    """Whether a failure says nothing about us: it may be over in a moment. PJSUA tries again."""
    return status in _PASSING or status >= _GLOBAL_FAILURE


def log_change(
    place: Registration, *, registered: bool, status: int, reason: str, is_leaving: bool
) -> None:
    """Log a change of our place: that it is given up as we wanted is no warning."""
    import structlog  # not for whoever only knows what a refusal says

    logger = structlog.get_logger(__name__)
    log = logger.info if registered or (is_leaving and status == _OK) else logger.warning
    more = _told_of(place, status)
    log("sip_registration", registered=registered, status=status, reason=reason, **more)


def _told_of(place: Registration, status: int) -> dict[str, str]:
    """What is said of a registration besides the registrar's answer: what to do, if known."""
    asks = asks_for_password(status)
    if asks and not place.password:
        return {"todo": f"the registrar {asks}, and {AGENT_PASSWORD} is not set in the environment"}
    return {}


def asks_for_password(status: int) -> str:
    """What a refusal says of that; empty: nothing. baresip answers a challenge without one, too."""
    if status in _CHALLENGES:
        return "asks for a password"
    return "may ask for a password" if status == _FORBIDDEN else ""


class RefusalRetry:
    """The waits between one refused registration and the next: 6 times `retry_s`, 12 times, ..."""

    def __init__(self, retry_s: int) -> None:
        self._retry_s = retry_s
        self._refusals = 0

    def next_s(self, status: int, *, registered: bool) -> int | None:
        """How long to wait before the next try; None: it is none, or a failure that passes."""
        if registered:
            self._refusals = 0
            return None
        if is_passing(status):
            return None
        doublings = min(self._refusals, _MAX_DOUBLINGS)
        self._refusals += 1
        return min(_FACTOR * self._retry_s << doublings, _MAX_S)


def granted_s(answer: SipMessage, asked_s: int) -> int:
    """For how long a registrar's 200 OK says that it knows us (RFC 3261 §10.2.4)."""
    told = _CONTACT_EXPIRES.search(answer.header("contact"))
    if told is not None:
        return int(told[1])
    header = answer.header("expires")
    return int(header) if header.isdecimal() else asked_s
