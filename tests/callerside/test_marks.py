"""The timeline: what is written is read again, and a bad line is named."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callerside.marks import Mark, merge
from callerside.timelines import TimelineError, TimelineWriter, read_timeline

VALUES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()
MARKS = st.builds(
    Mark,
    at_ns=st.integers(0, 2**62),
    source=st.sampled_from(["agent", "caller", "realtime"]),
    call=st.text(),
    name=st.text(),
    fields=st.dictionaries(st.text(), VALUES),
)


@given(st.lists(MARKS))
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, marks: list[Mark]
) -> None:
    path = tmp_path_factory.mktemp("timeline") / "t.jsonl"
    writer = TimelineWriter(path)
    for mark in marks:
        writer(mark)
    writer.close()
    assert read_timeline(path) == marks


def test_half_a_surrogate_pair_from_a_broken_peer_does_not_end_a_call(tmp_path: Path) -> None:
    writer = TimelineWriter(tmp_path / "t.jsonl")
    writer(Mark(at_ns=1, source="agent", call="c", name="n", fields={"said": "a\ud800b"}))
    writer.close()
    assert [mark.fields for mark in read_timeline(tmp_path / "t.jsonl")] == [{"said": "a?b"}]


def test_a_timeline_that_the_disk_does_not_take_is_closed_all_the_same() -> None:
    writer = TimelineWriter(Path("/dev/full"))
    writer(Mark(at_ns=1, source="agent", call="c", name="call_ended"))
    with pytest.raises(OSError, match="No space"):
        writer.close()
    writer.close()


def test_a_line_ends_where_the_file_says_and_not_where_a_text_has_a_line(tmp_path: Path) -> None:
    mark = Mark(at_ns=1, source="agent", call="c", name="n", fields={"said": "a\u2028b\x85c"})
    (tmp_path / "t.jsonl").write_text(mark.to_json() + "\n", encoding="utf-8")
    assert read_timeline(tmp_path / "t.jsonl") == [mark]


def test_a_mark_after_close_is_dropped(tmp_path: Path) -> None:
    writer = TimelineWriter(tmp_path / "t.jsonl")
    writer.close()
    writer(Mark(at_ns=1, source="agent", call="c", name="late"))
    writer.close()
    assert read_timeline(tmp_path / "t.jsonl") == []


def test_a_line_cut_short_by_a_killed_process_is_left_out(tmp_path: Path) -> None:
    whole = Mark(at_ns=1, source="agent", call="c", name="answered")
    (tmp_path / "t.jsonl").write_text(whole.to_json() + "\n" + whole.to_json()[:20])
    assert read_timeline(tmp_path / "t.jsonl") == [whole]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("nonsense", "t.jsonl:2: not a mark"),
        ("[]", "Expected `object`, got `array`"),
        ('{"at_ns": 1}', "missing required field `source`"),
        ('{"at_ns": 1, "source": "x", "call": "c", "name": "n"}', "Invalid enum value 'x'"),
        (
            '{"at_ns": 1.5, "source": "agent", "call": "c", "name": "n"}',
            "Expected `int`, got `float`",
        ),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    good = Mark(at_ns=1, source="agent", call="c", name="answered").to_json()
    (tmp_path / "t.jsonl").write_text(f"{good}\n{line}\n")
    with pytest.raises(TimelineError, match=complaint):
        read_timeline(tmp_path / "t.jsonl")


def test_merging_sorts_by_time_and_keeps_ties_in_order() -> None:
    def mark(at_ns: int, name: str) -> Mark:
        return Mark(at_ns=at_ns, source="agent", call="c", name=name)

    merged = merge([[mark(1, "a"), mark(3, "b")], [mark(1, "c"), mark(2, "d")]])
    assert [m.name for m in merged] == ["a", "c", "d", "b"]
