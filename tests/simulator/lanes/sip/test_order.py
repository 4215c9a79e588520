"""What a caller's process is sent: the scenario as the run has it, and its speech as files."""

import subprocess
import sys
from pathlib import Path

import pytest
from hand_played import scenario

from callerside.audio import tone
from callerside.simulator.caller.audio import utterances
from callerside.simulator.caller.recorder import CALLER_RATE_HZ
from callerside.simulator.fuzz import calls
from callerside.simulator.fuzz.choices import SeededChoices
from callerside.simulator.lanes.sip.order import MAX_BYTES, Order
from callerside.simulator.lanes.sip.speech_files import SpeechFiles
from callerside.simulator.scenario.loader import load
from callerside.simulator.scenario.model import Scenario
from callerside.yaml import source

SCENARIOS = Path(__file__).parents[4] / "scenarios"
SEEDS = 200


def arrived(sent: Scenario, audio: dict[str, str] | None = None) -> Order:
    order = Order(
        call="x",
        scenario=sent.model_dump_json(),
        audio=audio or {},
        uri="sip:x@127.0.0.1",
        seed=1,
        directory="/out",
    )
    line = order.to_line()
    assert "\n" not in line
    assert Order.from_line(line) == order
    return Order.from_line(line.encode())


def assert_the_same(one: Scenario, other: Scenario) -> None:
    for field in Scenario.model_fields:
        assert getattr(one, field) == getattr(other, field), (one.name, field)


def test_every_shipped_scenario_arrives_as_it_was() -> None:
    shipped = load([SCENARIOS])
    assert len(shipped) > 60
    for one in shipped:
        assert_the_same(arrived(one).resolved(), one)


def test_generated_scenarios_arrive_as_they_were() -> None:
    for seed in range(SEEDS):
        one = Scenario.model_validate(calls.generate(SeededChoices(seed)))
        assert_the_same(arrived(one).resolved(), one)


def test_speech_arrives_to_the_sample_and_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = (
        "steps: [{say: One.}, {say: Two.}, {say: One.}, {press: '5', method: inband}, hang_up]\n"
    )
    one = scenario(tmp_path, steps + "caller: {noise: {kind: pink, snr_db: 20}}\n")
    speech = SpeechFiles(tmp_path / "speech", CALLER_RATE_HZ)
    made = utterances.prepare(one, CALLER_RATE_HZ)
    assert arrived(one, speech.of(one)).read_audio(CALLER_RATE_HZ) == made
    assert len(made) == 5
    assert len(list((tmp_path / "speech").iterdir())) == 4, "one phrase is one file"
    monkeypatch.setattr(
        "callerside.simulator.lanes.sip.speech_files.prepare",
        lambda *_: pytest.fail("made again"),
    )
    assert speech.of(one) == speech.of(one)


def test_silence_of_no_length_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "callerside.simulator.lanes.sip.speech_files.prepare",
        lambda *_: {0: b"", 1: tone(440, 20, 8000)},
    )
    one = scenario(tmp_path, "steps: [hang_up]\n")
    audio = SpeechFiles(tmp_path / "speech", 8000).of(one)
    assert arrived(one, audio).read_audio(8000) == {0: b"", 1: tone(440, 20, 8000)}


def test_the_longest_file_is_an_order_that_can_be_read(tmp_path: Path) -> None:
    """Each character of it may be six in JSON within JSON, and more."""
    assert MAX_BYTES > 12 * source.MAX_BYTES
    path = tmp_path / "long.yaml"
    about = "\N{GREEK SMALL LETTER ALPHA}" * 480_000
    path.write_text(f"about: {about}\nsteps: [hang_up]\n", encoding="utf-8")
    (one,) = load([path])
    assert len(arrived(one).to_line()) < MAX_BYTES


def test_the_callers_process_has_neither_loader_nor_synthesiser() -> None:
    program = (
        "import sys, callerside.simulator.lanes.sip.worker\n"
        "print(*(name for name in sys.modules if name.startswith('callerside.')))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "callerside.simulator.lanes.sip.order" in found
    needless = ["scenario.loader", "speech.synthesis", "caller.audio", "yaml.reader"]
    assert [name for name in found if any(one in name for one in needless)] == []
