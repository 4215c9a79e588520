"""What ships for production is what the agent really has: units, rules, dashboards, images."""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from agent_rig import Agent, fake_realtime, until
from prometheus_client.parser import text_string_to_metric_families
from raw_sip import RawPhone

from callerside.agent.config.settings import Settings
from callerside.agent.observe.call_records import CallRecords
from callerside.agent.observe.metrics import AgentMetrics
from callerside.agent.service.pages import own_metrics
from callerside.agent.service.supervisor import WorkerPool
from callerside.agent.service.supervisor_policy import STOP_MARGIN_MS
from callerside.marks import Mark

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "agent" / "deploy"


def run(*command: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, **options
    )


def needed(program: str, package: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed (Debian: apt install {package})")
    return path


def families() -> dict[str, str]:
    """Every metric that the pages can show: its name and its type."""
    pool = WorkerPool(1, lambda *_: [], drain_limit_ms=0, on_ready=lambda _: None)
    page = AgentMetrics().page() + own_metrics(pool)
    return {family.name: family.type for family in text_string_to_metric_families(page.decode())}


def samples() -> set[str]:
    """Every name that a query can ask for."""
    suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
    return {
        name + suffix for name, kind in families().items() for suffix in suffixes.get(kind, [""])
    }


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    dashboard = json.loads((DEPLOY / "grafana.json").read_text())
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries() -> Iterator[str]:
    for panel in panels():
        for target in panel["targets"]:
            yield target["expr"]


def names_in(query: str) -> set[str]:
    return set(re.findall(r"\b(?:callerside|process)_\w+", query))


def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    asked = {name for query in queries() for name in names_in(query)}
    assert asked - samples() == set()


def test_the_dashboard_shows_every_metric_of_the_agent() -> None:
    shown = " ".join(queries())
    own = [name for name in families() if name.startswith("callerside_")]
    assert [name for name in own if name not in shown] == []


def test_the_page_about_operating_lists_every_field_of_a_record() -> None:
    page = (ROOT / "docs" / "operating.md").read_text()
    table = page.partition("## Call records")[2].partition("##")[0]
    written: list[dict[str, Any]] = []
    CallRecords(written.append)(
        Mark(at_ns=0, source="agent", call="c", name="call_ended", fields={})
    )
    assert [name for name in written[0] if f"`{name}`" not in table] == []


def test_the_alerts_watch_metrics_that_exist() -> None:
    asked = {name for rule in alerts() for name in names_in(rule["expr"])}
    assert asked - samples() == set()


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
        assert rule["annotations"].keys() == {"summary", "what_to_do"}, rule["alert"]


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads((DEPLOY / "grafana.json").read_text())["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


@pytest.mark.peer
def test_prometheus_accepts_the_rules_and_they_fire_when_they_should(tmp_path: Path) -> None:
    promtool = needed("promtool", "prometheus")
    for name in ("alerts.yml", "prometheus.yml"):
        shutil.copy(DEPLOY / name, tmp_path)
    checked = run(promtool, "check", "config", str(tmp_path / "prometheus.yml"))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    (tmp_path / "tests.yml").write_text(ALERT_TESTS)
    tested = run(promtool, "test", "rules", str(tmp_path / "tests.yml"))
    assert tested.returncode == 0, tested.stdout + tested.stderr


ALERT_TESTS = """
rule_files: [alerts.yml]
evaluation_interval: 30s
tests:
  - name: a worker that dies again and again
    interval: 30s
    input_series:
      - series: 'callerside_worker_restarts_total{worker="1", instance="a"}'
        values: '0+1x20'
      - series: 'callerside_worker_restarts_total{worker="0", instance="a"}'
        values: '0x20'
    alert_rule_test:
      - alertname: CallersideWorkerKeepsDying
        eval_time: 5m
        exp_alerts:
          - exp_labels: {severity: page, worker: '1', instance: a}
            exp_annotations:
              summary: Worker 1 on a keeps dying, with its calls.
              what_to_do: Look for `worker_died` and `worker_hangs` in the log.
  - name: every connection fails, then none
    interval: 30s
    input_series:
      - series: 'callerside_realtime_connects_total{worker="0"}'
        values: '0+10x80'
      - series: 'callerside_realtime_failures_total{worker="0", status="401"}'
        values: '0+10x30 300x50'
    alert_rule_test:
      - alertname: CallersideRealtimeFails
        eval_time: 40m
        exp_alerts: []
  - name: slow answers
    interval: 30s
    input_series:
      - series: 'callerside_turn_seconds_bucket{le="3.0"}'
        values: '0+9x60'
      - series: 'callerside_turn_seconds_bucket{le="5.0"}'
        values: '0+10x60'
      - series: 'callerside_turn_seconds_bucket{le="+Inf"}'
        values: '0+10x60'
    alert_rule_test:
      - alertname: CallersideSlowAnswers
        eval_time: 30m
        exp_alerts:
          - exp_labels: {severity: ticket}
            exp_annotations:
              summary: One answer in twenty comes later than 3 s after the caller's last word.
              what_to_do: See in the dashboard which hop of the turn has grown.
  - name: a disk that is full
    interval: 30s
    input_series:
      - series: 'callerside_writes_lost_total{what="record", worker="0", instance="a"}'
        values: '0x10 1x50'
    alert_rule_test:
      - {alertname: CallersideWritesLost, eval_time: 5m, exp_alerts: []}
      - alertname: CallersideWritesLost
        eval_time: 10m
        exp_alerts:
          - exp_labels: {severity: page, what: record, instance: a}
            exp_annotations:
              summary: Of calls on a a record could not be written.
              what_to_do: >-
                Look at the disk; records that were lost stand whole in the log, as `record_lost`.
  - name: files run out
    interval: 30s
    input_series:
      - {series: 'process_open_fds{job="callerside", instance="a"}', values: '300x10 900x20'}
      - {series: 'process_max_fds{job="callerside", instance="a"}', values: '1024x30'}
    alert_rule_test:
      - {alertname: CallersideFilesRunOut, eval_time: 5m, exp_alerts: []}
      - alertname: CallersideFilesRunOut
        eval_time: 10m
        exp_alerts:
          - exp_labels: {severity: page, job: callerside, instance: a}
            exp_annotations:
              summary: A process on a has opened more than 80 % of the files that it may.
              what_to_do: Look for `files_too_few` in its log, and raise the limit (`LimitNOFILE`).
  - name: a healthy agent
    interval: 30s
    input_series:
      - {series: 'up{job="callerside", instance="a"}', values: '1x60'}
      - {series: 'callerside_worker_up{worker="0", instance="a"}', values: '1x60'}
      - {series: 'callerside_calls_active{worker="0", instance="a"}', values: '2x60'}
      - {series: 'callerside_lines{worker="0", instance="a"}', values: '4x60'}
      - {series: 'callerside_calls_refused_total{status="486", instance="a"}', values: '7x60'}
      - {series: 'callerside_rtp_packets_lost_total{instance="a"}', values: '0+1x60'}
      - {series: 'callerside_rtp_packets_received_total{instance="a"}', values: '0+1000x60'}
      - {series: 'callerside_playout_missing_seconds_total{instance="a"}', values: '0x60'}
      - {series: 'callerside_draining{instance="a"}', values: '0x60'}
    alert_rule_test:
      - {alertname: CallersideDown, eval_time: 20m, exp_alerts: []}
      - {alertname: CallersideNoWorker, eval_time: 20m, exp_alerts: []}
      - {alertname: CallersideNoLineFree, eval_time: 20m, exp_alerts: []}
      - {alertname: CallersideNearlyFull, eval_time: 20m, exp_alerts: []}
      - {alertname: CallersidePacketsLost, eval_time: 20m, exp_alerts: []}
      - {alertname: CallersideSoundHasHoles, eval_time: 20m, exp_alerts: []}
      - {alertname: CallersideDrainsForLong, eval_time: 20m, exp_alerts: []}
"""


@pytest.mark.peer
def test_prometheus_understands_every_query_of_the_dashboard(tmp_path: Path) -> None:
    promtool = needed("promtool", "prometheus")
    filled = [query.replace("$__rate_interval", "1m") for query in queries()]
    rules = [{"record": f"q:{number}", "expr": query} for number, query in enumerate(filled)]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    checked = run(promtool, "check", "rules", "--lint=none", str(path))
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.peer
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    analyze = needed("systemd-analyze", "systemd")
    text = (DEPLOY / "callerside-agent.service").read_text()
    program = Path(sys.executable).parent / "callerside-agent"
    unit = tmp_path / "callerside-agent.service"
    unit.write_text(text.replace("/opt/callerside/bin/callerside-agent", str(program)))
    verified = run(analyze, "verify", "--man=no", str(unit))
    complaints = [line for line in verified.stderr.splitlines() if unit.name in line]
    assert (verified.returncode, complaints) == (0, [])


@pytest.mark.peer
def test_the_unit_leaves_little_to_attack(tmp_path: Path) -> None:
    analyze = needed("systemd-analyze", "systemd")
    shutil.copy(DEPLOY / "callerside-agent.service", tmp_path)
    unit = str(tmp_path / "callerside-agent.service")
    judged = run(analyze, "security", "--offline=true", "--threshold=25", "--no-pager", unit)
    assert judged.returncode == 0, judged.stdout.splitlines()[-1:]


def under_unit(unit: Path) -> tuple[str, ...]:
    """What runs a module under the unit's filter of system calls."""
    needed("systemd-analyze", "systemd")
    return (sys.executable, str(ROOT / "tests" / "support" / "under_unit.py"), str(unit))


@pytest.mark.peer
def test_the_units_filter_leaves_what_the_libraries_need_and_is_one(tmp_path: Path) -> None:
    """OpenBLAS places its memory as it is loaded (mbind); nobody needs to load kernel modules."""
    for name, code in (
        ("loads", "import numpy, pjsua2, soxr; numpy.ones((300, 300)) @ numpy.ones((300, 300))"),
        ("moves", "import ctypes; ctypes.CDLL(None).syscall(175)"),  # init_module, x86-64
    ):
        (tmp_path / f"{name}.py").write_text(code)
    unit = DEPLOY / "callerside-agent.service"
    loaded = run(*under_unit(unit), "loads", cwd=tmp_path)
    assert loaded.returncode == 0, loaded.stderr
    assert run(*under_unit(unit), "moves", cwd=tmp_path).returncode == -signal.SIGSYS


@pytest.mark.peer
@pytest.mark.e2e
def test_a_call_is_served_under_the_units_filter(tmp_path: Path) -> None:
    """By a supervisor and its worker, from the start to the end of a drain."""
    runner = under_unit(DEPLOY / "callerside-agent.service")
    with fake_realtime(tmp_path, {"greeting": {"say": "Good morning."}}) as url:
        settings = {"realtime": {"url": url}, "logs": {"format": "json", "level": "debug"}}
        agent = Agent(tmp_path, settings, "--workers", "1", runner=runner)
        try:
            port = int(agent.addresses[0].rpartition(":")[2])
            with RawPhone(port) as caller:
                assert caller.call(caller.sdp()).status == 200
                until(lambda: agent.logged("greeting_cached"), "the greeting")
                assert caller.request("BYE") == 200
            until(agent.records, "the record of the call")
            agent.signal(signal.SIGHUP)
            until(lambda: agent.logged("reloaded"), "other settings")
            agent.signal(signal.SIGTERM)
            assert agent.wait() == 0
        finally:
            agent.close()


def test_the_unit_waits_for_longer_than_a_drain_takes() -> None:
    text = (DEPLOY / "callerside-agent.service").read_text()
    found = re.search(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
    assert found is not None
    drain_ms = Settings.model_validate({}).drain.limit_ms
    assert int(found[1]) * 1000 > drain_ms + STOP_MARGIN_MS


def test_the_image_is_made_from_all_of_us_and_does_not_run_as_root() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    copies = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--" not in line]
    copied = {name for names in copies for name in names}
    assert [name for name in copied if not (ROOT / name).exists()] == []
    links = {path.readlink().name for path in (ROOT / "callerside").iterdir() if path.is_symlink()}
    assert {"callerside", *links} <= copied
    sent = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert {line[1:] for line in sent if line.startswith("!")} == copied
    assert any(line.startswith("USER ") and "root" not in line for line in lines)
