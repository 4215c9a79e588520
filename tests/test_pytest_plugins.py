"""What our pytest plugins cost a project that does not use them: they are loaded with every pytest.

The pytest is one of its own, in a project of its own: here everything has been imported already.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import requires
from pathlib import Path

import pytest

PLUGINS = ("callerside.fakes.pytest_plugin", "callerside.simulator.pytest.plugin")
PACKAGES = ("callerside", "callerside.fakes", "callerside.simulator", "callerside.simulator.pytest")
IMPORTED_AS = {"baresip_python": "baresip", "pjsua2_python": "pjsua2", "pyyaml": "yaml"}
TELLS = """\
import json, sys

def pytest_unconfigure(config):
    with open("loaded.json", "w") as file:
        json.dump(sorted(sys.modules), file)
"""

Loaded = Callable[[str], set[str]]


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    """Runs a test in a project that has some YAML of its own; answers what it has imported."""
    (tmp_path / "conftest.py").write_text(TELLS)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "notes.yaml").write_text("about: nothing to do with us\n")

    def run(test: str) -> set[str]:
        (tmp_path / "test_mine.py").write_text(test)
        plugins = [word for name in PLUGINS for word in ("-p", name)]
        done = subprocess.run(
            [Path(sys.executable).with_name("pytest"), "-q", *plugins],
            cwd=tmp_path,
            env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return set(json.loads((tmp_path / "loaded.json").read_text()))

    return run


def test_a_project_that_uses_nothing_of_ours_loads_nothing_of_ours(loaded: Loaded) -> None:
    modules = loaded("def test_mine():\n    pass\n")
    assert {name for name in modules if name.split(".")[0] == "callerside"} == {*PLUGINS, *PACKAGES}
    needed = [re.split(r"[^\w-]", line)[0] for line in requires("callerside") or ()]
    names = {name.lower().replace("-", "_") for name in needed} - {"pytest"}
    heavy = {IMPORTED_AS.get(name, name) for name in names} | {"asyncio", "numpy", "pydantic"}
    assert modules & heavy == set()


def test_a_fixture_of_ours_loads_what_it_needs(loaded: Loaded) -> None:
    modules = loaded("def test_mine(fake_realtime):\n    assert fake_realtime().url\n")
    assert "callerside.fakes.server.server" in modules
    assert "pjsua2" not in modules
