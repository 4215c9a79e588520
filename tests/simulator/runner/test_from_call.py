"""A call made a scenario, and played again in memory: the same turns, the same numbers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml
from numpy.typing import NDArray
from synthetic_call import speech

from callerside.audio import to_samples
from callerside.reports.evidence import load_evidence
from callerside.reports.metrics.audible import spoken
from callerside.reports.metrics.metrics import measure
from callerside.simulator.cli.main import main
from callerside.simulator.runner.from_call import write_scenario
from callerside.simulator.scenario import loader
from callerside.speech.dtmf_tones import dtmf
from callerside.speech.synthesis import synthesise

SCENARIOS = Path(__file__).parents[3] / "scenarios"
CALLS = {
    **dict.fromkeys(["barge_in", "barge_in_early", "barge_in_twice", "backchannel"], ""),
    **dict.fromkeys(["function_call", "hold", "transfer", "first_call", "second_call"], ""),
    **dict.fromkeys(
        ["transfer_not_taken", "agent_presses_keys", "never_done", "pause_in_sentence", "no_quota"],
        "",
    ),
    "noise-10": "noise",  # cells of a matrix: their settings are in no file
    "turn_behind_a_slow_greeting": "found/turn_behind_a_slow_greeting",
}
"""The calls, and the files that they are played from, where these are called otherwise."""
WITHIN_MS = 20


def run(out: Path, *what: Path) -> None:
    assert main(["run", *map(str, what), "--lane", "virtual", "--out", str(out)]) in (0, 1)


def results(run_folder: Path) -> dict[str, Any]:
    data = json.loads((run_folder / "latest" / "results.json").read_text())
    return {one["name"]: one for one in data["scenarios"]}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("played")
    run(out, *(SCENARIOS / f"{file or name}.yaml" for name, file in CALLS.items()))
    return out


@pytest.fixture(scope="module")
def again(played: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scenarios that were made of the calls, and in `out` how they went."""
    folder = tmp_path_factory.mktemp("again")
    for name in CALLS:
        call = played / "latest" / "calls" / name
        assert main(["scenario", str(call), "--folder", str(folder)]) == 0
    run(folder / "out", folder)
    return folder


def order(call: Path) -> str:
    """Who began to speak, one after the other."""
    audible = measure(load_evidence(call)).audible
    begun = [(one.start_ns, "caller") for one in audible.said]
    begun += [(one.start_ns, "agent") for one in spoken(audible.ear)]
    return " ".join(who for _, who in sorted(begun))


def numbers(result: dict[str, Any]) -> dict[tuple[str, Any], float]:
    return {
        (one["name"], one["turn"]): one["value"]
        for one in result["metrics"]
        if one["unit"] == "ms" and "statistic" not in one
    }


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_is_played_again_is_the_same_call(played: Path, again: Path, name: str) -> None:
    before, after = (results(folder)[name] for folder in (played, again / "out"))
    calls = [folder / "latest" / "calls" / name for folder in (played, again / "out")]
    assert order(calls[1]) == order(calls[0])
    assert numbers(after).keys() == numbers(before).keys()
    for key, value in numbers(before).items():
        assert numbers(after)[key] == pytest.approx(value, abs=WITHIN_MS), key


def test_the_caller_hangs_on_the_agents_turns_as_it_hung_there(again: Path) -> None:
    scenario = loader.load([again / "barge_in.yaml"])[0]
    first, second = (step.when for step in scenario.steps if step.action == "say")
    assert first is not None
    assert second is not None
    assert (first.event, second.event, second.edge) == ("greeting", "reply", "start")
    assert second.offset_ms == pytest.approx(2500, abs=100)  # as that call's own scenario has it
    assert (again / "barge_in" / "caller-2.wav").is_file()
    assert scenario.realtime.replies[0].say is not None
    assert scenario.realtime.replies[0].say.startswith("We have three branches.")
    assert "turn_ms" in scenario.budget


def test_a_suite_with_a_greeting_of_its_own_does_not_disturb(played: Path, tmp_path: Path) -> None:
    suite = "realtime: {greeting: {say: Hello.}}\ncaller: {end_silence: 300ms}\n"
    (tmp_path / "suite.yaml").write_text(suite)
    call = played / "latest" / "calls" / "barge_in"
    assert main(["scenario", str(call), "--folder", str(tmp_path)]) == 0
    scenario = loader.load([tmp_path / "barge_in.yaml"])[0]
    assert scenario.realtime.greeting.say == "Hello, how can I help?"
    assert scenario.caller.end_silence == 500  # that of the call, not of this suite


def bare(played: Path, name: str, path: Path) -> Path:
    sound, rate_hz = soundfile.read(played / "latest" / "calls" / name / "call.flac", dtype="int16")
    soundfile.write(path, sound, rate_hz)
    return path


