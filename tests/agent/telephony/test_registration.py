"""A registrar that refuses is asked again, ever more slowly."""

import pytest

from callerside.agent.telephony.registration import RefusalRetry, granted_s
from callerside.agent.telephony.sip_message import SipMessage


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
def test_what_may_pass_is_no_refusal(status: int) -> None:
    assert RefusalRetry(10).next_s(status, registered=False) is None


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        (["Contact: <sip:200@h>;expires=60"], 60),
        (["Contact: <sip:200@h>; Expires = 60", "Expires: 30"], 60),
        (["Contact: <sip:200@h>", "Expires: 30"], 30),
        (["Contact: <sip:200@h>"], 300),
    ],
)
def test_how_long_we_are_known_is_what_the_registrar_says(lines: list[str], seconds: int) -> None:
    answer = SipMessage("\r\n".join(["SIP/2.0 200 OK", *lines, "", ""]))
    assert granted_s(answer, 300) == seconds
