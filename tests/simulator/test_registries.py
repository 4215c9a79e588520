"""Whatever is declared has all its parts: schema, unit, page, performer, fuzzer, and a test."""

import random
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import NoneType, UnionType
from typing import get_args

import pytest
import yaml
from tables import docstring

from callerside.fakes.session import faults
from callerside.fakes.session.faults import FAULTS, AnyFault, BaseFault
from callerside.models import descriptions
from callerside.registry import Drawn, NotDrawn, OneIn, UnperformedError, refuse_unperformed
from callerside.simulator.caller.call_state import ObservedCall
from callerside.simulator.caller.expect import Met, expectation
from callerside.simulator.caller.line_model import LineModel
from callerside.simulator.caller.listener import Listener
from callerside.simulator.caller.performers import PERFORMERS
from callerside.simulator.caller.speaker import SpeechOutput
from callerside.simulator.fuzz.calls import generate
from callerside.simulator.fuzz.choices import SeededChoices
from callerside.simulator.runner.expectations_after import occurrences
from callerside.simulator.scenario.expectations import (
    DETAILED_EXPECTATIONS,
    EXPECTATIONS,
    DetailedExpectation,
    Heard,
    LookedUp,
)
from callerside.simulator.scenario.loader import load
from callerside.simulator.scenario.model import Scenario
from callerside.simulator.scenario.network import Network
from callerside.simulator.scenario.steps import ACTIONS, AnyStep, Expect, _Step

ROOT = Path(__file__).parents[2]
SEEDS = 500
RATE_HZ = 16_000


@pytest.fixture(scope="module")
def library() -> list[Scenario]:
    return load([ROOT / "scenarios"])


@pytest.fixture(scope="module")
def generated() -> list[Scenario]:
    return [Scenario.model_validate(generate(SeededChoices(seed))) for seed in range(SEEDS)]


@pytest.mark.parametrize(
    ("base", "union"), [(_Step, AnyStep), (BaseFault, AnyFault)], ids=["step", "fault"]
)
def test_every_class_of_a_step_or_fault_can_be_written(base: type, union: UnionType) -> None:
    assert {one for one in leaves(base) if one.__module__ == base.__module__} == set(
        get_args(union)
    )


def leaves(base: type) -> set[type]:
    """What derives from a class, and nothing from it."""
    below: list[type] = base.__subclasses__()
    return set().union(*map(leaves, below)) if below else {base}


@pytest.mark.parametrize("name", Network.model_fields)
def test_each_trouble_of_the_network_is_drawn_or_says_why_not(
    name: str, generated: list[Scenario]
) -> None:
    (place,) = (
        one for one in Network.model_fields[name].metadata if isinstance(one, OneIn | NotDrawn)
    )
    networks = [call.network for call in generated if call.network is not None]
    if isinstance(place, OneIn):
        drawn = {getattr(network, name) for network in networks if name in network.model_fields_set}
        assert drawn == set(place.values)
    else:
        assert place.why


def last_error(*python: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, *python], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 1, done.stderr
    return done.stderr.splitlines()[-1]


def is_taught(name: str, where: str) -> bool:
    """Whether the page has the heading that the anchor is made of, and the thing below it."""
    page, _, anchor = where.partition("#")
    text = (ROOT / page).read_text(encoding="utf-8")
    parts = re.split(r"^#+ (.*)$", text, flags=re.MULTILINE)
    below = dict(zip(parts[1::2], parts[2::2], strict=True))
    headings = {title.lower().replace(" ", "-"): text for title, text in below.items()}
    return f"`{name}" in headings[anchor].replace("{", "")


@pytest.mark.parametrize("name", ACTIONS)
class TestEachStep:
    def test_is_called_as_its_entry_says_and_says_what_it_does(self, name: str) -> None:
        model = ACTIONS[name]
        assert model.entry.name == name
        assert docstring(model).endswith(".")
        assert "See `" not in docstring(model)

    def test_takes_a_value_of_a_unit_or_none(self, name: str) -> None:
        model = ACTIONS[name]
        assert (model.model_fields[name].annotation is NoneType) == (not model.entry.unit)

    def test_is_taught(self, name: str) -> None:
        assert is_taught(name, ACTIONS[name].entry.page)

    def test_its_first_example_is_one(self, name: str) -> None:
        written = yaml.safe_load(ACTIONS[name].entry.examples[0])
        (step,) = Scenario.model_validate({"about": "x", "steps": [written]}).steps
        assert isinstance(step, ACTIONS[name])

    def test_is_performed(self, name: str) -> None:
        assert ACTIONS[name] in PERFORMERS

    def test_is_drawn_by_the_fuzzer_or_says_why_not(
        self, name: str, generated: list[Scenario]
    ) -> None:
        drawn = any(step.action == name for call in generated for step in call.all_steps)
        assert drawn == isinstance(ACTIONS[name].entry.fuzz, Drawn)

    def test_is_done_in_a_call_of_the_library_or_of_the_tests(
        self, name: str, library: list[Scenario]
    ) -> None:
        done = any(step.action == name for call in library for step in call.all_steps)
        assert done or is_in_a_test(rf"(steps: \[|, |- ){{{{0,2}}{name}\b")


def expected(calls: Iterable[Scenario]) -> set[str]:
    """By name: what steps expect, and what must never be."""
    one = [step.expect for call in calls for step in call.all_steps if isinstance(step, Expect)]
    never = [wanted for call in calls for wanted in call.never]
    return {wanted if isinstance(wanted, str) else wanted.entry.name for wanted in (*one, *never)}


