"""The client's program of docs/clients.md, as it is written there, in an empty folder."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "clients.md"
CLIENT = os.environ["CALLERSIDE_CLIENT"]
NODE = os.environ.get("CALLERSIDE_NODE")
"""Where a client of JavaScript is installed."""


def shown(language: str, first_line: str) -> str:
    """A program of the page."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (program,) = (one for one in found if one.startswith(f"{first_line}\n"))
    return program


def test_what_the_page_shows_runs_as_written(tmp_path: Path) -> None:
    if NODE is None:
        name = f"test_{CLIENT}.py"
        program = shown("python", f"# {name}")
        command = [sys.executable, "-m", "pytest", "-q", name]
    else:
        name = f"{CLIENT.removesuffix('_npm')}.test.mjs"
        program = shown("javascript", f"// {name}")
        command = ["node", "--test", name]
        shutil.copytree(Path(NODE) / "node_modules", tmp_path / "node_modules", symlinks=True)
    assert len(program.splitlines()) <= 30
    (tmp_path / name).write_text(program)
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
