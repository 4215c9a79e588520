"""A registrar that refuses is asked again, ever more slowly."""

import pytest

from agent.sip.registration import RefusalRetry


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
