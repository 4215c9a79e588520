"""The yardstick: how many of the faults that were there once fuzzer and tests find, each alone.

    python tests/mutants/mutants.py                      # is each found as it was? writes the page
    python tests/mutants/mutants.py --only NAME          # one, or several
    python tests/mutants/mutants.py --search             # which seed finds each: hours
    python tests/mutants/mutants.py --search --seeds 2000
    python tests/mutants/mutants.py --no-tests           # the fuzzer alone
    python tests/mutants/mutants.py --page               # the page anew from what is known
    python tests/mutants/mutants.py --play NAME          # the found seed once more, made small

What was found is kept in `found.json` beside this file: of the fuzzer the seed, of the tests the
one that fails. Each is tried once more, and what does not find its mutant any more is looked for
in all the tests that the mutant names. The table of docs/fuzzing.md is made of it.

For a search seeds are first played without any mutant (`probes`): each mutant is then played with
those that come by its place and break nothing without it, for the others cannot show it.
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
from typing import cast

import mutants_of_a_kind
import mutants_of_agent
import mutants_of_ear
import mutants_of_fake
import mutants_of_harness
import mutants_of_lanes
import mutants_of_security
import mutants_of_sip
from mutant import GRAVE_SEEDS, MOST_SEEDS, ROOT, Mutant, environment, planted
from play_mutant import ends_with
from probes import put_probes

from callerside.atomic_files import write_atomically
from callerside.simulator.fuzz import play
from callerside.simulator.lanes.virtual import lane

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
_TESTS_LIMIT_S = 600
_PLAYS_LIMIT_S = 6 * 3600
"""Of a search; a single seed has played within a minute."""
_TESTS_FAILED, _NO_SUCH_TEST = 1, 4
_MOST_STEPS = 8
"""Of what a mutant's seed is made to by shrinking."""
_SEEDS_A_BATCH = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What was asked for."""

    seeds: int
    first: int
    plays: int
    fuzz: bool
    tests: bool
    searches: bool


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
    return {**told, **_play(tree, coming_by)}


def by_its_seed(tree: Path, was: dict[str, object]) -> dict[str, object]:
    """The seed that found it once more; without one if it finds it no more."""
    told: dict[str, object] = {name: was[name] for name in ("come_by", "of") if name in was}
    return {**told, **_play(tree, [int(str(was["seed"]))])}


def _play(tree: Path, seeds: Sequence[int]) -> dict[str, object]:
    command = [str(Path(__file__).with_name("play_mutant.py")), str(tree)]
    with TemporaryDirectory() as folder:
        told = _python([*command, folder], tree, given=json.dumps(seeds))
        found: dict[str, object] = json.loads(told.splitlines()[-1])
        written = sorted(Path(folder).iterdir())
        if found:  # called here, where there is no mutant
            found["good"] = ends_with(0, cast("list[str]", found.pop("command")), Path(folder))
        files = [path.read_text(encoding="utf-8") for path in written]
    return {**found, "files": files} if found else {}


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
        timeout=_PLAYS_LIMIT_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{tree}: {done.stderr[-2000:]}")
    return done.stdout


def by_tests(mutant: Mutant, tree: Path, known_test: object) -> str:
    """Which test finds it, of those that it names; the one that did so is tried first.

    Raises:
        RuntimeError: they could not be run.
    """
    if isinstance(known_test, str) and known_test:
        failed = _failed([known_test], tree, mutant)
        if failed:
            return failed
    return _failed(mutant.tests, tree, mutant)


def _failed(tests: Iterable[str], tree: Path, mutant: Mutant | None) -> str:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--tb=no", "-rfE", *tests],
        cwd=tree,
        env=environment(tree),
        capture_output=True,
        text=True,
        timeout=_TESTS_LIMIT_S,
        check=False,
    )
    if done.returncode not in (0, _TESTS_FAILED, _NO_SUCH_TEST):
        name = mutant.name if mutant else "without a mutant"
        raise RuntimeError(f"{name}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    for line in done.stdout.splitlines():
        if done.returncode == _TESTS_FAILED and line.startswith(("FAILED ", "ERROR ")):
            return line.partition(" ")[2].partition(" - ")[0]
    return ""


def look_for(
    mutant: Mutant, seeds: Iterable[int], options: Options, was: dict[str, object]
) -> dict[str, object]:
    """What finds a mutant."""
    told: dict[str, object] = {}
    fuzzer = was.get("fuzzer")
    with planted(mutant) as tree:
        if options.tests:
            told["tests"] = by_tests(mutant, tree, was.get("tests"))
        if not (options.fuzz and mutant.in_calls):
            pass
        elif options.searches:
            told["fuzzer"] = by_fuzzer(mutant, tree, seeds, options)
        elif isinstance(fuzzer, dict) and "seed" in fuzzer:
            told["fuzzer"] = by_its_seed(tree, fuzzer)
    if isinstance(fuzzer := told.get("fuzzer"), dict):
        fuzzer.pop("files", None)
    return told


def fail_anyway(found: dict[str, dict[str, object]]) -> list[str]:
    """Of the tests that found mutants, those that fail in such a tree without one, too."""
    tests = sorted({str(told["tests"]) for told in found.values() if told.get("tests")})
    with planted(None) as tree:
        failed = (
            [_failed([test], tree, None) for test in tests] if _failed(tests, tree, None) else []
        )
    return [test for test in failed if test]


def known() -> dict[str, dict[str, object]]:
    """What was found before."""
    if not FOUND.is_file():
        return {}
    found: dict[str, dict[str, object]] = json.loads(FOUND.read_text(encoding="utf-8"))
    return {mutant.name: found[mutant.name] for mutant in ALL if mutant.name in found}


def table(found: dict[str, dict[str, object]]) -> str:
    """The page's table, and its sums."""
    rows = [
        "| mutant | row | what it brings back | fuzzer | by | steps | command | tests |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for mutant in ALL:
        told = found.get(mutant.name, {})
        rows.append(
            f"| `{mutant.name}`{' (grave)' if mutant.grave else ''} | {mutant.row} | {mutant.says} "
            f"| {' | '.join(_of_fuzzer(mutant, told))} | {_of_tests(told)} |"
        )
    return "\n".join([*_sums(found), "", *rows])


def _of_fuzzer(mutant: Mutant, told: dict[str, object]) -> tuple[str, str, str, str]:
    fuzzer = told.get("fuzzer")
    if not mutant.in_calls:
        return "not in a call in memory", "", "", ""
    if not isinstance(fuzzer, dict):
        return "not tried", "", "", ""
    if "seed" not in fuzzer:
        return f"not within {fuzzer['of']}" if "of" in fuzzer else "no more", "", "", ""
    by = ", ".join(f"`{name}`" for name in fuzzer["breaks"])
    steps = str(fuzzer.get("steps", "not tried"))
    return f"seed {fuzzer['seed']}", by, steps, _of_command(fuzzer)


def _of_command(fuzzer: dict[str, object]) -> str:
    """What the printed command says where the mutant is, and where it is not."""
    shows = "fails" if fuzzer.get("again") else "**passes**"
    if "good" not in fuzzer:
        return f"{shows}; without it not tried"
    return f"{shows}; {'passes' if fuzzer['good'] else '**fails**'} without it"


def _of_tests(told: dict[str, object]) -> str:
    if "tests" not in told:
        return "not tried"
    return "found" if told["tests"] else "**not found**"


def _sums(found: dict[str, dict[str, object]]) -> list[str]:
    def is_found(mutant: Mutant) -> bool:
        return "seed" in str(found.get(mutant.name, {}).get("fuzzer"))

    in_calls = [mutant for mutant in ALL if mutant.in_calls]
    grave = [mutant for mutant in in_calls if mutant.grave]
    tested = [m for m in ALL if found.get(m.name, {}).get("tests")]
    either = [m for m in ALL if m in tested or (m.in_calls and is_found(m))]
    fuzzers = [fuzzer for told in found.values() if isinstance(fuzzer := told.get("fuzzer"), dict)]
    small = [one for one in fuzzers if int(str(one.get("steps", _MOST_STEPS + 1))) <= _MOST_STEPS]
    again = [one for one in fuzzers if one.get("again")]
    good = [one for one in again if one.get("good")]
    return [
        (
            f"{len(ALL)} mutants. The fuzzer alone finds {sum(map(is_found, in_calls))} of the "
            f"{len(in_calls)} that show in a call in memory, and {sum(map(is_found, grave))} of "
            f"the {len(grave)} grave ones within {GRAVE_SEEDS:,} seeds; the tests that each names "
            f"find {len(tested)} of all; one or the other finds {len(either)}. Of what the fuzzer "
            f"finds, {len(small)} were made small, to {_MOST_STEPS} steps or fewer, and of "
            f"{len(again)} the command that is printed shows it again; where the mutant is not, it "
            f"is content with {len(good)} of these."
        )
    ]


def invariants_table(found: dict[str, dict[str, object]]) -> str:
    """What each invariant finds: mutants, and the bugs of `test_planted_bugs`."""
    names = [*lane.INVARIANTS, *play.OTHERS]
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
    with planted(mutant) as tree:
        told = _play(tree, [int(fuzzer["seed"])])
    files = told.pop("files", [])
    sys.stdout.write("\n".join([json.dumps(told, indent=2), *files]))  # type: ignore[misc]
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
    parser.add_argument("--search", action="store_true", help="for seeds; hours")
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
        searches=asked.search,
    )
    if asked.page:
        write_page(known())
        return 0
    in_calls = [mutant for mutant in wanted if mutant.in_calls and options.fuzz]
    seeds = seeds_by_mutant(in_calls, options, asked.jobs) if in_calls and options.searches else {}
    missed = []
    found = known()
    with ThreadPoolExecutor(asked.jobs) as pool:
        looked = pool.map(
            lambda one: look_for(one, seeds.get(one.name, ()), options, found.get(one.name, {})),
            wanted,
        )
        for mutant, told in zip(wanted, looked, strict=True):
            found[mutant.name] = {**found.get(mutant.name, {}), **told}
            keep(found)
            missed += wrong(mutant, told)
            sys.stdout.write(f"{mutant.name}: {told}\n")
            sys.stdout.flush()
    missed += [f"{test} fails without a mutant, too" for test in fail_anyway(found)]
    sys.stdout.write("\n".join([*_sums(found), *missed, ""]))
    return 1 if missed else 0


