"""The wheel and the sdist: what is in them, and how what they install gets on with a project.

The wheel is made from the sdist, and installed into an environment of its own that has our
dependencies, but not the checkout. The project beside it is tests/projects/own_agent_module, once
as it is, and once with packages named as our rooms are.
"""

import os
import shutil
import site
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Callable, Iterator
from importlib.metadata import Distribution, version
from pathlib import Path

import pytest
from agent_rig import Program

ROOT = Path(__file__).resolve().parents[1]
PROJECT = Path(__file__).parent / "projects" / "own_agent_module"
ROOMS = ("agent", "fakes", "reports", "simulator")
SOURCES = ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")
FOLDERS = ("callerside", "docs", *ROOMS)
BUILD = "import sys; from setuptools import build_meta; build_meta.build_{}(sys.argv[1])"
SCRIPT = """\
#!{0}/python
import sys
from {1} import {2}
if __name__ == "__main__":
    sys.exit({2}())
"""
IS_THE_USERS = """
import {name}, {name}.cli

def test_{name}():
    assert {name}.cli.WHOSE == "the user's"
"""
LIMIT_S = 200

Run = Callable[..., str]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the sdist, and of the wheel that was made from it."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
    for name in SOURCES:
        shutil.copy(ROOT / name, source)
    build("sdist", source, folder)
    with tarfile.open(sdist(folder)) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    build("wheel", folder / "unpacked" / sdist(folder).name.removesuffix(".tar.gz"), folder)
    return folder


def build(what: str, source: Path, folder: Path) -> None:
    """As `python -m build --no-isolation` does it."""
    command = [sys.executable, "-c", BUILD.format(what), str(folder)]
    done = subprocess.run(
        command, cwd=source, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def sdist(folder: Path) -> Path:
    (path,) = folder.glob("*.tar.gz")
    return path


def wheel(folder: Path) -> Path:
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment with the wheel in it, and what else there is here but us."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    for place in map(Path, site.getsitepackages()):
        for path in place.iterdir() if place.exists() else ():
            is_us = path.name.startswith(("__editable__", "callerside"))
            if not is_us and path.suffix != ".pth" and not (packages / path.name).exists():
                (packages / path.name).symlink_to(path)
    with zipfile.ZipFile(wheel(built)) as archive:
        archive.extractall(packages)  # noqa: S202 - our own
    ours = Distribution.at(next(packages.glob("callerside-*.dist-info"))).entry_points
    commands = {entry.name: entry.value for entry in ours.select(group="console_scripts")}
    for name, value in {**commands, "pytest": "pytest:console_main"}.items():
        module, function = value.split(":")
        script = folder / "bin" / name
        script.write_text(SCRIPT.format(folder / "bin", module, function))
        script.chmod(0o755)
    return folder / "bin"


@pytest.fixture(params=["module", "packages"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A project with a module `agent`, or with packages of all four names."""
    folder = tmp_path / "project"
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("__pycache__"))
    if request.param == "packages":
        for name in ROOMS:
            (folder / name).mkdir()
            (folder / name / "__init__.py").touch()
            (folder / name / "cli.py").write_text('WHOSE = "the user\'s"\n')
            (folder / f"test_{name}.py").write_text(IS_THE_USERS.format(name=name))
        (folder / "agent.py").rename(folder / "agent" / "__init__.py")
    return folder


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ours nothing: what a user's shell has."""
    for name in os.environ:
        if name.startswith(("CALLERSIDE_", "PYTEST_", "PYTHON")):
            monkeypatch.delenv(name)


@pytest.fixture
def run(installed: Path, project: Path, environment: None) -> Run:
    def command(program: str, *arguments: str) -> str:
        done = subprocess.run(
            [installed / program, *arguments],
            cwd=project,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return command


def test_the_wheel_brings_one_name_and_every_file_of_it(built: Path) -> None:
    names = zipfile.ZipFile(wheel(built)).namelist()
    information = f"callerside-{version('callerside')}.dist-info"
    assert {name.split("/")[0] for name in names} == {"callerside", information}
    there = {
        str(Path(folder, name).relative_to(ROOT))
        for folder, _, files in os.walk(ROOT / "callerside", followlinks=True)
        for name in files
        if not folder.endswith("__pycache__")
    }
    assert {name for name in names if name.startswith("callerside/")} == there
    assert [name for name in names if name.endswith(".md")] == []  # no page is read at run time


def test_the_sdist_is_no_more_than_what_the_wheel_is_made_of(built: Path) -> None:
    with tarfile.open(sdist(built)) as archive:
        members = archive.getmembers()
    assert [member.name for member in members if not (member.isfile() or member.isdir())] == []
    made = {"PKG-INFO", "setup.cfg", "callerside.egg-info"}
    tops = {member.name.split("/")[1] for member in members if "/" in member.name}
    assert tops == {*SOURCES, *made, "callerside"}


def test_the_checkout_cannot_be_imported_where_the_wheel_is(installed: Path, run: Run) -> None:
    assert run("python", "-P", "-c", "import callerside; print(callerside.__file__)").startswith(
        str(installed.parent)
    )
    found = f"from importlib.util import find_spec as f; print(*map(f, {ROOMS}))"
    assert set(run("python", "-P", "-c", found).split()) == {"None"}


def test_pytest_in_both_ways(run: Run) -> None:
    for command in (("pytest",), ("python", "-m", "pytest")):
        told = run(*command, "-v", "--callerside-lane", "virtual")
        assert "test_mine.py::test_mine PASSED" in told
        assert "scenarios/call.yaml::call PASSED" in told


def test_the_harness_in_memory(run: Run) -> None:
    assert "1 scenario is well-formed" in run("callerside", "check", "scenarios")
    assert "1 passed" in run("callerside", "run", "--lane", "virtual")
    run("callerside", "fuzz", "--seeds", "5")


@pytest.mark.e2e
def test_the_harness_over_sip(run: Run) -> None:
    run("callerside", "run")


@pytest.fixture
def start(
    installed: Path, project: Path, environment: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Program]]:
    programs: list[Program] = []
    monkeypatch.chdir(project)

    def begin(program: str, *arguments: str) -> Program:
        programs.append(Program(project, program, *arguments, runner=[str(installed / program)]))
        return programs[-1]

    yield begin
    for program in programs:
        program.close()


@pytest.mark.e2e
def test_the_server_and_an_agent_with_the_users_tools(start: Callable[..., Program]) -> None:
    (url,) = start("fake-realtime", "serve", "--port", "0").addresses[-1:]
    assert url.startswith("ws://")
    agent = start("callerside-agent", "serve", "--config", "ours.yaml", "--workers", "2")
    assert len(agent.addresses) == 2
