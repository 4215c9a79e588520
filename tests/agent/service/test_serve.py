import json
from pathlib import Path
from typing import Any

import pytest

from callerside.agent.config.loader import ConfigError
from callerside.agent.config.settings import Settings
from callerside.agent.service.kept_settings import KeptSettings
from callerside.agent.service.run import (
    DayClock,
    check_places,
    check_ports,
    worker_command,
    worker_settings,
)


def settings(workers: int = 1, **sip: Any) -> Settings:
    return Settings.model_validate({"workers": workers, "sip": sip})


def test_each_worker_has_ports_of_its_own() -> None:
    whole = settings(3, port=5061, rtp_port=20_000, rtp_port_count=40)
    own = [worker_settings(whole, index).sip for index in range(3)]
    assert [sip.port for sip in own] == [5061, 5062, 5063]
    assert [sip.rtp_port for sip in own] == [20_000, 20_040, 20_080]


def test_ports_that_are_free_to_choose_stay_so() -> None:
    own = worker_settings(settings(3, port=0, rtp_port=0), 2).sip
    assert (own.port, own.rtp_port) == (0, 0)


def test_everything_else_is_the_same_for_all() -> None:
    whole = settings(2, port=5061, host="192.0.2.1")
    own = worker_settings(whole, 1)
    assert own.sip.host == "192.0.2.1"
    assert own.routes == whole.routes


@pytest.mark.parametrize(
    ("sip", "said"),
    [
        ({"port": 65_534}, "sip.port: 4 workers from 65534 on need ports up to 65537"),
        ({"port": 5060, "rtp_port": 65_400, "rtp_port_count": 40}, "sip.rtp_port: 4 workers"),
    ],
)
def test_ports_that_do_not_exist(sip: dict[str, int], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_ports(settings(4, **sip))


def test_ports_that_just_fit() -> None:
    check_ports(settings(4, port=65_532, rtp_port=65_376, rtp_port_count=40))


def test_places_for_what_calls_leave_are_made(tmp_path: Path) -> None:
    check_places(
        Settings.model_validate(
            {
                "records": {"file": tmp_path / "new" / "calls.jsonl"},
                "timeline": {"dir": tmp_path / "marks"},
                "routes": [{"called": "1", "recordings": {"dir": tmp_path / "sound"}}],
            }
        )
    )
    assert {path.name for path in tmp_path.iterdir()} == {"new", "marks", "sound"}


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"records": {"file": "FILE/calls.jsonl"}}, "records.file: .*cannot be made: File exists"),
        ({"records": {"file": "FOLDER"}}, "records.file: .*is no file"),
        ({"timeline": {"dir": "FILE/marks"}}, "timeline.dir: .*Not a directory"),
        ({"routes": [{"called": "1", "recordings": {"dir": "FILE"}}]}, "recordings.dir: "),
    ],
)
def test_places_that_cannot_be_written(setting: dict[str, Any], said: str, tmp_path: Path) -> None:
    (tmp_path / "a_file").touch()
    text = json.dumps(setting).replace("FILE", str(tmp_path / "a_file"))
    given = json.loads(text.replace("FOLDER", str(tmp_path)))
    with pytest.raises(ConfigError, match=said):
        check_places(Settings.model_validate(given))


def test_a_worker_is_this_very_agent(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").touch()
    kept = KeptSettings(tmp_path / "a.yaml", tmp_path)
    command = worker_command(kept, 2, Path("/run/2.sock"))
    assert command[1:] == [
        *("-P", "-m", "callerside.agent.cli", "serve", "--config", str(kept.current)),
        *("--at-start", str(kept.at_start)),
        *("--worker", "2", "--socket", "/run/2.sock"),
    ]
    announcing = worker_command(kept, 2, Path("/run/2.sock"), announce=True)
    assert announcing == [*command, "--announce"]


def test_a_clock_that_is_wrong_for_a_while_is_not_believed() -> None:
    """Nothing is deleted by it; only one that stays so is taken for right."""
    wall_s, monotonic_s = 1e9, 50.0
    clock = DayClock(lambda: wall_s, lambda: monotonic_s)
    told = []
    for set_by_s in (0, 1, 1e9, 0, -1e9, 0, 0):
        monotonic_s += 3_600
        wall_s += 3_600 + set_by_s
        told.append(clock.is_steady())
    assert told == [True, True, False, True, False, True, True]
