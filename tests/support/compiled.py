"""What several processes of tests would each compile at once, compiled before they begin.

Our modules, and the tests themselves, whose assertions pytest rewrites: in a new checkout each
process would do all of that, while the others do.
"""

import compileall
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from _pytest.assertion import rewrite  # pytest has no other door to what it keeps of a test

MANY = 16
"""Files that a process is given at once."""


def compile_before(rooms: Iterable[Path], tests: Iterable[Path]) -> None:
    """Compile folders of modules, and files of tests of which there is nothing or what is stale."""
    for room in rooms:
        compileall.compile_dir(room, quiet=2, workers=0)
    stale = [path for path in tests if rewrite._read_pyc(path, _kept(path)) is None]
    if stale:
        with ProcessPoolExecutor() as pool:
            list(pool.map(_rewrite, stale, chunksize=MANY))


def _kept(test: Path) -> Path:
    """Where pytest looks for what it made of a test."""
    return Path(rewrite.get_cache_dir(test)) / (test.stem + rewrite.PYC_TAIL)


def _rewrite(test: Path) -> None:
    """As pytest does when it imports the test; what cannot be compiled is left for it to tell."""
    kept = _kept(test)
    passing = kept.with_name(f"{kept.name}.{os.getpid()}")
    try:
        kept.parent.mkdir(exist_ok=True)
        made = rewrite._rewrite_test(test, None)  # type: ignore[arg-type]
        with passing.open("wb") as file:
            rewrite._write_pyc_fp(file, *made)
        passing.replace(kept)
    except (OSError, SyntaxError, ValueError):
        passing.unlink(missing_ok=True)
