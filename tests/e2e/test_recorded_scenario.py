"""`callerside record`: once against a server with a key, then without both."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from callerside.fakes.pytest_plugin import RunningServer
from callerside.fakes.recording.format import read_recording
from callerside.simulator.cli.main import main

pytestmark = pytest.mark.e2e

KEY = "sk-proj-Zq83kd02mmLLwpQ71"
ORGANISATION = "org-4kTq0Yw81bGdXm2pAv93RsLe"
SCENARIO = """\
# What the library must know.
version: 2
about: Somebody asks when it opens.
agent: {agent_needs}
realtime:  # a stand-in
  greeting: {say: "This must never be heard."}

# The caller.
steps:
  - expect: greeting
  - say: "When do you open?"
  - expect: reply
  - hang_up
""".replace("{agent_needs}", "{beep: {enabled: false}}")

SUITE = """\
version: 2
realtime:
  greeting: {say: "Nor must this.", pauses: [{at_ms: 0, for_ms: 100}], think_ms: 100}
  faults: [{fault: drop, at: turn 1}]
"""


def server_says(answer: str) -> dict[str, Any]:
    return {
        "greeting": {"say": "Hello."},
        "replies": [{"say": answer, "heard": "When do you open?"}],
        "faults": [
            {"fault": "error", "at": "turn 1", "message": f"Slow, {ORGANISATION} with {KEY}."},
        ],
    }


def test_a_call_is_recorded_played_without_a_server_and_recorded_anew(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fake_realtime: Callable[..., RunningServer],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    (tmp_path / "opening.yaml").write_text(SCENARIO)
    (tmp_path / "suite.yaml").write_text(SUITE)
    server = fake_realtime(server_says("At nine."))
    assert main(["record", "opening.yaml", "--upstream", server.url]) == 0, capsys.readouterr().err
    recording = tmp_path / "opening.realtime"
    written = recording.read_text() + (tmp_path / "opening-recorded.yaml").read_text()
    assert "When do you open?" in written
    assert "Slow, [removed] with [removed]." in written
    for secret in (KEY, ORGANISATION, "Bearer", "This must never be heard."):
        assert secret not in written
    entries = read_recording(recording).entries
    sent = [one.event for one in entries if one.type == "input_audio_buffer.append"]
    assert sent
    assert {event["audio"] for event in sent} == {b""}

    assert main(["record", "opening.yaml", "--upstream", server.url]) == 2
    assert "opening.realtime: is there already: --refresh" in capsys.readouterr().err

    monkeypatch.delenv("OPENAI_API_KEY")
    assert main(["run", "opening-recorded.yaml", "--lane", "virtual"]) == 0
    page = json.loads((tmp_path / "out" / "latest" / "results.json").read_text())
    timeline = tmp_path / "out" / "latest" / page["scenarios"][0]["artifacts"]["timeline"]
    told = timeline.read_text()
    assert "At nine." in told
    assert "Nor must this." not in told
    assert "This must never be heard." not in told
    capsys.readouterr()

    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    other = fake_realtime(server_says("At half past nine."))
    again = ["record", "opening.yaml", "--upstream", other.url, "--refresh", "--keep-audio"]
    assert main(again) == 0
    changes = [line for line in capsys.readouterr().out.splitlines() if line[0] in "+-"]
    assert [(line[0], "half past" in line) for line in changes] == [("-", False), ("+", True)]
    kept = [one.event for one in read_recording(recording).entries if one.type == sent[0]["type"]]
    assert any(event["audio"] for event in kept)
    assert base64.b64encode(kept[0]["audio"]).decode() in recording.read_text()
    assert KEY not in recording.read_text()

    before = recording.read_bytes()
    with (tmp_path / "opening.yaml").open("a") as file:
        file.write("never: [{state: PROCESSING}]\n")
    assert main(again) == 1
    assert "never: state PROCESSING, and yet it happened" in capsys.readouterr().err
    assert recording.read_bytes() == before
