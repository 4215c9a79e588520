"""A file of another kind is told to be one, with the command that reads it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel

from callerside.agent.config import loader as settings_loader
from callerside.agent.config.settings import Settings
from callerside.fakes.script import loader as script_loader
from callerside.fakes.script.model import Script
from callerside.simulator.lanes.sip import account
from callerside.simulator.scenario import loader as scenario_loader
from callerside.simulator.scenario.model import Scenario
from callerside.yaml.kinds import OWN_KEYS
from callerside.yaml.versions import Kind

MODELS: dict[Kind, type[BaseModel]] = {
    "scenario": Scenario,
    "settings": Settings,
    "script": Script,
    "account": account.Account,
}
TEXTS = {
    "scenario": "about: A call.\nsteps: [hang_up]",
    "settings": "sip: {port: 5070}\nvoice: ash",
    "script": "replies: [{say: Hello.}]",
    "account": "user: '2001'\nregistrar: pbx.example",
}
COMMANDS = {
    "scenario": "callerside run {path} plays it",
    "settings": "callerside-agent serve --config {path} reads them",
    "script": "fake-realtime serve --script {path} reads it",
    "account": "--account {path} reads it",
}
READ: dict[str, Callable[[Path], object]] = {
    "scenario": lambda path: scenario_loader.load([path]),
    "settings": lambda path: settings_loader.load(path, {}),
    "script": script_loader.load_script,
    "account": lambda path: account.load(path, {}),
}


def test_the_keys_of_each_kind_are_those_of_its_model_alone() -> None:
    keys = {
        kind: {field.alias or name for name, field in model.model_fields.items()}
        for kind, model in MODELS.items()
    }
    for kind, own in OWN_KEYS.items():
        others = set().union(*(keys[other] for other in MODELS if other != kind))
        assert own == keys[kind] - others, kind


@pytest.mark.parametrize("given", TEXTS)
@pytest.mark.parametrize("expected", TEXTS)
def test_a_file_of_another_kind_is_called_what_it_is(
    tmp_path: Path, given: str, expected: str
) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(f"version: 2\n{TEXTS[given]}\n")
    if given == expected:
        READ[expected](path)
        return
    with pytest.raises(ValueError, match="this is no") as error:
        READ[expected](path)
    (line,) = str(error.value).splitlines()
    assert line.startswith(f"{path}:1:1: this is no {expected.replace('settings', 'file of')}")
    assert line.endswith(COMMANDS[given].format(path=path))


def test_a_key_that_is_wrong_is_told_as_such_in_a_file_of_its_kind(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text("about: A call.\nsteps: [hang_up]\nvoice: ash\n")
    with pytest.raises(ValueError, match='3:1: unknown key "voice"'):
        scenario_loader.load([path])
