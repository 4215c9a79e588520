"""The caller machine by whole conversations, played by hand."""

from pathlib import Path
from typing import get_args

import pytest
from hand_played import ANSWER_MS, FLOW, RATE_HZ, Call, Heard, Told, scenario, speech

from callerside import audio
from callerside.agent.telephony.interface import (
    AudioReceived,
    CallProgressed,
    DtmfReceived,
    FramePlayed,
    HungUp,
    TransferRequested,
)
from callerside.simulator.caller.events import (
    CallerInput,
    EmitMark,
    Finish,
    HangUp,
    Play,
    SendDtmf,
    Vanish,
)
from callerside.simulator.caller.machine import _NO_NEWS
from callerside.speech.synthesis import synthesise

ANSWERS = [*FLOW, Heard("utterance_ended", 800, speech())]
BYE = Told(5000, HungUp(by="agent", status=200, reason="BYE"))
LONG = synthesise(
    "Then there is a very long story to tell, about a house, a garden, and two dogs in it.",
    voice="en-gb",  # it makes no pause in which the ear could take the answer for stopped
    rate_hz=RATE_HZ,
)

TWO_TURNS = """
    steps:
      - expect: beep
      - expect: greeting
      - say: "What time do you open?"
      - expect: reply
      - say: "Thank you."
      - expect: reply
      - hang_up
"""


def test_two_turns_pass_and_leave_their_marks(tmp_path: Path) -> None:
    call = Call(scenario(tmp_path, TWO_TURNS), ANSWERS).play()

    assert call.verdict == "passed"
    names = [mark.name for mark in call.effects if isinstance(mark, EmitMark)]
    assert [name for name in names if not name.startswith("step_")] == [
        "call_dialed",
        "call_answered",
        "media_ready",
        "beep_heard",
        "speech_heard",
        "silence_heard",
        *(2 * ["utterance_started", "utterance_ended", "speech_heard", "silence_heard"]),
        "hang_up_sent",
        "call_ended",
        "scenario_ended",
    ]
    assert [mark.fields["ok"] for mark in call.marks("step_ended")] == [True] * 7


def test_what_is_heard_is_told_at_the_time_it_was_heard(tmp_path: Path) -> None:
    call = Call(scenario(tmp_path, TWO_TURNS), ANSWERS).play()

    beep = call.marks("beep_heard")[0].fields
    assert beep["hz"] == pytest.approx(440, abs=1)
    assert beep["length_ms"] == pytest.approx(400, abs=10)
    # Told within the tick that follows 800 ms after the last frame of the caller's turn.
    delay_ms = call.at_ms("speech_heard", 1) - call.at_ms("utterance_ended", 0)
    assert 800 <= delay_ms <= 850
    heard_ms = call.at_ms("silence_heard", 1) - call.at_ms("speech_heard", 1)
    assert heard_ms == pytest.approx(audio.duration_ms(speech(), RATE_HZ), abs=80)


def test_a_turn_lasts_as_long_as_its_audio(tmp_path: Path) -> None:
    call = Call(scenario(tmp_path, TWO_TURNS), ANSWERS).play()

    said = next(effect for effect in call.effects if isinstance(effect, Play))
    took_ms = call.at_ms("utterance_ended") - call.at_ms("utterance_started")
    assert took_ms == pytest.approx(audio.duration_ms(said.pcm, RATE_HZ), abs=20)


def test_the_caller_speaks_into_a_reply_at_its_moment_and_awaits_another(tmp_path: Path) -> None:
    text = """
        steps:
          - say: "Tell me a story."
            when: greeting end
          - say: "Stop, that is enough."
            when: reply + 800ms
          - expect: reply
    """
    agent = [
        *FLOW,
        Heard("utterance_ended", 500, LONG, turn=1),
        Heard("utterance_ended", 500, speech(), turn=2),
    ]
    call = Call(scenario(tmp_path, text), agent).play()

    assert call.verdict == "passed"
    into_reply_ms = call.at_ms("utterance_started", 1) - call.at_ms("speech_heard", 1)
    assert 800 <= into_reply_ms <= 860
    assert len(call.marks("speech_heard")) == 3  # greeting, story, and what came after it