def is_in_a_test(pattern: str) -> bool:
    texts = (
        path.read_text(encoding="utf-8") for path in (ROOT / "tests/simulator").rglob("test_*.py")
    )
    return any(re.search(pattern, text) for text in texts)


@pytest.mark.parametrize("name", EXPECTATIONS)
class TestEachExpectation:
    def test_is_known_by_its_name_and_says_when_it_is_met(self, name: str) -> None:
        entry = EXPECTATIONS[name]
        model = DETAILED_EXPECTATIONS.get(name)
        assert (docstring(model) if model else entry.says).endswith(".")
        assert (name in DETAILED_EXPECTATIONS) == bool(entry.unit)

    def test_its_first_example_is_one_for_steps_and_for_never(self, name: str) -> None:
        wanted, scenario = first_example(name)
        assert scenario.never == (wanted,)
        assert isinstance(wanted, DETAILED_EXPECTATIONS.get(name, str))

    def test_is_taught(self, name: str) -> None:
        assert is_taught(name, EXPECTATIONS[name].page)

    def test_is_judged_while_the_call_lasts_and_looked_up_after_it(self, name: str) -> None:
        wanted, scenario = first_example(name)
        step = scenario.steps[0]
        assert isinstance(step, Expect)
        met = isinstance(expectation(step, facts_of(scenario), 0, 0), Met)
        assert met == isinstance(wanted, LookedUp)
        assert occurrences(wanted, []) == []

    def test_is_drawn_by_the_fuzzer_or_says_why_not(
        self, name: str, generated: list[Scenario]
    ) -> None:
        assert (name in expected(generated)) == isinstance(EXPECTATIONS[name].fuzz, Drawn)

    def test_is_met_in_a_call_of_the_library_or_of_the_tests(
        self, name: str, library: list[Scenario]
    ) -> None:
        assert name in expected(library) or is_in_a_test(rf"expect: {{{{0,2}}{name}\b(?! start)")


def facts_of(scenario: Scenario) -> ObservedCall:
    """Those of a call of which nothing is known."""
    line = LineModel(scenario.caller, b"", RATE_HZ, random.Random(1))
    speech = SpeechOutput(line, RATE_HZ, mixes=False)
    return ObservedCall(scenario.caller, Listener(RATE_HZ, end_silence_ms=700), speech, greets=True)


def first_example(name: str) -> tuple[Heard | DetailedExpectation, Scenario]:
    written = yaml.safe_load(EXPECTATIONS[name].examples[0])
    scenario = Scenario.model_validate(
        {"about": "x", "steps": [{"expect": written}], "never": [written]}
    )
    (step,) = scenario.steps
    assert isinstance(step, Expect)
    return step.expect, scenario


def test_an_expectation_that_nobody_judges_is_not_met() -> None:
    _, scenario = first_example("beep")
    unknown = scenario.steps[0].model_copy(update={"expect": 5})
    assert isinstance(unknown, Expect)
    with pytest.raises(AssertionError, match="5"):
        expectation(unknown, facts_of(scenario), 0, 0)
    with pytest.raises(AssertionError, match="5"):
        occurrences(5, [])  # type: ignore[arg-type]  # what nobody knows


@pytest.mark.parametrize("name", FAULTS)
class TestEachFault:
    """That each is tried by itself is in tests/fakes/session/test_faults.py."""

    def test_says_what_it_does_and_what_its_keys_are(self, name: str) -> None:
        """In which unit, where they are no plain number, is in their names."""
        assert docstring(FAULTS[name]).endswith(".")
        assert descriptions(FAULTS[name]).keys() >= FAULTS[name].model_fields.keys() - {"fault"}

    def test_is_taught(self, name: str) -> None:
        assert is_taught(name, faults.PAGE)

    def test_is_drawn_by_the_fuzzer_or_says_why_not(
        self, name: str, generated: list[Scenario]
    ) -> None:
        drawn = any(fault.fault == name for call in generated for fault in call.realtime.faults)
        assert drawn == isinstance(FAULTS[name].fuzz, Drawn)


def test_a_fault_that_nobody_performs_stops_the_import(tmp_path: Path) -> None:
    declared = Path(faults.__file__).read_text(encoding="utf-8")
    undone = declared.replace("class Drop(SessionFault):", "class Drop(BaseFault):")
    assert undone != declared
    (tmp_path / "undone.py").write_text(undone)
    error = last_error(tmp_path / "undone.py")
    assert error.startswith("callerside.registry.UnperformedError: drop: declared, but ")
    assert error.endswith("SessionFault.apply has no performer for it")


def test_what_nobody_performs_is_refused_by_name() -> None:
    with pytest.raises(UnperformedError, match="two: declared, but here has no performer for it"):
        refuse_unperformed({"one": int, "two": str}, {int}, "here")


@pytest.mark.parametrize("command", [["run", "--lane", "virtual"], ["fuzz", "--seeds", "1"]])
def test_a_step_that_nobody_performs_stops_every_command_that_plays(command: list[str]) -> None:
    """It used to pass: nothing was done, and nothing was missed."""
    asked = [*command, "scenarios/first_call.yaml"] if command[0] == "run" else command
    program = f"""
from callerside.registry import Drawn
from callerside.simulator.scenario import steps
class Mute(steps.Hold):
    entry = steps._Entry(name="mute", examples=("mute",), fuzz=Drawn())
steps.ACTIONS["mute"] = Mute
from callerside.simulator.cli import main
main.main({asked!r})
"""
    assert last_error("-c", program) == (
        "callerside.registry.UnperformedError: mute: declared, but "
        "callerside.simulator.caller.performers has no performer for it"
    )
