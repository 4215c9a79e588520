"""`callerside-agent serve` as it is operated: drained, reloaded, killed, watched and recorded."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile
import warm_processes
import yaml
from agent_rig import Agent, fake_realtime, until
from raw_sip import RawPhone
from sip_rig import Phone

from callerside.agent.service.crash_records import LOST
from callerside.agent.telephony.interface import AudioReceived, CallAnswered, HungUp, MediaReady
from callerside.agent.telephony.options import SipOptions
from callerside.audio import tone
from callerside.fakes.recording.format import read_recording

pytestmark = pytest.mark.e2e

CALLER_HZ = 16_000


@pytest.fixture(scope="module")
def phone() -> Iterator[Phone]:
    phone = Phone("caller", SipOptions())
    yield phone
    phone.close()


@pytest.fixture(scope="module")
def realtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with fake_realtime(tmp_path_factory.mktemp("fake")) as url:
        yield url


Serve = Callable[..., Agent]


@pytest.fixture
def serve(tmp_path: Path, realtime: str) -> Iterator[Serve]:
    agents: list[Agent] = []

    def start(*options: str, **settings: Any) -> Agent:
        agents.append(Agent(tmp_path, {"realtime": {"url": realtime}, **settings}, *options))
        return agents[-1]

    yield start
    for agent in agents:
        agent.close()


def call(phone: Phone, address: str, called: str = "100") -> int:
    """Place a call that is answered, and wait for its sound."""
    number = phone.dial(address.replace("sip:", f"sip:{called}@"))
    phone.wait_for(number, CallAnswered)
    phone.wait_for(number, MediaReady)
    return number


def hang_up(phone: Phone, number: int) -> HungUp:
    phone.do(number, "hang_up")
    return phone.wait_for(number, HungUp)


def is_up(phone: Phone, number: int) -> bool:
    return not any(isinstance(told, HungUp) for told in phone.signals(number))


def test_one_call_is_recorded_counted_and_logged_under_one_id(phone: Phone, serve: Serve) -> None:
    agent = serve()
    assert agent.get("/healthz")[0] == 200
    assert agent.get("/readyz")[0] == 200
    number = call(phone, agent.addresses[0], "12345")
    until(lambda: agent.metric("callerside_calls_active") == 1, "one call is up")
    until(
        lambda: agent.metric("callerside_setup_seconds_count", until="session") == 1, "its session"
    )
    hang_up(phone, number)
    until(agent.records, "the record")
    (record,) = agent.records()
    assert record["called"] == "12345"
    assert record["ended"] == {"by": "caller", "status": 200, "reason": record["ended"]["reason"]}
    assert record["codec"] == "PCMU"
    assert agent.metric("callerside_calls_ended_total", by="caller", status="200") == 1
    assert agent.metric("callerside_setup_seconds_count", until="answer") == 1
    (timeline,) = (agent.folder / "timelines").iterdir()
    assert timeline.name == f"12345-{record['call']}.jsonl"
    (ended,) = agent.logged("call_ended")
    assert (ended["call"], ended["sip_call_id"]) == (record["call"], record["sip_call_id"])
    assert ended["session"].startswith("sess")


def test_both_addresses_are_said_where_there_are_two(serve: Serve) -> None:
    agent = serve(sip={"host": "127.0.0.1", "second_host": "::1", "engine": "baresip", "port": 0})
    one, other = agent.addresses
    assert one.startswith("sip:127.0.0.1:")
    assert other == f"sip:[::1]:{one.rpartition(':')[2]}"


def test_draining_lets_calls_finish_and_takes_no_new_ones(phone: Phone, serve: Serve) -> None:
    agent = serve()
    number = call(phone, agent.addresses[0])
    agent.signal(signal.SIGTERM)
    until(lambda: agent.get("/readyz")[0] == 503, "not ready any more")
    assert agent.get("/healthz")[0] == 200
    refused = phone.dial(agent.addresses[0].replace("sip:", "sip:200@"))
    assert phone.wait_for(refused, HungUp).status == 503
    assert is_up(phone, number)
    assert agent.metric("callerside_draining") == 1
    assert agent.metric("callerside_calls_refused_total", status="503") == 1
    hang_up(phone, number)
    assert agent.wait() == 0
    assert len(agent.records()) == 1


def test_a_caller_who_sends_a_refer_stays_in_the_call(serve: Serve) -> None:
    agent = serve()
    with RawPhone(int(agent.addresses[0].rpartition(":")[2])) as raw:
        assert raw.call(raw.sdp()).status == 200
        assert raw.request("REFER", headers={"Refer-To": "<sip:desk@127.0.0.1>"}) == 603
        until(lambda: agent.logged("event_dropped"), "the mark")
        assert raw.request("INVITE", raw.sdp()) == 200, "the call is still there"
        assert raw.request("BYE") == 200
    assert not agent.logged("call_failed")


def port_of(agent: Agent) -> int:
    return int(agent.addresses[0].rpartition(":")[2])


def test_a_byte_in_a_call_id_that_is_no_text_does_not_keep_its_call_from_ending(
    serve: Serve,
) -> None:
    agent = serve()
    with RawPhone(port_of(agent), call_id=b"caf\xe9-1") as raw:
        assert raw.call(raw.sdp()).status == 200
        assert json.loads(agent.get("/healthz")[1])["calls"] == 1
        assert raw.request("BYE") == 200
    until(lambda: json.loads(agent.get("/healthz")[1])["calls"] == 0, "the call has ended")
    (record,) = agent.records()
    assert record["sip_call_id"] == "caf\\xe9-1"
    assert record["ended"]["by"] == "caller"
    assert agent.marks("100")[-1] == "call_ended"
    assert agent.metric("callerside_calls_active") == 0
    agent.signal(signal.SIGTERM)
    assert agent.wait() == 0, "the drain waits for nobody"


def test_a_byte_in_the_peers_reason_that_is_no_text_is_escaped(phone: Phone) -> None:
    with RawPhone(phone.port) as raw:
        number = phone.dial(f"sip:100@127.0.0.1:{raw.sip_port}")
        raw.answer_request("INVITE", b"486 ocupad\xf3")
        ended = phone.wait_for(number, HungUp)
    assert (ended.status, ended.reason) == (486, "ocupad\\xf3")


def test_a_drain_has_an_end(phone: Phone, serve: Serve) -> None:
    agent = serve(drain={"limit_ms": 200})
    number = call(phone, agent.addresses[0])
    agent.signal(signal.SIGTERM)
    assert phone.wait_for(number, HungUp).by == "agent"
    assert agent.wait() == 0
    (record,) = agent.records()
    assert record["ended"]["by"] == "agent"


def test_a_second_signal_ends_the_calls_now(phone: Phone, serve: Serve) -> None:
    agent = serve()
    number = call(phone, agent.addresses[0])
    agent.signal(signal.SIGINT)
    until(lambda: agent.get("/readyz")[0] == 503, "draining")
    agent.signal(signal.SIGINT)
    assert phone.wait_for(number, HungUp).by == "agent"
    assert agent.wait() == 0


def test_reloading_is_for_the_calls_to_come(phone: Phone, serve: Serve) -> None:
    agent = serve(beep={"length_ms": 100})
    running = call(phone, agent.addresses[0], "before")
    agent.write({**agent.settings, "beep": {"enabled": False}})
    agent.signal(signal.SIGHUP)
    until(lambda: agent.logged("reloaded"), "the reload")
    assert is_up(phone, running)
    fresh = call(phone, agent.addresses[0], "after")
    hang_up(phone, fresh)
    hang_up(phone, running)
    until(lambda: len(agent.records()) == 2, "both records")
    assert "beep_started" in agent.marks("before")
    assert "beep_started" not in agent.marks("after")


def test_a_reload_of_broken_settings_changes_nothing_and_says_so(
    phone: Phone, serve: Serve
) -> None:
    agent = serve()
    agent.write({**agent.settings, "beeep": {}})
    agent.signal(signal.SIGHUP)
    until(lambda: agent.logged("reload_failed"), "the complaint")
    assert "beep" in agent.logged("reload_failed")[0]["error"]
    hang_up(phone, call(phone, agent.addresses[0]))


@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["alone", "workers"])
def test_an_empty_file_at_a_reload_changes_nothing_and_is_told(
    serve: Serve, workers: tuple[str, ...]
) -> None:
    """Somebody is just writing it."""
    agent = serve(*workers)
    agent.config.write_text("")
    agent.signal(signal.SIGHUP)
    until(lambda: agent.logged("reload_failed"), "the complaint")
    assert "the file is empty" in agent.logged("reload_failed")[0]["error"]
    assert not agent.logged("reloaded")


def test_a_worker_that_dies_comes_back_with_the_settings_of_the_others(
    phone: Phone, serve: Serve
) -> None:
    agent = serve("--workers", "2", beep={"enabled": False})
    address = agent.workers()[0]["address"]
    agent.write({**agent.settings, "beeep": {}, "beep": {"enabled": True}})
    agent.signal(signal.SIGHUP)
    until(lambda: agent.logged("reload_failed"), "the complaint")
    os.kill(agent.worker_pids()[0], signal.SIGKILL)
    until(lambda: agent.workers()[0]["state"] == "waiting", "its death is noticed")
    until(lambda: agent.workers()[0]["state"] == "ready", "it is back")
    del address  # of any free port: it is another one
    hang_up(phone, call(phone, agent.workers()[0]["address"], "after"))
    until(agent.records, "the record")
    assert "beep_started" not in agent.marks("after")


def is_caught(number: int, pid: int) -> bool:
    """Whether a process has said what it does upon a signal: until then it ends by it."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


