"""What is made from the code is written where it belongs, and found where it is stale."""

from pathlib import Path

import pytest
from reference import PLACES, ROOT, MissingBlockError, Place, main, renewed

PAGE = """\
Before.

<!-- generated: words -->

old

<!-- end of generated: words -->

After.
"""
PLACE = Place(page="page.md", block="words", make=lambda: "| new |\n")


def test_every_page_is_as_the_code_has_it_and_every_block_is_there() -> None:
    assert main(["--check"]) == 0
    assert all((ROOT / place.page).is_file() for place in PLACES)


def test_only_what_stands_between_the_comments_is_written_anew(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    assert main([], places=[PLACE], root=tmp_path) == 0
    assert page.read_text() == PAGE.replace("old", "| new |")


def test_a_stale_block_is_found_named_and_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    assert main(["--check"], places=[PLACE], root=tmp_path) == 1
    assert capsys.readouterr().err == (
        "page.md: not as the code has it now: run nox -s reference\n"
    )
    assert page.read_text() == PAGE
    main([], places=[PLACE], root=tmp_path)
    assert main(["--check"], places=[PLACE], root=tmp_path) == 0


def test_two_blocks_of_a_page_are_both_written(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE + PAGE.replace("words", "numbers"))
    places = [PLACE, Place(page="page.md", block="numbers", make=lambda: "2")]
    main([], places=places, root=tmp_path)
    assert page.read_text() == PAGE.replace("old", "| new |") + PAGE.replace(
        "words", "numbers"
    ).replace("old", "2")


def test_a_file_without_blocks_is_made_whole(tmp_path: Path) -> None:
    whole = Place(page="made.json", make=lambda: "{}\n")
    assert main(["--check"], places=[whole], root=tmp_path) == 1
    assert main([], places=[whole], root=tmp_path) == 0
    assert (tmp_path / "made.json").read_text() == "{}\n"


@pytest.mark.parametrize(
    "page",
    [
        "nothing",
        PAGE.replace("<!-- generated: words -->", ""),
        PAGE.replace("<!-- end of generated: words -->", ""),
        PAGE + PAGE,
    ],
)
def test_a_page_without_exactly_one_place_for_a_block_is_an_error(page: str) -> None:
    with pytest.raises(MissingBlockError, match="expected one line <!-- generated: words -->"):
        renewed(page, "words", "new")


def test_the_error_names_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "page.md").write_text("nothing")
    assert main(["--check"], places=[PLACE], root=tmp_path) == 2
    assert capsys.readouterr().err.startswith("page.md: expected one line")
