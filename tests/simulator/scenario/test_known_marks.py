"""The marks that scenarios may name are those of docs/marks.md."""

from pathlib import Path

from callerside.simulator.scenario.known_marks import known_marks

ROOT = Path(__file__).parents[3]


def test_the_page_is_read_whole() -> None:
    page = (ROOT / "docs/marks.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    names = {name for line in rows for name in line.split("|")[1].replace("`", "").split(",")}
    assert {name.strip() for name in names} == {
        name for marks in known_marks().values() for name in marks
    }


def test_fields_are_read_without_their_remarks() -> None:
    assert known_marks()["agent"]["answered"] == frozenset()
    assert known_marks()["agent"]["greeting_started"] == {"origin"}
    assert known_marks()["caller"]["beep_heard"] == {"hz", "length_ms"}
    assert known_marks()["realtime"]["response_done"] >= {"response", "status", "reason"}


def test_the_packaged_page_is_the_documented_one() -> None:
    assert (ROOT / "simulator/scenario/marks.md").resolve() == ROOT / "docs/marks.md"
