"""A disk that takes nothing, a clock that is set, names that lead nowhere, slow readers of pages.

Calls go on and end as they should, and what was lost is counted. SIGTERM twice, SIGKILL of a worker
or of its supervisor, and broken or empty settings at a reload: `tests/e2e/test_workers_serve.py`.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import other_clock
import psutil
import pytest
from agent_rig import PYTHON, Agent, fake_realtime, until
from raw_sip import RawPhone
from sip_floods import Listener

from callerside.agent.service.handles import needed
from callerside.agent.service.http import MAX_CONNECTIONS
from callerside.agent.telephony.engine import PROFILES

pytestmark = pytest.mark.e2e

DISK_BYTES, BLOCK_BYTES = 256 * 1024, 4096
ROOT = os.geteuid() == 0
DAY_S = 86_400
needs_root = pytest.mark.skipif(not ROOT, reason="mounting needs root")
SPEECH = {0x7F, 0xFF}
"""What µ-law has for nothing."""

Serve = Callable[..., Agent]


@pytest.fixture(scope="module")
def realtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with fake_realtime(tmp_path_factory.mktemp("fake")) as url:
        yield url


@pytest.fixture
def serve(tmp_path: Path, realtime: str) -> Iterator[Serve]:
    agents: list[Agent] = []

    def start(*, runner: tuple[str, ...] = (), **settings: Any) -> Agent:
        settings = {"realtime": {"url": realtime}, **settings}
        agents.append(Agent(tmp_path, settings, runner=runner))
        return agents[-1]

    yield start
    for agent in agents:
        agent.close()


@contextlib.contextmanager
def mounted(*arguments: str | Path, at: Path) -> Iterator[Path]:
    subprocess.run(["mount", *map(str, arguments), str(at)], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small one of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with mounted("-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", at=folder):
        yield folder


def fill(disk: Path) -> Path:
    """With one file, which is returned: to the last byte."""
    path = disk / "full"
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    assert not shutil.disk_usage(disk).free
    return path


def pad(path: Path) -> bytes:
    """Append empty lines up to where a part of the next line still has its place on the disk."""
    with path.open("ab") as file:
        file.write(b"\n" * (-file.tell() % BLOCK_BYTES - 100))
    return path.read_bytes()


def port_of(agent: Agent) -> int:
    return int(agent.addresses[0].rpartition(":")[2])


def open_files(agent: Agent) -> int:
    return psutil.Process(agent.process.pid).num_fds()


@contextlib.contextmanager
def in_a_call(agent: Agent) -> Iterator[RawPhone]:
    """A call that is answered, and then hung up by its caller."""
    with RawPhone(port_of(agent)) as caller:
        assert caller.call(caller.sdp()).status == 200
        yield caller
        assert caller.request("BYE") == 200
    until(lambda: agent.metric("callerside_calls_active") == 0, "the call to end")


def lost(agent: Agent) -> dict[str, int]:
    what = ("record", "timeline", "recording", "realtime")
    counted = {one: int(agent.metric("callerside_writes_lost_total", what=one)) for one in what}
    return {one: count for one, count in counted.items() if count}


def kept_in(folder: Path) -> dict[str, Any]:
    return {
        "records": {"file": str(folder / "calls.jsonl")},
        "timeline": {"dir": str(folder / "timelines")},
        "recordings": {"dir": str(folder / "recordings")},
    }


@needs_root
def test_a_full_disk_costs_what_is_kept_of_a_call_and_no_call(serve: Serve, disk: Path) -> None:
    agent = serve(**kept_in(disk))
    with in_a_call(agent) as caller:
        caller.packets(0.5)
    before = open_files(agent)
    first = pad(disk / "calls.jsonl")
    full = fill(disk)
    with in_a_call(agent) as caller:
        assert caller.packets(2.0) > 90
    assert lost(agent) == {"record": 1, "timeline": 1, "recording": 1, "realtime": 1}
    (line,) = agent.logged("record_lost")
    assert line["record"]["ended"]["by"] == "caller", "the log has all of it"
    assert open_files(agent) <= before
    full.unlink()
    with in_a_call(agent) as caller:
        caller.packets(0.5)
    third = (disk / "calls.jsonl").read_bytes().removeprefix(first)
    assert json.loads(third)["ended"]["by"] == "caller", "nothing of the second is there"
    assert sum(lost(agent).values()) == 4


@needs_root
def test_a_disk_that_is_full_amid_a_call_ends_its_recording_alone(serve: Serve, disk: Path) -> None:
    agent = serve(**kept_in(disk))
    with in_a_call(agent) as caller:
        caller.packets(1.5)
        full = fill(disk)
        assert caller.packets(2.5) > 115
        full.unlink()
    assert lost(agent)["recording"] == 1
    assert "record" not in lost(agent), "there is room for it again"
    assert agent.metric("callerside_calls_ended_total", by="caller", status="200") == 1


def test_records_that_cannot_be_written_any_more_are_counted(serve: Serve, tmp_path: Path) -> None:
    folder = tmp_path / "records"
    agent = serve(records={"file": str(folder / "calls.jsonl")})
    shutil.rmtree(folder)
    folder.touch()
    for _ in range(2):
        with in_a_call(agent):
            pass
    until(lambda: lost(agent) == {"record": 2}, "both to be counted")
    assert len(agent.logged("record_lost")) == 2


def could_not_run(tmp_path: Path, settings: str) -> str:
    """What the agent says as it ends with 2."""
    config = tmp_path / "agent.yaml"
    config.write_text(settings)
    told = subprocess.run(
        [*PYTHON, "callerside.agent.cli", "serve", "--config", str(config)],
        env={**os.environ, "OPENAI_API_KEY": "sk-x"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 2, told.stderr
    return told.stderr


@needs_root
@pytest.mark.parametrize("name", ["records.file", "timeline.dir", "recordings.dir"])
def test_a_disk_that_is_read_only_is_told_at_the_start(
    name: str, disk: Path, tmp_path: Path
) -> None:
    """Root has every right there, and still cannot write."""
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    section, key = name.split(".")
    value = disk / "calls.jsonl" if key == "file" else disk
    told = could_not_run(tmp_path, f"{section}: {{{key}: {value}}}")
    assert re.search(rf"agent\.yaml:1:\d+: {name}: {disk}", told)
    assert "Read-only file system" in told


@needs_root
def test_a_file_of_records_that_cannot_be_written_is_told_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    file.touch()
    with mounted("--bind", file, at=file):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(file)], check=True)
        told = could_not_run(tmp_path, f"records: {{file: {file}}}")
    assert f"records.file: {file} is no file that can be written: Read-only" in told


@pytest.mark.parametrize("engine", tuple(PROFILES))
def test_a_clock_that_is_set_disturbs_no_call(engine: str, serve: Serve, tmp_path: Path) -> None:
    """Days forth and back: sound goes on, waits take as long, and records say how long it was."""
    clock = tmp_path / "clock"
    clock.write_text("0")
    agent = serve(
        runner=(sys.executable, other_clock.__file__, str(clock)),
        sip={"port": 0, "engine": engine},
        limits={"silence_ms": 4_000},
    )
    began = time.monotonic()
    with RawPhone(port_of(agent)) as caller:
        assert caller.call(caller.sdp()).status == 200
        caller.rtp.recv(2048)
        ear = Listener(caller.rtp)
        with ear.longest_gap_ms() as gap:
            for step in (3 * DAY_S, -400 * DAY_S, 9_999 * DAY_S, 0, 3):
                clock.write_text(str(step))
                time.sleep(0.4)
        assert ear.steps == {1}
        assert gap[0] < 200
        assert not caller.asked("BYE", within_s=0.1), "nobody was silent for so long"
        clock.write_text(str(3 * DAY_S))
        bye = caller.asked("BYE", within_s=15)
        assert bye, "silence has its limit, whatever the clock says"
        caller.reply(bye, "200 OK")
        took_s = time.monotonic() - began
    until(agent.records, "the record")
    (record,) = agent.records()
    assert record["length_ms"] / 1000 == pytest.approx(took_s, abs=1.0)
    assert record["ended"]["by"] == "agent"


def other_names(tmp_path: Path, *, hosts: str = "", resolver: str = "") -> tuple[str, ...]:
    """Runs a module where names lead elsewhere: in a mount namespace of its own."""
    files = []
    for name, text in (("hosts", hosts), ("resolv.conf", resolver)):
        (tmp_path / name).write_text(text)
        files.append(str(tmp_path / name))
    setting = (
        'mount --bind "$1" /etc/hosts && mount --bind "$2" /etc/resolv.conf && shift 2 && exec "$@"'
    )
    return ("unshare", "-m", "sh", "-c", setting, "sh", *files, sys.executable, "-m")


def hears_speech(caller: RawPhone, within_s: float = 30) -> None:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if set(caller.rtp.recv(2048)[12:]) - SPEECH:
            return
    raise TimeoutError("nothing but silence")


@needs_root
def test_a_name_of_several_addresses_is_tried_at_each(
    serve: Serve, realtime: str, tmp_path: Path
) -> None:
    port = realtime.rpartition(":")[2]
    runner = other_names(
        tmp_path, hosts="127.0.0.77 model.test\n127.0.0.78 model.test\n127.0.0.1 model.test\n"
    )
    agent = serve(runner=runner, realtime={"url": f"ws://model.test:{port}"})
    with in_a_call(agent):
        until(
            lambda: agent.metric("callerside_setup_seconds_count", until="session") == 1,
            "a session, where somebody is",
        )
    assert agent.metric("callerside_realtime_failures_total") == 0


@needs_root
@pytest.mark.parametrize("is_silent", [False, True], ids=["no resolver", "a resolver says nothing"])
def test_a_name_that_leads_nowhere_ends_the_call_with_our_own_words(
    *, is_silent: bool, serve: Serve, tmp_path: Path
) -> None:
    """The loop is never held up: sound goes on meanwhile, without a gap."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
        if is_silent:
            resolver.bind(("127.0.0.79", 53))
        agent = serve(
            runner=other_names(tmp_path, resolver="nameserver 127.0.0.79\n"),
            realtime={
                "url": "ws://model.test/v1/realtime",
                "connect_timeout_ms": 500,
                "reconnect": {"attempts": 1, "first_delay_ms": 50},
            },
            greeting={"enabled": False},
            beep={"enabled": False},
        )
        with RawPhone(port_of(agent)) as caller:
            assert caller.call(caller.sdp()).status == 200
            caller.rtp.recv(2048)
            hears_speech(caller)
            bye = caller.asked("BYE", within_s=30)
            caller.reply(bye, "200 OK")
        until(agent.records, "the record")
        (record,) = agent.records()
        assert record["ended"]["by"] == "agent"
        assert record["realtime_failures"] == 2