def test_a_reply_that_goes_on_is_no_answer_to_the_interruption(tmp_path: Path) -> None:
    text = """
        steps:
          - say: "Tell me a story."
            when: greeting end
          - say: "Stop."
            when: reply + 800ms
          - expect: reply
            within: 3s
    """
    agent = [*FLOW, Heard("utterance_ended", 500, LONG, turn=1)]
    call = Call(scenario(tmp_path, text), agent, stops_when_spoken_to=False).play()

    assert call.verdict == "failed"
    assert (
        "expected reply within 3 s, but what was said last began 1.33 s before the caller's turn "
        "was over (at 5.26 s); heard since the answer: "
    ) in call.detail


def test_a_pause_inside_a_reply_does_not_end_it(tmp_path: Path) -> None:
    with_pause = speech() + audio.silence(500, RATE_HZ) + speech()
    agent = [*FLOW, Heard("utterance_ended", 800, with_pause, turn=1)]
    text = """
        steps:
          - say: "What time do you open?"
            when: greeting end
          - expect: reply
    """
    call = Call(scenario(tmp_path, text), agent).play()

    assert call.verdict == "passed"
    assert len(call.marks("speech_heard")) == 2
    heard_ms = call.at_ms("silence_heard", 1) - call.at_ms("speech_heard", 1)
    assert heard_ms == pytest.approx(audio.duration_ms(with_pause, RATE_HZ), abs=80)


def test_an_agent_that_says_nothing_fails_with_what_was_heard(tmp_path: Path) -> None:
    text = """
        caller: {patience: 4s}
        steps: [{expect: beep}, {expect: greeting}, hang_up]
    """
    call = Call(scenario(tmp_path, text), FLOW[:1]).play()

    assert call.verdict == "failed"
    assert call.detail.startswith(
        "step 2: expected greeting within 4 s, but heard since the answer"
    )
    assert "a beep of 440 Hz at 0.0" in call.detail
    ended = call.marks("step_ended")[-1]
    assert ended.fields["ok"] is False
    assert any(isinstance(effect, HangUp) for effect in call.effects)


def test_what_comes_too_late_is_told_with_its_delay(tmp_path: Path) -> None:
    text = """
        steps: [{expect: beep}, {expect: greeting, within: 540ms}]
    """
    agent = [FLOW[0], Heard("beep_heard", 540, speech())]
    call = Call(scenario(tmp_path, text), agent).play()

    assert call.verdict == "failed"
    assert "expected greeting within 540 ms, but it came after 5" in call.detail


def test_an_agent_that_hangs_up_early_fails_the_call(tmp_path: Path) -> None:
    bye = Told(5000, HungUp(by="agent", status=200, reason="BYE"))
    call = Call(scenario(tmp_path, TWO_TURNS), FLOW, [bye]).play()

    assert call.verdict == "failed"
    assert "the agent ended the call (200 BYE)" in call.detail
    assert "step 4 (expect reply)" in call.detail
    assert not any(isinstance(effect, HangUp) for effect in call.effects)


ENDS_MS = audio.duration_ms(speech("Hello there, caller."), RATE_HZ)


@pytest.mark.parametrize(
    ("after_ms", "cut"),
    [
        pytest.param(-400, True, id="in mid-sentence"),
        pytest.param(-30, True, id="in the soft end of the last word"),
        pytest.param(100, False, id="too soon for a pause, and after the last word"),
        pytest.param(300, False, id="in a pause"),
    ],
)
def test_what_still_sounds_when_the_call_ends_is_told(
    tmp_path: Path, after_ms: float, cut: bool
) -> None:
    text = """
        steps: [{expect: greeting}, {expect: hang_up}]
    """
    began_ms = Call(scenario(tmp_path, text), FLOW, [BYE]).play().at_ms("speech_heard")
    bye = Told(began_ms - ANSWER_MS + ENDS_MS + after_ms, BYE.event)
    call = Call(scenario(tmp_path, text), FLOW, [bye]).play()
    assert call.verdict == "passed", "the timelines tell the rest"
    assert [mark.fields.get("cut", False) for mark in call.marks("step_ended")] == [cut, False]


