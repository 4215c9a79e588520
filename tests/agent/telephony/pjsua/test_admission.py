"""Who is let in, and how much that takes: the policy alone."""

import pytest

from callerside.agent.telephony.invite import MAX_LINES, audio_lines, media_lines
from callerside.agent.telephony.options import SipOptions
from callerside.agent.telephony.pjsua.admission import (
    CLOSING,
    CLOSING_NS,
    FULL,
    KEPT_PLACES,
    MAX_AUDIO_LINES,
    NOT_ALLOWED,
    PLACES,
    REPLACES,
    TOO_MANY_LINES,
    UNREACHABLE,
    Admission,
    Invite,
    lines_of,
)
from callerside.clock import NS_PER_S

FRIEND, STRANGER = "192.0.2.1:5060", "198.51.100.1:5060"
HEAD = "INVITE sip:100@192.0.2.9 SIP/2.0\r\n\r\nv=0\r\n"
AUDIO, VIDEO = "m=audio 9 RTP/AVP 0\r\n", "m=video 9 RTP/AVP 96\r\n"
UNREAD = "m=AUDIO 9 RTP/AVP 0\r\n"
"""Spelt so that PJSIP may read it, and `telephony.pjsua.native.audio_line` leaves it alone."""
NOW_NS = 10**12
ROOM = (PLACES - KEPT_PLACES) // 2
"""INVITEs with one line of audio each, at once."""


class Desk:
    """An admission with calls that are up."""

    def __init__(self, max_calls: int = 4) -> None:
        self.calls: list[int] = []
        options = SipOptions(allowed_peers=("192.0.2.0/24",), max_calls=max_calls)
        self.admission = Admission(options, lambda: self.calls)

    def invite(self, body: str = AUDIO, at_ns: int = NOW_NS) -> object:
        return self.admission.let_in(Invite(source=FRIEND, message=HEAD + body), at_ns)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_strangers_are_told_nothing_else(desk: Desk) -> None:
    desk.admission.drain_status = 503
    stranger = Invite(source=STRANGER, message=HEAD + AUDIO * 20, replaces=True, has_place=False)
    assert desk.admission.let_in(stranger, NOW_NS) == NOT_ALLOWED


def test_nobody_takes_the_place_of_another_call(desk: Desk) -> None:
    invite = Invite(source=FRIEND, message=HEAD + AUDIO, replaces=True)
    assert desk.admission.let_in(invite, NOW_NS) == REPLACES


def test_while_draining_and_when_full_nobody_is_let_in() -> None:
    desk = Desk(max_calls=2)
    desk.calls = [1]
    assert desk.invite() is None
    desk.calls = [1, 1]
    assert desk.invite() == FULL
    no_place = Invite(source=FRIEND, message=HEAD, has_place=False)
    desk.calls = []
    assert desk.admission.let_in(no_place, NOW_NS) == FULL
    desk.admission.drain_status = 503
    refusal = desk.admission.let_in(no_place, NOW_NS)
    assert refusal is not None
    assert (refusal.status, refusal.reason) == (503, "draining")


@pytest.mark.parametrize(
    ("body", "is_let_in"),
    [
        ("", True),
        (AUDIO * MAX_LINES, True),  # of which PJSUA is shown one
        (AUDIO.replace("\r\n", "\n") * MAX_LINES, True),
        (AUDIO * (MAX_LINES + 1), False),
        (UNREAD * MAX_AUDIO_LINES, True),
        (UNREAD * (MAX_AUDIO_LINES + 1), False),
        (AUDIO.replace("\r\n", "\r") * (MAX_AUDIO_LINES + 1), False),
        (AUDIO + VIDEO * (MAX_LINES - 1), True),
        (AUDIO + VIDEO * MAX_LINES, False),
    ],
)
def test_an_offer_of_too_many_lines_is_refused(desk: Desk, body: str, *, is_let_in: bool) -> None:
    assert desk.invite(body) == (None if is_let_in else TOO_MANY_LINES)
    assert desk.admission.lets_offer_in(body, NOW_NS) is is_let_in


def test_an_offer_that_leads_to_ipv6_is_refused(desk: Desk) -> None:
    v6 = "c=IN IP6 2001:db8::1\r\n"
    assert desk.invite(v6 + AUDIO) == UNREACHABLE
    assert desk.invite(AUDIO + v6) == UNREACHABLE
    assert desk.invite("c=IN IP4 192.0.2.1\r\n" + AUDIO + VIDEO + v6) is None


def test_a_flood_is_let_in_as_fast_as_its_sockets_are_closed(desk: Desk) -> None:
    answers = [desk.invite(at_ns=NOW_NS + n) for n in range(100)]
    assert answers == [None] * ROOM + [CLOSING] * (100 - ROOM)
    assert desk.admission.places_taken(NOW_NS + 100) == 2 * ROOM
    assert desk.invite(at_ns=NOW_NS + CLOSING_NS) is None, "the first one's are free"
    assert desk.invite(at_ns=NOW_NS + CLOSING_NS) == CLOSING
    assert desk.admission.places_taken(NOW_NS + 2 * CLOSING_NS) == 0


def test_lines_count_and_so_do_calls_that_are_up(desk: Desk) -> None:
    desk.calls = [4, 1]
    assert desk.admission.places_taken(NOW_NS) == 10
    assert desk.invite(UNREAD * 4) is None
    assert desk.admission.places_taken(NOW_NS) == 18
    assert desk.invite("") is None, "without an offer there is ours, of one line"
    assert desk.admission.places_taken(NOW_NS) == 20
    assert desk.invite(AUDIO * 4) is None, "PJSUA is shown one of them"
    assert desk.admission.places_taken(NOW_NS) == 22


def test_what_became_a_call_takes_places_until_it_is_over_and_closed(desk: Desk) -> None:
    assert desk.invite(UNREAD * 2) is None
    desk.admission.became_call()
    desk.calls.append(lines_of(HEAD + UNREAD * 2, SipOptions().codecs))
    later_ns = NOW_NS + 60 * NS_PER_S
    assert desk.admission.places_taken(later_ns) == 4
    desk.calls.clear()
    desk.admission.call_ended(2, later_ns)
    assert desk.admission.places_taken(later_ns + CLOSING_NS - 1) == 4
    assert desk.admission.places_taken(later_ns + CLOSING_NS) == 0


def test_in_a_flood_there_is_room_for_those_who_are_in(desk: Desk) -> None:
    while desk.invite() is None:
        pass
    offers = [desk.admission.lets_offer_in(AUDIO, NOW_NS) for _ in range(10)]
    assert offers == [True] * (KEPT_PLACES // 2) + [False] * (10 - KEPT_PLACES // 2)
    assert desk.admission.lets_offer_in(VIDEO, NOW_NS), "no audio, no sockets: PJSUA refuses it"


def test_lines_are_counted_at_the_beginning_of_a_line_only() -> None:
    text = HEAD + AUDIO + "a=x m=audio\r\nm=audiovisual 1 x 2\r\n" + VIDEO
    assert (audio_lines(text), media_lines(text)) == (1, 3)
    assert audio_lines(AUDIO + "m=audio 0 RTP/AVP 0\r\n") == 1, "the other is refused"