def keep(found: dict[str, dict[str, object]]) -> None:
    """Write down what is known, and the page of it."""
    write_atomically(FOUND, (json.dumps(found, indent=1, sort_keys=True) + "\n").encode())
    write_page(found)


def wrong(mutant: Mutant, told: dict[str, object]) -> list[str]:
    """What is not as it should be, in sentences."""
    wrongs = []
    if told.get("tests") == "":
        wrongs.append(f"{mutant.name}: none of {', '.join(mutant.tests)} finds it")
    fuzzer = told.get("fuzzer")
    if isinstance(fuzzer, dict) and "seed" not in fuzzer:
        wrongs.append(f"{mutant.name}: the fuzzer does not find it (any more: --search)")
    elif isinstance(fuzzer, dict) and int(str(fuzzer["steps"])) > _MOST_STEPS:
        wrongs.append(f"{mutant.name}: shrunk to {fuzzer['steps']} steps, {_MOST_STEPS} wanted")
    elif isinstance(fuzzer, dict) and not (fuzzer["again"] and fuzzer["good"]):
        wrongs.append(f"{mutant.name}: the command that is printed {_of_command(fuzzer)}")
    elif isinstance(fuzzer, dict) and not fuzzer["again"]:
        wrongs.append(f"{mutant.name}: the command that is printed does not show it")
    return wrongs


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
