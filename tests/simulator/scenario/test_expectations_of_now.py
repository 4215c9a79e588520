"""What an expectation is met by: what is of now, not of a turn ago; played in memory."""

import json
from pathlib import Path
from textwrap import dedent

import pytest

from callerside.simulator.cli.main import main
from callerside.timelines import read_timeline


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def played(folder: Path, text: str) -> dict[str, object]:
    """The call's row in results.json."""
    (folder / "a.yaml").write_text("about: x\nversion: 2\n" + dedent(text))
    main(["run", "--lane", "virtual", "a.yaml"])
    (row,) = json.loads((folder / "out/latest/results.json").read_text())["scenarios"]
    assert isinstance(row, dict)
    return row


@pytest.mark.parametrize("met", [True, False])
@pytest.mark.parametrize(
    ("function", "arguments", "expected", "failure"),
    [
        ("send_dtmf", '{digits: "9"}', '{dtmf: "9"}', "keys 9 within 2 s, but keys heard: 9 at"),
    ],
)
def test_what_came_a_turn_ago_meets_no_expectation_of_now(
    folder: Path, function: str, arguments: str, expected: str, failure: str, *, met: bool
) -> None:
    """Whether or not it met one when it came."""
    first = f"- expect: {expected}" if met else "- pause: 1ms"
    row = played(
        folder,
        f"""
        agent: {{tools: {{{function}: true}}}}
        realtime:
          greeting: {{say: "Hello."}}
          replies:
            - {{function_call: {{name: {function}, arguments: {arguments}}}}}
            - {{say: "Done."}}
            - {{say: "We open at nine."}}
        steps:
          - expect: greeting
          - say: "Press nine, please."
          {first}
          - expect: reply
          - say: "And when do you open?"
          - expect: {expected}
            within: 2s
          - hang_up
        """,
    )
    assert row["verdict"] == "failed"
    assert failure in str(row["detail"])
    assert str(row["detail"]).startswith("step 6")


def test_the_time_of_an_expectation_counts_from_its_moment_not_from_when_that_was_sure(
    folder: Path,
) -> None:
    """The end of a greeting is sure only when `end_silence` has passed."""
    row = played(
        folder,
        """
        realtime: {greeting: {say: "Hello."}}
        caller: {end_silence: 1500ms}
        steps:
          - {expect: {silence: 2s}, when: greeting end, within: 2100ms}
          - hang_up
        """,
    )
    assert row["verdict"] == "passed"
    marks = read_timeline(folder / "out/latest/calls/a/timeline.jsonl")
    quiet = next(mark for mark in marks if mark.name == "silence_heard")
    silence = next(mark for mark in marks if mark.name == "step_ended")
    assert (silence.at_ns - quiet.at_ns) / 1e6 == pytest.approx(2000, abs=25)


def test_a_word_within_the_callers_sentence_takes_no_turn(folder: Path) -> None:
    row = played(
        folder,
        """
        realtime: {greeting: {say: "Hello."}, replies: [{say: "We open at nine."}]}
        meanwhile: [{say: "Hm.", when: greeting + 4s}]
        steps:
          - expect: greeting
          - say: >-
              What time do you open, and when do you close on Monday, on Tuesday, and on
              Wednesday, please tell me?
            when: greeting + 2s
          - expect: reply
          - hang_up
        """,
    )
    assert row["verdict"] == "passed"
    metrics = row["metrics"]
    assert isinstance(metrics, list)
    (turn,) = (one for one in metrics if one["name"] == "turn_ms")
    assert turn["turn"] == 1
    assert 500 < turn["value"] < 1100, "from the sentence's end, not from the word's"
