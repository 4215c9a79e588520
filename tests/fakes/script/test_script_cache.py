"""Scripts are ready before they are asked for, and read again when they change."""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from callerside.fakes.script import cache
from callerside.fakes.script.cache import ScriptCache
from callerside.fakes.script.loader import ScriptError, load_prepared
from callerside.fakes.script.prepared import PreparedScript


def test_a_script_is_ready_before_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("replies: [{say: Yes.}]")
    cache = ScriptCache(tmp_path)
    assert cache.ready("one") is None
    cache.fill()
    ready = cache.ready("one")
    assert ready is not None
    assert ready.reply(1).transcript == "Yes."


def test_a_changed_script_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "one.yaml"
    path.write_text("replies: [{say: Yes.}]")
    cache = ScriptCache(tmp_path)
    cache.fill()
    path.write_text("replies: [{say: No.}]")
    os.utime(path, ns=(1, 1))
    assert cache.ready("one") is None
    found = cache.find("one")
    assert found is not None
    assert found.reply(1).transcript == "No."
    assert cache.ready("one") is found


def test_a_stage_without_a_script_is_not_found(tmp_path: Path) -> None:
    cache = ScriptCache(tmp_path)
    assert cache.ready("none") is None
    assert cache.find("none") is None


def test_a_bad_script_is_named_when_it_is_asked_for_and_keeps_no_other_from_being_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "bad.yaml").write_text("repplies: []")
    (tmp_path / "good.yaml").write_text("{}")
    cache = ScriptCache(tmp_path)
    cache.fill()
    assert "bad.yaml:1" in caplog.text
    assert cache.ready("good") is not None
    with pytest.raises(ScriptError, match=r"bad\.yaml:1:1: unknown key \"repplies\""):
        cache.find("bad")


def test_scripts_that_are_asked_for_at_once_are_all_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is read while another, in its own thread, is compared with those that are ready."""
    for name in ("one", "two", "three"):
        (tmp_path / f"{name}.yaml").write_text(f"replies: [{{say: {name}.}}]")
    scripts = ScriptCache(tmp_path)
    scripts.find("one")

    def while_another_is_read(path: Path, known: Iterable[PreparedScript]) -> PreparedScript:
        others = iter(known)
        next(others)
        monkeypatch.undo()
        assert scripts.find("three") is not None
        return load_prepared(path, others)

    monkeypatch.setattr(cache, "load_prepared", while_another_is_read)
    found = scripts.find("two")
    assert found is not None
    assert found.reply(1).transcript == "two."


def test_a_script_with_several_names_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.yaml").write_text("replies: [{say: Yes.}]")
    for name in ("two", "three"):
        (tmp_path / f"{name}.yaml").symlink_to("one.yaml")
    read: list[str] = []

    def load(path: Path, known: list[PreparedScript]) -> PreparedScript:
        read.append(path.name)
        return load_prepared(path, known)

    monkeypatch.setattr("callerside.fakes.script.cache.load_prepared", load)
    cache = ScriptCache(tmp_path)
    cache.fill()
    assert cache.ready("one") is cache.ready("two") is cache.ready("three")
    (tmp_path / "late.yaml").symlink_to("one.yaml")
    assert cache.ready("late") is cache.ready("one")
    assert read == ["one.yaml"]
