"""Files that are whole or absent."""

import os
import tempfile
from pathlib import Path

_PUBLIC = 0o644


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that nobody ever sees half of it; what was there before is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(temporary).chmod(_PUBLIC)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
