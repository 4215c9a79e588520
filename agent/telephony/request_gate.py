"""How many messages of no call are looked at: so many of each source, and so many of all. No I/O.

What a stack does about one costs more than saying no to it, and saying no more than dropping it. So
this is asked first, before a message is read further than to its Call-ID. Those who may call have
a share of their own: strangers, however many there are, take nothing of it.
"""

import re
from collections import OrderedDict
from collections.abc import Callable

from callerside.addresses import owner_of
from callerside.agent.telephony.in_dialog import Answer
from callerside.agent.telephony.options import PeerList, SipOptions
from callerside.agent.telephony.screening import fault_of
from callerside.agent.telephony.sip_message import SipMessage
from callerside.clock import NS_PER_S

BURST_S = 2
"""For how long twice the rate passes, after a quiet time."""
MOST_SOURCES = 2_000
"""That are told apart: of more, those that were quiet longest begin anew."""

RATE, NOT_ALLOWED = "rate", "not_allowed"
_LONGEST_METHOD = 10
DROPPED = Answer(0, "dropped")
_CALL_ID = re.compile(r"^(?:call-id|i)[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_RESPONSE = "SIP/2.0 "

_METHODS = frozenset({"INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER"})
"""That are told by their names: of others there may be any number."""

OnTurnedAway = Callable[[int, str, str, str], None]
"""Told the status (0: it was dropped), why, the method and the source of what was turned away."""


class TokenBucket:
    """Fills at a rate, up to what comes in `BURST_S`; starts full.

    Args:
        per_s: its rate; 0: it never runs dry.
    """

    __slots__ = ("_at_ns", "_per_s", "_tokens")

    def __init__(self, per_s: int, now_ns: int) -> None:
        self._per_s = per_s
        self._tokens = float(per_s * BURST_S)
        self._at_ns = now_ns

    def has(self, now_ns: int) -> bool:
        """Whether there is one to be taken."""
        if not self._per_s:
            return True
        filled = self._tokens + (now_ns - self._at_ns) * self._per_s / NS_PER_S
        self._tokens, self._at_ns = min(filled, float(self._per_s * BURST_S)), now_ns
        return self._tokens >= 1

    def take(self) -> None:
        """One that there is."""
        self._tokens -= 1


class RequestRate:
    """One bucket for each source, and one for all.

    Args:
        per_source_per_s: requests a second from one address; 0: any number.
        in_all_per_s: from all addresses together; 0: any number.
    """

    def __init__(self, per_source_per_s: int, in_all_per_s: int) -> None:
        self._per_source_per_s = per_source_per_s
        self._all = TokenBucket(in_all_per_s, 0)
        self._sources: OrderedDict[str, TokenBucket] = OrderedDict()

    def takes(self, host: str, now_ns: int) -> bool:
        """Whether one more from there is looked at."""
        own = self._sources.get(host)
        if own is None:
            own = self._sources[host] = TokenBucket(self._per_source_per_s, now_ns)
            if len(self._sources) > MOST_SOURCES:
                self._sources.popitem(last=False)
        else:
            self._sources.move_to_end(host)
        if not own.has(now_ns) or not self._all.has(now_ns):
            return False
        own.take()
        self._all.take()
        return True


class RequestGate:
    """Says of each message that comes whether anything is done about it.

    Args:
        options: the rates, who may call, and what others are told.
        knows: whether there is a call of this Call-ID: what belongs to one always passes.
        on_turned_away: told of what does not.
    """

    def __init__(
        self, options: SipOptions, knows: Callable[[str], bool], on_turned_away: OnTurnedAway
    ) -> None:
        self._peers = PeerList(options.allowed_peers)
        self._drops_strangers = options.strangers == "drop"
        self._over_limit = DROPPED
        if options.over_limit == "refuse":
            again = (("Retry-After", str(options.retry_after_s)),) if options.retry_after_s else ()
            self._over_limit = Answer(503, "Service Unavailable", again)
        rates = options.requests_per_source_per_s, options.requests_per_s
        self._of_peers, self._of_strangers = RequestRate(*rates), RequestRate(*rates)
        self._knows = knows
        self._on_turned_away = on_turned_away

    def turns_away(self, message: str, source: str, now_ns: int) -> Answer | None:
        """What a message is answered that nothing is done about; None: it may pass.

        `DROPPED` is answered by nothing at all.

        Args:
            message: as it came.
            source: where it came from, "host:port".
            now_ns: on the monotonic clock.
        """
        call_id = _CALL_ID.search(message)
        if call_id is not None and self._knows(call_id[1].strip()):
            return None
        may_call = self._peers.allows(source)
        if not may_call and self._drops_strangers:
            return self._tell(DROPPED, NOT_ALLOWED, message, source)
        rate = self._of_peers if may_call else self._of_strangers
        if rate.takes(owner_of(source), now_ns):
            return None
        # Who may not call would be told so, but for the flood.
        is_answered = may_call and call_id is not None and _can_be_answered(message)
        return self._tell(self._over_limit if is_answered else DROPPED, RATE, message, source)

    def _tell(self, answer: Answer, why: str, message: str, source: str) -> Answer:
        self._on_turned_away(answer.status, why, method_of(message), source)
        return answer


def method_of(message: str) -> str:
    """One of a few words, for logs: the method of a request, or "another"."""
    method = message.lstrip("\r\n")[:_LONGEST_METHOD].partition(" ")[0]
    return method if method in _METHODS else "another"


def _can_be_answered(message: str) -> bool:
    """Nobody answers an ACK or a response, nor what an answer could not repeat."""
    if message.startswith((_RESPONSE, "ACK ")):
        return False
    return fault_of(SipMessage(message)) is None
