"""The address at which calls name us is the one that the registrar has seen us at."""

import pytest

from callerside.agent.telephony.pjsua.endpoint import own_contact


@pytest.mark.parametrize(
    ("via", "contacts", "own"),
    [
        ("192.0.2.1:5062;rport", ["<sip:200@192.0.2.1:5062;ob>;expires=60"], "192.0.2.1:5062;ob"),
        ("192.0.2.1", ["<sip:200@192.0.2.1:5060>"], "192.0.2.1:5060"),
        (
            "192.0.2.1:5062;rport=1024;received=198.51.100.7;branch=z",
            ["<sip:200@192.0.2.1:5062>, <sip:200@198.51.100.7:1024;ob>;q=0.5"],
            "198.51.100.7:1024;ob",
        ),
        (
            "192.0.2.1:5062",
            ["<sip:200@192.0.2.9:5062>", "<sip:200@192.0.2.1:5062>"],
            "192.0.2.1:5062",
        ),
        ("192.0.2.1:5062", ["<sip:200@192.0.2.1:50621>", "<sip:201@192.0.2.1:5062>"], ""),
        ("192.0.2.1:5062", [], ""),
    ],
)
def test_our_own_contact_is_where_the_registrar_sees_us(
    via: str, contacts: list[str], own: str
) -> None:
    lines = ["SIP/2.0 200 OK", f"Via: SIP/2.0/UDP {via}", *(f"Contact: {c}" for c in contacts)]
    assert own_contact("\r\n".join([*lines, "", ""]), "200") == (own and f"sip:200@{own}")


def test_an_answer_of_no_sense_names_no_contact() -> None:
    assert own_contact("", "200") == ""
