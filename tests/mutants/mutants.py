"""The yardstick: how many of the faults that were there once fuzzer and tests find, each alone.

    python tests/mutants/mutants.py                      # all of them: hours; writes the page
    python tests/mutants/mutants.py --only NAME          # one, or several
    python tests/mutants/mutants.py --seeds 2000         # no more for each
    python tests/mutants/mutants.py --no-tests           # the fuzzer alone
    python tests/mutants/mutants.py --page               # the page anew from what is known
    python tests/mutants/mutants.py --play NAME          # the found seed once more, made small

Seeds are first played without any mutant (`probes`): each mutant is then played with those that
come by its place and break nothing without it, for the others cannot show it. What was found is
kept in `found.json` beside this file; the table of docs/fuzzing.md is made of it.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import mutants_of_a_kind
import mutants_of_agent
import mutants_of_ear
import mutants_of_fake
import mutants_of_harness
import mutants_of_lanes
import mutants_of_security
import mutants_of_sip
from mutant import GRAVE_SEEDS, MOST_SEEDS, ROOT, Mutant, environment, planted
from probes import put_probes

from callerside.atomic_files import write_atomically
from callerside.simulator.fuzz import play

sys.path.append(str(ROOT / "tests" / "support"))  # where tests find it, and so does mypy
from planted_bugs import BUGS

ALL: tuple[Mutant, ...] = (
    *mutants_of_agent.MUTANTS,
    *mutants_of_harness.MUTANTS,
    *mutants_of_fake.MUTANTS,
    *mutants_of_lanes.MUTANTS,
    *mutants_of_a_kind.MUTANTS,
    *mutants_of_ear.MUTANTS,
    *mutants_of_sip.MUTANTS,
    *mutants_of_security.MUTANTS,
)
FOUND = Path(__file__).with_name("found.json")
PAGE = ROOT / "docs" / "fuzzing.md"
_TESTS_LIMIT_S = 900
_TESTS_FAILED = 1
_SEEDS_A_BATCH = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What was asked for."""

    seeds: int
    first: int
    plays: int
    fuzz: bool
    tests: bool


def seeds_by_mutant(mutants: list[Mutant], options: Options, jobs: int) -> dict[str, list[int]]:
    """The seeds that come by each mutant's place, and break nothing without it."""
    grave = [mutant for mutant in mutants if mutant.grave]
    most = {GRAVE_SEEDS: grave, MOST_SEEDS: mutants if len(grave) < len(mutants) else []}
    last = options.first + min(options.seeds, max(n for n, some in most.items() if some))
    batches = range(options.first, last, _SEEDS_A_BATCH)
    found: dict[str, list[int]] = {mutant.name: [] for mutant in mutants}
    with planted(None) as tree, ThreadPoolExecutor(jobs) as pool:
        always = put_probes(mutants, tree)
        sizes = [min(_SEEDS_A_BATCH, last - first) for first in batches]
        for lines in pool.map(partial(_note, tree), batches, sizes):
            for seed, names in lines:
                for name in always.union(names):
                    found[name].append(seed)
    return found


def _note(tree: Path, first: int, seeds: int) -> list[tuple[int, list[str]]]:
    command = [str(Path(__file__).with_name("probes.py")), str(tree), str(first), str(seeds)]
    return [json.loads(line) for line in _python(command, tree).splitlines()]


def by_fuzzer(
    mutant: Mutant, tree: Path, seeds: Iterable[int], options: Options
) -> dict[str, object]:
    """What the fuzzer finds of a mutant: the seed, by which invariant, in how many steps."""
    most = min(options.seeds, GRAVE_SEEDS if mutant.grave else MOST_SEEDS)
    coming_by = [seed for seed in seeds if seed < options.first + most]
    told = {"come_by": len(coming_by), "of": most}
    if len(coming_by) > options.plays:
        coming_by = coming_by[: options.plays]
        told["of"] = coming_by[-1] + 1 - options.first
    with TemporaryDirectory() as folder:
        return {**told, **_play(tree, coming_by, Path(folder) / "small.yaml")}


