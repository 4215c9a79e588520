"""The shipped scenarios in the virtual lane, and that a seed is enough to repeat one exactly."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from callerside.simulator.lanes.planned_call import PlannedCall, PlayedCall
from callerside.simulator.lanes.virtual.lane import VirtualLane
from callerside.simulator.runner.plan import plan
from callerside.simulator.scenario import loader
from callerside.timelines import read_timeline

SCENARIOS = Path(__file__).parents[4] / "scenarios"
FIRST_THREE = [SCENARIOS / f"{name}.yaml" for name in ("first_call", "second_call", "barge_in")]
EVIDENCE = [
    "call.flac",
    "call.json",
    "said.flac",
    "said.json",
    "server_heard.flac",
    "server_sent.flac",
    "timeline.jsonl",
]


def planned_calls(seed: int = 1) -> list[PlannedCall]:
    return plan(loader.load(FIRST_THREE), repeat=1, seed=seed)


def play(directory: Path, seed: int = 1) -> dict[str, PlayedCall]:
    """As a run does, one call after the other."""
    to_play = planned_calls(seed)
    lane = VirtualLane(to_play, directory)
    return {planned.name: lane.play(planned) for planned in to_play}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PlayedCall]:
    return play(tmp_path_factory.mktemp("virtual"))


def digests(directory: Path) -> dict[str, str]:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def marks_named(call: PlayedCall, name: str) -> list[dict[str, object]]:
    marks = read_timeline(call.directory / "timeline.jsonl")
    return [dict(mark.fields) for mark in marks if mark.name == name]


@pytest.mark.parametrize("name", ["first_call", "second_call", "barge_in"])
def test_plays_the_shipped_scenarios(played: dict[str, PlayedCall], name: str) -> None:
    assert (played[name].verdict, played[name].detail) == ("passed", "every step went as written")
    assert sorted(path.name for path in played[name].directory.iterdir()) == EVIDENCE


def test_a_later_call_finds_the_greeting_in_the_cache_of_the_one_before(
    played: dict[str, PlayedCall],
) -> None:
    assert [f["origin"] for f in marks_named(played["first_call"], "greeting_started")] == [
        "generated"
    ]
    assert [f["origin"] for f in marks_named(played["second_call"], "greeting_started")] == [
        "cache"
    ]


def test_every_party_tells_of_its_end(played: dict[str, PlayedCall]) -> None:
    for call in played.values():
        marks = read_timeline(call.directory / "timeline.jsonl")
        names = {(mark.source, mark.name) for mark in marks}
        assert {
            ("agent", "call_ended"),
            ("caller", "scenario_ended"),
            ("realtime", "session_closed"),
        } <= names


def test_the_server_hears_what_the_caller_says(played: dict[str, PlayedCall]) -> None:
    directory = played["first_call"].directory
    call, rate_hz = soundfile.read(directory / "call.flac", dtype="int16")
    heard, heard_hz = soundfile.read(directory / "server_heard.flac", dtype="int16")
    assert rate_hz == heard_hz == 24_000
    mouth = call[:, 0].astype(np.float64)
    lag = int(np.argmax(heard != 0)) - int(np.argmax(mouth != 0))
    aligned = heard[lag:] if lag >= 0 else np.concatenate([np.zeros(-lag), heard])
    length = min(len(aligned), len(mouth))
    assert np.array_equal(aligned[:length], mouth[:length])


def test_a_seed_repeats_a_call_to_the_last_byte(
    played: dict[str, PlayedCall], tmp_path: Path
) -> None:
    play(tmp_path)
    first = played["first_call"].directory.parents[1]
    assert digests(tmp_path) == digests(first)


def test_another_process_makes_the_same_bytes(
    played: dict[str, PlayedCall], tmp_path: Path
) -> None:
    program = (
        "import sys; sys.path[:0] = sys.argv[1:3]; from pathlib import Path;"
        "from test_virtual_call import play; play(Path(sys.argv[3]))"
    )
    here = Path(__file__).parent
    subprocess.run(
        [sys.executable, "-c", program, str(SCENARIOS.parent), str(here), str(tmp_path)],
        check=True,
        env={"PYTHONHASHSEED": "4242", "PATH": "", "HOME": str(Path.home())},
    )
    first = played["first_call"].directory.parents[1]
    assert digests(tmp_path) == digests(first)


def test_another_seed_makes_another_call(played: dict[str, PlayedCall], tmp_path: Path) -> None:
    play(tmp_path, seed=2)
    first = played["first_call"].directory.parents[1]
    assert digests(tmp_path) != digests(first)


SILENT_ANSWER = """
about: an answer of full length without a voice, which the agent asks for again
realtime:
  greeting: {say: "Hello."}
  replies:
    - {wav: quiet.wav, transcript: "We open at nine."}
steps:
  - expect: greeting
  - say: "When do you open?"
  - expect: reply
    within: 3s
  - hang_up
"""


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_is_asked_for_again_for_want_of_a_voice_is_owed(tmp_path: Path, seed: int) -> None:
    """The lanes are at one about it: the agent made up for the answer that nobody heard."""
    soundfile.write(tmp_path / "quiet.wav", np.zeros(24_000, np.int16), 24_000)
    (tmp_path / "quiet.yaml").write_text(SILENT_ANSWER)
    to_play = plan(loader.load([tmp_path / "quiet.yaml"]), repeat=1, seed=seed)
    (planned,) = to_play
    call = VirtualLane(to_play, tmp_path / "run").play(planned)
    assert (call.verdict, call.detail) == ("passed", "every step went as written")
    assert len(marks_named(call, "response_silent")) == 1
