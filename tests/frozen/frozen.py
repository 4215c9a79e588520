"""What must stay as it is while rooms are moved: frozen once, compared after each step.

    python tests/frozen/frozen.py write                  # anew, after a change that was meant
    python tests/frozen/frozen.py check --seeds 50       # after each commit
    python tests/frozen/frozen.py check                  # all seeds, the library, the command lines

Frozen are the marks of generated calls (a digest a seed), marks and verdicts of the library in
memory with five seeds, and what each command's help, the settings' page and the schema of scenarios
say. The project's own name does not count, nor where a line of help is broken.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from callerside.agent.prompts.cache import MemoryPrompts
from callerside.marks import Mark
from callerside.simulator.fuzz.choices import SeededChoices
from callerside.simulator.fuzz.play import generated, play_planned
from callerside.simulator.runner.plan import plan
from callerside.simulator.scenario.model import Scenario

REFERENCE = Path(__file__).with_name("reference.json")
LIBRARY = Path(__file__).parents[2] / "scenarios"
FUZZ_SEEDS = 1000
LIBRARY_SEEDS = range(5)
COMMANDS = (
    *(
        "callerside",
        "callerside run",
        "callerside list",
        "callerside check",
        "callerside new",
        "callerside say",
    ),
    *(
        "callerside schema",
        "callerside fuzz",
        "callerside report",
        "callerside compare",
        "callerside baseline",
    ),
    *("callerside calibrate", "callerside knee", "callerside-agent", "callerside-agent serve"),
    *(
        "callerside-agent greet",
        "callerside-agent kamailio",
        "callerside-agent settings",
        "fake-realtime",
    ),
    *("fake-realtime serve", "fake-realtime record", "fake-realtime convert"),
    *("fake-realtime inspect", "fake-realtime diff"),
)
PRINTED = ("callerside schema", "callerside-agent settings")

Digests = Mapping[str, str]


def digest(text: str) -> str:
    """Short enough to read a thousand of them, long enough never to be equal by chance."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def of_marks(marks: Iterable[Mark]) -> str:
    """The digest of a call's marks, in their order."""
    return digest(unnamed("\n".join(mark.to_json() for mark in marks)))


def unnamed(text: str) -> str:
    """Without the project's own name."""
    return re.sub("callerside", "", text, flags=re.IGNORECASE)


def fuzz_call(seed: int) -> str:
    """The marks of a generated call, as `callerside fuzz` plays it."""
    data, before = generated(f"fuzz-{seed}", SeededChoices(seed))
    scenario = Scenario.model_validate(data).named(f"fuzz-{seed}")
    first = [Scenario.model_validate(before).named(data["after"])] if before else []
    prompts = MemoryPrompts()
    marks: list[Mark] = []
    for planned in plan([*first, scenario], repeat=1, seed=0):
        call = play_planned(planned, prompts)
        marks = [*call.caller_marks, *call.agent_marks, *call.realtime_marks]
    return of_marks(marks)


def fuzz_calls(seeds: int) -> Digests:
    """The digests of the first so many seeds."""
    with ProcessPoolExecutor() as processes:
        digests = processes.map(fuzz_call, range(seeds), chunksize=10)
        return {str(seed): one for seed, one in enumerate(digests)}


def library(seed: int) -> Digests:
    """Verdict and marks of every call of the library, in memory."""
    with tempfile.TemporaryDirectory() as folder:
        run = [Path(sys.executable).with_name("callerside"), "run", LIBRARY, "--lane", "virtual"]
        command = [*map(str, run), "--seed", str(seed), "--out", folder]
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        latest = Path(folder) / "latest"
        results = json.loads((latest / "results.json").read_text())
        verdicts = {call["name"]: call["verdict"] for call in results["scenarios"]}
        timelines = {path.parent.name: path.read_text() for path in latest.glob("calls/*/*.jsonl")}
        marks = {f"{name}, marks": digest(unnamed(text)) for name, text in timelines.items()}
        return verdicts | marks


def said_by_commands() -> Iterator[tuple[str, str]]:
    """What each command says of itself."""
    for command in COMMANDS:
        program, *words = command.split()
        yield f"{unnamed(command)} --help", _output(program, *words, "--help")
    for command in PRINTED:
        program, *words = command.split()
        yield unnamed(command), _output(program, *words)


def _output(program: str, *arguments: str) -> str:
    path = Path(sys.executable).with_name(program)
    told = subprocess.run([path, *arguments], capture_output=True, text=True, check=True).stdout
    # argparse pads its columns and breaks its lines by the length of the name
    return digest("".join(unnamed(told).split()))


def freeze(seeds: int, *, everything: bool) -> dict[str, Digests]:
    """All that is compared."""
    frozen = {"fuzz": fuzz_calls(seeds)}
    if everything:
        frozen |= {f"library, seed {seed}": library(seed) for seed in LIBRARY_SEEDS}
        frozen["commands"] = dict(said_by_commands())
    return frozen


def differences(was: Mapping[str, Digests], now: Mapping[str, Digests]) -> Iterator[str]:
    """One line for each thing that is not as it was."""
    for part, digests in now.items():
        known = was.get(part, {})
        for name in {**known, **digests} if part != "fuzz" else digests:
            if known.get(name) != digests.get(name):
                yield f"{part}: {name}: {known.get(name)} -> {digests.get(name)}"


def main() -> int:
    """1 if something is not as it was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["write", "check"])
    parser.add_argument("--seeds", type=int, metavar="N", help="only so many fuzz seeds")
    options = parser.parse_args()
    now = freeze(options.seeds or FUZZ_SEEDS, everything=options.seeds is None)
    if options.what == "write":
        REFERENCE.write_text(json.dumps(now, indent=0, sort_keys=True) + "\n")
        return 0
    told = list(differences(json.loads(REFERENCE.read_text()), now))
    sys.stdout.write("\n".join([*told[:50], f"{len(told)} differences\n"]))
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
