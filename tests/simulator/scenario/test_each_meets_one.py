"""Each thing that happens meets one step, that of its own turn; played in memory.

A scenario whose expectations are wrong and that passes is the worst fault that a harness can have.
"""

import json
from pathlib import Path
from textwrap import dedent, indent

import pytest

from callerside.marks import Mark
from callerside.simulator.cli.main import main
from callerside.simulator.scenario.expectations import Transcript

WORLD = """
about: A caller asks twice; the first answer comes behind a function.
version: 2
agent:
  tools:
    stub: {look_up: {returns: {free: true}}}
    send_dtmf: true
realtime:
  greeting: {say: "Hello."}
  replies:
  - {function_call: {name: look_up, arguments: {day: true, at: {h: 9, m: 30}}}}
  - {say: "Yes, we open at nine."}
  - {function_call: {name: send_dtmf, arguments: {digits: "42#"}}}
  - {say: "You are welcome."}
steps:
"""
RIGHT = """
- {expect: beep}
- {expect: greeting}
- {say: "Are you open on Monday?"}
- {expect: {function_call: look_up, arguments: {day: true, at: {h: 9, m: 30}}}}
- {expect: {transcript: "OPEN at nine"}}
- {expect: {state: PROCESSING}}
- {expect: reply}
- {say: "And your code?"}
- {expect: {dtmf: "4"}}
- {expect: {dtmf: "2#"}}
- {expect: {transcript: "You are welcome."}}
- {expect: reply}
- hang_up
"""
"""The steps; each wrong one is put in the place of one of them, or behind it."""


def verdict(folder: Path, steps: str) -> tuple[str, str]:
    (folder / "a.yaml").write_text(WORLD + dedent(steps))
    main(["run", "--lane", "virtual", str(folder / "a.yaml"), "--out", str(folder / "out")])
    (row,) = json.loads((folder / "out/latest/results.json").read_text())["scenarios"]
    return row["verdict"], str(row["detail"])


def test_what_is_right_passes(tmp_path: Path) -> None:
    assert verdict(tmp_path, RIGHT) == ("passed", "every step went as written")


@pytest.mark.parametrize(
    ("instead_of", "wrong", "told"),
    [
        ("- {expect: beep}", 2 * "- {expect: beep}\n", "has met a step before"),
        (
            "- {expect: greeting}",
            "- {expect: greeting}\n- {expect: greeting}",
            "has met a step before",
        ),
        (
            '- {say: "And your code?"}',
            '- {say: "And your code?"}\n- {expect: beep}',
            "was over when the caller's last turn began",
        ),
        (
            '- {say: "And your code?"}',
            '- {say: "And your code?"}\n- {expect: greeting, within: 2s}',
            "was over when the caller's last turn began",
        ),
        ("- hang_up", "- {expect: hang_up, within: 1s}\n- hang_up", "the call was still up"),
        (
            '- {expect: {transcript: "OPEN at nine"}}',
            '- {expect: {transcript: "You are welcome"}}',
            "too late",
        ),
        (
            '- {expect: {transcript: "OPEN at nine"}}',
            2 * '- {expect: {transcript: "OPEN at nine"}}\n',
            "has met a step before",
        ),
        (
            '- {expect: {transcript: "OPEN at nine"}}',
            '- {expect: {transcript: "pen at nin"}}',
            '"Yes, we open at nine."',
        ),
        (
            "- {expect: {state: PROCESSING}}",
            "- {expect: {function_call: send_dtmf}}",
            "too late",
        ),
        (
            "- {expect: {state: PROCESSING}}",
            "- {expect: {function_call: look_up}}\n- {expect: {function_call: look_up}}",
            "has met a step before",
        ),
        (
            "- {expect: {state: PROCESSING}}",
            "- {expect: {mark: tool_called, fields: {name: send_dtmf}}}",
            "too late",
        ),
        (
            "- {expect: {state: PROCESSING}}",
            "- {expect: {function_call: look_up, arguments: {day: 1}}}",
            "with {'day': 1}",
        ),
        (
            "- {expect: {state: PROCESSING}}",
            "- {expect: {function_call: look_up, arguments: {at: {h: 9}}}}",
            "with {'at': {'h': 9}}",
        ),
        (
            "- {expect: {state: PROCESSING}}",
            "- {expect: {mark: tool_finished, fields: {ok: 1}}}",
            "with {'ok': 1}",
        ),
        ('- {expect: {dtmf: "2#"}}', '- {expect: {dtmf: "2"}}', "went on with #"),
        ('- {expect: {dtmf: "2#"}}', '- {expect: {dtmf: "#"}, within: 2s}', "keys heard: 4 at"),
        ('- {expect: {dtmf: "2#"}}', '- {expect: {dtmf: "4"}, within: 2s}', "keys heard: 4 at"),
    ],
)
def test_what_is_wrong_fails_and_says_why(
    tmp_path: Path, instead_of: str, wrong: str, told: str
) -> None:
    assert instead_of in RIGHT
    said, why = verdict(tmp_path, RIGHT.replace(instead_of, wrong, 1))
    assert said == "failed"
    assert told in why, indent(why, "  ")


@pytest.mark.parametrize(
    ("text", "part", "is_one"),
    [
        ("Yes, we OPEN at nine.", "we open", True),
        ("reopen, open", "open", True),
        ("reopen", "open", False),
        ("nine-thirty", "nine", True),
        ("我们五点开门", "五点", True),
        ("Это дом", "до", False),
    ],
)
def test_a_transcript_is_of_whole_words(text: str, part: str, is_one: bool) -> None:
    fields = {"text": text}
    planned = Mark(at_ns=0, source="realtime", call="c", name="response_planned", fields=fields)
    assert Transcript(transcript=part).is_told_by(planned) is is_one