def _play(tree: Path, seeds: Sequence[int], small: Path) -> dict[str, object]:
    command = [str(Path(__file__).with_name("play_mutant.py")), str(tree), str(small)]
    told = _python(command, tree, given=json.dumps(seeds))
    found: dict[str, object] = json.loads(told.splitlines()[-1])
    return found


def _python(command: list[str], tree: Path, given: str = "") -> str:
    """What a script prints that imports what lies in a tree.

    Raises:
        RuntimeError: it cannot even be imported, or not be played at all.
    """
    done = subprocess.run(
        [sys.executable, *command],
        cwd=tree,
        env=environment(tree),
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{tree}: {done.stderr[-2000:]}")
    return done.stdout


def by_tests(mutant: Mutant, tree: Path) -> bool:
    """Whether the tests that it names find it.

    Raises:
        RuntimeError: they could not be run.
    """
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *mutant.tests],
        cwd=tree,
        env=environment(tree),
        capture_output=True,
        text=True,
        timeout=_TESTS_LIMIT_S,
        check=False,
    )
    if done.returncode not in (0, _TESTS_FAILED):
        raise RuntimeError(f"{mutant.name}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == _TESTS_FAILED


def look_for(mutant: Mutant, seeds: Iterable[int], options: Options) -> dict[str, object]:
    """What finds a mutant."""
    told: dict[str, object] = {}
    with planted(mutant) as tree:
        if options.tests:
            told["tests"] = by_tests(mutant, tree)
        if options.fuzz and mutant.in_calls:
            told["fuzzer"] = by_fuzzer(mutant, tree, seeds, options)
    return told


def known() -> dict[str, dict[str, object]]:
    """What was found before."""
    if not FOUND.is_file():
        return {}
    found: dict[str, dict[str, object]] = json.loads(FOUND.read_text(encoding="utf-8"))
    return {mutant.name: found[mutant.name] for mutant in ALL if mutant.name in found}


def table(found: dict[str, dict[str, object]]) -> str:
    """The page's table, and its sums."""
    rows = [
        "| mutant | row | what it brings back | fuzzer | by | steps | tests |",
        "|---|---|---|---|---|---|---|",
    ]
    for mutant in ALL:
        told = found.get(mutant.name, {})
        rows.append(
            f"| `{mutant.name}`{' (grave)' if mutant.grave else ''} | {mutant.row} | {mutant.says} "
            f"| {' | '.join(_of_fuzzer(mutant, told))} | {_of_tests(told)} |"
        )
    return "\n".join([*_sums(found), "", *rows])


def _of_fuzzer(mutant: Mutant, told: dict[str, object]) -> tuple[str, str, str]:
    fuzzer = told.get("fuzzer")
    if not mutant.in_calls:
        return "not in a call in memory", "", ""
    if not isinstance(fuzzer, dict):
        return "not tried", "", ""
    if "seed" not in fuzzer:
        return f"not within {fuzzer['of']}; {fuzzer['come_by']} come by", "", ""
    by = ", ".join(f"`{name}`" for name in fuzzer["breaks"])
    return f"seed {fuzzer['seed']} of {fuzzer['come_by']} that come by", by, str(fuzzer["steps"])


def _of_tests(told: dict[str, object]) -> str:
    return {True: "found", False: "**not found**", None: "not tried"}[told.get("tests")]  # type: ignore[index]


def _sums(found: dict[str, dict[str, object]]) -> list[str]:
    def is_found(mutant: Mutant) -> bool:
        return "seed" in str(found.get(mutant.name, {}).get("fuzzer"))

    in_calls = [mutant for mutant in ALL if mutant.in_calls]
    grave = [mutant for mutant in in_calls if mutant.grave]
    tested = [m for m in ALL if found.get(m.name, {}).get("tests") is True]
    either = [m for m in ALL if m in tested or (m.in_calls and is_found(m))]
    return [
        (
            f"{len(ALL)} mutants. The fuzzer alone finds {sum(map(is_found, in_calls))} of the "
            f"{len(in_calls)} that show in a call in memory, and {sum(map(is_found, grave))} of "
            f"the {len(grave)} grave ones within {GRAVE_SEEDS:,} seeds; the tests that each names "
            f"find {len(tested)} of all; one or the other finds {len(either)}."
        )
    ]


def invariants_table(found: dict[str, dict[str, object]]) -> str:
    """What each invariant finds: mutants, and the bugs of `test_planted_bugs`."""
    names = [*play.INVARIANTS, *play.OTHERS]
    finds: dict[str, list[str]] = {name: [] for name in names}
    for mutant in ALL:
        fuzzer = found.get(mutant.name, {}).get("fuzzer")
        for name in fuzzer.get("breaks", ()) if isinstance(fuzzer, dict) else ():
            finds[name].append(f"`{mutant.name}`")
    for bug, name, *_ in BUGS:
        finds[name].append(bug.__name__)
    rows = ["| invariant | what it has found |", "|---|---|"]
    rows += [f"| `{name}` | {', '.join(by) or '**nothing yet**'} |" for name, by in finds.items()]
    return "\n".join(rows)


def write_page(found: dict[str, dict[str, object]]) -> None:
    """Write the table anew."""
    text = PAGE.read_text(encoding="utf-8")
    for name, made in (("mutants", table(found)), ("invariants", invariants_table(found))):
        begin, end = (f"<!-- {name}: {where} -->" for where in ("begin", "end"))
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{made}\n{end}{rest.partition(end)[2]}"
    write_atomically(PAGE, text.encode())


def play_again(mutant: Mutant) -> int:
    """The seed that found it once more, made small; prints the scenario."""
    fuzzer = known().get(mutant.name, {}).get("fuzzer")
    if not isinstance(fuzzer, dict) or "seed" not in fuzzer:
        sys.stdout.write(f"{mutant.name}: the fuzzer has not found it" + "\n")
        return 1
    with planted(mutant) as tree, TemporaryDirectory() as folder:
        small = Path(folder) / "small.yaml"
        told = _play(tree, [int(fuzzer["seed"])], small)
        sys.stdout.write(f"{json.dumps(told, indent=2)}\n{small.read_text(encoding='utf-8')}")
    return 0


def main(arguments: list[str]) -> int:
    """Look for what was asked; 1 if something that is to be found was not."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--play", metavar="NAME")
    parser.add_argument("--seeds", type=int, default=MOST_SEEDS)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--plays", type=int, default=MOST_SEEDS, help="of one mutant, at most")
    parser.add_argument("--page", action="store_true")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--no-tests", action="store_true")
    parser.add_argument("--no-fuzz", action="store_true")
    asked = parser.parse_args(arguments)
    by_name = {mutant.name: mutant for mutant in ALL}
    unknown = {*asked.only, *([asked.play] if asked.play else [])} - by_name.keys()
    if unknown:
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
    if asked.play:
        return play_again(by_name[asked.play])
    wanted = [by_name[name] for name in asked.only] or list(ALL)
    options = Options(
        seeds=asked.seeds,
        first=asked.first_seed,
        plays=asked.plays,
        fuzz=not asked.no_fuzz,
        tests=not asked.no_tests,
    )
    if asked.page:
        write_page(known())
        return 0
    in_calls = [mutant for mutant in wanted if mutant.in_calls] if options.fuzz else []
    seeds = seeds_by_mutant(in_calls, options, asked.jobs) if in_calls else {}
    missed = 0
    with ThreadPoolExecutor(asked.jobs) as pool:
        looked = pool.map(lambda one: look_for(one, seeds.get(one.name, ()), options), wanted)
        for mutant, told in zip(wanted, looked, strict=True):
            found = known()
            found[mutant.name] = {**found.get(mutant.name, {}), **told}
            write_atomically(FOUND, (json.dumps(found, indent=1, sort_keys=True) + "\n").encode())
            write_page(found)
            fuzzer = told.get("fuzzer")
            is_missed = told.get("tests") is False or (fuzzer and "seed" not in str(fuzzer))
            missed += bool(is_missed)
            sys.stdout.write(f"{mutant.name}: {told}\n")
            sys.stdout.flush()
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