def test_a_bare_recording_becomes_a_scenario_too(played: Path, tmp_path: Path) -> None:
    """Where nothing but sound is known, an edge is known by its energy alone."""
    recording = bare(played, "barge_in", tmp_path / "bad call.wav")
    folder = tmp_path / "scenarios"
    assert main(["scenario", str(recording), "--folder", str(folder)]) == 0
    text = (folder / "bad_call.yaml").read_text()
    assert "What the server sent is not known." in text
    assert "the caller spoke into it" in text
    assert len(loader.load([folder / "bad_call.yaml"])[0].realtime.replies) == 2


def test_of_an_agent_that_is_not_ours_nothing_is_made_up(played: Path, tmp_path: Path) -> None:
    """It was shown nothing of the scenario: what it was heard to say stands there, and how late."""
    evidence = load_evidence(played / "latest" / "calls" / "barge_in")
    settings = {**evidence.info.played, "budget": {"turn_ms": 123}}
    theirs = replace(
        evidence,
        info=evidence.info.model_copy(update={"played": settings}),
        marks=[mark for mark in evidence.marks if mark.source == "caller"],
        server_sent=None,
        server_heard=None,
    )
    path = write_scenario(theirs, "theirs", tmp_path)
    text = path.read_text()
    assert "What the server sent is not known." in text
    assert "turn_ms: 123  # measured: " in text
    (scenario,) = loader.load([path])
    own = evidence.info.played["realtime"]["replies"]
    assert scenario.realtime.greeting.say is None
    assert all(reply.wav and reply.say is None for reply in scenario.realtime.replies)
    assert not any(json.dumps(one["say"]) in text for one in own if "say" in one)
    run(tmp_path / "out", path)
    before, after = (measured(folder) for folder in (played, tmp_path / "out"))
    assert after["theirs"] == pytest.approx(before["barge_in"], abs=WITHIN_MS)
    assert results(tmp_path / "out")["theirs"]["verdict"] == "failed"


def measured(run_folder: Path) -> dict[str, list[float]]:
    """How long each turn of each call took."""
    return {
        name: [one["value"] for one in call["metrics"] if one["name"] == "turn_ms"]
        for name, call in results(run_folder).items()
    }


def test_a_limit_of_the_calls_own_is_kept(tmp_path: Path) -> None:
    """Else what failed by it passes when it is played again."""
    text = (SCENARIOS / "barge_in.yaml").read_text()
    data = yaml.safe_load(text)
    data["budget"] = {**data.get("budget", {}), "turn_ms": 100}
    (tmp_path / "slow.yaml").write_text(yaml.safe_dump(data))
    run(tmp_path / "out", tmp_path / "slow.yaml")
    call = tmp_path / "out" / "latest" / "calls" / "slow"
    assert main(["scenario", str(call), "--folder", str(tmp_path / "made"), "--name", "slow"]) == 0
    run(tmp_path / "again", tmp_path / "made")
    for folder in ("out", "again"):
        assert "turn_ms" in results(tmp_path / folder)["slow"]["detail"], folder


@pytest.mark.parametrize("name", ["barge_in", "barge_in_twice", "second_call", "function_call"])
def test_what_is_made_of_a_bare_recording_takes_as_long(
    played: Path, tmp_path: Path, name: str
) -> None:
    recording = bare(played, name, tmp_path / f"{name}.wav")
    given = ["scenario", str(recording), "--folder", str(tmp_path / "made"), "--caller", "left"]
    assert main(given) == 0
    run(tmp_path / "out", tmp_path / "made")
    call = tmp_path / "out" / "latest" / "calls" / name
    assert order(call) == order(played / "latest" / "calls" / name)
    before, after = (numbers(results(folder)[name]) for folder in (played, tmp_path / "out"))
    hung = {
        key: value
        for key, value in before.items()
        if key[0] in ("turn_ms", "barge_in_stop_ms", "dead_air_ms", "talk_over_ms")
    }
    assert ("turn_ms", 1) in hung
    for key, value in hung.items():
        assert after[key] == pytest.approx(value, abs=WITHIN_MS), key