@pytest.mark.parametrize("delay_s", [0, 0.3])
def test_a_reload_that_is_asked_for_during_the_start_waits_for_its_end(
    tmp_path: Path, delay_s: float
) -> None:
    config = tmp_path / "agent.yaml"
    config.write_text(yaml.safe_dump({"sip": {"port": 0}, "realtime": {"url": "ws://h/"}}))
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "callerside.agent", "serve", "--config", str(config)]
    with (tmp_path / "log").open("wb") as log:
        starting = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
        )
    with starting:
        assert starting.stdout is not None
        until(lambda: is_caught(signal.SIGHUP, starting.pid), "it says what it does upon SIGHUP")
        time.sleep(delay_s)
        starting.send_signal(signal.SIGHUP)
        assert starting.stdout.readline().startswith(b"ready ")
        until(lambda: "reloaded" in (tmp_path / "log").read_text(), "the reload")
        starting.terminate()
        assert starting.wait(30) == 0


def test_what_needs_a_restart_is_said(serve: Serve) -> None:
    agent = serve()
    agent.write({**agent.settings, "drain": {"limit_ms": 5}})
    agent.signal(signal.SIGHUP)
    until(lambda: agent.logged("reloaded"), "the reload")
    assert [line["section"] for line in agent.logged("reload_needs_restart")] == ["drain"]


