"""The project was called otherwise; that name is another package's, and must not come back."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLD = re.compile("ear" + "shot", re.IGNORECASE)
EXCEPTIONS = {
    "CHANGELOG.md": "says what the project was called",
    "docs/metrics.md": "measures the voice activity detector of that name beside others",
}
"""Files that may say it, and why."""


def test_the_old_name_is_nowhere() -> None:
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    found = []
    for name in filter(None, names.split("\0")):
        path = ROOT / name
        if OLD.search(name):
            found.append(name)
        if not path.is_file() or name in EXCEPTIONS:
            continue
        lines = path.read_bytes().decode(errors="replace").splitlines()
        found += [f"{name}:{number}" for number, line in enumerate(lines, 1) if OLD.search(line)]
    assert found == []


def test_the_exceptions_need_to_be() -> None:
    assert [name for name in EXCEPTIONS if not OLD.search((ROOT / name).read_text())] == []
