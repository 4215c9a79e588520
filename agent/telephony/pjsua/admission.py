"""Which calls are let in, and how much what is in may ask for: the policy, without any I/O.

PJSUA opens two sockets for each line of audio that it is offered, before it asks anybody whether
the call is wanted. They stand in a table with 64 places; a place is free again half a second after
its socket was closed, and whoever needs the 65th ends the process. So what takes places is counted
here, from what messages say, before PJSUA sees them.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from callerside import host
from callerside.agent.telephony.engine import extensions
from callerside.agent.telephony.in_dialog import Answer
from callerside.agent.telephony.invite import (
    MAX_LINES,
    audio_lines,
    is_out_of_reach,
    media_lines,
    with_one_audio,
)
from callerside.agent.telephony.options import PeerList, SipOptions
from callerside.agent.telephony.screening import Unmet, beyond_reach, unmet_invite
from callerside.agent.telephony.sip_message import SipMessage
from callerside.agent.telephony.srtp import view_of_message
from callerside.agent.telephony.tls import ways_out
from callerside.clock import NS_PER_MS

PLACES = 64
"""`PJ_IOQUEUE_MAX_HANDLES`, as the wheel was compiled."""
PLACES_PER_LINE = 2
"""RTP and RTCP."""
KEPT_PLACES = 8
"""Not for new calls: callers who are in can still go on hold, and come back, in a flood."""
CLOSING_NS = 550 * NS_PER_MS
"""Until a place is free again: `PJ_IOQUEUE_KEY_FREE_DELAY` is 500 ms; the rest is for a socket that
is closed a little after we hear of it."""
MAX_AUDIO_LINES = 4
"""In one offer, of those that PJSUA is shown: one, but for spellings that only PJSIP may read."""

EXTENSIONS = extensions("pjsua2")
"""Option tags that this engine has."""

Reason = (
    Literal["not_allowed", "replaces", "merged", "draining", "full", "lines", "closing", "failed"]
    | Unmet
)
"""Why a call was refused. `closing`: the sockets of calls before it are not closed yet."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a caller is answered, and why."""

    status: int
    reason: Reason
    answer: Answer | None = None
    """What says more than the status."""


NOT_ALLOWED = Refusal(403, "not_allowed")
REPLACES = Refusal(420, "replaces", Answer(420, "Bad Extension", (("Unsupported", "replaces"),)))
"""RFC 3891 §3, for those who do not do it: as any extension that is asked for (RFC 3261 §8.2.2.3).
Taken as a call like any other it would be one more, beside the one that it was to replace."""
MERGED = Refusal(482, "merged", Answer(482, "Loop Detected"))
"""RFC 3261 §8.2.2.2, and of any INVITE that begins a call of a Call-ID that another has: by that
calls are told apart here."""
FULL = Refusal(486, "full")
TOO_MANY_LINES = Refusal(488, "lines")
UNREACHABLE = Refusal(488, "media")
"""An offer of audio at addresses of another family than ours."""
CLOSING = Refusal(503, "closing")
FAILED = Refusal(500, "failed")


@dataclass(frozen=True, kw_only=True, slots=True)
class Invite:
    """An INVITE of no call yet, as far as it matters here."""

    source: str
    """Where it came from: "host:port"."""
    message: str
    """All of it, as it came."""
    replaces: bool = False
    """Whether it is to take the place of another call."""
    has_place: bool = True
    """Whether the stack has a place for one more."""


class ClosingSockets:
    """Those of calls that are over: they still have their places in the table."""

    def __init__(self) -> None:
        self._until: deque[tuple[int, int]] = deque()
        """When places will be free, and how many, in this order."""

    def add(self, lines: int, now_ns: int) -> None:
        """Those of so many lines of audio are closed now."""
        self._until.append((now_ns + CLOSING_NS, lines * PLACES_PER_LINE))

    def take_back(self) -> None:
        """What was added last is not closed."""
        self._until.pop()

    def places(self, now_ns: int) -> int:
        """How many they have."""
        while self._until and self._until[0][0] <= now_ns:
            self._until.popleft()
        return sum(places for _, places in self._until)