def test_a_recording_holds_both_sides(phone: Phone, serve: Serve, tmp_path: Path) -> None:
    agent = serve(recordings={"dir": str(tmp_path / "recordings")}, greeting={"enabled": False})
    number = call(phone, agent.addresses[0], "555")
    phone.do(number, "play", tone(1000, 600, CALLER_HZ))
    phone.wait_for(number, AudioReceived, count=60)
    hang_up(phone, number)
    until(agent.records, "the record")
    (path,) = (tmp_path / "recordings").glob("555-*.wav")
    data, rate_hz = soundfile.read(path)
    assert loudest_hz(data[:, 0], rate_hz) == pytest.approx(1000, abs=5)
    assert loudest_hz(data[:, 1], rate_hz) == pytest.approx(440, abs=5)
    assert path.stat().st_mode & 0o077 == 0


def test_a_production_call_can_be_replayed(phone: Phone, serve: Serve, tmp_path: Path) -> None:
    agent = serve(recordings={"dir": str(tmp_path / "recordings"), "audio": False})
    number = call(phone, agent.addresses[0], "555")
    phone.wait_for(number, AudioReceived, count=150)
    hang_up(phone, number)
    until(agent.records, "the record")
    (path,) = (tmp_path / "recordings").iterdir()
    assert path.name == f"555-{agent.records()[0]['call']}.realtime"
    types = [entry.type for entry in read_recording(path).entries]
    assert types[0] == "session.created"
    assert "input_audio_buffer.append" in types
    assert "response.output_audio.delta" in types

    (tmp_path / "again").mkdir()  # with a cache of its own, so that the greeting is asked for
    with fake_realtime(tmp_path / "again", options=["--recording", str(path)]) as url:
        again = Agent(tmp_path / "again", {"realtime": {"url": url}})
        try:
            number = call(phone, again.addresses[0], "556")
            phone.wait_for(number, AudioReceived, count=150)
            hang_up(phone, number)
            until(again.records, "the record")
        finally:
            again.close()
    assert "greeting_started" in again.marks("556")


