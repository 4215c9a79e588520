"""What helps to write scenarios: an example, speech as a file, a schema for editors, and checks."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import soundfile
import yaml

from callerside.simulator.cli.main import main
from callerside.simulator.runner.expectations_after import unseen
from callerside.simulator.runner.lint import all_problems, problems, warnings
from callerside.simulator.scenario import authoring
from callerside.simulator.scenario.loader import ScenarioError, load, load_file
from callerside.simulator.scenario.model import MOST_OF_A_NAME, Scenario
from callerside.speech.voices import VoiceError
from callerside.yaml import reader

ROOT = Path(__file__).parents[3]
DEFINED = json.loads((ROOT / "docs/scenario.schema.json").read_text())
SCHEMA = jsonschema.Draft202012Validator(DEFINED)


def written(folder: Path, text: str) -> Scenario:
    path = folder / "one.yaml"
    path.write_text("about: x\n" + text)
    return load_file(path)[0]


def test_the_example_is_sound(tmp_path: Path) -> None:
    path = authoring.new("my_call", tmp_path / "calls")
    assert path == tmp_path / "calls" / "my_call.yaml"
    assert all_problems(load([path])) == []


def test_the_example_for_any_agent_has_the_callers_side_alone(tmp_path: Path) -> None:
    path = authoring.new("theirs", tmp_path, ours=False)
    (scenario,) = load([path])
    assert all_problems([scenario]) == []
    assert not {"agent", "realtime", "after", "network"} & scenario.model_fields_set
    assert "beep" not in path.read_text()
    assert unseen(scenario) == []


def test_what_the_example_offers_in_comments_is_sound_too(tmp_path: Path) -> None:
    offered = [
        line.removeprefix("# ")
        for line in authoring.EXAMPLE.splitlines()
        if line.startswith(("# agent: {", "# network: {"))
    ]
    assert len(offered) == 2
    for line in offered:
        written(tmp_path, f"steps: [hang_up]\n{line.split(' #')[0]}\n")


def test_an_example_never_replaces_a_file(tmp_path: Path) -> None:
    authoring.new("one", tmp_path)
    with pytest.raises(authoring.AuthoringError, match=r"one\.yaml: there is one already"):
        authoring.new("one.yaml", tmp_path)


CALLS_FIRST = "realtime: {replies: [{function_call: {name: f}}], faults: [{fault: drop, "


@pytest.mark.parametrize("name", ["", "a b", "../up", "a/b"])
def test_an_example_needs_a_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(authoring.AuthoringError, match="is no name"):
        authoring.new(name, tmp_path)


@pytest.mark.parametrize("name", ["suite", "suite.yaml"])
def test_the_suites_name_is_taken(tmp_path: Path, name: str) -> None:
    with pytest.raises(authoring.AuthoringError, match=r"suite\.yaml holds what all scenarios"):
        authoring.new(name, tmp_path)
    assert not list(tmp_path.iterdir())


NAMELESS = [("问候", "expected a letter from a to z"), ("-", "expected a letter"), ("a" * 81, "81")]


@pytest.mark.parametrize(("name", "why"), NAMELESS)
def test_what_no_call_can_be_called_is_refused_when_it_is_written_and_when_it_is_read(
    tmp_path: Path, name: str, why: str
) -> None:
    with pytest.raises(authoring.AuthoringError, match=f"is no name: .*{why}"):
        authoring.new(name, tmp_path)
    path = tmp_path / f"{name}.yaml"
    path.write_text(authoring.EXAMPLE, encoding="utf-8")
    with pytest.raises(ScenarioError, match=f"{name}.yaml:1:1: .* is no name: .*{why}"):
        load([path])


def test_a_name_may_have_letters_of_any_script_beside_one_that_a_call_can_have(
    tmp_path: Path,
) -> None:
    (scenario,) = load([authoring.new("问候_1", tmp_path)])
    assert scenario.name == "_1"


def test_the_longest_name_can_be_played(tmp_path: Path) -> None:
    path = authoring.new("a" * MOST_OF_A_NAME, tmp_path)
    path.write_text("about: x\ncallers: 2\nsteps: [{pause: 100ms}, hang_up]\n")
    out = tmp_path / "out"
    assert main(["run", "--lane", "virtual", "--repeat", "2", "--out", str(out), str(path)]) == 0


def test_a_text_becomes_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    length_s = authoring.say("Good morning.", path, rate_hz=8000)
    data, rate_hz = soundfile.read(path)
    assert (len(data) / rate_hz, rate_hz) == (length_s, 8000)
    assert 0.4 < length_s < 2


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["-o", "x.mp3"], "x.mp3: expected a name that ends with .wav"),
        (["-o", "x.wav", "--speed", "10"], "10: expected 80 to 450 words a minute"),
        (["-o", "x.wav", "--speed", "fast"], "fast: expected 80 to 450 words a minute"),
        (["-o", "x.wav", "--rate", "1"], "1: expected 4000 to 192000 Hz"),
        (["-o", "x.wav", "--rate", "999999999"], "999999999: expected 4000 to 192000 Hz"),
    ],
)
def test_what_cannot_be_spoken_as_asked_is_refused(
    options: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["say", "hello", *options])
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_who_reads_may_stop_before_the_end() -> None:
    command = [sys.executable, "-m", "callerside.simulator.cli.main", "schema"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as schema:
        assert schema.stdout is not None
        schema.stdout.close()
        assert schema.stderr is not None
        assert schema.stderr.read() == b""


def test_a_text_needs_a_voice_that_exists(tmp_path: Path) -> None:
    with pytest.raises(VoiceError):
        authoring.say("Good morning.", tmp_path / "x.wav", voice="klingon-x")
    assert not (tmp_path / "x.wav").exists()


@pytest.mark.parametrize("path", sorted((ROOT / "scenarios").rglob("*.yaml")), ids=lambda p: p.stem)
def test_the_schema_for_editors_accepts_what_the_loader_accepts(path: Path) -> None:
    if path.name != "suite.yaml":
        SCHEMA.validate(reader.read(path, "scenario").data)


def test_the_schema_for_editors_is_one() -> None:
    assert SCHEMA.META_SCHEMA["$id"] == DEFINED["$schema"]
    SCHEMA.check_schema(DEFINED)


def test_the_schema_for_editors_accepts_the_example() -> None:
    SCHEMA.validate(yaml.safe_load(authoring.EXAMPLE))


@pytest.mark.parametrize(
    "data",
    [
        {"steps": ["hang_up"]},
        {"about": "x", "steps": []},
        {"about": "x", "steps": ["hangup"]},
        {"about": "x", "steps": [{"say": "a", "wen": "reply"}]},
        {"about": "x", "steps": [{"say": "a", "when": "replay"}]},
        {"about": "x", "steps": [{"expect": "bep"}]},
        {"about": "x", "steps": [{"pause": "3 hours"}]},
        {"about": "x", "steps": ["hang_up"], "caller": {"codec": "PCM"}},
        {"about": "x", "steps": ["hang_up"], "network": {"loss": 3}},
        {"about": "x", "steps": ["hang_up"], "never": [{"state": "SLEEPING"}]},
    ],
)
def test_the_schema_for_editors_refuses_mistakes(data: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        SCHEMA.validate(data)


NO_GREETING = "agent: {greeting: {enabled: false}}\n"
LOOKS_UP = (
    "agent: {tools: {stub: {look_up: {returns: open}}}}\n"
    "realtime: {replies: [{function_call: {name: look_up}}]}\n"
)


def test_every_shipped_scenario_can_work() -> None:
    assert all_problems(load([ROOT / "scenarios"])) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("steps: [{say: {wav: none.wav}}]", "one.yaml:2:21: the caller cannot say this: "),
        (
            "matrix: {steps.0.say.wav: [none.wav]}\nsteps: [{say: {wav: x.wav}}]",
            "one.yaml:2:28: the caller cannot say this: ",
        ),
        ("steps: [{say: {text: a, voice: xx}}]", "one.yaml:2:15: the caller cannot say this: "),
        (
            "realtime: {replies: [{wav: none.wav}]}\nsteps: [hang_up]",
            "one.yaml:2:28: the server cannot say this: ",
        ),
        (
            "realtime: {greeting: {recording: {file: none.jsonl}}}\nsteps: [hang_up]",
            "one.yaml:2:22: the server cannot say this: ",
        ),
        (
            "caller: {noise: {wav: none.wav, snr_db: 9}}\nsteps: [hang_up]",
            "one.yaml:2:23: there is no such noise: ",
        ),
        (
            "steps: [hang_up]\nmeanwhile: [{say: {wav: none.wav}}]",
            "one.yaml:3:25: the caller cannot say this: ",
        ),
        (
            "agent: {beep: {enabled: false}}\nsteps: [hang_up]\nmeanwhile: [{pause: 1,when: beep}]",
            "one.yaml:4:13: there is no beep",
        ),
        (
            "steps:\n  - expect: beep\nnever: [hang_up, beep]",
            "one.yaml:4:18: beep must never happen, and is expected in line 3",
        ),
        (
            'steps: [{say: "A"}, {expect: reply}]\nnever: [reply start]',
            "one.yaml:3:9: reply must never happen, and is expected in line 2",
        ),
        (
            "agent: {greeting: {enabled: false}}\nsteps: [{expect: greeting}]",
            "one.yaml:3:9: there is no greeting: agent.greeting.enabled is false",
        ),
        (
            "agent: {beep: {enabled: false}}\nsteps: [{pause: 1, when: beep}]",
            "one.yaml:3:9: there is no beep",
        ),
        (
            "realtime: {timing: {think_ms: 900}}\nsteps: [{say: b}, {expect: reply, within: 1s}]",
            "one.yaml:3:43: 1 s cannot be met: 500 ms of silence after the turn and the think",
        ),
        (
            "agent: {turns: {policy: local}}\nsteps: [{say: b}, {expect: reply, within: 100ms}]",
            "one.yaml:3:43: 100 ms cannot be met: 400 ms of silence",
        ),
        (
            "steps: [{expect: {silence: 3s}, within: 2s}]",
            "one.yaml:2:41: 2 s cannot be met: the silence itself takes 3 s",
        ),
        (
            "realtime: {faults: [{fault: drop, at: reply 2}]}\nsteps: [{say: a}]",
            "one.yaml:2:21: reply 2 never comes: the caller takes 1 turn",
        ),
        (
            CALLS_FIRST + "at: reply 3}]}\nsteps: [{say: a}]",
            "one.yaml:2:60: reply 3 never comes: the caller takes 1 turn",
        ),
        ("steps: [{pause: 3s}]\ntime_limit: 2s", "one.yaml:3:13: the caller's own steps take 3 s"),
        ("steps: [hold, {pause: 61s}]", "one.yaml:2:15: the caller's own steps take 61 s"),
        (
            "realtime: {faults: [{fault: drop, at: greeting}]}\nsteps: [hang_up]\n" + NO_GREETING,
            "one.yaml:2:21: greeting never comes: agent.greeting.enabled is false",
        ),
        ("steps: [{expect: reply}, {say: a}]", "one.yaml:2:18: there is no reply yet"),
        ("steps: [{say: a, when: reply}]", "one.yaml:2:24: there is no reply yet"),
        ("steps: [hold, {say: a}, resume]", 'one.yaml:2:15: could not say "a": the call is on'),
        ("steps: [hold, {expect: greeting}]", "one.yaml:2:15: greeting is not heard: the call is"),
        ("steps: [{say: a, within: 1s}]", "one.yaml:2:26: within limits a wait: it belongs to"),
        ("steps: [resume]", "one.yaml:2:9: the call is not on hold"),
        ("steps: [hold, hold]", "one.yaml:2:15: the call is on hold already"),
        (
            LOOKS_UP + "steps: [{say: a}, {expect: {function_call: lookup}}]",
            '4:28: no reply of realtime calls the function "lookup"; did you mean "look_up"',
        ),
        (
            LOOKS_UP + "steps: [{say: a}, {expect: {function_call: look_up, arguments: {n: 1}}}]",
            "4:28: no reply of realtime calls look_up with {'n': 1}, but with {",
        ),
        (
            LOOKS_UP + "steps: [hang_up]\nnever: [{function_call: lookup}]",
            "5:9: there is nothing to",
        ),
        ("steps: [hang_up]\nnever: [{transcript: b}]", "3:9: there is nothing to forbid: no reply"),
        ("steps: [hang_up]\nnever: [{silence: 2min}]", "3:9: 120 s of silence cannot be: the call"),
        (
            "steps: [{expect: beep, within: 2min}]",
            "2:32: 120 s never pass: the call is ended after",
        ),
        (
            "steps: [hang_up]\nnetwork: {dead: [[2min, 3min]]}",
            "3:18: never comes: the call is ended",
        ),
        (
            "steps: [hang_up]\nagent: {realtime: {url: 'ws://x'}}",
            "3:25: agent.realtime.url is for the run to set",
        ),
        (
            "steps: [hang_up]\nnetwork: {to_agent: {stalled: [[1s, 2s], [2min, 3min]]}}",
            "3:42: never comes: the call is ended",
        ),
        ("steps: [hang_up]\nnetwork: {burst_packets: 3}", "3:26: burst_packets is the length of"),
        (
            "steps: [hang_up]\nnetwork: {loss: 1%, to_agent: {loss: 2%}, to_caller: {}}",
            "3:17: loss is for neither direction",
        ),
        ("steps: [{say: a}, {expect: {transcript: b}}]", '28: no reply of realtime says "b"'),
    ],
)
def test_what_cannot_work_is_told_without_a_call(tmp_path: Path, text: str, expected: str) -> None:
    scenario = written(tmp_path, text)
    (problem,) = problems(scenario) or warnings(scenario)
    assert expected in problem


def test_what_a_suite_or_another_cell_forbids_need_not_be_possible_here(tmp_path: Path) -> None:
    suite = tmp_path / "suite.yaml"
    suite.write_text("never: [{transcript: b}]\n")
    assert problems(written(tmp_path, "steps: [hang_up]")) == []
    suite.unlink()
    cells = "steps: [hang_up]\nnever: [{transcript: b}]\nmatrix: {realtime.greeting.say: [a, b]}"
    written_cells = tmp_path / "cells.yaml"
    written_cells.write_text(f"about: x\n{cells}")
    assert all_problems(load([written_cells])) == []


def test_a_sound_file_of_nearly_that_name_is_told(tmp_path: Path) -> None:
    (tmp_path / "street.wav").write_bytes(b"")
    scenario = written(tmp_path, "steps: [{say: {wav: steet.wav}}]")
    (problem,) = problems(scenario)
    assert problem.endswith('steet.wav: there is no such file; did you mean "street.wav"?')


LOCAL = "agent: {turns: {policy: local}}\n"
SHORT = "agent: {turns: {vad: {silence_duration_ms: 200}}}\n"
LONG = "agent: {turns: {vad: {silence_duration_ms: 900}}}\n"
FAKE_400 = "realtime: {vad: {silence_duration_ms: 400}}\n"
FAKE_900 = "realtime: {vad: {silence_duration_ms: 900}}\n"
THINKS_800 = "realtime: {default_reply: {say: c, think_ms: 800}}\n"
THINKS_100 = "realtime: {default_reply: {say: c, think_ms: 100}}\n"
SEMANTIC = "agent: {turns: {vad: {type: semantic_vad}}}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "steps: [{say: a}, {pause: 700ms}, {say: b}]",
            "2:27: a pause of 700 ms ends the caller's turn (after 500 ms of silence)",
        ),
        (
            LOCAL + "steps: [{say: a}, {pause: 450ms}, {say: b}]",
            "3:27: a pause of 450 ms ends the caller's turn (after 400 ms of silence)",
        ),
        (
            SHORT + "steps: [{expect: beep}, {say: a}, {pause: 250ms}, {say: b}]",
            "3:43: a pause of 250 ms ends the caller's turn (after 200 ms of silence)",
        ),
        (
            "steps: [{say: a}, {pause: 900ms}, {sound: cough}, {pause: 200ms}, {say: b}]",
            "2:27: a pause of 900 ms ends the caller's turn (after 500 ms of silence)",
        ),
        (
            "steps: [{say: a}, {pause: 200ms}, {sound: cough}, {pause: 900ms}, {say: b}]",
            "2:59: a pause of 900 ms ends the caller's turn (after 500 ms of silence)",
        ),
        ("steps: [{say: a}, {pause: 400ms}, {sound: cough}, {pause: 400ms}, {say: b}]", ""),
        ("steps: [{say: a}, {pause: 400ms}, {say: b}]", ""),
        (
            "steps: [{say: I would like to know}, {pause: 450ms}, {say: when you open.}]",
            ", with the quiet ends of what is said around it, ends the caller's turn (after 500 ms",
        ),
        (
            FAKE_400 + "steps: [{say: a}, {pause: 450ms}, {say: b}]",
            "3:27: a pause of 450 ms ends the caller's turn (after 400 ms of silence)",
        ),
        (FAKE_900 + "steps: [{say: a}, {pause: 700ms}, {say: b}]", ""),
        (
            THINKS_800 + "steps: [{say: a}, {say: b, when: silence 900ms}]",
            "3:34: a pause of 900 ms ends the caller's turn (after 500 ms of silence)",
        ),
        (THINKS_100 + "steps: [{say: a}, {say: b, when: silence 900ms}]", ""),  # it has answered
        ("steps: [{say: a}, {expect: reply}, {say: b, when: silence 900ms}]", ""),
        ("steps: [{say: a}, {pause: 4s}, {say: b}]", ""),
        ("steps: [{say: a}, {pause: 700ms}, {say: b, when: reply start}]", ""),
        ("steps: [{say: a}, {expect: reply}, {pause: 700ms}, {say: b}]", ""),
        (LONG + "steps: [{say: a}, {pause: 700ms}, {say: b}]", ""),
        (SEMANTIC + "steps: [{say: a}, {pause: 2s}, {say: b}]", ""),
    ],
)
def test_a_pause_that_ends_a_turn_in_mid_sentence_is_told(
    tmp_path: Path, text: str, told: str
) -> None:
    (tmp_path / "x.yaml").write_text(f"about: x\n{text}\n")
    found = [one for one in warnings(load_file(tmp_path / "x.yaml")[0]) if "a pause" in one]
    assert len(found) == bool(told)
    assert all(told in one for one in found)


@pytest.mark.parametrize(
    "realtime",
    [
        "{replies: [{function_call: {name: f}}], faults: [{fault: stall, at: reply 2}]}",
        "{faults: [{fault: fail, at: reply 1}, {fault: fail, at: reply 2}]}",
        "{default_reply: {function_call: {name: f}}, faults: [{fault: stall, at: reply 9}]}",
    ],
)
def test_a_reply_behind_a_function_call_or_a_failure_comes(tmp_path: Path, realtime: str) -> None:
    path = tmp_path / "one.yaml"
    path.write_text(f"about: x\nrealtime: {realtime}\nsteps: [{{say: a}}, {{expect: reply}}]\n")
    assert not [line for line in all_problems(load_file(path)) if "never comes" in line]


@pytest.mark.parametrize(
    ("known", "told"),
    [
        ('{reason: "  ", until: 2027-03-01}', "expected words, and these are blanks only"),
        ("{reason: x, until: 20270301}", "expected a day, as in 2027-03-01"),
        ('{reason: x, until: "20270301"}', "expected a day, as in 2027-03-01"),
        ("{reason: x, until: 2027-02-30}", "expected a day, as in 2027-03-01"),
        ("{reason: x, until: 2027-03-01 10:00:00}", "expected a day, as in 2027-03-01"),
    ],
)
def test_what_is_known_needs_words_and_a_day(tmp_path: Path, known: str, told: str) -> None:
    with pytest.raises(ScenarioError, match=told):
        written(tmp_path, f"steps: [hang_up]\nknown_failure: {known}")


PREAMBLE = """
steps: [{say: "Are you open?"}, {expect: reply}, {expect: reply}, hang_up]
realtime:
  replies:
    - {say: "One moment, please, I will look that up.", function_call: {name: hours}}
    - {say: "We are closed."}
