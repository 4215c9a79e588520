"""What is looked up on the timelines after a call, and what must never have happened."""

from pathlib import Path
from typing import Any

import pytest
from hand_played import scenario

from callerside.clock import ms_to_ns
from callerside.marks import Mark, Source
from callerside.simulator.runner.expectations_after import (
    CALLER_ALONE,
    EVERYBODY,
    check,
    dead_air,
    occurrences,
    unseen,
)
from callerside.simulator.scenario.expectations import Dtmf, Transfer
from callerside.simulator.scenario.loader import load


def mark(at_ms: float, source: Source, name: str, /, **fields: Any) -> Mark:
    return Mark(at_ns=ms_to_ns(at_ms), source=source, call="c", name=name, fields=fields)


SAID = "A table for four on Monday it is."
CALL = [
    mark(0, "caller", "call_dialed", uri="sip:x"),
    mark(100, "caller", "call_answered", status=200),
    mark(120, "agent", "state_changed", **{"from": "ANSWERING_CALL", "to": "MEDIA_READY"}),
    mark(600, "caller", "beep_heard", hz=440.0, length_ms=400.0),
    mark(700, "realtime", "response_planned", response="r0", reply="greeting", text="Hello."),
    mark(1000, "caller", "speech_heard"),
    mark(3000, "caller", "silence_heard"),
    mark(4000, "caller", "utterance_started", turn=1, text="A table for four."),
    mark(6000, "caller", "utterance_ended", turn=1),
    mark(6000, "caller", "step_started", step=1, kind="expect", text="expect something"),
    mark(6500, "realtime", "function_called", name="book", arguments={"people": 4, "day": "Mon"}),
    mark(7000, "realtime", "response_planned", response="r1", reply="reply 1", text=SAID),
    mark(8000, "caller", "speech_heard"),
    mark(9000, "caller", "silence_heard"),
    mark(9500, "caller", "hang_up_sent", how="bye"),
    mark(9600, "caller", "call_ended", by="caller", status=200, reason=""),
]


def complaints(folder: Path, expected: str, extra: str = "") -> list[str]:
    text = f"""
        steps:
          - say: "A table for four."
          - expect: {expected}
            within: 2s
    """
    return check(scenario(folder, text + extra), CALL)


@pytest.mark.parametrize(
    "expected",
    [
        "{function_call: book}",
        "{function_call: book, arguments: {people: 4}}",
        "{function_call: book, arguments: {people: '*'}}",
        "{transcript: four on monday}",
        "{mark: response_planned, fields: {reply: reply 1}}",
        "{mark: response_planned, source: realtime}",
    ],
)
def test_what_is_on_the_timeline_is_found(tmp_path: Path, expected: str) -> None:
    assert complaints(tmp_path, expected) == []


@pytest.mark.parametrize(("length_ms", "times"), [(2400, 1), (2200, 0)])
def test_silence_within_an_utterance_is_silence(tmp_path: Path, length_ms: int, times: int) -> None:
    """The caller waits for longer before an utterance has ended; `never` does not."""
    marks = [
        *CALL[:-3],
        mark(11_000, "caller", "pause_heard", length_ms=length_ms),
        mark(12_000, "caller", "silence_heard"),
        mark(12_500, "caller", "hang_up_sent", how="bye"),
        mark(12_600, "caller", "call_ended", by="caller", status=200, reason=""),
    ]
    text = """
        steps:
          - say: "A table for four."
          - expect: reply
        never:
          - silence: 2.3s
    """
    told = [one for one in check(scenario(tmp_path, text), marks) if "silence" in one]
    assert len(told) == times, told


def test_a_limit_counts_from_the_moment_that_a_step_waits_for(tmp_path: Path) -> None:
    waited = [mark(8000, "caller", "step_ended", step=1, ok=True)]
    told = [mark(9900, "realtime", "response_planned", response="r2", reply="r", text="Goodbye.")]
    text = """
        steps:
          - say: "A table for four."
          - expect: {transcript: goodbye}
            when: reply start
            within: 2s
    """
    assert check(scenario(tmp_path, text), [*CALL, *waited, *told]) == []
    (sentence,) = check(scenario(tmp_path, text), [*CALL, *told])
    assert "expected the transcript" in sentence


