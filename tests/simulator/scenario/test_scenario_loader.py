"""Scenario files: what is read, and that every mistake is told with place, reason and a way out."""

import errno
import os
import re
from pathlib import Path

import pytest

from callerside.simulator.runner.lint import all_problems, problems
from callerside.simulator.scenario.loader import (
    ScenarioError,
    load,
    load_file,
    with_forerunners_beside,
)
from callerside.simulator.scenario.moments import Moment

SHIPPED = Path(__file__).parents[3] / "scenarios"


def mistakes(folder: Path, text: str) -> str:
    path = folder / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(ScenarioError) as raised:
        load_file(path)
    return str(raised.value).replace(f"{path}:", "")


def test_every_shipped_scenario_is_sound_and_says_what_it_protects() -> None:
    scenarios = load([SHIPPED])
    assert {"first_call", "second_call", "barge_in"} <= {scenario.name for scenario in scenarios}
    for scenario in scenarios:
        assert scenario.path is not None
        assert scenario.path.read_text().startswith("# Protects: "), scenario.path


HEAD = "about: x\nsteps: [hang_up]\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1:1: expected a mapping with about and steps"),
        ("steps: [hang_up]", "1:1: about is missing"),
        ("about: x\nsteps: []", "2:8: steps: expected at least one"),
        ("about: x\nabout: y", "2:1: about stands here and in line 1"),
        ("about: [", "1:9: not YAML: "),
        ("about: x\nsteps: &x\n  - *x\n", "1:1: something in it is within itself"),
        ("[" * 3000, "1:1: something in it is within itself"),
        (HEAD + "time_limt: 3s", '3:1: unknown key "time_limt"; did you mean "time_limit"?'),
        (HEAD + "time_limit: 3 hours", "3:13: time_limit: '3 hours' is no duration"),
        (HEAD + "time_limit: -1", "3:13: time_limit: -1 is no duration"),
        (HEAD + "caller: {codec: PCM}", '3:17: codec: "PCM"; did you mean "PCMU"?'),
        (
            HEAD + "caller: {speed_wpm: 10}",
            "3:21: speed_wpm: 10: expected a number greater than or equal to 80",
        ),
        (HEAD + "repeat: 0", "3:9: repeat: 0: expected a number greater than or equal to 1"),
        (HEAD + "realtime:\n  replis: []", '4:3: unknown key "replis"; did you mean "replies"?'),
        (HEAD + "realtime: {replies: [{say: a, wav: b}]}", "exactly one of say, wav"),
        (HEAD + "never: [{stat: x}]", '3:9: never 1: "stat"; did you mean "state"?'),
        (HEAD + "never: [{mark: playout_clered}]", 'did you mean "playout_cleared"?'),
        (HEAD + "never: [{mark: committed, source: caller}]", "no such mark of caller"),
        (HEAD + "never: [{mark: beep_heard, fields: {herz: 1}}]", 'did you mean "hz"?'),
        (HEAD + "never: [{state: LISTNING}]", 'did you mean "LISTENING"?'),
        (HEAD + "matrix: {repeat: 3}", "3:18: repeat: expected a list of values"),
        (HEAD + "matrix: {steps.7.say: [a]}", "3:10: matrix: 7 is no position in a list of 1"),
        (
            HEAD + "agent: {turns: {polisy: local}}",
            '3:17: unknown key "polisy"; did you mean "policy"?',
        ),
        (HEAD + "agent: {beep: {hz: 5}}", "3:20: hz: 5: expected a number greater"),
        (HEAD + "budget: {turn: 500}", "3:10: turn: no metric is called 'turn'"),
        (HEAD + "budget: {gap_ms: off, turm_ms: 500}", "3:23: turm_ms: no metric"),
        (HEAD + "budget: {turn: 500}", "did you mean turn_ms?"),
        (HEAD + "budget: {turn_ms: {maxi: 500}}", "did you mean max?"),
        (HEAD + "tags: [smoke test]", "3:8: tag 1: 'smoke test': expected a word of letters"),
        (HEAD + "tags: [skip]", "3:8: tag 1: 'skip': pytest gives this word a meaning"),
        (
            HEAD + "realtime: {faults: [{fault: stal, at: greeting}]}",
            '3:21: fault: "stal"; did you mean "stall"? (expected error, fail, stall',
        ),
        (
            HEAD + "realtime: {faults: [{at: greeting}]}",
            "fault is missing (expected error, fail",
        ),
        (
            HEAD + "realtime: {faults: [{fault: drop, at: repli 1}]}",
            "'reply N' or 'event N', and perhaps '+ 800ms'; did you mean \"reply\"?",
        ),
        (HEAD + "caller: 3", "3:9: caller: expected a mapping"),
        (HEAD + "time_limit: 2hours", "3:13: time_limit: '2hours' is no duration"),
        (HEAD + "network: {loss: 3}", "3:17: loss: 3 is no share of packets: expected 3%"),
        (HEAD + "network: {to_agnt: {}}", '3:11: unknown key "to_agnt"; did you mean "to_agent"?'),
        (HEAD + "caller: {noise: {snr_db: 3}}", "3:17: noise: expected either kind or wav"),
        ("about: x\nsteps: [hang_up, {pause: 1s}]", "hang_up ends the call: no step can follow"),
        ("about: x\nsteps: [{expct: beep}]", '2:9: step 1: "expct"; did you mean "expect"?'),
        ("about: x\nsteps: [{expect: bep}]", '2:18: expect: "bep"; did you mean "beep"?'),
        ("about: x\nsteps: [{say: a, pause: 1s}]", "one thing, and this one has say and pause"),
        (
            "about: x\nsteps: [{say: a, wen: reply}]",
            '2:18: unknown key "wen"; did you mean "when"?',
        ),
        (
            "about: x\nsteps: [{say: a, when: replay}]",
            '2:24: when: "replay"; did you mean "reply"?',
        ),
        ("about: x\nsteps: [{say: {txt: a}}]", '2:16: unknown key "txt"; did you mean "text"?'),
        (
            "about: x\nsteps: [{press: 123}]",
            '2:17: press: expected text; put quotes around it: "123"',
        ),
        ("about: x\nsteps: [{press: 'x'}]", "2:17: press: 'x': expected keys: 0-9, *, #, A-D"),
        ("about: x\nsteps: [{hang_up: 3s}]", "2:19: hang_up: "),
        ("about: x\nsteps: [{expect: {silence: 2x}}]", "2:28: silence: '2x' is no duration"),
        ("about: x\nsteps: [{say: 42}]", "2:15: say: expected text, or a mapping with text or wav"),
        ("about: x\nsteps: [{say: 42}]", 'put quotes around it: "42"'),
        ("about: x\nsteps: [null]", "2:9: step 1: does nothing: expected one of say, sound"),
        ("about: x\nsteps: [{when: beep}]", "2:9: step 1: does nothing: expected one of say"),
        (
            "about: x\nsteps: [{say: a, when: reply + 1 second}]",
            "2:24: when: '1 second' is no duration: expected 500ms",
        ),
        ("about: x\nsteps: [{say: a, when: reply + 800}]", "2:24: when: '800' is no duration"),
        ("about: x\nsteps: [{say: a, when: reply ends}]", "2:24: when: 'reply ends' is no moment"),
        ("about: x\nsteps: [hang_up, {pause: 1s}]", "2:18: step 2: hang_up ends the call"),
        (HEAD + "meanwhile: [{pause: 1s}, hang_up]", "3:26: meanwhile 2: hang_up belongs into"),
        (HEAD + "network: {media_delay: 1s}", "3:24: media_delay: can be played in"),
        (HEAD + "network: {dead: [[5s]]}", "3:18: dead 1: expected 2 values"),
        (HEAD + "budget: {turn_ms: 2s}", "3:10: turn_ms: '2s', expected a number (ms), `off`"),
        (HEAD + "matrix: {meanwhile.0.say: [a]}", "3:10: matrix: 0 is a position in a list, and"),
        (HEAD + "<<: {}", "3:1: <<: mappings are not merged here"),
        (
            HEAD + "matrix: {caller.codec: [PCMU], caller: [{codec: G722}]}",
            "3:10: caller.codec is a part of caller, which stands here too",
        ),
        (HEAD + f"repeat: {'9' * 5000}", "3:9: '99999"),
        (HEAD + "repeat: !!int three", "3:9: 'three' cannot be read as int"),
        (HEAD + "!!timestamp x: 1", "3:1: 'x' cannot be read as timestamp"),
        (HEAD + "never: [[beep]]", "3:9: never 1: expected one of answer, beep"),
        (HEAD + "never: [5]", "3:9: never 1: 5: expected one of answer, beep"),
        (HEAD + "never: [{dtmf: '1', transfer: x}]", "3:9: never 1: this has dtmf and transfer"),
        (HEAD + "never: [silence 2s]", "needs a value, as in {silence: 2s}"),
        (
            HEAD + "never:\n- mark: truncated\n  fields:\n    item: x\n    audio_end: 1\n",
            '7:5: "audio_end"; did you mean "audio_end_ms"?',
        ),
        (
            HEAD + "realtime: {faults: [{fault: drop, at: greeting, for_ms: 3}]}",
            '3:49: unknown key "for_ms" (expected at, fault, sessions)',
        ),
        (HEAD + "matrix: {a.b: [1]}", '3:10: unknown key "a"'),
        (
            HEAD + "matrix: {realtime.greting.say: [a]}",
            '3:10: unknown key "greting"; did you mean "greeting"?',
        ),
        (
            "about: x\nsteps: ['say:hi']",
            "2:9: step 1: say:hi: a space goes behind the colon: say: h",
        ),
        (HEAD + "matrx: {}", '3:1: unknown key "matrx"; did you mean "matrix"?'),
        (HEAD + "codec: PCMA", '3:1: unknown key "codec"; it belongs into caller (expected'),
        ("about: x\nsteps: [{say: {text: a, when: beep}}]", "it belongs beside say (expected"),
        ("about: x\nsteps: [{say: a, when: {after: beep}}]", "2:24: when: {'after': 'beep'} is no"),
        ("about: x\nsteps: [{pause: '800'}]", 'milliseconds; did you mean "800ms"?'),
        ("about: x\nsteps: [{hang_up: now}]", "2:19: hang_up: 'now': expected nothing"),
        (HEAD + "agent: {recordings: {dir: /srv}}", "'/srv' does not stay within its folder"),
        (HEAD + "agent: {recordings: {dir: ../up}}", "3:27: dir: '../up' does not stay"),
        (HEAD + "agent: {greeting: {cache_dir: ~/.ssh}}", "does not stay within its folder"),
        (HEAD + "agent: {timeline: {dir: marks}}", "each call of a run has its timeline beside"),
        (HEAD + "tags: [\0]", "3:8: not YAML: a character that no text has: 0x0"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, expected: str) -> None:
    told = mistakes(tmp_path, text)
    assert expected in told
    assert re.search(r"('.+'): \1", told) is None, "a value is said once"


