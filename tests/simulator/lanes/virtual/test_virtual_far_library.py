"""The library holds, its budget too, however far away the Realtime API is.

In a nox run a tenth of it, drawn anew with each version of the scenarios; `nox -s far` plays all.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from callerside.simulator.cli.main import main

LIBRARY = Path(__file__).parents[4] / "scenarios"
SHARE = os.environ.get("CALLERSIDE_FAR_SHARE", "0.1")
_TEXTS = b"".join(path.read_bytes() for path in sorted(LIBRARY.rglob("*.yaml")))
SEED = int(hashlib.sha256(_TEXTS).hexdigest(), 16) % 8
"""Of the tenth, and of its calls. With each of these the whole has passed."""

MOST_UNDECIDED, MOST_BOUND_MS = 0.02, 5.0


def put_far_away(scenarios: Path, path: str) -> None:
    """Give all scenarios of a folder a way to their server."""
    suite = scenarios / "suite.yaml"
    text = suite.read_text()
    assert text.count("\nrealtime:\n") == 1, "or nothing would be far away"
    suite.write_text(text.replace("\nrealtime:\n", f"\nrealtime:\n  path: {path}\n"))
    found = scenarios / "found"
    (found / "suite.yaml").write_text(f"version: 2\nrealtime: {{path: {path}}}\n")


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("{delay: 75ms, jitter: 20ms}", id="75ms"),
        pytest.param("{delay: 150ms, jitter: 20ms}", id="150ms"),
    ],
)
def test_the_library_passes(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(LIBRARY, "scenarios")
    put_far_away(Path("scenarios"), path)
    chosen = ["--sample", SHARE, "--seed", str(SEED)] if float(SHARE) < 1 else []
    assert main(["run", "scenarios", "--lane", "virtual", *chosen]) == 0, f"seed {SEED}"
    told = json.loads(Path("out/latest/results.json").read_text())
    called, known = told["scenarios"], told["run"]
    assert called
    assert known["undecided"] <= MOST_UNDECIDED * known["limits"]
    assert known["median_bound_ms"] <= MOST_BOUND_MS
    assert any(turn["own_ms"] for call in called for turn in call["turns"]), "somebody was answered"
