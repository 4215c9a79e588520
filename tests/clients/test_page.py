"""The client's program of docs/clients.md, as it is written there, in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "clients.md"
CLIENT = os.environ["CALLERSIDE_CLIENT"]


def test_what_the_page_shows_runs_as_written(tmp_path: Path) -> None:
    name = f"test_{CLIENT}.py"
    shown = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (program,) = (one for one in shown if one.startswith(f"# {name}\n"))
    assert len(program.splitlines()) <= 30
    (tmp_path / name).write_text(program)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", name],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
