"""Who calls whom, from all the ways in which an INVITE can say so, or fail to."""

import random

import pytest

from callerside.agent.telephony.invite import parties, readable, traceparent


def invite(uri: str, sender: str, header: str = "From") -> str:
    return (
        f"INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\n"
        f"{header}: {sender};tag=1\r\nTo: <sip:somebody@else.example>\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("uri", "sender", "expected"),
    [
        ("sip:100@127.0.0.1:5060", "<sip:alice@example.org>", ("100", "alice")),
        ("sips:100@h;transport=tcp", '"Al; <x>" <sip:alice@example.org>', ("100", "alice")),
        ("sip:%2B49301234@h", "sip:%2B15551234@h", ("+49301234", "+15551234")),
        ("tel:+49301234", "<tel:+15551234>", ("+49301234", "+15551234")),
        ("sip:100;phone-context=x@h", "<sip:alice:secret@h>", ("100", "alice")),
        ("sip:%00%0Aevil@h", "<sip:a%0D%0Ab@h>", ("evil", "ab")),
        ("http://100@h", "<mailto:a@b>", ("", "")),
        ("sip:1@h", '"sip:+4930110@police" <sip:mallory@h>', ("1", "mallory")),
        ("sip:1@h", r'"a\" <sip:+4930110@h>" <sip:mallory@h>', ("1", "mallory")),
        ("sip:1@h", "sip:+4930110 <sip:mallory@h>", ("1", "mallory")),
        ("sip:1@h", "\r\n <sip:folded@h>", ("1", "folded")),
        ("sip:1@h", "<sip:a@h;x=sip:b@h>", ("1", "a")),
        ("sip:1@h", "sip:a@h;x=<sip:b@h>", ("1", "b")),
        ("sip:" + "9" * 500 + "@h", "<sip:a@h>", ("9" * 128, "a")),
    ],
)
def test_user_parts_are_read(uri: str, sender: str, expected: tuple[str, str]) -> None:
    assert parties(invite(uri, sender)) == expected


def test_the_compact_form_of_from_is_known() -> None:
    assert parties(invite("sip:1@h", "<sip:bob@h>", header="f")) == ("1", "bob")


def test_garbage_is_nobody() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - shown by pytest when the test fails
    rng = random.Random(seed)
    for _ in range(300):
        called, caller = parties(rng.randbytes(rng.randrange(300)).decode(errors="surrogateescape"))
        assert len(called) <= 128
        assert len(caller) <= 128


@pytest.mark.parametrize(
    ("wire", "read"),
    [
        (b"plain", "plain"),
        ("caf\u00e9".encode(), "caf\u00e9"),
        (b"caf\xe9", r"caf\xe9"),
        (b"\xff\xfe@host", r"\xff\xfe@host"),
    ],
)
def test_bytes_that_are_no_text_are_escaped(wire: bytes, read: str) -> None:
    assert readable(wire.decode(errors="surrogateescape")) == read


def test_half_a_surrogate_pair_that_stands_for_no_byte_is_escaped_too() -> None:
    assert readable("a\ud800\udce9") == r"a\ud800\udce9"


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (f"00-{'a' * 32}-{'b' * 16}-01", True),
        (f"00-{'a' * 32}-{'b' * 16}-00", True),
        (f"00-{'0' * 32}-{'b' * 16}-01", False),
        (f"00-{'a' * 32}-{'0' * 16}-01", False),
        (f"ff-{'a' * 32}-{'b' * 16}-01", False),
        (f"00-{'A' * 32}-{'b' * 16}-01", False),
        (f"00-{'a' * 32}-{'b' * 16}-01-more", False),
        (f"00-{'a' * 32}-{'b' * 16}-01, 00", False),
        ("", False),
    ],
)
def test_a_trace_is_read_as_it_is_written_or_not_at_all(said: str, read: bool) -> None:
    """W3C Trace Context, section 3.2."""
    asked = invite("sip:1@h", "<sip:a@h>").replace("\r\n\r\n", f"\r\nTraceparent: {said}\r\n\r\n")
    assert traceparent(asked) == (said if read else "")
