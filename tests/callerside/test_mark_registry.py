"""Each mark is declared once, with its fields, and what is not as declared is named."""

import re
from pathlib import Path

import pytest

from callerside.mark_registry import MARKS, MarkKind, _marks, complaint

KINDS = [kind for of_source in MARKS.values() for kind in of_source.values()]
UNITS = {"ms": "ms", "ns": "ns", "hz": "Hz", "samples": "samples", "tokens": "tokens"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.source}-{kind.name}")
def test_each_mark_says_what_it_means_and_its_fields_carry_their_units(kind: MarkKind) -> None:
    assert kind.meaning
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", kind.name)
    for name, field in kind.fields.items():
        assert field.unit == UNITS.get(name.rsplit("_", 1)[-1], ""), name


@pytest.fixture(scope="module")
def product() -> str:
    """All that may write a mark."""
    root = Path(__file__).parents[2]
    rooms = ("agent", "fakes", "reports", "simulator", "callerside")
    files = {path.resolve() for room in rooms for path in (root / room).rglob("*.py")}
    texts = (path.read_text("utf-8") for path in files if path.name != "mark_registry.py")
    return "".join(texts)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.source}-{kind.name}")
def test_each_mark_is_named_by_something_that_writes_it(kind: MarkKind, product: str) -> None:
    assert re.search(rf"""["']{kind.name}["']""", product)


def test_no_mark_is_declared_twice() -> None:
    with pytest.raises(ValueError, match="agent answered: declared twice"):
        _marks("agent", ("answered", "", {}), ("answered", "", {}))


def test_a_mark_as_declared_is_fine() -> None:
    assert complaint("agent", "answered", {}) == ""
    assert complaint("agent", "realtime_failed", {"reason": "lost"}) == ""
    assert complaint("agent", "realtime_failed", {"reason": "lost", "status": 503}) == ""
    assert complaint("caller", "machine_stalled", {"late_ms": 3, "cpu": None, "process": "x"}) == ""


@pytest.mark.parametrize(
    ("name", "fields", "told"),
    [
        ("anwsered", {}, "declared nowhere"),
        ("call_dialed", {"uri": "sip:a@b"}, "declared nowhere"),  # the caller's, not the agent's
        ("answer_sent", {}, "status is missing"),
        ("answered", {"status": 200}, "status is declared nowhere"),
        ("answer_sent", {"status": "200"}, "status is '200', expected whole number"),
        ("answer_sent", {"status": True}, "status is True, expected whole number"),
        ("answer_sent", {"status": None}, "status is None, expected whole number"),
        ("greeting_started", {"origin": "disk"}, "origin is 'disk', expected cache or generated"),
    ],
)
def test_what_is_not_as_declared_is_named(name: str, fields: dict[str, object], told: str) -> None:
    assert told in complaint("agent", name, fields)