def test_a_beep_that_the_end_of_the_call_cut_is_none(tmp_path: Path) -> None:
    bye = Told(300, BYE.event)
    call = Call(scenario(tmp_path, "steps: [{expect: beep}]"), FLOW, [bye]).play()
    assert call.verdict == "failed"
    assert not call.marks("beep_heard")


def test_an_agent_that_is_expected_to_hang_up_may(tmp_path: Path) -> None:
    bye = Told(5000, HungUp(by="agent", status=200, reason="BYE"))
    text = """
        steps: [{expect: greeting}, {expect: hang_up}]
    """
    assert Call(scenario(tmp_path, text), FLOW, [bye]).play().verdict == "passed"


def test_a_refused_call_fails_or_passes_as_expected(tmp_path: Path) -> None:
    busy = Told(0, HungUp(by="agent", status=486, reason="Busy Here"))
    refused = Call(scenario(tmp_path, TWO_TURNS), told=[busy], answered=False).play()
    assert refused.verdict == "failed"
    assert refused.detail == (
        "the call was not answered: 486 Busy Here, while the caller was at step 1 (expect beep)"
    )

    hung_up = scenario(tmp_path, "steps: [{expect: hang_up}]")
    assert Call(hung_up, told=[busy], answered=False).play().verdict == "failed"
    expected = scenario(tmp_path, "steps: [{expect: {refused: 486}}]")
    assert Call(expected, told=[busy], answered=False).play().verdict == "passed"


def test_nobody_answers(tmp_path: Path) -> None:
    text = """
        time_limit: 20s
        caller: {patience: 60s}
        steps: [{expect: greeting}]
    """
    call = Call(scenario(tmp_path, text), answered=False).play()

    assert call.verdict == "failed"
    assert (
        "the time limit of 20 s was reached at step 1 (expect greeting); the call is not"
        in call.detail
    )
    assert call.marks("hang_up_sent")[0].fields["how"] == "cancel"


def test_a_leg_that_never_tells_the_end_does_not_hold_the_caller_up(tmp_path: Path) -> None:
    short = scenario(tmp_path, "steps: [{expect: answer}]")
    call = Call(short, hangs_up_properly=False).play()

    assert call.verdict == "passed"
    assert call.at_ms("scenario_ended") - call.at_ms("hang_up_sent") == pytest.approx(5000, abs=40)


def test_nothing_is_done_after_the_end(tmp_path: Path) -> None:
    call = Call(scenario(tmp_path, "steps: [{expect: answer}]")).play()

    assert isinstance(call.effects[-1], Finish)
    late = HungUp(by="agent", status=200, reason="")
    assert call.machine.handle(late, call.now_ns) == []


def test_vanishing_says_no_goodbye(tmp_path: Path) -> None:
    call = Call(scenario(tmp_path, "steps: [{expect: beep}, vanish]"), FLOW).play()

    assert call.verdict == "passed"
    assert any(isinstance(effect, Vanish) for effect in call.effects)
    assert not any(isinstance(effect, HangUp) for effect in call.effects)


def test_cancelling_before_the_answer(tmp_path: Path) -> None:
    text = """
        steps: [{hang_up: , when: ringing + 200ms}]
    """
    ringing = [Told(100, CallProgressed(status=180))]
    call = Call(scenario(tmp_path, text), told=ringing, answered=False).play()

    assert call.verdict == "passed"
    assert call.marks("hang_up_sent")[0].fields["how"] == "cancel"
    waited_ms = call.at_ms("hang_up_sent") - call.at_ms("call_progressed")
    assert waited_ms == pytest.approx(200, abs=21)


