"""What is compiled of a test beforehand is what pytest would have made, and is taken by it."""

import subprocess
import sys
from pathlib import Path

from compiled import compile_before


def test_pytest_takes_what_was_compiled_before_and_tells_what_was_compared(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    test, broken = tmp_path / "test_it.py", tmp_path / "test_broken.py"
    test.write_text("def test_sum():\n    found = [1, 2]\n    assert sum(found) == 4\n")
    broken.write_text("def test(:\n")
    compile_before([], [test, broken])
    (made,) = (tmp_path / "__pycache__").iterdir()
    before = made.stat()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(test)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "assert 3 == 4" in done.stdout, done.stdout + done.stderr
    assert made.stat().st_ino == before.st_ino, "pytest made it once more"

    test.write_text("def test_sum():\n    assert True\n")
    compile_before([], [test])
    assert made.stat().st_ino != before.st_ino, "what is stale is made anew"
