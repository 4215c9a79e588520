"""What the processes of the sip lane are told is what the scenario says."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from callerside.agent.config.settings import CallSettings, Settings
from callerside.audio import to_samples, tone
from callerside.audio_files import write_wav
from callerside.fakes.recording.format import Entry, Header, Recording, write_recording
from callerside.fakes.script.loader import load_script
from callerside.fakes.script.prepare import prepare
from callerside.simulator.lanes.planned_call import PlannedCall
from callerside.simulator.lanes.sip.config import (
    agent_config,
    child_environment,
    repeat_script,
    write_scripts,
)
from callerside.simulator.runner.plan import plan
from callerside.simulator.scenario.loader import load_file
from callerside.simulator.scenario.model import Scenario

SCENARIO = """\
about: Everything that a script may hold.
agent: {turns: {vad: {silence_duration_ms: 700}}, greeting: {interruptible: true}}
realtime:
  timing: {think_ms: 300, pace: 3}
  vad: {engine: silero, threshold: 0.7}
  dialect: beta
  commits: client
  greeting: {wav: own.wav, transcript: "A tone."}
  replies:
    - {say: "At nine.", voice: en-us+f3, think_ms: 100, heard: "When?"}
    - {function_call: {name: look_up, arguments: {day: Monday}}}
    - {recording: {file: call.jsonl, turn: 1}}
    - {wav: own.wav, unheard: true}
  faults: [{fault: stall, at: reply 1 + 500ms, for_ms: 2000}]
steps: [hang_up]
"""


def planned_calls(folder: Path) -> list[PlannedCall]:
    write_wav(folder / "own.wav", to_samples(tone(300, 300, 44_100)), 44_100)
    sound = tone(300, 300, 24_000)
    said = {"type": "response.output_audio.delta", "response_id": "a", "delta": sound}
    write_recording(folder / "call.jsonl", Recording(Header(), (Entry(1.0, "server", said),)))
    (folder / "one.yaml").write_text(SCENARIO)
    return plan(load_file(folder / "one.yaml"), repeat=2, seed=1)


def test_the_server_reads_the_script_of_each_stage_as_it_was_written(tmp_path: Path) -> None:
    told = planned_calls(tmp_path)
    folder = tmp_path / "scripts"
    write_scripts(told, folder)
    repeat_script(replace(told[1], attempt=2), folder)
    files = {path.name: path.is_symlink() for path in folder.iterdir()}
    assert files == {"one-r1.yaml": False, "one-r2.yaml": True, "one-r2.2.yaml": True}
    for planned in told:
        read = load_script(folder / f"{planned.name}.yaml")
        assert read == planned.scenario.realtime.resolved(tmp_path)
        sounds = [any(item.pcm for item in line.items) for line in prepare(read).replies]
        assert sounds == [True, False, True, True]


def test_the_agent_has_the_settings_of_each_stage_by_the_called_number(tmp_path: Path) -> None:
    told = planned_calls(tmp_path)
    config = yaml.safe_load(yaml.safe_dump(agent_config(told, "ws://127.0.0.1:9", tmp_path)))
    settings = Settings.model_validate(config)
    assert len(settings.routes) == len(told) + 1, "one for each call, and what is left"
    for planned in (*told, replace(told[1], attempt=2)):
        own = settings.for_call(planned.address)
        wanted = CallSettings.model_validate(planned.scenario.agent)
        assert own.turns == wanted.turns
        assert own.greeting.interruptible
        assert str(own.greeting.cache_dir).endswith(f"greetings/{planned.greeting_cache}")


def test_a_name_that_begins_as_another_has_its_own_route(tmp_path: Path) -> None:
    told = []
    for number, name in enumerate(("hold", "hold_twice", "hold_twice-r1")):
        agent = f"agent: {{turns: {{vad: {{silence_duration_ms: {700 + number}}}}}}}"
        (tmp_path / f"{name}.yaml").write_text(f"about: A.\n{agent}\nsteps: [hang_up]\n")
        told += plan(load_file(tmp_path / f"{name}.yaml"), repeat=1, seed=1)
    config = yaml.safe_load(yaml.safe_dump(agent_config(told, "ws://127.0.0.1:9", tmp_path)))
    settings = Settings.model_validate(config)
    for number, planned in enumerate(told):
        for one in (planned, replace(planned, attempt=2)):
            assert settings.for_call(one.address).turns.vad.silence_duration_ms == 700 + number


def test_functions_are_stubs_unless_the_scenario_says_that_they_are_real(tmp_path: Path) -> None:
    stub = "{stub: {book: [{returns: {table: 7}, after: 800ms}, {fails: full}]}}"
    for tools in ("{}", "{real: true}", stub):
        text = f"about: A.\nagent: {{tools: {tools}}}\nsteps: [hang_up]\n"
        (tmp_path / "one.yaml").write_text(text)
        told = plan(load_file(tmp_path / "one.yaml"), repeat=1, seed=1)
        config = yaml.safe_load(yaml.safe_dump(agent_config(told, "ws://127.0.0.1:9", tmp_path)))
        own = Settings.model_validate(config).for_call(told[0].name)
        assert own.tools.real == (tools == "{real: true}")
        answers = [one.each_answer for one in own.tools.stub.values()]
        assert [[(one.returns, one.after, one.fails) for one in each] for each in answers] == (
            [[({"table": 7}, 800, None), (None, 0, "full")]] if tools == stub else []
        )


def test_no_key_and_no_setting_of_ours_reaches_a_child() -> None:
    given = {"PATH": "/bin", "OPENAI_API_KEY": "sk-secret", "CALLERSIDE_SIP__PORT": "1"}
    told = child_environment(given)
    assert told["PATH"] == "/bin"
    assert "CALLERSIDE_SIP__PORT" not in told
    assert "secret" not in str(told)


@pytest.mark.parametrize("part", ["recordings: {dir: heard}", "greeting: {cache_dir: heard}"])
def test_what_a_scenarios_agent_writes_is_in_the_folder_of_the_run(
    tmp_path: Path, part: str
) -> None:
    (tmp_path / "one.yaml").write_text(f"about: A.\nagent: {{{part}}}\nsteps: [hang_up]\n")
    told = plan(load_file(tmp_path / "one.yaml"), repeat=1, seed=1)
    scenario = told[0].scenario
    assert Scenario.model_validate_json(scenario.model_dump_json()).agent == scenario.agent
    work = tmp_path / "run"
    config = yaml.safe_load(yaml.safe_dump(agent_config(told, "ws://127.0.0.1:9", work)))
    own = Settings.model_validate(config).for_call(told[0].name)
    written = (own.recordings.dir, own.greeting.cache_dir)
    assert all(one is None or one.is_relative_to(work) for one in written)
    assert any(one is not None and one.name == "heard" for one in written)


@pytest.mark.parametrize(("asked", "more"), [("PCMA, G722", []), ("OPUS, PCMU", ["OPUS"])])
def test_the_agent_of_a_run_has_the_codecs_that_its_callers_want(
    tmp_path: Path, asked: str, more: list[str]
) -> None:
    """Besides those that it has anyhow."""
    path = tmp_path / "line.yaml"
    path.write_text(f"about: x\nmatrix: {{caller.codec: [{asked}]}}\nsteps: [hang_up]\n")
    told = agent_config(plan(load_file(path), repeat=2, seed=1), "ws://h", tmp_path)
    assert Settings.model_validate(told).sip.codecs == ["PCMU", "PCMA", "G722", *more]
