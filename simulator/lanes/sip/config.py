"""What the processes of the sip lane are given: scripts, configuration, environment."""

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from callerside.agent.telephony.engine import EngineChoice
from callerside.agent.telephony.options import SipAccount
from callerside.child_processes import END_WITH_INPUT
from callerside.simulator.lanes.planned_call import PlannedCall
from callerside.simulator.lanes.sip.rtp_relay import RelayAddresses
from callerside.yaml.versions import NEWEST

_SIP_PORT = 5060


def write_scripts(planned_calls: Sequence[PlannedCall], folder: Path) -> None:
    """The fake server's scripts, one for each call; paths in them are absolute."""
    folder.mkdir(parents=True, exist_ok=True)
    for planned in planned_calls:
        script = planned.scenario.realtime.resolved(planned.scenario.folder.resolve())
        data = script.model_dump(mode="json", exclude_unset=True)
        write_yaml(folder / f"{planned.address}.yaml", data)


def agent_config(
    planned_calls: Sequence[PlannedCall],
    realtime_base: str,
    work: Path,
    *,
    relayed: bool = False,
    engine: EngineChoice = "auto",
) -> dict[str, Any]:
    """The agent's configuration for a run: one route for each call, each at its own path.

    `relayed`: the caller's relay stands between, where the agent says that it is.
    """
    sip: dict[str, Any] = {
        "engine": engine,
        "host": "127.0.0.1",
        "port": 0,
        "rtp_port": 0,
    }
    if relayed:
        sip["rtp_public_host"] = RelayAddresses().agent
    return {
        "sip": sip,
        "realtime": {"url": realtime_base + "/{called}/v1/realtime"},
        "greeting": {"warm_at_start": False},  # each session at the fake is one of the script's
        "timeline": {"dir": str(work / "agent"), "trace_audio": True},
        "tools": {"real": False},  # unless a scenario says so
        "routes": [
            {
                "called": planned.address,
                **_with_cache(planned.scenario.agent, work, planned.greeting_cache),
            }
            for planned in planned_calls
        ],
    }


def address_towards(uri: str, account: SipAccount | None = None) -> str:
    """This machine's own address (IPv4) for calls to a SIP URI: the one the way there begins at.

    The way of an account may begin at its proxy.

    Raises:
        OSError: the host has no address, or there is no way to it.
    """
    proxy = account.outbound_proxy if account else ""
    host, _, port = (proxy or uri.partition("@")[2].partition(";")[0]).partition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, int(port or _SIP_PORT)))  # sends nothing
        return str(probe.getsockname()[0])


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Ours without settings that would change the run, and with a key that opens nothing."""
    kept = {k: v for k, v in environment.items() if not k.startswith(("CALLERSIDE_", "OPENAI_"))}
    key = "no-key-is-needed-for-the-fake"
    return {**kept, "OPENAI_API_KEY": key, "PYTHONUNBUFFERED": "1", END_WITH_INPUT: "1"}


def write_yaml(path: Path, data: Mapping[str, Any]) -> None:
    """Write settings or a script as YAML for people to read."""
    text = yaml.safe_dump({"version": NEWEST, **data}, allow_unicode=True, sort_keys=False)
    path.write_text(text, encoding="utf-8")


def _with_cache(agent: Mapping[str, Any], work: Path, cache: str) -> dict[str, Any]:
    greeting = {"cache_dir": str(work / "greetings" / cache), **agent.get("greeting", {})}
    return {**agent, "greeting": greeting}