@pytest.mark.parametrize(("within", "is_told"), [("2s", False), ("9s", True)])
def test_a_caller_who_has_left_before_it_could_be_is_told(
    tmp_path: Path, within: str, *, is_told: bool
) -> None:
    text = f"""
        steps:
          - say: "A table for four."
          - expect: {{response: incomplete}}
            within: {within}
    """
    (sentence,) = check(scenario(tmp_path, text), CALL)
    left = "; the caller hung up at 9.40 s: what is looked up after the call keeps nobody"
    assert (left in sentence) is is_told


@pytest.mark.parametrize(
    ("expected", "sentence"),
    [
        (
            "{function_call: cancel}",
            "step 2: expected function call cancel within 2 s, but functions called: book(",
        ),
        ("{function_call: book, arguments: {people: 5}}", "functions called: book("),
        ("{transcript: five}", 'what was said: "A table for four on Monday it is."'),
        (
            "{state: LISTENING}",
            "states entered, not in its time: MEDIA_READY at 0.02 s",
        ),
        ("{mark: committed}", "marks of that name: none"),
        # It is on the timeline, but before the caller's turn.
        (
            "{state: MEDIA_READY}",
            "but it came 3.88 s before the caller's last turn began, at 0.02 s",
        ),
        (
            "{mark: response_planned, fields: {reply: default}}",
            "marks of that name: realtime's {'response'",
        ),
    ],
)
def test_what_is_not_there_is_told_with_what_is(
    tmp_path: Path, expected: str, sentence: str
) -> None:
    (complaint,) = complaints(tmp_path, expected)
    assert sentence in complaint


def test_what_comes_after_its_time_does_not_count(tmp_path: Path) -> None:
    text = """
        steps: [{say: "A table for four."}, {expect: {function_call: book}, within: 400ms}]
    """
    (complaint,) = check(scenario(tmp_path, text), CALL)
    assert (
        "expected function call book within 400 ms, but it came 100 ms too late, at 6.40 s"
        in complaint
    )


def test_a_step_that_was_never_reached_is_not_complained_about_again(tmp_path: Path) -> None:
    text = """
        steps: [{say: "a"}, {pause: 1s}, {expect: {state: LISTENING}}]
    """
    assert check(scenario(tmp_path, text), CALL) == []


@pytest.mark.parametrize(
    ("never", "sentence"),
    [
        ("hang_up", None),
        ("{silence: 3s}", None),
        ("{mark: truncate_sent}", None),
        ("{refused: 486}", None),
        ("{transfer: '*'}", None),
        ("reply", "never: reply, and yet it happened, 7.9 s after the answer"),
        ("greeting", "never: greeting, and yet it happened, 900 ms after the answer"),
        ("beep", "never: beep"),
        ("{silence: 1900ms}", "never: 1.9 s of silence, and yet it happened, 5.9 s after"),
        ("{function_call: book}", "never: function call book"),
        (
            "{mark: response_planned}",
            "never: mark response_planned, and yet it happened, 600 ms after the answer (2 times)",
        ),
    ],
)
def test_what_must_never_happen(tmp_path: Path, never: str, sentence: str | None) -> None:
    found = check(scenario(tmp_path, f"steps: [hang_up]\nnever: [{never}]"), CALL)
    if sentence is None:
        assert found == []
    else:
        assert sentence in found[0]


CUT = mark(9500, "caller", "step_ended", step=0, ok=True, cut=True)


@pytest.mark.parametrize(
    ("played", "ours", "cut"),
    [
        pytest.param(["playout_started a", "playout_ended a"], True, False, id="to its last word"),
        pytest.param(["playout_started a"], True, True, id="not to its end"),
        pytest.param(["playout_ended a", "playout_started b"], True, True, id="only one before"),
        pytest.param(["prompt_started", "prompt_ended"], True, False, id="a prompt"),
        pytest.param(["greeting_started", "playout_ended a"], True, True, id="another one's end"),
        pytest.param(["playout_started a", "playout_ended a"], False, True, id="nobody can tell"),
        pytest.param([], True, True, id="it tells nothing"),
    ],
)
def test_what_sounds_until_the_call_ends_has_ended_if_the_agent_says_so(
    tmp_path: Path, played: list[str], ours: bool, cut: bool
) -> None:
    names = [one.split() for one in played]
    told = [mark(8000, "agent", name, **({"item": i[0]} if i else {})) for name, *i in names]
    marks = [*CALL, *told, CUT]
    of = EVERYBODY if ours else CALLER_ALONE
    found = check(scenario(tmp_path, "steps: [{expect: reply}]"), marks, told=of)
    expected = "step 1: expected reply to its end, but it still sounded when the call ended"
    assert found == ([expected] if cut else [])


