import pytest

from callerside.agent.telephony.invite import described
from callerside.agent.telephony.options import SipAccount, SipOptions
from callerside.agent.telephony.srtp import (
    Crypto,
    SrtpPolicy,
    agreed,
    plain_view,
    secure_again,
    view_of_message,
)

KEY = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e"
RAW = bytes(range(1, 31))
SUITE = "AES_CM_128_HMAC_SHA1_80"
CODECS = ("PCMU", "PCMA")
SESSION = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
PLAIN = "m=audio 4000 RTP/AVP 0 8\r\na=sendrecv\r\n"
SECURE = f"m=audio 4002 RTP/SAVP 8\r\na=crypto:3 {SUITE} inline:{KEY}\r\na=sendrecv\r\n"
DTLS = "m=audio 4004 UDP/TLS/RTP/SAVPF 8\r\na=fingerprint:sha-256 00\r\n"
OPPORTUNE = SECURE.replace("SAVP", "AVP")


@pytest.mark.parametrize(
    ("lines", "policy", "port", "is_keyed"),
    [
        (PLAIN, "off", 4000, False),
        (PLAIN, "offered", 4000, False),
        (PLAIN, "required", None, False),
        (SECURE, "off", None, False),
        (SECURE, "offered", 4002, True),
        (SECURE, "required", 4002, True),
        (PLAIN + SECURE, "off", 4000, False),
        (SECURE + PLAIN, "off", 4000, False),
        (PLAIN + SECURE, "required", 4002, True),
        (SECURE + PLAIN, "offered", 4002, True),
        (DTLS, "offered", None, False),
        (DTLS + PLAIN, "offered", 4000, False),
        (OPPORTUNE, "off", 4002, False),
        (OPPORTUNE, "offered", 4002, True),
        (OPPORTUNE, "required", 4002, True),
        (SECURE.replace("SAVP", "SAVPF"), "required", 4002, True),
        (SECURE.replace(KEY, KEY + "|2^31"), "required", 4002, True),
        (SECURE.replace(KEY, KEY + "|2^20|1:4"), "required", None, False),
        (SECURE.replace(KEY, KEY[:-4]), "offered", None, False),
        (SECURE.replace(KEY, "not base64"), "offered", None, False),
        (SECURE.replace(SUITE, "F8_128_HMAC_SHA1_80"), "offered", None, False),
        (SECURE.replace(f"inline:{KEY}", f"inline:{KEY} UNENCRYPTED_SRTP"), "offered", None, False),
    ],
)
def test_what_becomes_the_call(
    lines: str, policy: SrtpPolicy, port: int | None, is_keyed: bool
) -> None:
    view = plain_view(SESSION + lines, policy)
    assert len(view) == len(SESSION + lines)
    found = described(view, CODECS)
    assert (found.port if found else None) == port
    if found is not None:
        assert found.cryptos == ((Crypto(3, SUITE, RAW),) if is_keyed else ())


def test_keys_that_cannot_be_used_are_not_seen_beside_one_that_can() -> None:
    both = SECURE.replace("a=crypto", f"a=crypto:1 AEAD_AES_256_GCM inline:{KEY}\r\na=crypto", 1)
    view = plain_view(SESSION + both, "offered")
    assert view.count("a=crypto:3 ") == 1
    assert "a=unused:1 AEAD_AES_256_GCM" in view


def test_a_view_becomes_what_it_was_of() -> None:
    for lines in (PLAIN, SECURE, PLAIN + SECURE, DTLS + PLAIN, SECURE.replace("SAVP", "SAVPF")):
        view = plain_view(SESSION + lines, "offered")
        again = secure_again(view, SESSION + lines)
        assert again.replace("m=audio 0000", "m=audio 4004") == SESSION + lines


def test_only_descriptions_of_messages_are_looked_at() -> None:
    head = "INVITE sip:1@a SIP/2.0\r\nContent-Type: {}\r\n\r\n"
    text = head.format("text/plain") + SESSION + SECURE
    assert view_of_message(text, "required") == text
    text = head.format("application/sdp") + SESSION + SECURE
    assert "RTP/AVP  8" in view_of_message(text, "required")


def test_an_answer_takes_one_of_the_offers_keys() -> None:
    ours = [Crypto(1, "AES_CM_128_HMAC_SHA1_32", b"a" * 30), Crypto(2, SUITE, b"b" * 30)]
    theirs = [Crypto(2, SUITE, b"c" * 30)]
    keys = agreed(ours, theirs)
    assert keys is not None
    assert (keys.suite, keys.own, keys.theirs) == (SUITE, b"b" * 30, b"c" * 30)
    assert agreed(ours, [Crypto(1, SUITE, b"c" * 30)]) is None  # another suite
    assert agreed([], theirs) is None
    assert "c" * 30 not in repr(keys) + repr(theirs)


def test_the_first_network_holds_and_else_the_account() -> None:
    peers: tuple[tuple[str, SrtpPolicy], ...] = (
        ("192.0.2.7/32", "off"),
        ("192.0.2.0/24", "required"),
    )
    options = SipOptions(srtp="offered", srtp_peers=peers)
    told = [
        options.srtp_with(f"{host}:5060") for host in ("192.0.2.7", "192.0.2.8", "198.51.100.1")
    ]
    assert told == ["off", "required", "offered"]
    assert SipOptions(account=SipAccount(user="a", srtp="required")).srtp_with("a:1") == "required"
    assert not SipOptions(srtp_peers=(("192.0.2.0/24", "off"),)).may_encrypt
    with pytest.raises(ValueError, match="nowhere"):
        SipOptions(srtp_peers=(("nowhere", "off"),))