def test_all_mistakes_are_told_at_once_in_order(tmp_path: Path) -> None:
    found = mistakes(tmp_path, "steps: [{expct: beep}]\nrepeat: 0\n").splitlines()
    assert [line.split(":")[0] for line in found] == ["1", "1", "2"]


def test_a_list_is_not_called_short_because_its_items_are_wrong(tmp_path: Path) -> None:
    found = mistakes(tmp_path, HEAD + "lanes: [memory]\nbudget: {turn: 1, gap: 2}\n").splitlines()
    assert [line.split(" ")[0] for line in found] == ["3:9:", "4:10:", "4:19:"]


def test_digits_that_are_no_number_are_text(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    text = "about: x\ncaller: {user: +4930}\nnetwork: {loss: 0.5}\nsteps: [{press: 0123}]\n"
    path.write_text(text)
    scenario = load_file(path)[0]
    assert scenario.caller.user == "+4930"
    assert [step.describe() for step in scenario.steps] == ["press 0123"]
    assert scenario.network is not None
    assert scenario.network.loss == 0.5


def test_a_file_that_is_no_text_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("steps: []\nabout: café".encode("latin-1"))
    with pytest.raises(ScenarioError, match=r"latin\.yaml:2:11: not a text file in UTF-8"):
        load_file(path)


def test_a_file_that_would_not_be_found_is_told(tmp_path: Path) -> None:
    for name in ("one.yaml", "two.yml"):
        (tmp_path / name).write_text(HEAD)
    with pytest.raises(ScenarioError, match=r"two\.yml: scenarios are named \*\.yaml"):
        load([tmp_path])


def test_cells_that_cannot_be_told_apart_are_told(tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(HEAD + "matrix: {caller.codec: [PCMU, PCMU]}\n")
    with pytest.raises(ScenarioError, match=r"two\.yaml:3:9: two cells would be called two-PCMU"):
        load([tmp_path])


def test_words_of_old_yaml_are_text(tmp_path: Path) -> None:
    path = tmp_path / "yes.yaml"
    path.write_text('about: yes\nsteps: [{say: no}, {press: "0123"}]\n')
    steps = load_file(path)[0].steps
    assert [step.describe() for step in steps] == ['say "no"', "press 0123"]


def test_a_matrix_is_one_scenario_a_cell(tmp_path: Path) -> None:
    path = tmp_path / "turns.yaml"
    path.write_text(
        HEAD + "matrix:\n  caller.codec: [PCMU, G722]\n"
        "  agent.turns.vad.silence_duration_ms: [300, 1000]\n"
    )
    cells = load_file(path)
    assert [cell.name for cell in cells] == [
        "turns-PCMU-300",
        "turns-PCMU-1000",
        "turns-G722-300",
        "turns-G722-1000",
    ]
    assert cells[3].caller.codec == "G722"
    assert cells[3].agent == {"turns": {"vad": {"silence_duration_ms": 1000}}}


def test_a_mistake_in_a_cell_is_told_at_the_matrix(tmp_path: Path) -> None:
    found = mistakes(tmp_path, HEAD + "matrix:\n  caller.codec:\n    - PCMU\n    - GSM\n")
    assert found == '6:7: codec: "GSM" (expected PCMU, PCMA, G722, OPUS)'


def test_the_mistakes_of_all_cells_are_told_once(tmp_path: Path) -> None:
    axes = "matrix: {caller.codec: [GSM, PCMU], steps.0.expect: [beep, bep]}\nrepeat: 0\n"
    found = mistakes(tmp_path, f"about: x\nsteps: [{{expect: beep}}]\n{axes}").splitlines()
    assert [line.split(" ")[1] for line in found] == ["codec:", "repeat:", "expect:"]


def test_an_absent_folder_and_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="no such file"):
        load([tmp_path / "none.yaml"])
    with pytest.raises(ScenarioError, match=r"no \*.yaml in this folder"):
        load([tmp_path])


def test_two_files_of_one_name_clash(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.yaml").write_text(HEAD)
    with pytest.raises(ScenarioError, match="the name same is taken by"):
        load([tmp_path])


def test_a_suite_lends_what_a_scenario_does_not_say_itself(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(
        "caller: {codec: G722, user: suite}\nbudget: {turn_ms: 900}\ntime_limit: 20s\n"
    )
    path = tmp_path / "one.yaml"
    path.write_text(HEAD + "caller: {user: mine}\n")
    scenario = load_file(path)[0]
    assert (scenario.caller.codec, scenario.caller.user) == ("G722", "mine")
    assert scenario.budget == {"turn_ms": 900}
    assert scenario.time_limit == 20_000
    assert [found.name for found in load([tmp_path])] == ["one"]


def test_a_mistake_in_a_suite_is_told_in_the_suite(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text("caller: {codc: G722}\nabout: x\n")
    path = tmp_path / "one.yaml"
    path.write_text(HEAD)
    with pytest.raises(ScenarioError) as raised:
        load_file(path)
    assert 'suite.yaml:1:10: unknown key "codc"; did you mean "codec"?' in str(raised.value)
    assert 'suite.yaml:2:1: unknown key "about"' in str(raised.value)


def test_a_mistake_in_a_suite_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text("caller: {codc: G722}\n")
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(HEAD)
    with pytest.raises(ScenarioError) as raised:
        load([tmp_path])
    assert len(str(raised.value).splitlines()) == 1


def test_what_cannot_work_is_told_where_the_suite_says_it(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text("realtime:\n  default_reply: {wav: nowhere.wav}\n")
    path = tmp_path / "one.yaml"
    path.write_text(HEAD + "realtime: {replies: [{wav: no.wav}]}\n")
    lent, own = problems(load_file(path)[0])[::-1]
    assert lent.startswith(f"{tmp_path / 'suite.yaml'}:2:24: the server cannot say this: ")
    assert own.startswith(f"{path}:{HEAD.count(chr(10)) + 1}:28: the server cannot say this: ")


@pytest.mark.parametrize(
    "text",
    ["beep", "greeting end", "reply + 800 ms", "reply end + 1.5 s", "silence 2 s", "answer + 3 s"],
)
def test_moments_read_what_they_write(text: str) -> None:
    assert str(Moment.parse(text)) == text


def test_a_suite_that_is_no_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("about: x\nsteps: [hang_up]\n")
    os.mkfifo(tmp_path / "suite.yaml")
    with pytest.raises(
        ScenarioError, match=r"suite\.yaml: cannot be read: it is no file, but a named"
    ):
        load([tmp_path])
    (tmp_path / "suite.yaml").unlink()
    (tmp_path / "suite.yaml").symlink_to("nothing")
    with pytest.raises(ScenarioError, match=r"suite\.yaml: cannot be read: No such file"):
        load([tmp_path])


def test_a_folder_that_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.yaml").write_text("about: x\nsteps: [hang_up]\n")
    (tmp_path / "closed").mkdir()
    assert len(load([tmp_path])) == 1
    scandir = os.scandir

    def closed(path: str) -> object:  # as for anybody but root
        if Path(path).name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(ScenarioError, match=r"/closed: this folder cannot be read: Permission"):
        load([tmp_path])


LONG = "a" * 300


@pytest.mark.parametrize(
    "text",
    [
        f"steps: [{{say: {{wav: {LONG}.wav}}}}, hang_up]",
        f"caller: {{noise: {{wav: {LONG}.wav, snr_db: 10}}}}\nsteps: [hang_up]",
        f"realtime: {{greeting: {{wav: {LONG}.wav}}}}\nsteps: [hang_up]",
        f"realtime: {{greeting: {{recording: {{file: {LONG}, turn: 1}}}}}}\nsteps: [hang_up]",
        'steps: [{say: {wav: "a\\0b.wav"}}, hang_up]',
    ],
)
def test_a_sound_that_no_file_can_be_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(f"about: x\n{text}\n")
    (line,) = all_problems(load([tmp_path]))
    assert "cannot be read: " in line
    assert "name" in line.rpartition("cannot be read: ")[2]


def test_a_forerunner_may_be_a_cell_of_a_file_beside(tmp_path: Path) -> None:
    after = "about: x\nafter: line-G722\nsteps: [hang_up]\n"
    (tmp_path / "a.yaml").write_text(after)
    (tmp_path / "line.yaml").write_text(HEAD + "matrix: {caller.codec: [PCMU, G722]}\n")
    (tmp_path / "line-G.yaml").write_text("no scenario, and not asked for\n")
    found = with_forerunners_beside(load_file(tmp_path / "a.yaml"))
    assert [one.name for one in found] == ["a", "line-PCMU", "line-G722"]


def test_a_forerunner_is_no_cell_if_a_file_has_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("about: x\nafter: line-G722\nsteps: [hang_up]\n")
    (tmp_path / "line.yaml").write_text("no scenario, and not asked for\n")
    (tmp_path / "line-G722.yaml").write_text(HEAD)
    found = with_forerunners_beside(load_file(tmp_path / "a.yaml"))
    assert [one.name for one in found] == ["a", "line-G722"]


def test_values_that_differ_by_a_minus_are_called_differently(tmp_path: Path) -> None:
    path = tmp_path / "gain.yaml"
    path.write_text(HEAD + "matrix: {caller.gain_db: [-6, 0, 6], caller.codec: [PCMU]}\n")
    names = [cell.name for cell in load([path])]
    assert names == ["gain--6-PCMU", "gain-0-PCMU", "gain-6-PCMU"]


def test_a_forerunner_that_no_file_can_be_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"about: x\nafter: {LONG}\nsteps: [hang_up]\n")
    scenarios = load([tmp_path])
    assert with_forerunners_beside(scenarios) == scenarios
