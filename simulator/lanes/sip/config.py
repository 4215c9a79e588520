"""What the processes of the sip lane are given: scripts, configuration, environment."""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from callerside.addresses import host_of, port_of
from callerside.agent.telephony.engine import EngineChoice
from callerside.agent.telephony.options import USUAL_CODECS, SipAccount, default_port
from callerside.child_processes import END_WITH_INPUT, ONE_THREAD
from callerside.families import family_of
from callerside.simulator.lanes.planned_call import PlannedCall
from callerside.simulator.lanes.sip.rtp_relay import RelayAddresses
from callerside.yaml.versions import NEWEST

_FAST_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""In C, where PyYAML was built with libyaml: a run's files take a tenth of the time."""


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """A Realtime server of somebody else's that the agent talks to, and where that is recorded."""

    url: str
    recording: Path
    keep_audio: bool
    """The caller's, too."""
    key: str | None
    """Of the server; None for one that needs none."""


def write_scripts(planned_calls: Sequence[PlannedCall], folder: Path) -> None:
    """The fake server's scripts; paths in them are absolute.

    One for each scenario: the other names of its calls are links to it, and are read once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scripts: dict[int, Path] = {}
    for planned in planned_calls:
        path = _script(folder, planned)
        first = scripts.setdefault(id(planned.scenario), path)
        if first is not path:
            path.symlink_to(first.name)
            continue
        script = planned.scenario.realtime.resolved(planned.scenario.folder.resolve())
        write_yaml(path, script.model_dump(mode="json", exclude_unset=True))


def repeat_script(planned: PlannedCall, folder: Path) -> None:
    """Let a further attempt at a call have the script of the first."""
    _script(folder, planned).symlink_to(_script(folder, replace(planned, attempt=1)).name)


def _script(folder: Path, planned: PlannedCall) -> Path:
    return folder / f"{planned.address}.yaml"


def agent_config(
    planned_calls: Sequence[PlannedCall],
    realtime_base: str,
    work: Path,
    *,
    relayed: bool = False,
    engine: EngineChoice = "auto",
    target: str = "",
) -> dict[str, Any]:
    """The agent's configuration for a run: one route for each call, each at its own path.

    A route is for all attempts at its call: `barge_in*` is for `barge_in.2`, too. The first that
    matches holds, so that of `barge_in_twice` comes before it.

    It has the codecs that it has if nothing is said, and those that callers want besides.

    `relayed`: the caller's relay stands between, where the agent says that it is. `target`:
    `host:port` of whoever answers calls of the agent's own, if there are any.
    """
    sip: dict[str, Any] = {
        "engine": engine,
        "host": "127.0.0.1",
        "port": 0,
        "rtp_port": 0,
    }
    asked = dict.fromkeys(planned.scenario.caller.codec for planned in planned_calls)
    if more := [codec for codec in asked if codec not in USUAL_CODECS]:
        sip["codecs"] = [*USUAL_CODECS, *more]
    if relayed:
        sip["rtp_public_host"] = RelayAddresses().agent
    if target:
        sip["outbound_proxy"] = target
    return {
        "sip": sip,
        "realtime": {"url": realtime_base + "/{called}/v1/realtime"},
        "greeting": {"warm_at_start": False},  # each session at the fake is one of the script's
        "timeline": {"dir": str(work / "agent"), "trace_audio": True},
        "tools": {"real": False},  # unless a scenario says so
        "routes": [
            {
                "called": f"{planned.name}*",
                **_in_the_run(planned.scenario.agent, work, planned.greeting_cache),
            }
            for planned in sorted(planned_calls, key=lambda planned: -len(planned.name))
        ],
    }


def address_towards(uri: str, account: SipAccount | None = None) -> str:
    """This machine's own address for calls to a SIP URI: the one the way there begins at.

    The way of an account may begin at its proxy.

    Raises:
        OSError: the host has no address, or there is no way to it.
    """
    proxy = account.outbound_proxy if account else ""
    place = proxy or uri.partition("@")[2].partition(";")[0]
    with socket.socket(family_of(host_of(place)), socket.SOCK_DGRAM) as probe:
        probe.connect((host_of(place), port_of(place) or default_port("udp")))  # sends nothing
        return str(probe.getsockname()[0])


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Ours without settings that would change the run, and with a key that opens nothing."""
    kept = {k: v for k, v in environment.items() if not k.startswith(("CALLERSIDE_", "OPENAI_"))}
    key = "no-key-is-needed-for-the-fake"
    return {
        ONE_THREAD: "1",  # unless the user wants another number
        **kept,
        "OPENAI_API_KEY": key,
        "PYTHONUNBUFFERED": "1",
        END_WITH_INPUT: "1",
    }


def write_yaml(path: Path, data: Mapping[str, Any]) -> None:
    """Write settings or a script as YAML for people to read."""
    text = yaml.dump(
        {"version": NEWEST, **data}, Dumper=_FAST_DUMPER, allow_unicode=True, sort_keys=False
    )
    path.write_text(text, encoding="utf-8")


def _in_the_run(agent: Mapping[str, Any], work: Path, cache: str) -> dict[str, Any]:
    """A scenario's settings, of which none leads out of the folder of the run."""
    greeting, recordings = ({**agent.get(part, {})} for part in ("greeting", "recordings"))
    greeting["cache_dir"] = str(work / "greetings" / (greeting.get("cache_dir") or cache))
    told = {**agent, "greeting": greeting}
    if recordings.get("dir") is not None:
        told["recordings"] = {**recordings, "dir": str(work / recordings["dir"])}
    return told