def test_greetings_are_made_before_the_first_call(phone: Phone, serve: Serve) -> None:
    agent = serve(greeting={"warm_at_start": True, "instructions": "Say hello, for a test."})
    until(lambda: len(agent.logged("prompt_ready")) == 3, "greeting, hold and farewell")
    number = call(phone, agent.addresses[0], "777")
    phone.wait_for(number, AudioReceived, count=150)  # it begins after a second
    hang_up(phone, number)
    until(agent.records, "the record")
    (path,) = (agent.folder / "timelines").iterdir()
    marks = [json.loads(line) for line in path.read_text().splitlines()]
    (greeting,) = [mark for mark in marks if mark["name"] == "greeting_started"]
    assert greeting["fields"]["origin"] == "cache"


def test_greetings_that_cannot_be_made_hold_up_nobody(phone: Phone, serve: Serve) -> None:
    nobody = {"url": "ws://127.0.0.1:9/v1/realtime"}
    agent = serve("--workers", "2", greeting={"warm_at_start": True}, realtime=nobody)
    until(lambda: agent.logged("prompt_not_made"), "the complaint")
    number = call(phone, agent.addresses[0])
    assert is_up(phone, number)
    hang_up(phone, number)


def loudest_hz(channel: Any, rate_hz: int) -> float:
    spectrum = np.abs(np.fft.rfft(channel))
    return float(np.argmax(spectrum)) * rate_hz / len(channel)


def test_a_worker_that_dies_takes_only_its_own_calls(phone: Phone, serve: Serve) -> None:
    agent = serve("--workers", "2")
    lost = call(phone, agent.addresses[0])
    kept = call(phone, agent.addresses[1])
    first, second = agent.worker_pids()
    os.kill(first, signal.SIGKILL)
    until(lambda: agent.workers()[0]["state"] == "waiting", "its death is noticed")
    assert agent.get("/readyz")[0] == 200
    frames = len([told for told in phone.told(kept) if isinstance(told.input, AudioReceived)])
    phone.wait_for(kept, AudioReceived, count=frames + 50)
    until(lambda: agent.workers()[0]["state"] == "ready", "it is back")
    assert agent.metric("callerside_worker_restarts_total", worker="0") == 1
    assert agent.worker_pids()[1] == second
    assert is_up(phone, kept)
    hang_up(phone, call(phone, agent.workers()[0]["address"]))
    hang_up(phone, kept)
    phone.do(lost, "vanish")
    until(lambda: len(agent.records()) == 3, "a record of each, also of the one that was lost")
    first_written, *others = agent.records()
    assert first_written["ended"] == LOST
    assert first_written["called"] == "100"
    assert first_written["codec"] == "PCMU"
    assert {record["ended"]["status"] for record in others} == {200}
    assert agent.logged("call_lost")[0]["call"] == first_written["call"]