def test_what_nobody_answered_nobody_answers_again(tmp_path: Path) -> None:
    """Else the answer to the next thing that the caller says comes to the one before it."""
    here: list[NDArray[np.int16]] = []
    there: list[NDArray[np.int16]] = []
    for party, text, then_ms in (
        (there, "Hello, how can I help?", 1000),
        (here, "Are you open on Saturday?", 1000),
        (there, "Yes, we are open until six.", 1000),
        (here, "And where is it?", 3500),
        (here, "I asked where it is.", 900),
        (there, "It is behind the station.", 1500),
        (here, "Thank you, that is all.", 3000),
    ):
        said = to_samples(synthesise(text, rate_hz=16_000))
        pause = np.zeros(16 * then_ms, np.int16)
        party += [said, pause]
        (here if party is there else there).append(np.zeros(said.size + pause.size, np.int16))
    recording = tmp_path / "call.wav"
    soundfile.write(recording, np.stack([*map(np.concatenate, (here, there))], axis=1), 16_000)
    folder = tmp_path / "scenarios"
    arguments = ["--caller", "left", "--folder", str(folder)]
    assert main(["scenario", str(recording), *arguments]) == 0
    scenario = loader.load([folder / "call.yaml"])[0]
    withheld = [reply.sends_only for reply in scenario.realtime.replies]
    assert withheld == [None, "nothing", None, "nothing"]
    run(tmp_path / "out", folder)
    assert results(tmp_path / "out")["call"]["verdict"] == "passed"
    again = tmp_path / "out" / "latest" / "calls" / "call"
    assert order(again) == "agent caller agent caller caller agent caller"


def test_a_call_is_taken_from_a_place_on(played: Path, tmp_path: Path) -> None:
    recording = bare(played, "barge_in", tmp_path / "a.wav")
    given = ["scenario", str(recording), "--folder", str(tmp_path), "--caller", "left"]
    assert main([*given, "--name", "late", "--from", "00:06"]) == 0
    scenario = loader.load([tmp_path / "late.yaml"])[0]
    assert [step.action for step in scenario.steps][:1] == ["say"]
    assert sum(step.action == "say" for step in scenario.steps) == 1
    assert str(scenario.steps[0].when) == "answer + 500 ms"


