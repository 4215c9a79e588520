from pathlib import Path
from typing import Any

import pytest

from agent.config import ConfigError
from agent.serve import check_ports, worker_command, worker_settings
from agent.settings import Settings


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


def test_a_worker_is_this_very_agent() -> None:
    command = worker_command(Path("a.yaml"), 2, Path("/run/2.sock"))
    assert command[1:] == [
        *("-m", "agent.cli", "serve", "--config", "a.yaml"),
        *("--worker", "2", "--socket", "/run/2.sock"),
    ]
