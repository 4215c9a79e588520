"""The doors between the rooms: that the contracts of pyproject.toml see what they are to hold.

import-linter holds them (`nox -s lint`); a contract that sees nothing holds, too.
"""

import importlib
import tomllib
from pathlib import Path
from typing import Any

import grimp
import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("agent", "fakes", "reports", "simulator")
CONTRACTS: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"][
    "importlinter"
]["contracts"]
MACHINES = {"callerside.agent.call", "callerside.fakes.session"}
CALLER_WITH_IO = {"driver", "recorder", "__init__"}
"""Of simulator/caller: what connects the machine to a clock, and what writes the recording."""
MOST_IN_A_FOLDER = 25


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("callerside", include_external_packages=True, cache_dir=None)


def folder(module: str) -> Path:
    """Where the modules of a package lie, in the rooms themselves and not by their links."""
    parts = module.split(".")
    path = Path(*parts[1:]) if len(parts) > 1 and parts[1] in ROOMS else Path(*parts)
    return ROOT / path


def modules_in(module: str) -> int:
    path = folder(module)
    if not path.is_dir():
        assert path.with_suffix(".py").exists(), f"{module} is nowhere"
        return 1
    return len(list(path.rglob("*.py")))


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: str(contract["name"]))
def test_a_contract_sees_all_that_is_in_its_folders(
    contract: dict[str, Any], graph: grimp.ImportGraph
) -> None:
    sources: list[str] = contract.get("source_modules") or contract["containers"]
    for source in sources:
        seen = {source, *graph.find_descendants(source)}
        expected = modules_in(source)
        if source == "callerside":
            expected += sum(modules_in(f"callerside.{room}") for room in ROOMS)
        assert len(seen) >= expected, f"{contract['name']}: {source}"
    for name in contract.get("forbidden_modules", ()):
        if name.startswith("callerside"):
            assert modules_in(name)


def test_the_foundations_are_all_that_is_no_room() -> None:
    held = {c["name"]: c for c in CONTRACTS}["Foundations know no room"]["source_modules"]
    there = {
        f"callerside.{path.stem}"
        for path in (ROOT / "callerside").iterdir()
        if path.name not in ROOMS and path.suffix in ("", ".py") and not path.name.startswith("__")
    }
    assert set(held) == there


def test_every_module_of_a_machine_is_held_to_do_no_io() -> None:
    held = {
        source
        for contract in CONTRACTS
        if "asyncio" in contract.get("forbidden_modules", ())
        for source in contract["source_modules"]
    }
    caller = {path.stem for path in (ROOT / "simulator/caller").glob("*.py")} - CALLER_WITH_IO
    assert held == MACHINES | {f"callerside.simulator.caller.{name}" for name in caller}


def test_rooms_lie_on_one_another_in_one_order() -> None:
    (layers,) = (contract for contract in CONTRACTS if contract["type"] == "layers")
    named = {name.strip() for layer in layers["layers"] for name in layer.split(":")}
    assert named == {path.parent.name for path in (ROOT / "simulator").glob("*/__init__.py")}


@pytest.mark.parametrize("room", ["callerside", *ROOMS])
def test_no_folder_is_so_full_that_nothing_is_found(room: str) -> None:
    for path in (ROOT / room).rglob("__init__.py"):
        modules = list(path.parent.glob("*.py"))
        assert len(modules) <= MOST_IN_A_FOLDER + 1, path.parent  # and its `__init__.py`
        assert not {"utils.py", "helpers.py"} & {module.name for module in modules}


def packages() -> list[str]:
    """Every package of ours, by its name."""
    folders = [init.parent for init in (ROOT / "callerside").glob("*/__init__.py")]
    folders += [init.parent for room in ROOMS for init in (ROOT / room).rglob("__init__.py")]
    names = {folder.relative_to(ROOT).parts for folder in folders} | {("callerside",)}
    return sorted(".".join(n if n[0] == "callerside" else ("callerside", *n)) for n in names)


@pytest.mark.parametrize("name", packages())
def test_what_others_use_of_a_package_is_in_its_all(name: str, graph: grimp.ImportGraph) -> None:
    package = importlib.import_module(name)
    assert package.__doc__, "says what the room is for"
    children = {child.rsplit(".", 1)[1]: child for child in graph.find_children(name)}
    assert set(package.__all__) <= set(children)
    inside = {name, *graph.find_descendants(name)}
    used = {
        child
        for child, module in children.items()
        for one in {module, *graph.find_descendants(module)}
        if graph.find_modules_that_directly_import(one) - inside
    }
    assert used <= set(package.__all__), "the package's doors: what others may import of it"
