"""Keys and passwords reach no mark, whoever says them."""

import pytest

from callerside.agent.observe.secrets import REDACTED, SecretFilter
from callerside.marks import Mark

KEY = "an-exact-value"


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (f"Incorrect API key provided: {KEY}.", f"Incorrect API key provided: {REDACTED}."),
        ("sk-proj-abcdefgh1234 is wrong", f"{REDACTED} is wrong"),
        ("Authorization: Bearer xyz", f"Authorization: {REDACTED}"),
        ("nothing of that kind", "nothing of that kind"),
    ],
)
def test_what_a_server_says_back_is_not_written_down(said: str, kept: str) -> None:
    got: list[Mark] = []
    sink = SecretFilter([KEY]).sink(got.append)
    fields = {"message": said, "deep": [{said: said}], "count": 3}
    sink(Mark(at_ns=1, source="agent", call="c", name="realtime_error", fields=fields))
    assert got[0].fields == {"message": kept, "deep": [{kept: kept}], "count": 3}


def test_a_mark_without_any_is_the_same() -> None:
    got: list[Mark] = []
    mark = Mark(at_ns=1, source="agent", call="c", name="answered", fields={"status": 200})
    SecretFilter([KEY]).sink(got.append)(mark)
    assert got[0] is mark


def test_sound_is_left_alone() -> None:
    event = {"type": "response.output_audio.delta", "delta": KEY.encode(), "text": KEY}
    cleaned = SecretFilter([KEY]).data(event)
    assert cleaned == {**event, "text": REDACTED}


def test_a_short_one_is_not_looked_for_in_words() -> None:
    assert SecretFilter(["and"]).text("this and that") == "this and that"
