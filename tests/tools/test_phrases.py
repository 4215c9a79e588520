"""What the library and callerside itself say is shipped as sound, and nothing else is."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import phrases
import pytest

from callerside.speech import shipped


def test_all_that_is_said_is_shipped_and_nothing_else() -> None:
    """In a process of its own: what was said before is not asked for again."""
    subprocess.run([sys.executable, phrases.__file__, "--check"], check=True)


def test_what_is_missing_or_too_much_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "phrases"
    shutil.copytree(shipped.FOLDER, folder)
    index = json.loads((folder / "index.json").read_text())
    (folder / index[0]["file"]).unlink()
    (folder / "nobody.flac").touch()
    (folder / "index.json").write_text(json.dumps(index[:-1]))
    monkeypatch.setattr(shipped, "FOLDER", folder)
    monkeypatch.setattr(shipped, "INDEX", folder / "index.json")
    shipped.read_index.cache_clear()
    every = {shipped.Phrase(**one["phrase"]) for one in index}
    monkeypatch.setattr(phrases, "said", lambda: every)
    try:
        assert phrases.main(["--check"]) == 1
    finally:
        shipped.read_index.cache_clear()
    told = capsys.readouterr().err
    assert index[-1]["phrase"]["text"] in told
    assert index[0]["file"] in told
    assert "nobody.flac" in told