"""
SECOND = """
steps: [{say: "Are you open?"}, {expect: reply}, {expect: reply}, hang_up]
realtime: {replies: [{say: "Let me see, one moment.", next_after_ms: %s}, {say: "We are closed."}]}
"""


def stub(answers: str) -> str:
    return f"agent: {{tools: {{stub: {{hours: {answers}}}}}}}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (stub("{returns: x}") + PREAMBLE, True),
        (stub("{returns: x, after: 1s}") + PREAMBLE, True),
        (stub("{returns: x, after: 6s}") + PREAMBLE, False),
        (stub("[{returns: x, after: 6s}, {returns: x}]") + PREAMBLE, False),
        (stub("{never_returns: true}") + PREAMBLE, False),
        (stub("{returns: x}") + "caller: {end_silence: 200ms}\n" + PREAMBLE, True),
        (stub("{returns: x}") + PREAMBLE.replace("{expect: reply}, {expect", "{expect"), False),
        (stub("{returns: x}") + PREAMBLE.replace("reply}, hang", "reply start}, hang"), True),
        (
            stub("{returns: x}")
            + PREAMBLE.replace('    - {say: "We', '    - {think_ms: 6000, say: "We'),
            False,
        ),
        ("agent: {tools: {module: elsewhere}}\n" + PREAMBLE, False),
        ("agent: {tools: {module: shop}}\n" + PREAMBLE.replace("hours", "send_dtmf"), False),
        (SECOND % 0, True),
        (SECOND % 6000, False),
        (
            SECOND.replace("Let me see, one moment.", "no.wav").replace('{say: "no', '{wav: "no')
            % 0,
            False,
        ),
        # What is only written is asked for again: whose reply the second one is, nobody knows.
        (stub("{returns: x}") + PREAMBLE.replace('{say: "We', '{text: "We'), False),
    ],
)
def test_replies_that_nobody_can_tell_apart_are_warned_of(
    tmp_path: Path, text: str, *, told: bool
) -> None:
    lines = [line for line in warnings(written(tmp_path, text)) if "no reply of its own" in line]
    assert len(lines) == told
    if told:
        number = next(n for n, line in enumerate(text.splitlines(), 2) if line.startswith("steps"))
        assert lines[0].startswith(f"{tmp_path / 'one.yaml'}:{number}:")
