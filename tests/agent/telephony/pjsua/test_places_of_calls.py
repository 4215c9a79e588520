"""How many of the stack's places for calls are taken."""

from types import SimpleNamespace
from typing import Any, cast

from callerside.agent.telephony.pjsua.endpoint import SipEndpoint


def taken(calls: list[int | None], over: list[int]) -> int:
    def call_at(place: int) -> object:
        return SimpleNamespace(getId=lambda: place)

    endpoint = SimpleNamespace(
        legs=[SimpleNamespace(place=place) for place in calls],
        _retired=[call_at(place) for place in over],
    )
    places = cast(Any, SipEndpoint.places_taken).fget(endpoint)
    return cast(int, places)


def test_a_call_that_is_over_has_its_place_until_the_next_call_has_it() -> None:
    """A BYE and the next INVITE in one poll: the object is kept, and is active by its number."""
    assert taken([0, 1, None], []) == 3
    assert taken([0, 1], [2]) == 3
    assert taken([0, 1, 2], [0]) == 3
    assert taken([0, 1, None], [0, 0, 3, 3]) == 4
