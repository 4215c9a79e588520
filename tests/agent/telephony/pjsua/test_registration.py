"""A registrar that refuses is asked again, ever more slowly."""

import pytest

from callerside.agent.telephony.pjsua.endpoint import RefusalRetry, own_contact


def test_refusals_in_a_row_are_waited_for_longer_and_longer_up_to_an_hour() -> None:
    retry = RefusalRetry(10)
    waits_s = [retry.next_s(403, registered=False) for _ in range(20)]
    assert waits_s[:4] == [60, 120, 240, 480]
    assert waits_s[-1] == 3600


def test_a_success_makes_them_forgotten() -> None:
    retry = RefusalRetry(10)
    assert [retry.next_s(404, registered=False) for _ in range(3)] == [60, 120, 240]
    assert retry.next_s(200, registered=True) is None
    assert retry.next_s(403, registered=False) == 60


@pytest.mark.parametrize("status", [408, 500, 503, 603])
def test_what_the_stack_tries_again_by_itself_is_left_to_it(status: int) -> None:
    assert RefusalRetry(10).next_s(status, registered=False) is None


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
