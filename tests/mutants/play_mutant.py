"""Plays seeds of the fuzzer in the tree that it is told of, until one breaks an invariant.

Run by `mutants.py` in a process of its own, with a mutant's tree first on its path, and with the
seeds as a list in JSON for its input. What is found is made small, written as `callerside fuzz`
writes it, and played once more by the command that is printed for it. Prints one line of JSON.
"""

import json
import subprocess
import sys
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from callerside.simulator.cli.fuzz import printed
from callerside.simulator.fuzz import play, runner

_MORE = 10
"""Seeds after the one that found it, to see what else it breaks."""
_AGAIN = "play it again: callerside "


def main(tree: str, seeds: Iterable[int], folder: Path) -> dict[str, object]:
    """The first of those seeds that breaks an invariant, and how small it could be made."""
    if not Path(play.__file__).resolve().is_relative_to(Path(tree).resolve()):
        raise SystemExit(f"{play.__file__} is not of {tree}")
    left = iter(seeds)
    for seed in left:
        outcome = play.play_seed(seed)
        if not outcome.breaches:
            continue
        finding = runner.write_up(seed, folder, max_plays=play.MAX_PLAYS)
        small = runner.steps_of(finding.path)
        more = (play.play_seed(one).breaches for one in islice(left, _MORE))
        broken = {one.invariant for some in (outcome.breaches, *more) for one in some}
        return {
            "seed": seed,
            "invariant": finding.invariant,
            "detail": finding.detail,
            "steps": small,
            "command": (command := runner_command(finding)),
            "again": ends_with(1, command, Path(tree)),
            "breaks": sorted(broken),
        }
    return {}


def runner_command(finding: runner.Finding) -> list[str]:
    """What is printed for it, without its first word."""
    (line,) = (line for line in printed(finding) if _AGAIN in line)
    return line.partition(_AGAIN)[2].split()


def ends_with(code: int, command: list[str], folder: Path) -> bool:
    """Whether `callerside` with these words, called in a folder, ends with this exit code."""
    program = [sys.executable, "-m", "callerside.simulator.cli.main", *command]
    done = subprocess.run(program, cwd=folder, capture_output=True, check=False)
    return done.returncode == code


if __name__ == "__main__":
    _, tree, folder = sys.argv
    told = main(tree, json.load(sys.stdin), Path(folder))
    sys.stdout.write(json.dumps(told) + "\n")
