"""What is sent again is decided about once, whatever has become of the first."""

from callerside.agent.telephony.repeats import MAX_REMEMBERED, MEMORY_NS, Recent, identity

NOW_NS = 10**12
INVITE = (
    "INVITE sip:100@a SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@a>;tag=1\r\n"
    "Call-ID: one\r\nCSeq: 1 INVITE\r\n\r\n"
)


def test_what_is_sent_again_is_answered_as_before() -> None:
    refused: Recent[int] = Recent()
    assert refused.recall("one", NOW_NS) is None
    refused.remember("one", 486, NOW_NS)
    assert refused.recall("one", NOW_NS + MEMORY_NS - 1) == 486
    assert refused.recall("one", NOW_NS + MEMORY_NS) is None
    for number in range(MAX_REMEMBERED):
        refused.remember(str(number), 503, NOW_NS)
    assert refused.recall("one", NOW_NS) is None, "of very many the oldest are forgotten"
    assert refused.recall("0", NOW_NS) == 503


def test_another_way_another_number_or_another_call_is_another_request() -> None:
    others = [
        identity("127.0.0.1:5060", INVITE.replace(old, new))
        for old, new in (("z9hG4bK1", "z9hG4bK2"), ("CSeq: 1", "CSeq: 2"), ("ID: one", "ID: two"))
    ]
    others.append(identity("127.0.0.1:5061", INVITE))
    assert identity("127.0.0.1:5060", INVITE) not in others
    assert len(set(others)) == len(others)
    assert identity("127.0.0.1:5060", INVITE.replace("tag=1", "tag=2")) == identity(
        "127.0.0.1:5060", INVITE
    ), "only what makes a transaction counts"
