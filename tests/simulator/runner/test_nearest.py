"""A failed expectation says the nearest thing that did happen, and when: of each kind there is."""

import json
import re

import pytest

from callerside.simulator.cli.main import main
from callerside.simulator.scenario.expectations import EXPECTATIONS

ASKS = "{say: What time do you open?}"
NO_GREETING = "agent: {greeting: {enabled: false}}"
NO_BEEP = "agent: {beep: {enabled: false}}"

KINDS = {
    "answer": ("", "{expect: answer, within: 1ms}", "within 1 ms, but it came after"),
    "beep": (NO_BEEP, "{expect: beep}", "but no beep was heard; heard since the answer: speech"),
    "greeting": (NO_GREETING, "{expect: greeting}", "but this agent is set not to greet; heard"),
    "greeting start": (NO_GREETING, "{expect: greeting start}", "is set not to greet; heard"),
    "reply": (
        "",
        f"{{expect: greeting}}, {ASKS}, {{expect: reply}}, {{expect: reply}}",
        "700 ms is of the same reply: expect one, or let a function between take longer); heard",
    ),
    "reply start": (
        "",
        "{say: Open?, when: greeting + 100ms}, {expect: reply start, within: 10ms}",
        "within 10 ms, but",
    ),
    "hang_up": ("", "{expect: greeting}, {expect: hang_up}", "but the call was still up; heard"),
    "silence": ("", "{expect: {silence: 4s}, within: 2s}", "within 2 s, but it came after "),
    "refused": ("", "{expect: {refused: 486}}", "but it was answered after "),
    "dtmf": ("", '{expect: {dtmf: "12"}}', "but no key was heard; heard since"),
    "transfer": ("", '{expect: {transfer: "sip:desk@*"}}', "but there was no transfer; heard"),
    "function_call": ("", "{expect: {function_call: book}}", "but functions called: none"),
    "transcript": ("", "{expect: {transcript: goodbye}}", 'but what was said: "Hello." at '),
    "response": ("", "{expect: {response: failed}}", "but responses that ended: completed at "),
    "state": ("", "{expect: {state: PROCESSING}}", "but states entered: "),
    "mark": (
        "",
        "{expect: {mark: greeting_started, fields: {origin: cache}}}",
        "but marks of that name: agent's {'origin': 'generated'} at ",
    ),
}
"""Of each expectation: what is set, steps of which the last fails, and what is said of that."""


ASKED_FOR = {
    "fields": (
        "{expect: {mark: greeting_started, fields: {origin: cache}}}",
        "mark greeting_started with {'origin': 'cache'} within 2 s, but",
    ),
    "arguments": (
        "{expect: {function_call: book, arguments: {n: 2}}}",
        "book with {'n': 2} within",
    ),
    "reason": ("{expect: {response: failed, reason: busy}}", "ends failed (busy) within"),
    "source": (
        "{expect: {mark: call_ended, source: agent, fields: {by: nobody}}}",
        "mark call_ended of agent with {'by': 'nobody'} within 2 s, but marks of that name",
    ),
}
"""What is asked for besides is repeated, and only what is of the source asked for is near."""


WAITED_OUT = re.compile(r"was said last, from \d\.\d\d s to \d\.\d\d s, has been waited out")
INSTEAD = {
    "of_one_thing": (
        "{expect: {mark: playout_cleared}}",
        r"marks of that name: none; instead there was agent's playout_started at \d\.\d\d s, agent",
    ),
    "of_the_source": (
        "{expect: {mark: truncated, source: realtime}}",
        r"marks of that name: none; instead there was realtime's \w+ at \d\.\d\d s, ",
    ),
    "cancelled": (
        "{pause: 1s}, {say: For two.}, {expect: {function_call: book}}",
        r"called: none; instead there was a response that ended cancelled \(turn_detected\) at \d",
    ),
    "moment": (
        "{expect: reply}, {say: More., when: reply, within: 1s}",
        r'could not say "More\.": "reply" did not come within 1 s; what was said last, from ',
    ),
    "quiet": (
        "{say: More., when: silence 9s, within: 3s}",
        r'"silence 9 s" did not come within 3 s; the longest was \d',
    ),
}
"""Where there was none of the kind: what may be why; and of a moment that did not come."""
BEFORE = {"cancelled": "{function_call: {name: book, arguments: {}}, think_ms: 2000}, "}
"""Replies that come first."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Why each call failed."""
    folder = tmp_path_factory.mktemp("nearest")
    (folder / "scenarios").mkdir()
    asked = {name: ("", *case) for name, case in ASKED_FOR.items()}
    instead = {
        name: ("", f"{{expect: greeting}}, {ASKS}, {steps}", why)
        for name, (steps, why) in INSTEAD.items()
    }
    for name, (given, steps, _) in {**KINDS, **asked, **instead}.items():
        (folder / "scenarios" / f"{name.replace(' ', '_')}.yaml").write_text(
            f"about: x\n{given}\ncaller: {{patience: 2s}}\n"
            f"realtime: {{greeting: {{say: Hello.}}, replies: [{BEFORE.get(name, '')}"
            "{say: We open at nine.}]}\n"
            f"steps: [{steps}, {{pause: 2s}}, hang_up]\n"
        )
    out = folder / "out"
    assert main(["run", str(folder / "scenarios"), "--lane", "virtual", "--out", str(out)]) == 1
    results = json.loads((out / "latest" / "results.json").read_text())
    return {one["name"]: one["behaviour"]["detail"] for one in results["scenarios"]}


def test_there_is_a_case_of_each() -> None:
    assert KINDS.keys() == EXPECTATIONS.keys()


@pytest.mark.parametrize("name", KINDS)
def test_the_nearest_thing_is_told(told: dict[str, str], name: str) -> None:
    assert KINDS[name][2] in told[name.replace(" ", "_")]


@pytest.mark.parametrize("name", ASKED_FOR)
def test_what_was_asked_for_besides_is_repeated(told: dict[str, str], name: str) -> None:
    assert ASKED_FOR[name][1] in told[name]
    assert "caller's" not in told[name]


def test_what_a_step_has_waited_out_is_told_with_its_times(told: dict[str, str]) -> None:
    assert WAITED_OUT.search(told["reply"])


@pytest.mark.parametrize("name", INSTEAD)
def test_what_there_was_instead_is_told(told: dict[str, str], name: str) -> None:
    assert re.search(INSTEAD[name][1], told[name]), told[name]
