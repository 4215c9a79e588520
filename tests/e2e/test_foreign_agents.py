"""`callerside run --agent`: an agent that we did not start; only what the caller hears is known."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import warm_processes
from agent_rig import Agent, fake_realtime, free_port

from callerside.addresses import is_ipv6
from callerside.reports.metrics.registry import METRICS
from callerside.simulator.lanes.sip.config import address_towards

pytestmark = pytest.mark.e2e

SCENARIO = """\
about: A question to an agent that runs somewhere.
realtime: {replies: [{say: "Nobody tells that agent's model to say this."}]}
steps:
  - expect: beep
  - expect: greeting
  - say: "What time do you open?"
  - expect: reply
  - expect: {function_call: look_up}
  - hang_up
never: [hang_up, {state: PROCESSING}]
"""


def own_addresses() -> list[str]:
    """Of this machine: loopback's, of both families, and that of the network, if there is one."""
    try:
        return ["127.0.0.1", "::1", address_towards("sip:nobody@203.0.113.1")]
    except OSError:
        return ["127.0.0.1", "::1"]


@pytest.fixture(scope="module", params=own_addresses())
def staging(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Agent]:
    folder = tmp_path_factory.mktemp("staging")
    with fake_realtime(folder) as url:
        sip = {"host": request.param, "port": 0, "allowed_peers": [request.param]}
        if is_ipv6(request.param):
            sip["engine"] = "baresip"
        agent = Agent(folder, {"realtime": {"url": url}, "sip": sip})
        yield agent
        agent.close()


def callerside(folder: Path, uri: str, caller_engine: str = "") -> subprocess.CompletedProcess[str]:
    (folder / "ask.yaml").write_text(SCENARIO)
    given = ["run", "ask.yaml", "--agent", uri]
    if engine := caller_engine or ("baresip" if "@[" in uri else ""):
        given += ["--caller-engine", engine]
    return warm_processes.run("callerside.simulator.cli.main", *given, folder=folder, timeout=240)


@pytest.mark.parametrize("over", ["", ";transport=tcp"])
def test_what_the_caller_hears_is_measured_and_what_is_missing_is_said(
    staging: Agent, tmp_path: Path, over: str
) -> None:
    host = staging.addresses[0].removeprefix("sip:")
    done = callerside(tmp_path, f"sip:100@{host}{over}")
    out = tmp_path / "out" / "latest"
    (call,) = json.loads((out / "results.json").read_text())["scenarios"]
    measured = {metric["name"] for metric in call["metrics"]}
    unchecked = "step 5 (expect function call look_up), never state PROCESSING"
    if "over budget" not in call["detail"]:
        assert (call["verdict"], done.returncode) == ("not measured", 2), done.stdout
        assert unchecked in call["detail"]
        for name in ("summary.md", "junit.xml", call["artifacts"]["page"]):
            assert unchecked in (out / name).read_text(), name
    ear_side = {"answer_ms", "beep_ms", "beep_hz", "beep_length_ms", "greeting_ms", "turn_ms"}
    assert ear_side <= measured
    told = " ".join(done.stdout.split())
    missing = {one["name"] for one in call["not_measured"]}
    assert {"connect_ms", "media_ready_ms", "ready_ms", "agent_overhead_ms", "uplink_ms"} <= missing
    count = len(METRICS) - len(measured)
    assert f"at the caller's ear alone; {count} metrics are not measured" in told
    assert "ask: without effect on it: realtime" in told


@pytest.mark.parametrize("staging", ["127.0.0.1"], indirect=True)
def test_pytest_calls_it_as_run_does(staging: Agent, tmp_path: Path) -> None:
    """What the caller hears is checked; what only our own agent could tell is never passed."""
    uri = f"sip:100@{staging.addresses[0].removeprefix('sip:')}"
    heard = SCENARIO.replace("  - expect: {function_call: look_up}\n", "").replace(
        "never: [hang_up, {state: PROCESSING}]\n", "never: [hang_up]\n"
    )
    off = dict.fromkeys((name for name, one in METRICS.items() if one.budget is not None), "off")
    budget = f"budget: {json.dumps({**off, 'turn_ms': 60_000})}\n"  # a busy machine decides nothing
    (tmp_path / "heard.yaml").write_text(heard + budget)
    (tmp_path / "ask.yaml").write_text(SCENARIO + budget)
    for file, code, verdict in (("heard", 0, "passed"), ("ask", 2, "not measured")):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", f"{file}.yaml",
             "--callerside-agent", uri],
            cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        (call,) = json.loads((tmp_path / "out/latest/results.json").read_text())["scenarios"]
        assert (call["verdict"], done.returncode) == (verdict, code), done.stdout
        assert f"The agent that was called: {uri}" in done.stdout


def test_nobody_there_is_a_call_that_was_not_answered(tmp_path: Path) -> None:
    uri = f"sip:100@127.0.0.1:{free_port()}"
    done = callerside(tmp_path, uri)
    assert done.returncode == 1, done.stdout + done.stderr
    assert (
        "expected beep within 10 s, but no beep was heard; the call is not answered" in done.stdout
    )
    assert f"No call was answered: callerside doctor {uri} says where" in done.stdout


def test_a_caller_that_has_no_ipv6_is_refused_before_the_call(tmp_path: Path) -> None:
    uri = f"sip:100@[::1]:{free_port()}"
    done = callerside(tmp_path, uri, "pjsua2")
    assert done.returncode == 2
    assert f"{uri}: pjsua2 has no capability `ipv6`" in " ".join(done.stderr.split())
