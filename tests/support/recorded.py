"""Where recorded sessions of the real API are, for the tests that compare the fake with them."""

import os
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).parents[2]
FOLDER = Path(
    os.environ.get("CALLERSIDE_RECORDINGS") or _REPOSITORY.parent / "shared" / "recordings"
)

needs_recordings = pytest.mark.skipif(
    not FOLDER.is_dir(),
    reason="no recorded sessions here: CALLERSIDE_RECORDINGS names a folder of them",
)


def cassettes() -> list[Path]:
    return sorted(FOLDER.glob("*.yaml")) or [Path("none")]