@pytest.mark.parametrize(
    ("ended_ms", "played", "ours", "cut"),
    [
        pytest.param(9600, ["playout_started a"], True, True, id="in a pause of the answer"),
        pytest.param(9600, ["playout_started a", "playout_ended a"], True, False, id="behind it"),
        pytest.param(9000, ["playout_started a"], True, False, id="of one before"),
        pytest.param(9600, ["playout_started a"], False, False, id="nobody can tell"),
        pytest.param(9600, [], True, False, id="it tells nothing"),
    ],
)
def test_a_call_that_ends_in_a_pause_of_an_answer_has_cut_it(
    tmp_path: Path, ended_ms: int, played: list[str], ours: bool, cut: bool
) -> None:
    names = [one.split() for one in played]
    told = [mark(8000, "agent", name, **({"item": i[0]} if i else {})) for name, *i in names]
    end = mark(ended_ms, "caller", "step_ended", step=0, ok=True)
    of = EVERYBODY if ours else CALLER_ALONE
    found = check(scenario(tmp_path, "steps: [{expect: reply}]"), [*CALL, *told, end], told=of)
    expected = "step 1: expected reply to its end, but it still sounded when the call ended"
    assert found == ([expected] if cut else [])


def test_a_caller_who_hangs_up_behind_a_reply_has_heard_it_out(tmp_path: Path) -> None:
    """Though something else has begun by then, such as a tone: nobody waits for that."""
    told = [mark(8000, "agent", "playout_started", item="a")]
    told += [mark(9550, "agent", "prompt_started", prompt="tone")]
    ends = [mark(9600, "caller", "step_ended", step=step, ok=True) for step in (0, 1)]
    played = scenario(tmp_path, "steps: [{expect: reply}, hang_up]")
    assert check(played, [*CALL, *told, *ends]) == []


KEYS = [mark(1000 * n, "caller", "dtmf_heard", digit=digit) for n, digit in enumerate("4242#", 1)]


@pytest.mark.parametrize(
    ("keys", "times_ms"), [("4", [1000, 3000]), ("42", [2000, 4000]), ("2#", [5000]), ("9", [])]
)
def test_keys_are_found_as_they_follow_one_another(keys: str, times_ms: list[float]) -> None:
    assert occurrences(Dtmf(dtmf=keys), KEYS) == [ms_to_ns(at) for at in times_ms]


def test_only_an_asterisk_stands_for_something_else(tmp_path: Path) -> None:
    marks = [mark(0, "caller", "transfer_heard", uri="<sip:desk[1]@host?x=1>")]
    assert occurrences(Transfer(transfer="*sip:desk[1]@host?x=1*"), marks)
    assert not occurrences(Transfer(transfer="*sip:desk?1?@host*"), marks)


FOREIGN = """
    steps:
      - say: "A table for four."
      - expect: {function_call: look_up}
      - expect: {mark: beep_heard}
      - expect: {mark: media_ready, source: agent}
      - expect: {transfer: "*"}
    never: [beep, {state: ENDED}, {transcript: Monday}]
"""


def test_of_an_agent_that_is_not_ours_only_what_the_caller_notices_is_checked(
    tmp_path: Path,
) -> None:
    played = scenario(tmp_path, FOREIGN)
    mine = [one for one in CALL if one.source == "caller"]
    assert check(played, mine, told=CALLER_ALONE) == [
        "never: beep, and yet it happened, 500 ms after the answer"
    ]
    assert unseen(played) == [
        "step 2 (expect function call look_up)",
        "step 4 (expect mark media_ready)",
        "never state ENDED",
        'never the transcript "Monday"',
    ]


def test_dead_air_is_where_nobody_speaks() -> None:
    gaps = [(gap.start_ns / 1e6, gap.end_ns / 1e6) for gap in dead_air(CALL)]
    assert gaps == [
        (100, 200),  # until the beep, which is told at its end
        (600, 1000),
        (3000, 4000),
        (6000, 8000),
        (9000, 9500),
    ]


def test_talking_at_once_is_no_dead_air() -> None:
    marks = [
        mark(0, "caller", "call_answered", status=200),
        mark(0, "caller", "speech_heard"),
        mark(500, "caller", "utterance_started", turn=1, text="a"),
        mark(900, "caller", "silence_heard"),
        mark(1500, "caller", "utterance_ended", turn=1),
        mark(1500, "caller", "hang_up_sent", how="bye"),
    ]
    assert dead_air(marks) == []