def test_a_call_that_is_only_being_tried_does_not_ring_yet(tmp_path: Path) -> None:
    text = "steps: [{hang_up: , when: ringing + 200ms}]"
    told = [Told(100, CallProgressed(status=100)), Told(1000, CallProgressed(status=180))]
    call = Call(scenario(tmp_path, text), told=told, answered=False).play()

    waited_ms = call.at_ms("hang_up_sent") - call.at_ms("call_progressed", 1)
    assert waited_ms == pytest.approx(200, abs=21)


@pytest.mark.parametrize(
    ("steps", "verdict", "how"),
    [
        ("[{expect: beep}, hang_up]", "passed", "bye"),
        ("[{expect: beep}, vanish]", "passed", "vanish"),
        ("[{expect: {dtmf: '9'}, within: 500ms}, hang_up]", "failed", "bye"),
        ("[{say: 'Hello?'}, {expect: reply, within: 60s}]", "failed", "bye"),
    ],
)
def test_a_call_that_is_over_waits_for_nothing_more(
    steps: str, verdict: str, how: str, tmp_path: Path
) -> None:
    call = Call(scenario(tmp_path, f"time_limit: 9s\nsteps: {steps}"), FLOW).play()

    assert (call.verdict, call.waits_for) == (verdict, set())
    assert call.marks("hang_up_sent")[0].fields["how"] == how


def test_keys_in_both_directions_and_a_transfer(tmp_path: Path) -> None:
    text = """
        steps:
          - press: "12#"
            method: info
            when: greeting end
          - expect: {dtmf: "99"}
          - expect: {transfer: "sip:desk@*"}
          - expect: {silence: 1s}
    """
    told = [
        Told(4000, DtmfReceived(digit="9", method="rfc4733")),
        Told(4200, DtmfReceived(digit="9", method="rfc4733")),
        Told(4500, TransferRequested(uri="sip:desk@example.org")),
    ]
    call = Call(scenario(tmp_path, text), FLOW, told).play()

    assert call.verdict == "passed", call.detail
    assert SendDtmf(digits="12#", method="info") in call.effects
    assert [mark.fields["digit"] for mark in call.marks("dtmf_heard")] == ["9", "9"]


def test_a_sound_does_not_take_the_turn(tmp_path: Path) -> None:
    text = """
        steps:
          - say: "Tell me a story."
            when: greeting end
          - sound: mm-hmm
            when: reply + 600ms
          - expect: reply
    """
    agent = [*FLOW, Heard("utterance_ended", 500, LONG, turn=1)]
    call = Call(scenario(tmp_path, text), agent).play()

    assert call.verdict == "passed"
    assert len(call.marks("utterance_started")) == 1


def test_silence_is_a_moment(tmp_path: Path) -> None:
    text = """
        steps:
          - say: "Is anybody there?"
            when: silence 2s
          - expect: reply
    """
    call = Call(scenario(tmp_path, text), ANSWERS).play()

    assert call.verdict == "passed"
    waited_ms = call.at_ms("utterance_started") - call.at_ms("silence_heard")
    assert waited_ms == pytest.approx(2000, abs=41)


def test_a_moment_that_never_comes_fails_in_time(tmp_path: Path) -> None:
    text = """
        steps: [{say: "Stop.", when: reply + 800ms, within: 3s}]
    """
    call = Call(scenario(tmp_path, text)).play()

    assert call.verdict == "failed"
    assert (
        '"reply + 800 ms" did not come within 3 s; heard since the answer: nothing' in call.detail
    )


def test_a_limit_of_silence_is_as_it_is_written(tmp_path: Path) -> None:
    text = """
        steps: [{say: "Hello?", when: silence 3s, within: 2s}]
    """
    call = Call(scenario(tmp_path, text)).play()

    assert call.verdict == "failed"
    assert '"silence 3 s" did not come within 2 s' in call.detail


