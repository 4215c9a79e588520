"""Plays seeds of the fuzzer in the tree that it is told of, until one breaks an invariant.

Run by `mutants.py` in a process of its own, with a mutant's tree first on its path, and with the
seeds as a list in JSON for its input. Prints what was found as one line of JSON.
"""

import json
import sys
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from callerside.simulator.fuzz import play, runner

_MAX_PLAYS = 100
"""For shrinking: a quarter of a minute or so."""
_MORE = 10
"""Seeds after the one that found it, to see what else it breaks."""


def main(tree: str, seeds: Iterable[int], shrunk: str) -> dict[str, object]:
    """The first of those seeds that breaks an invariant; shrunk, if a file is named for it."""
    if not Path(play.__file__).resolve().is_relative_to(Path(tree).resolve()):
        raise SystemExit(f"{play.__file__} is not of {tree}")
    left = iter(seeds)
    for seed in left:
        outcome = play.play_seed(seed)
        if not outcome.breaches:
            continue
        found: dict[str, object] = {
            "seed": seed,
            "invariants": sorted({one.invariant for one in outcome.breaches}),
            "detail": outcome.breaches[0].detail,
        }
        if shrunk:
            small = play.shrink_outcome(outcome, max_plays=_MAX_PLAYS)
            text = runner.as_scenario_file(small, seed)
            Path(shrunk).write_text(text, encoding="utf-8")
            found["steps"] = len(small.data.get("steps") or small.data["requests"])
            found["invariant"] = small.breaches[0].invariant
        more = (play.play_seed(one).breaches for one in islice(left, _MORE))
        found["breaks"] = sorted(
            {one.invariant for some in (outcome.breaches, *more) for one in some}
        )
        return found
    return {}


if __name__ == "__main__":
    _, tree, shrunk = sys.argv
    sys.stdout.write(json.dumps(main(tree, json.load(sys.stdin), shrunk)) + "\n")