def test_a_network_that_was_to_be_dead_when_the_call_was_over_has_not_been_tried(
    tmp_path: Path,
) -> None:
    text = """
        network: {to_agent: {dead: [[1s, 1200ms], [30s, 31s]]}}
        steps: [hang_up]
    """
    dead = mark(1000, "caller", "impairment_applied", what="dead", at="to_agent", packets=10)
    assert check(scenario(tmp_path, text), [*CALL, dead]) == [
        "the network was never dead to agent (30 s to 31 s): the call was over"
    ]
    twice = mark(30_000, "caller", "impairment_applied", what="dead", at="to_agent", packets=10)
    assert check(scenario(tmp_path, text), [*CALL, dead, twice]) == []


@pytest.mark.parametrize(
    "dead",
    [
        pytest.param("[1s, 1200ms], [1220ms, 2s]", id="one soon after the other"),
        pytest.param("[1s, 1500ms], [1500ms, 2s]", id="touching"),
        pytest.param("[1s, 2s], [1200ms, 1400ms]", id="one within the other"),
        pytest.param("[1500ms, 2s], [1s, 1600ms]", id="out of order"),
    ],
)
def test_times_that_make_one_are_struck_together(tmp_path: Path, dead: str) -> None:
    text = f"network: {{to_agent: {{dead: [{dead}]}}}}\nsteps: [hang_up]\n"
    fields = {"what": "dead", "at": "to_agent", "packets": 50, "lasted_ms": 980.0}
    once = mark(1000, "caller", "impairment_applied", **fields)
    assert check(scenario(tmp_path, text), [*CALL, once]) == []


def test_a_stall_that_was_to_be_when_the_call_was_over_has_not_been_tried(tmp_path: Path) -> None:
    text = "network: {stalled: [[1s, 1240ms]], to_caller: {}}\nsteps: [hang_up]\n"
    struck = mark(1000, "caller", "impairment_applied", what="stalled", at="to_agent")
    assert check(scenario(tmp_path, text), [*CALL, struck]) == []
    assert check(scenario(tmp_path, text), [*CALL]) == [
        "the network was never stalled to agent (1 s to 1.24 s): the call was over"
    ]


def test_two_pauses_within_one_time_do_not_stand_for_the_next(tmp_path: Path) -> None:
    text = "network: {to_agent: {dead: [[30s, 31s], [1s, 2s]]}}\nsteps: [hang_up]\n"
    both = [
        mark(at_ms, "caller", "impairment_applied", what="dead", at="to_agent", lasted_ms=100.0)
        for at_ms in (1000, 1800)
    ]
    assert check(scenario(tmp_path, text), [*CALL, *both]) == [
        "the network was never dead to agent (30 s to 31 s): the call was over"
    ]


def test_of_a_server_that_is_not_ours_what_caller_and_agent_tell_is_checked(tmp_path: Path) -> None:
    of_the_server = """
    steps:
      - say: "A table for four."
      - expect: {state: RECORDING_AUDIO}
    realtime: {faults: [{fault: drop, at: turn 9}]}
    never: [{mark: media_ready}, {function_call: book}]
    """
    marks = [*CALL, mark(100, "agent", "media_ready")]
    played = scenario(tmp_path, of_the_server)
    found = check(played, marks, told={"agent", "caller"})
    assert [one.split(",")[0] for one in found] == [
        "step 2: expected state RECORDING_AUDIO within 10 s",
        "never: mark media_ready",
    ]
    assert len(check(played, marks)) == 4, "ours tells of functions and faults, too"


def test_the_shipped_caller_who_cancels_holds_the_agent_to_its_end() -> None:
    """By CANCEL, or by BYE where the answer has met it; an agent that rings on has missed both."""
    cancelled = load([Path(__file__).parents[3] / "scenarios" / "cancel.yaml"])[0]
    begun = [
        mark(0, "caller", "call_dialed", uri="sip:x"),
        mark(0, "caller", "step_started", step=0, kind="expect", text="expect something"),
        mark(1, "caller", "hang_up_sent", how="cancel"),
        mark(2, "caller", "call_ended", by="caller", status=487, reason=""),
    ]
    for status in (200, 487):
        ended = mark(9, "agent", "call_ended", by="caller", status=status, reason="")
        assert check(cancelled, [*begun, ended]) == []
    given_up = mark(9, "agent", "call_ended", by="network", status=408, reason="")
    late = mark(2_500, "agent", "call_ended", by="caller", status=487, reason="")
    for marks in (begun, [*begun, given_up], [*begun, late]):
        assert "expected mark call_ended" in "".join(check(cancelled, marks))