@needs_root
@pytest.mark.parametrize("engine", tuple(PROFILES))
def test_nobody_is_asked_for_this_hosts_own_name(
    engine: str, serve: Serve, realtime: str, tmp_path: Path
) -> None:
    """Neither to start nor for a call: whoever does not answer that would hold up all of them."""
    host = "0.0.0.0" if engine == "pjsua2" else "127.0.0.1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
        resolver.bind(("127.0.0.79", 53))
        agent = serve(
            runner=other_names(tmp_path, resolver="nameserver 127.0.0.79\n"),
            sip={"port": 0, "host": host, "engine": engine},
            realtime={"url": realtime.replace("localhost", "127.0.0.1")},
        )
        with in_a_call(agent) as caller:
            caller.rtp.recv(2048)
        resolver.setblocking(False)
        with pytest.raises(BlockingIOError):
            resolver.recv(2048)


def test_where_files_are_few_fewer_calls_are_taken(serve: Serve) -> None:
    """And those that are taken have all that belongs to a call, in a flood of pages, too."""
    limit = needed(2)
    runner = ("prlimit", f"--nofile=64:{limit}", *PYTHON)
    agent = serve(runner=runner, sip={"port": 0, "max_calls": 4})
    assert agent.metric("callerside_lines") == 2
    assert agent.metric("process_max_fds") == limit
    with contextlib.ExitStack() as stack:
        for _ in range(4 * MAX_CONNECTIONS):
            stack.enter_context(socket.create_connection(("127.0.0.1", agent.http_port), 5))
        callers = [stack.enter_context(RawPhone(port_of(agent))) for _ in range(3)]
        assert [one.call(one.sdp()).status for one in callers] == [200, 200, 486]
        assert all(one.packets(0.5) > 20 for one in callers[:2])
        until(
            lambda: agent.metric("callerside_setup_seconds_count", until="session") == 2,
            "both to have a session",
        )
        assert open_files(agent) <= limit
        assert [one.request("BYE") for one in callers[:2]] == [200, 200]
    until(lambda: len(agent.records()) == 2, "both records")
    assert not agent.logged("marks_lost")


