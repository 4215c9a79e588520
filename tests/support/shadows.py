"""A folder that has modules named as Python's own are: no process of ours may import them."""

from pathlib import Path

SHADOWS = ("http", "queue", "socket")
TOLD = "of the working directory was imported"


def write_shadows(folder: Path) -> None:
    """Whoever imports one of them there ends."""
    for name in SHADOWS:
        (folder / f"{name}.py").write_text(f"raise SystemExit('the {name}.py {TOLD}')\n")
