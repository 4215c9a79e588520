"""Another commit of this project, with an environment of its own, to measure beside this one."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TREES = ROOT / ".benchmarks" / "trees"
_ROOMS = ("agent", "callerside", "fakes", "reports", "simulator")
VARIABLE = "CALLERSIDE_BENCH_AGAINST"
"""Another commit than a benchmark's own, or the folder of a checkout whose environment is its
`.venv`."""


def other_tree(commit: str) -> Path:
    """The folder of a commit, with its environment in `.venv`; made where it is not there yet."""
    wanted = os.environ.get(VARIABLE, commit)
    if Path(wanted).is_dir():
        return Path(wanted).resolve()
    tree = TREES / wanted
    if not (tree / "installed").exists():
        tree.mkdir(parents=True, exist_ok=True)
        files = subprocess.run(
            ["git", "archive", wanted], cwd=ROOT, check=True, capture_output=True
        ).stdout
        subprocess.run(["tar", "x"], cwd=tree, check=True, input=files)
        subprocess.run([sys.executable, "-m", "venv", ".venv"], cwd=tree, check=True)
        install = ["pip", "install", "-q", "-c", "constraints.txt", "-e", ".[sim]"]
        subprocess.run([python(tree), "-m", *install], cwd=tree, check=True)
        (tree / "installed").touch()
    for one in (tree, ROOT):  # each start would compile what it loads, where Python keeps nothing
        rooms = [room for room in _ROOMS if (one / room).is_dir()]
        subprocess.run([python(one), "-m", "compileall", "-q", *rooms], cwd=one, check=True)
    return tree


def python(tree: Path) -> str:
    """The interpreter of a tree's environment; this one, where it has none."""
    own = tree / ".venv" / "bin" / "python"
    return str(own) if own.exists() else sys.executable


def command(tree: Path) -> list[str]:
    """What `callerside` is there: before the house it had another name."""
    programs = Path(python(tree)).parent
    (name,) = {"callerside", *(path.name for path in programs.glob("e?rshot"))} & {
        path.name for path in programs.iterdir()
    }
    return [str(programs / name)]