def test_the_limit_of_an_expectation_counts_from_its_moment(tmp_path: Path) -> None:
    text = """
        steps:
          - say: "Is anybody there?"
          - expect: {silence: 200ms}
            when: reply end
            within: 300ms
    """
    call = Call(scenario(tmp_path, text), ANSWERS).play()

    assert call.verdict == "passed", call.detail


def test_steps_meanwhile_run_beside_the_others(tmp_path: Path) -> None:
    text = """
        steps: [{expect: greeting}, {pause: 4s}]
        meanwhile: [{press: "5", when: beep + 1s}]
    """
    call = Call(scenario(tmp_path, text), FLOW).play()

    assert call.verdict == "passed"
    waited_ms = call.at_ms("dtmf_sent") - call.at_ms("beep_heard")
    assert waited_ms == pytest.approx(1000, abs=21)
    assert call.marks("step_started")[1].fields["step"] == 2


def test_on_a_noisy_line_there_is_always_sound_and_turns_are_marked_all_the_same(
    tmp_path: Path,
) -> None:
    quiet = Call(scenario(tmp_path, TWO_TURNS), ANSWERS).play()
    noisy_text = "    caller: {noise: {kind: pink, snr_db: 20}}\n" + TWO_TURNS
    noisy = Call(scenario(tmp_path, noisy_text), ANSWERS).play()

    assert noisy.verdict == "passed"
    played = b"".join(effect.pcm for effect in noisy.effects if isinstance(effect, Play))
    up_ms = noisy.at_ms("hang_up_sent") - noisy.at_ms("media_ready")
    assert audio.duration_ms(played, RATE_HZ) == pytest.approx(up_ms, abs=100)
    for name in ("utterance_started", "utterance_ended"):
        assert len(noisy.marks(name)) == len(quiet.marks(name)) == 2
    for call in (quiet, noisy):
        call_ms = call.at_ms("utterance_ended") - call.at_ms("utterance_started")
        said = next(effect for effect in quiet.effects if isinstance(effect, Play))
        assert call_ms == pytest.approx(audio.duration_ms(said.pcm, RATE_HZ), abs=20)


def test_two_tracks_speak_at_the_same_time(tmp_path: Path) -> None:
    text = """
        steps: [{say: "What time do you open on Saturday?", when: greeting end}]
        meanwhile: [{say: "Psst, over here.", when: greeting end + 1200ms}]
    """
    call = Call(scenario(tmp_path, text), FLOW).play()

    assert call.verdict == "passed"
    started = [mark.at_ns / 1e6 for mark in call.marks("utterance_started")]
    # The first begins when the greeting's end is sure, 700 ms after it.
    assert started[1] - started[0] == pytest.approx(1200 - 700, abs=61)
    assert started[1] < call.at_ms("utterance_ended")


def test_a_word_beside_the_callers_sentence_does_not_end_it(tmp_path: Path) -> None:
    """While the caller speaks there is no silence to expect, whoever else has finished."""
    text = """
        steps: [{say: "What time do you open on Saturday, please?", when: greeting end}]
        meanwhile:
          - {say: "Hm.", when: greeting end + 1200ms}
          - {expect: {silence: 300ms}, within: 400ms}
    """
    call = Call(scenario(tmp_path, text), FLOW).play()

    assert len(call.marks("utterance_started")) == 2
    assert len(call.marks("utterance_ended")) == 1, "the word's: the call fails within the sentence"
    assert call.verdict == "failed", call.detail


def test_the_caller_has_decided_about_each_of_its_inputs(tmp_path: Path) -> None:
    learnt = set(Call(scenario(tmp_path, "steps: [hang_up]")).machine._learners)
    frames = {AudioReceived, FramePlayed}
    assert learnt | set(_NO_NEWS) | frames == set(get_args(CallerInput))
    assert not learnt & set(_NO_NEWS)