def test_slow_readers_of_pages_take_no_handle_that_calls_need(serve: Serve) -> None:
    """And nobody who asks properly goes unanswered: whoever probes acts on that."""
    agent = serve()
    with in_a_call(agent) as caller, contextlib.ExitStack() as stack:
        caller.rtp.recv(2048)
        before = open_files(agent)
        ear = Listener(caller.rtp)
        for number in range(8 * MAX_CONNECTIONS):
            slow = socket.create_connection(("127.0.0.1", agent.http_port), 5)
            stack.enter_context(slow)
            if number % 2:
                with contextlib.suppress(OSError):
                    slow.sendall(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
        assert agent.get("/healthz")[0] == 200
        assert agent.get("/metrics")[0] == 200
        assert open_files(agent) <= before + MAX_CONNECTIONS + 1
        with RawPhone(port_of(agent)) as other:
            assert other.call(other.sdp()).status == 200
            assert other.request("BYE") == 200
        assert ear.steps == {1}


@pytest.mark.parametrize("engine", PROFILES)
def test_a_killed_agent_leaves_nothing_in_the_temporary_folder(
    serve: Serve, engine: str, tmp_path: Path
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    agent = serve(runner=("env", f"TMPDIR={folder}", *PYTHON), sip={"port": 0, "engine": engine})
    with in_a_call(agent):
        pass
    agent.process.kill()
    assert agent.wait() == -signal.SIGKILL
    assert list(folder.iterdir()) == []
