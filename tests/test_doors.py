"""The doors between the rooms are kept: who may import whom (docs/architecture.md)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("agent", "fakes", "reports", "simulator")

MAY_IMPORT = {
    "agent": ("agent",),
    "fakes": (
        "fakes",
        "callerside.marks",
        "callerside.clock",
        "callerside.audio",
        "callerside.files",
        "callerside.yaml.plain_words",
        "callerside.yaml.yaml_keys",
    ),
    "reports": ("reports", "callerside.marks", "callerside.files"),
    "simulator": ROOMS,
}
ONLY_IN = {
    "pjsua2": ("agent/sip/", "simulator/lanes/sip/telephone.py", "simulator/lanes/sip/line.py"),
    "websockets": ("agent/realtime/client.py", "fakes/server/server.py", "fakes/server/proxy.py"),
}
WITHOUT_CLOCK_OR_LUCK = {
    "agent": ("call.py", "states.py", "effects.py", "inputs.py", "driver.py"),
    "fakes": ("session.py", "script.py"),
    "reports": ("ears.py", "metrics.py", "budget.py"),
    "simulator": (
        "caller.py",
        "track.py",
        "expecting.py",
        "call_facts.py",
        "hearing.py",
        "mouth.py",
        "line.py",
        "scenario.py",
        "steps.py",
        "happenings.py",
        "verdicts.py",
        "caller_driver.py",
        "virtual_clock.py",
    ),
}
CLOCKS_AND_LUCK = ("time", "asyncio", "random")


def modules() -> list[Path]:
    return sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Full names of all that a module imports, `from a import b` as `a.b`."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(
                [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
            )
            yield from (
                f"{base if node.level else node.module}.{alias.name}" for alias in node.names
            )


def within(name: str, allowed: tuple[str, ...]) -> bool:
    return any(name == door or name.startswith(f"{door}.") for door in allowed)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_uses_only_its_rooms_doors(path: Path) -> None:
    where = path.relative_to(ROOT)
    for name in imports(path):
        if name.split(".")[0] in ROOMS:
            allowed = MAY_IMPORT[where.parts[0]]
            assert within(name, allowed), f"{where} imports {name}; its room may import {allowed}"
        only_in = ONLY_IN.get(name.split(".")[0])
        if only_in:
            assert str(where).startswith(only_in), f"{where} imports {name}; only {only_in} may"


@pytest.mark.parametrize(
    "path",
    [ROOT / room / name for room, names in WITHOUT_CLOCK_OR_LUCK.items() for name in names],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_a_machine_reads_no_clock_and_throws_no_dice(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            # `random.Random` as a type is how a seeded generator is handed in.
            name = f"{node.value.id}.{node.attr}"
            forbidden = node.value.id in CLOCKS_AND_LUCK and name != "random.Random"
            assert not forbidden, f"{path.name}:{node.lineno} uses {name}"
    for name in imports(path):
        assert name.split(".")[0] not in ("time", "asyncio"), f"{path.name} imports {name}"
        assert not name.startswith("random.") or name == "random.Random", f"{path.name}: {name}"


def test_the_rules_speak_of_files_that_exist() -> None:
    named = [where for places in ONLY_IN.values() for where in places]
    assert [where for where in named if not (ROOT / where).exists()] == []