def test_a_call_whose_process_was_killed_is_recorded_at_the_next_start(
    phone: Phone, serve: Serve
) -> None:
    agent = serve()
    number = call(phone, agent.addresses[0], "lost")
    agent.signal(signal.SIGKILL)
    agent.wait()
    phone.do(number, "vanish")
    again = serve()
    (record,) = again.records()
    assert (record["called"], record["ended"]) == ("lost", LOST)
    hang_up(phone, call(phone, again.addresses[0]))
    until(lambda: len(again.records()) == 2, "the next one's")
    again.signal(signal.SIGTERM)
    assert again.wait() == 0
    assert not list(again.folder.glob(".*.open")), "nothing is owed"


def test_workers_do_not_outlive_their_supervisor(phone: Phone, serve: Serve) -> None:
    agent = serve("--workers", "2")
    number = call(phone, agent.addresses[0])
    pids = agent.worker_pids()
    agent.signal(signal.SIGKILL)
    until(lambda: has_ended(pids[1]), "the idle one has gone")
    assert is_up(phone, number)
    hang_up(phone, number)
    until(lambda: has_ended(pids[0]), "the other one, too")


def has_ended(pid: int) -> bool:
    """Where nobody reaps orphans, a process that has ended is still listed."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_several_workers_drain_as_one(phone: Phone, serve: Serve) -> None:
    agent = serve("--workers", "2")
    number = call(phone, agent.addresses[1])
    agent.signal(signal.SIGTERM)
    until(lambda: agent.get("/readyz")[0] == 503, "not ready any more")
    until(lambda: agent.workers()[0]["state"] == "gone", "the idle one has gone")
    assert is_up(phone, number)
    hang_up(phone, number)
    assert agent.wait() == 0


def test_workers_reload_too(serve: Serve) -> None:
    agent = serve("--workers", "2")
    agent.signal(signal.SIGHUP)
    until(lambda: len(agent.logged("reloaded")) == 2, "both have reloaded")
    assert {line["worker"] for line in agent.logged("reloaded")} == {0, 1}


def run(
    tmp_path: Path, settings: dict[str, Any], *options: str
) -> "subprocess.CompletedProcess[str]":
    config = tmp_path / "agent.yaml"
    config.write_text(yaml.safe_dump(settings))
    env = {**os.environ, "OPENAI_API_KEY": "sk-unused-in-this-test"}
    command = ("serve", "--config", str(config), *options)
    return warm_processes.run("callerside.agent.cli", *command, environment=env, timeout=60)


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["alone", "workers"])
def test_a_port_that_is_taken_is_said_in_words(tmp_path: Path, options: tuple[str, ...]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        done = run(tmp_path, {"sip": {"port": port, "transports": ["udp"]}}, *options)
    assert done.returncode == 2
    assert str(port) in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("sip", "said"),
    [
        ({"host": "203.0.113.7"}, "sip.host '203.0.113.7' is no IPv4 address of this machine"),
        ({"host": "[::1]"}, "agent.yaml:2:9: host: '[::1]': expected a name or an IP address"),
        ({"host": "fe80::1"}, "agent.yaml:2:9: host: 'fe80::1': expected a name or an IP address"),
        (
            {"host": "2001:db8::1", "engine": "baresip"},
            "sip.host '2001:db8::1' is no IPv6 address of this machine",
        ),
        (
            {"host": "::1", "second_host": "::2"},
            "second_host: ::2: host is ::1: expected an address",
        ),
        ({"host": "::1", "engine": "pjsua2"}, "sip.host: ::1: pjsua2 has no capability `ipv6`"),
        (
            {"public_host": "not a host"},
            "agent.yaml:3:16: public_host: 'not a host': expected a name",
        ),
        ({"host": "nonsense.invalid"}, "sip.host 'nonsense.invalid' is no IPv4 address"),
        (
            {"registration": {"registrar": "pbx:port", "user": "a"}},
            "agent.yaml:4:16: registrar: 'pbx:port': expected host, or host:port",
        ),
    ],
)
def test_an_address_that_cannot_be_is_said_in_words(
    tmp_path: Path, sip: dict[str, Any], said: str
) -> None:
    done = run(tmp_path, {"sip": {"port": 0, **sip}})
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("sip", "said"),
    [
        (
            {"codecs": ["PCMU", "OPUS"]},
            "agent.yaml:3:3: sip.codecs: OPUS: pjsua2 has no capability `opus`",
        ),
        ({"max_calls": 12}, "agent.yaml:3:14: sip.max_calls: a process of pjsua2 holds 4 calls"),
    ],
)
def test_what_the_engine_cannot_do_is_said_at_its_place(
    tmp_path: Path, sip: dict[str, Any], said: str, workers: int
) -> None:
    """Once, however many workers there were to be."""
    done = run(tmp_path, {"sip": {**sip, "port": 0, "engine": "pjsua2"}, "workers": workers})
    assert done.returncode == 2
    assert done.stderr.count(said) == 1
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_pages_that_cannot_be_served_are_said_in_words(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run(tmp_path, {"sip": {"port": 0}, "http": {"port": taken.getsockname()[1]}})
    assert done.returncode == 2
    assert "in use" in done.stderr
    assert "http: the pages cannot be served on 127.0.0.1:" in done.stderr
    assert "Traceback" not in done.stderr


def test_workers_whose_ports_do_not_fit(tmp_path: Path) -> None:
    done = run(tmp_path, {"sip": {"port": 65530}}, "--workers", "8")
    assert done.returncode == 2
    assert "sip.port" in done.stderr


def test_more_workers_than_there_can_be(tmp_path: Path) -> None:
    done = run(tmp_path, {}, "--workers", "0")
    assert done.returncode == 2
    assert "expected 1 to 64" in done.stderr


def test_the_users_function_runs_and_gets_the_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phone: Phone, serve: Serve
) -> None:
    source = '''
from pathlib import Path
from callerside.agent.tools.loader import KeysPressed

def note(keys: KeysPressed) -> str:
    """Note what the caller has pressed."""
    Path(__file__).with_name("noted").write_text(keys)
    return "noted"
'''
    (tmp_path / "noting_tools.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    script = {"replies": [{"function_call": {"name": "note"}}, {"say": "Thank you."}]}
    with fake_realtime(tmp_path, script) as url:
        agent = serve(
            realtime={"url": url},
            greeting={"enabled": False},
            tools={"module": "noting_tools"},
        )
        number = call(phone, agent.addresses[0])
        for digit in "12#":
            phone.do(number, "send_dtmf", digit)
        until((tmp_path / "noted").exists, "the function has run")
        hang_up(phone, number)
        until(agent.records, "the record")
    assert (tmp_path / "noted").read_text() == "12#"
    (record,) = agent.records()
    assert (record["tools_called"], record["digits_received"]) == (1, 3)
    assert agent.metric("callerside_tool_seconds_count", ok="true") == 1


def test_a_reload_of_tools_that_are_not_there_is_said(serve: Serve) -> None:
    agent = serve()
    agent.write({**agent.settings, "tools": {"module": "no_such_module_anywhere"}})
    agent.signal(signal.SIGHUP)
    until(lambda: agent.logged("reload_failed"), "the complaint")
    assert "no_such_module_anywhere" in agent.logged("reload_failed")[0]["error"]


def test_a_module_of_tools_that_is_not_there(tmp_path: Path) -> None:
    done = run(tmp_path, {"sip": {"port": 0}, "tools": {"module": "no_such_module_anywhere"}})
    assert done.returncode == 2
    assert "no_such_module_anywhere" in done.stderr
    assert "Traceback" not in done.stderr