class Admission:
    """Lets calls in, and offers within calls; what is let in is counted until it is over.

    `calls` answers how many lines of audio each call that is up was let in with, `has_call` whether
    a call of this Call-ID is not over.
    """

    def __init__(
        self,
        options: SipOptions,
        calls: Callable[[], Iterable[int]],
        has_call: Callable[[str], bool] = lambda _sip_call_id: False,
    ) -> None:
        self.drain_status = 0
        """To refuse every call with; 0: calls are taken."""
        self._peers = PeerList(options.allowed_peers)
        self._max_calls = options.max_calls
        self._codecs, self._family = options.codecs, options.family_with("")
        self._policy_with = options.srtp_with
        self._ways = ways_out(options)
        self._calls = calls
        self._has_call = has_call
        self._closing = ClosingSockets()
        """And those of what was let in, and is no call yet."""

    def allows(self, source: str) -> bool:
        """Whether anything is done for those there ("host:port")."""
        return self._peers.allows(source)

    def let_in(self, invite: Invite, now_ns: int) -> Refusal | None:
        """Why it is refused; None: it is let in, and what it takes is taken for a while.

        If a call comes of it, say so at once (`became_call`).
        """
        refusal = self._refusal_of(invite)
        if refusal is None and not self._takes(
            lines_of(invite.message, self._codecs), now_ns, KEPT_PLACES
        ):
            refusal = CLOSING
        return refusal

    def became_call(self) -> None:
        """What was let in last is a call now: `calls` counts it from here on."""
        self._closing.take_back()

    def call_ended(self, lines: int, now_ns: int) -> None:
        """A call that was let in with so many lines is one no more; its sockets are closing."""
        self._closing.add(lines, now_ns)

    def lets_offer_in(self, sdp: str, now_ns: int) -> bool:
        """Whether an offer within a call is let in.

        Of its lines one is kept, whose sockets are mostly there already; which are new, and which
        are closed again, only PJSUA knows: all are counted.
        """
        shown = with_one_audio(sdp, self._codecs)
        return not _has_too_many_lines(shown) and self._takes(audio_lines(shown), now_ns)

    def places_taken(self, now_ns: int) -> int:
        """Of the table's, by calls and by what is closing."""
        return self._closing.places(now_ns) + PLACES_PER_LINE * sum(self._calls())

    def _refusal_of(self, invite: Invite) -> Refusal | None:
        if not self._peers.allows(invite.source):
            return NOT_ALLOWED
        if invite.replaces:
            return REPLACES
        if self._has_call(SipMessage(invite.message).call_id):
            return MERGED
        if self.drain_status:
            return Refusal(self.drain_status, "draining")
        if not invite.has_place or sum(1 for _ in self._calls()) >= self._max_calls:
            return FULL
        message = view_of_message(invite.message, self._policy_with(invite.source))
        if is_out_of_reach(message, self._codecs, self._family):
            return UNREACHABLE
        shown = with_one_audio(message, self._codecs)
        if _has_too_many_lines(shown):
            return TOO_MANY_LINES
        answer = beyond_reach(SipMessage(invite.message), self._ways, {self._family})
        if answer is not None:
            return Refusal(answer.status, "contact", answer)
        read = SipMessage(message)
        found = unmet_invite(read, self._codecs, EXTENSIONS, self._family, host.has_route)
        return None if found is None else Refusal(found[0].status, found[1], found[0])

    def _takes(self, lines: int, now_ns: int, kept: int = 0) -> bool:
        if self.places_taken(now_ns) + lines * PLACES_PER_LINE > PLACES - kept:
            return False
        self._closing.add(lines, now_ns)
        return True


def lines_of(invite: str, codecs: Sequence[str]) -> int:
    """How many lines of audio a call opens sockets for that begins with this INVITE.

    Of an offer PJSUA is shown one (`native.audio_line`); without an offer it makes ours, of one.
    """
    return max(1, audio_lines(with_one_audio(invite, codecs)))


def _has_too_many_lines(shown: str) -> bool:
    return audio_lines(shown) > MAX_AUDIO_LINES or media_lines(shown) > MAX_LINES