PARTS = {
    "barge_in": "4.49",  # in the midst of an answer, which is then spoken into
    "greeting_goes_on": "5.84",  # behind what befell the greeting
    "server_drops": "3",
    "stubbed_function": "7",  # between two answers of a function
    "function_call": "2.4",
}
"""Calls, and from where on they are played again."""
OTHERWISE = {
    "fallback_declines": "1",  # nobody was connected before, and nobody is
    "late_session_without_greeting": "1",  # nor here, until the caller speaks
    "longest_call": "1.5",  # in which the time that is left is longer
    "slow_connect": "0.2",  # whose answer took longer than it takes
    "watchdog_response": "2.7",  # whose answer was lost on its way
}
"""Likewise; much is otherwise in these than it was in the call."""


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of parts of calls: those of the library, and of their bare recordings."""
    folder = tmp_path_factory.mktemp("parts")
    found = {
        name: f"found/{name}" for name in ("greeting_goes_on", "late_session_without_greeting")
    }
    both = {**PARTS, **OTHERWISE}
    run(folder / "out", *(SCENARIOS / f"{found.get(name, name)}.yaml" for name in both))
    for name, from_s in both.items():
        call = folder / "out" / "latest" / "calls" / name
        recording = bare(folder / "out", name, folder / f"{name}.wav")
        made_of = [(call, [name]), (recording, [f"bare_{name}", "--caller", "left"])]
        for what, more in made_of[: 1 if name in OTHERWISE else 2]:
            made = ["scenario", str(what), "--folder", str(folder / "parts"), "--from", from_s]
            assert main([*made, "--name", *more]) == 0
    run(folder / "again", folder / "parts")
    return folder


@pytest.mark.parametrize("name", [*PARTS, *(f"bare_{name}" for name in PARTS), *OTHERWISE])
def test_a_part_keeps_the_limits_that_are_written_for_it(parts: Path, name: str) -> None:
    """Each has something to be held against, too: what struck or was said before is left out."""
    assert results(parts / "again")[name]["verdict"] == "passed", results(parts / "again")[name]


def test_what_struck_before_a_part_is_told_and_left_out(parts: Path) -> None:
    text = (parts / "parts" / "greeting_goes_on.yaml").read_text()
    assert text.count("# left out, for it struck before:") == 2
    assert "faults:" not in text
    assert '"fails"' in (parts / "parts" / "stubbed_function.yaml").read_text()
    assert '"returns"' not in (parts / "parts" / "stubbed_function.yaml").read_text()


def test_a_part_has_room_for_what_it_takes_itself(parts: Path) -> None:
    text = (parts / "parts" / "longest_call.yaml").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("  dead_air_ms: ")]
    limit, _, measured = line.partition("  # measured: ")
    was, played = (float(one.split()[-1]) for one in measured.split("; in memory, of this part: "))
    assert was < played < float(limit.split()[1])
    refused = (parts / "parts" / "fallback_declines.yaml").read_text()
    assert '"fault": "refuse"' in refused
    assert "# left out" not in refused


def test_a_part_in_which_the_caller_does_nothing_is_refused(
    parts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = parts / "out" / "latest" / "calls" / "barge_in"
    assert main(["scenario", str(call), "--from", "00:09", "--folder", str(parts / "no")]) == 2
    assert "after 9 s the caller does nothing more" in capsys.readouterr().err


def test_limits_are_of_what_is_played_again_alone(played: Path, tmp_path: Path) -> None:
    """What was measured before the place counts for no limit."""
    call = played / "latest" / "calls" / "barge_in_twice"
    evidence = load_evidence(call)
    last = measure(evidence).audible.said[-1]
    from_s = (last.start_ns - evidence.recording_start_ns) / 1e9 - 2
    given = ["scenario", str(call), "--folder", str(tmp_path), "--name"]
    assert main([*given, "whole"]) == main([*given, "late", "--from", f"{from_s:.2f}"]) == 0
    whole, late = ((tmp_path / f"{name}.yaml").read_text() for name in ("whole", "late"))

    def measured(text: str) -> int:
        line = next(line for line in text.splitlines() if "barge_in_stop_ms:" in line)
        return line.count(",") + 1

    assert (measured(whole), measured(late)) == (2, 1)
    arguments = [str(tmp_path / "late.yaml"), "--lane", "virtual", "--out", str(tmp_path / "out")]
    assert main(["run", *arguments]) == 0


def test_what_was_meant_to_fail_is_meant_again(again: Path) -> None:
    assert results(again / "out")["no_quota"]["verdict"] == "passed"


def test_keys_in_the_sound_are_pressed(played: Path, tmp_path: Path) -> None:
    sound, rate_hz = soundfile.read(
        bare(played, "function_call", tmp_path / "a.wav"), dtype="int16"
    )
    keys = to_samples(dtmf("12#", rate_hz))
    later = np.zeros((rate_hz + keys.size + rate_hz, 2), np.int16)
    later[rate_hz : rate_hz + keys.size, 0] = keys
    soundfile.write(tmp_path / "a.wav", np.concatenate([sound, later]), rate_hz)
    given = ["scenario", str(tmp_path / "a.wav"), "--folder", str(tmp_path), "--caller", "left"]
    assert main(given) == 0
    scenario = loader.load([tmp_path / "a.yaml"])[0]
    assert [getattr(step, "press", None) for step in scenario.steps if step.action == "press"] == [
        "12#"
    ]
    assert sum(step.action == "say" for step in scenario.steps) == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nothing.wav"], "there is no such file or folder"),
        (["text.wav"], "cannot be read as sound"),
        (["mix.wav"], "a mix"),
        (["silent.wav", "--caller", "left"], "nobody speaks in it"),
        (["there.wav", "--caller", "left"], "there is one already"),
        (["there.wav", "--name", "a/b"], "is no name"),
        (["silent.wav", "--caller", "left", "--from", "00:30"], "it ends after 1.0 s"),
    ],
)
def test_what_no_scenario_can_be_made_of_is_said(
    tmp_path: Path, arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "there.yaml").write_text("about: x\n")
    tone = (8000 * np.sin(np.arange(16_000) / 3)).astype(np.int16)
    soundfile.write(tmp_path / "mix.wav", tone, 8000)
    soundfile.write(tmp_path / "there.wav", np.stack([tone, tone[::-1]], axis=1), 8000)
    soundfile.write(tmp_path / "silent.wav", np.zeros((8000, 2), np.int16), 8000)
    file, *options = arguments
    code = main(["scenario", str(tmp_path / file), "--folder", str(tmp_path), *options])
    assert code == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "there").exists()


def test_a_scenario_of_a_caller_who_is_guessed_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = np.pad(np.stack([speech(1500, 3), speech(1500, 4)], axis=1), ((8000, 8000), (0, 0)))
    soundfile.write(tmp_path / "call.wav", both, 8000)
    given = ["scenario", str(tmp_path / "call.wav"), "--folder", str(tmp_path)]
    assert main([*given, "--name", "guessed"]) == 0
    assert "say which with --caller left or --caller right" in capsys.readouterr().err
    assert main([*given, "--name", "said", "--caller", "left"]) == 0
    assert "--caller" not in capsys.readouterr().err


@pytest.mark.parametrize("place", ["soon", "-1", "1:xx", "25:00:00"])
def test_a_place_that_is_none_is_refused(place: str) -> None:
    with pytest.raises(SystemExit):
        main(["scenario", "x.wav", "--from", place])


@pytest.mark.parametrize("name", ["barge_in", "barge_in_twice"])
def test_no_echo_is_told_where_there_is_none(played: Path, name: str) -> None:
    """What correlates 100 dB down is the rounding of samples."""
    assert not [key for key, _ in numbers(results(played)[name]) if key.startswith("echo")]
