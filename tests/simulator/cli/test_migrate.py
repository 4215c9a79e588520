"""`callerside migrate`: what it rewrites, what it leaves alone, and what it says."""

import errno
import os
import tempfile
from pathlib import Path

import pytest

from callerside.simulator.cli.main import main
from callerside.simulator.scenario.loader import load
from callerside.simulator.scenario.model import Scenario

OLD = """\
# Protects: nothing.
about: "x"   # the about
agent:
  dtmf: {'gap_ms': 400, interrupts: true}  # keys
steps: [hang_up]
budget: {gap_ms: off}
"""
NEW = OLD.replace("about", "version: 2\nabout", 1).replace("'gap_ms'", "'interdigit_timeout_ms'")

Output = pytest.CaptureFixture[str]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one file of each kind, and some that are none of ours."""
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "scenarios/deep/old.yaml": OLD,
        "scenarios/new.yaml": NEW,
        "scenarios/suite.yaml": "caller: {codec: PCMA}\n",
        "agent.yml": "voice: ash\n",
        "script.yaml": "replies: [{say: One.}]\n",
        "compose.yml": "services: {a: {image: b}}\n",
        ".hidden/old.yaml": OLD,
        "notes.txt": OLD,
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def everything(tree: Path) -> dict[str, str]:
    return {str(p.relative_to(tree)): p.read_text() for p in tree.rglob("*") if p.is_file()}


def as_loaded(scenarios: list[Scenario]) -> list[object]:
    return [(one.name, one.model_dump()) for one in scenarios]


def test_a_tree_is_migrated_and_means_what_it_meant(tree: Path, capsys: Output) -> None:
    before, meant = everything(tree), as_loaded(load([Path("scenarios")]))
    assert main(["migrate", "."]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "agent.yml: version 1 -> 2",
        "script.yaml: version 1 -> 2",
        "scenarios/suite.yaml: version 1 -> 2",
        "scenarios/deep/old.yaml:4:10: gap_ms is called interdigit_timeout_ms now",
        "scenarios/deep/old.yaml: version 1 -> 2",
        "4 of 6 files rewritten",
    ]
    assert as_loaded(load([Path("scenarios")])) == meant
    assert everything(tree) == before | {
        "scenarios/deep/old.yaml": NEW,
        "scenarios/suite.yaml": "version: 2\ncaller: {codec: PCMA}\n",
        "agent.yml": "version: 2\nvoice: ash\n",
        "script.yaml": "version: 2\nreplies: [{say: One.}]\n",
    }
    assert main(["migrate", "."]) == 0
    assert capsys.readouterr().out == "0 of 6 files rewritten\n"


def test_what_would_be_done_is_told_and_not_done(tree: Path, capsys: Output) -> None:
    before = everything(tree)
    assert main(["migrate", "--check", "scenarios", "scenarios/deep/old.yaml"]) == 1
    told = capsys.readouterr().out
    assert "scenarios/deep/old.yaml:4:10: gap_ms is called interdigit_timeout_ms now\n" in told
    assert told.endswith("2 of 3 files to rewrite\n")
    assert everything(tree) == before
    assert main(["migrate", "--check", "scenarios/new.yaml"]) == 0


def test_a_file_that_cannot_be_migrated_is_named_and_the_others_are(
    tree: Path, capsys: Output
) -> None:
    (tree / "scenarios/bad.yaml").write_text("about: [\n")
    (tree / "scenarios/later.yaml").write_text("about: x\nsteps: [hang_up]\nversion: 9\n")
    assert main(["migrate", "scenarios", "none.yaml", "compose.yml"]) == 2
    told = capsys.readouterr()
    assert [line.split(": ")[0] for line in told.err.splitlines()] == [
        "scenarios/bad.yaml:2:1", "scenarios/later.yaml:3:10", "none.yaml", "compose.yml"
    ]  # fmt: skip
    assert "neither a scenario or suite, nor settings, nor a script" in told.err
    assert "upgrade callerside" in told.err
    assert (tree / "scenarios/deep/old.yaml").read_text() == NEW


@pytest.mark.parametrize(
    ("name", "text", "place", "what"),
    [
        ("agent.yml", "voice: ash\nbogus: 1\n", "2:1", 'unknown key "bogus"'),
        ("agent.yml", "sip: {bogus: 1}\n", "1:7", 'unknown key "bogus"'),
        ("agent.yml", "voice: ash\n---\nvoice: marin\n", "2:1", "a file holds one document"),
        ("scenarios/suite.yaml", "caller: {}\nbogus: 1\n", "2:1", 'unknown key "bogus"'),
        ("scenarios/deep/old.yaml", f"{OLD}bogus: 1\n", "7:1", 'unknown key "bogus"'),
        ("script.yaml", "replies: []\nbogus: 1\n", "2:1", 'unknown key "bogus"'),
    ],
)
def test_a_file_that_cannot_be_used_is_named_and_left_as_it_is(
    name: str, text: str, place: str, what: str, tree: Path, capsys: Output
) -> None:
    (tree / name).write_text(text)
    (tree / "kubernetes.yaml").write_text("kind: A\n---\nkind: B\n")
    assert main(["migrate", "."]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"{name}:{place}: ")
    assert what in told
    assert told.count("\n") == 1
    assert (tree / name).read_text() == text


def test_no_link_is_followed(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "old.yaml").write_text(OLD)
    (tree / "scenarios/link.yaml").symlink_to(outside / "old.yaml")
    (tree / "scenarios/folder").symlink_to(outside)
    assert main(["migrate", "scenarios"]) == 0
    assert main(["migrate", "scenarios/link.yaml"]) == 2
    assert main(["migrate", "scenarios/folder"]) == 2
    assert (outside / "old.yaml").read_text() == OLD
    assert (tree / "scenarios/link.yaml").is_symlink()


def test_who_may_read_a_file_stays_so(tree: Path) -> None:
    (tree / "agent.yml").chmod(0o640)
    assert main(["migrate", "agent.yml"]) == 0
    assert (tree / "agent.yml").stat().st_mode & 0o777 == 0o640


def test_a_folder_that_cannot_be_written_is_told(
    tree: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(**_where: object) -> tuple[int, str]:  # root may write anywhere else
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "mkstemp", read_only)
    assert main(["migrate", "scenarios/deep"]) == 2
    assert (
        "scenarios/deep/old.yaml: cannot be written: Read-only file system"
        in capsys.readouterr().err
    )
    assert (tree / "scenarios/deep/old.yaml").read_text() == OLD


def test_check_says_in_one_line_that_a_file_is_old(tree: Path, capsys: Output) -> None:
    assert main(["check", "scenarios/deep/old.yaml"]) == 0
    told = capsys.readouterr()
    assert told.err == (
        "scenarios/deep/old.yaml:4:10: gap_ms is called interdigit_timeout_ms now; "
        "`callerside migrate` rewrites the files\n"
    )
    assert main(["check", "scenarios/new.yaml"]) == 0
    assert capsys.readouterr().err == ""


def test_what_is_shipped_and_what_new_writes_is_of_the_newest_version(
    tree: Path, capsys: Output
) -> None:
    assert main(["new", "mine"]) == 0
    root = Path(__file__).parents[3]
    paths = [str(root / "scenarios"), str(root / "tests"), "scenarios/mine.yaml"]
    assert main(["migrate", "--check", *paths]) == 0
