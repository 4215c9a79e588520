"""Each word of the language does what docs/scenarios.md says, in whole calls played in memory."""

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from callerside.agent.call.states import State
from callerside.audio import level_dbfs, to_samples, tone
from callerside.audio_files import write_wav
from callerside.fakes.recording.format import Entry, Header, Recording, write_recording
from callerside.marks import Mark
from callerside.simulator.lanes.virtual.lane import VirtualLane
from callerside.simulator.runner.evaluate import Evaluated, evaluate
from callerside.simulator.runner.plan import plan
from callerside.simulator.scenario.loader import load, load_file
from callerside.simulator.scenario.steps import ACTIONS, Expect
from callerside.speech.synthesis import synthesise
from callerside.timelines import read_timeline

SHIPPED = Path(__file__).parents[3] / "scenarios"


class Call:
    """A call that was played: its verdict, its marks, and what left the caller's mouth."""

    def __init__(self, done: Evaluated, directory: Path) -> None:
        self.verdict, self.sentence = done.verdict, done.sentence
        self.marks = read_timeline(directory / "timeline.jsonl")
        self.mouth: NDArray[np.int16] = np.zeros(0, np.int16)
        if self.all("recording_started"):
            recording, self.rate_hz = soundfile.read(directory / "call.flac", dtype="int16")
            self.mouth = recording[:, 0]
            self._began_ns = self.first("recording_started").at_ns

    def all(self, name: str, source: str = "caller") -> list[Mark]:
        return [mark for mark in self.marks if (mark.name, mark.source) == (name, source)]

    def first(self, name: str, source: str = "caller") -> Mark:
        return self.all(name, source)[0]

    def after_ms(self, later: Mark, earlier: Mark) -> float:
        return (later.at_ns - earlier.at_ns) / 1e6

    def mouth_between(self, start: Mark, end: Mark) -> NDArray[np.int16]:
        first, last = (
            (mark.at_ns - self._began_ns) * self.rate_hz // 1_000_000_000 for mark in (start, end)
        )
        return self.mouth[first:last]


Play = Callable[[str], Call]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    def whole(text: str) -> Call:
        path = tmp_path / "played.yaml"
        path.write_text("about: A test.\n" + dedent(text))
        (planned,) = plan(load_file(path), repeat=None, seed=3)
        played = VirtualLane([planned], tmp_path / "out").play(planned)
        return Call(evaluate(played, "virtual"), played.directory)

    return whole


TURN = 'steps: [{expect: greeting}, {say: "What time do you open?"}, {expect: reply}, hang_up]\n'


# What the caller does


def test_texts_are_said_in_other_voices_languages_and_speeds(play: Play) -> None:
    lengths, sounds = [], []
    for how in ("voice: en-gb", "voice: en-us+f3", "voice: de", "speed_wpm: 300"):
        said = f'{{text: "Ten o clock in the morning", {how}}}'
        call = play(f"steps: [{{expect: greeting}}, {{say: {said}}}, hang_up]\n")
        spoken = call.mouth_between(call.first("utterance_started"), call.first("utterance_ended"))
        lengths.append(len(spoken))
        sounds.append(spoken.tobytes())
    assert len(set(sounds)) == 4
    assert lengths[3] < 0.75 * lengths[0]


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 44_100, 48_000])
def test_a_sound_file_of_any_rate_is_heard_at_its_own_pitch(
    play: Play, tmp_path: Path, rate_hz: int
) -> None:
    write_wav(tmp_path / "own.wav", to_samples(tone(600, 500, rate_hz)), rate_hz)
    call = play("steps: [{expect: greeting}, {say: {wav: own.wav}}, hang_up]\n")
    heard = call.mouth_between(call.first("utterance_started"), call.first("utterance_ended"))
    spectrum = np.abs(np.fft.rfft(heard))
    assert np.argmax(spectrum) * call.rate_hz / len(heard) == pytest.approx(600, abs=3)


def test_the_agent_is_told_the_callers_own_number(play: Play) -> None:
    call = play("caller: {user: '+4930123'}\nsteps: [{expect: greeting}, hang_up]\n")
    assert call.first("call_received", "agent").fields["caller"] == "+4930123"


@pytest.mark.parametrize(
    ("expected", "status"), [('{transfer: "*desk*"}', 200), ("{mark: transfer_heard}", 603)]
)
def test_only_who_expects_a_transfer_accepts_it(play: Play, expected: str, status: int) -> None:
    text = f"""
        agent: {{tools: {{transfer: ["sip:desk@127.0.0.1"]}}}}
        realtime:
          replies:
            - {{function_call: {{name: transfer, arguments: {{uri: "sip:desk@127.0.0.1"}}}}}}
        steps:
          - expect: greeting
          - say: "Can I speak to a person?"
          - expect: {expected}
          - pause: 3s
          - hang_up
    """
    assert play(text).first("transfer_ended", "agent").fields["status"] == status


@pytest.mark.parametrize("method", ["rfc4733", "info"])
def test_keys_reach_the_agent(play: Play, method: str) -> None:
    call = play(f'steps: [{{expect: greeting}}, {{press: "1A#", method: {method}}}, hang_up]\n')
    told = [(m.fields["digit"], m.fields["method"]) for m in call.all("dtmf_received", "agent")]
    assert told == [("1", method), ("A", method), ("#", method)]


def test_keys_in_band_are_tones_in_the_callers_audio(play: Play) -> None:
    text = 'steps: [{expect: greeting}, {press: "7", method: inband}, {pause: 1s}, hang_up]\n'
    call = play(text)
    assert not call.all("dtmf_received", "agent")
    sent = call.first("dtmf_sent")
    tones = call.mouth_between(sent, call.first("hang_up_sent")).astype(float)
    spectrum = np.abs(np.fft.rfft(tones))
    hz = np.fft.rfftfreq(len(tones), 1 / call.rate_hz)
    loudest = [float(hz[band][np.argmax(spectrum[band])]) for band in (hz < 1000, hz > 1000)]
    assert loudest == [pytest.approx(852, abs=10), pytest.approx(1209, abs=10)]  # ITU-T Q.23


@pytest.mark.parametrize("sound", ["mm-hmm", "uh-huh", "hum", "cough", "breath"])
def test_sounds_are_made_and_take_no_turn(play: Play, sound: str) -> None:
    text = f"""
        realtime: {{vad: {{min_speech_ms: 1000}}}}
        steps:
          - expect: greeting
          - sound: {sound}
          - pause: 1s
          - hang_up
        never: [reply, {{mark: committed}}]
    """
    call = play(text)
    assert call.verdict == "passed", call.sentence
    assert not call.all("utterance_started")
    assert level_dbfs(call.mouth[call.mouth != 0]) > -40


def test_hold_and_resume(play: Play) -> None:
    text = "steps: [{expect: greeting}, hold, {pause: 700ms}, resume, {pause: 300ms}, hang_up]\n"
    call = play(text)
    held, resumed = call.first("media_held", "agent"), call.first("media_resumed", "agent")
    assert call.after_ms(resumed, held) == pytest.approx(700, abs=45)


@pytest.mark.parametrize(
    ("steps", "how", "agents_end"),
    [
        ("[{expect: greeting}, hang_up]", "bye", ("caller", 200)),
        ("[hang_up]", "cancel", ("caller", 487)),
        ("[vanish]", "vanish", ("network", 408)),  # no ACK: timer H
        ("[{expect: greeting}, vanish]", "vanish", ("network", 408)),  # no BYE: no RTP
    ],
)
def test_all_ways_to_leave(play: Play, steps: str, how: str, agents_end: tuple[str, int]) -> None:
    call = play(f"agent: {{limits: {{silence_ms: 200000}}}}\nsteps: {steps}\n")
    assert call.first("hang_up_sent").fields["how"] == how
    ended = call.first("call_ended", "agent").fields
    assert (ended["by"], ended["status"]) == agents_end


def test_every_state_of_a_call_is_one_in_which_a_shipped_caller_hangs_up(tmp_path: Path) -> None:
    """All but those that a call leaves within the input that it enters them with."""
    names = ("hang_up_anywhere", "hang_up_connecting", "hang_up_committing", "cancel")
    planned_calls = plan(load([SHIPPED / f"{name}.yaml" for name in names]), repeat=None, seed=0)
    lane = VirtualLane(planned_calls, tmp_path)
    left = set()
    for planned in planned_calls:
        marks = read_timeline(lane.play(planned).directory / "timeline.jsonl")
        left |= {
            mark.fields["from"]
            for mark in marks
            if mark.name == "state_changed" and mark.fields["to"] == State.ENDED
        }
    assert left == set(State) - {State.CALL_RECEIVED, State.ENDED}


# When


@pytest.mark.parametrize(
    ("when", "mark", "offset_ms"),
    [
        ("dialed + 900ms", "call_dialed", 900),
        ("answer + 1200ms", "call_answered", 1200),
        ("beep", "beep_heard", 0),
        ("beep + 150ms", "beep_heard", 150),
        ("greeting", "speech_heard", 0),
        ("greeting + 400ms", "speech_heard", 400),
        ("greeting end + 900ms", "silence_heard", 900),
        ("silence 1500ms", "silence_heard", 1500),
    ],
)
def test_moments_before_the_first_turn(play: Play, when: str, mark: str, offset_ms: float) -> None:
    call = play(f'steps: [{{press: "1", when: {when}}}, hang_up]\n')
    waited_ms = call.after_ms(call.first("dtmf_sent"), call.first(mark))
    # What is heard is told as of when it was heard, which is known up to 100 ms later.
    assert offset_ms - 1 <= waited_ms <= max(offset_ms, 100) + 25


@pytest.mark.parametrize(
    ("when", "mark", "offset_ms"),
    [("reply", "speech_heard", 0), ("reply + 800ms", "speech_heard", 800),
     ("reply end + 1s", "silence_heard", 1000)],
)  # fmt: skip
def test_moments_of_a_reply(play: Play, when: str, mark: str, offset_ms: float) -> None:
    text = f"""
        realtime: {{replies: [{{say: "We are open every day from nine until six."}}]}}
        steps:
          - expect: greeting
          - say: "When are you open?"
          - press: "1"
            when: {when}
          - hang_up
    """
    call = play(text)
    waited_ms = call.after_ms(call.first("dtmf_sent"), call.all(mark)[1])
    assert offset_ms - 1 <= waited_ms <= max(offset_ms, 100) + 25


def test_a_start_is_enough_where_it_is_all_that_is_expected(play: Play) -> None:
    text = """
        steps:
          - {expect: greeting start}
          - expect: greeting
          - say: "What time do you open?"
          - {expect: reply start}
          - hang_up
        # Of an answer that is hung up upon at its start too little is heard to place it.
        budget: {turn_ms: off, agent_overhead_ms: off, downlink_ms: off}
    """
    call = play(text)
    assert call.verdict == "passed", call.sentence
    ended = {mark.fields["step"]: mark for mark in call.all("step_ended")}
    greeting, reply = call.all("speech_heard")
    assert 0 <= call.after_ms(ended[0], greeting) <= 125  # known up to 100 ms later
    assert 0 <= call.after_ms(ended[3], reply) <= 125
    assert call.after_ms(ended[1], greeting) > 1000


def test_babble_in_parallel_and_a_voice_right_over_the_greeting(play: Play) -> None:
    text = """
        meanwhile:
          - say: "Hello? Hello, is anybody there?"
            when: greeting + 200ms
        steps:
          - expect: greeting
          - pause: 3s
          - hang_up
    """
    call = play(text)
    spoke = call.first("utterance_started")
    assert call.first("speech_heard").at_ns < spoke.at_ns < call.first("silence_heard").at_ns


# The line and the network


@pytest.mark.parametrize("snr_db", [20, 5])
def test_a_noise_file_is_heard_at_the_stated_snr(play: Play, tmp_path: Path, snr_db: float) -> None:
    rng = np.random.default_rng(1)
    noise = (3000 * rng.standard_normal(22_050)).astype(np.int16)
    write_wav(tmp_path / "street.wav", noise, 22_050)
    call = play(
        f"caller: {{noise: {{wav: street.wav, snr_db: {snr_db}}}}}\n"
        "steps: [{pause: 2s, when: answer}, hang_up]\n"
    )
    level = level_dbfs(call.mouth[call.rate_hz // 2 : call.rate_hz])
    assert level == pytest.approx(-20 - snr_db, abs=1)


@pytest.mark.parametrize(
    ("network", "what"),
    [
        ("{loss: 20%}", {"loss"}),
        ("{burst_loss: 10%, burst_packets: 4}", {"burst_loss"}),
        ("{reorder: 10%}", {"reorder"}),
        ("{duplicate: 10%}", {"duplicate"}),
        ("{dead: [[1s, 1200ms]]}", {"dead"}),
        ("{stalled: [[1s, 1240ms]]}", {"stalled"}),
        ("{jitter: 30ms, delay: 40ms}", {"delay"}),
    ],
)
def test_the_network_befalls_packets_in_both_directions(
    play: Play, network: str, what: set[str]
) -> None:
    call = play(f"network: {network}\nsteps: [{{pause: 3s, when: answer}}, hang_up]\n")
    applied = call.all("impairment_applied")
    assert {(m.fields["at"], m.fields["what"]) for m in applied} == {
        (direction, one) for direction in ("to_agent", "to_caller") for one in what
    }
    if "delay" in what:
        measured = call.first("rtp_measured").fields
        assert 3 < measured["jitter_ms"] < 30


def test_one_direction_may_be_bad_by_itself(play: Play) -> None:
    call = play("network: {to_caller: {loss: 20%}}\nsteps: [{pause: 3s, when: answer}, hang_up]\n")
    assert {m.fields["at"] for m in call.all("impairment_applied")} == {"to_caller"}


# What the fake says


def test_replies_may_be_text_a_sound_file_or_a_turn_of_a_recording(
    play: Play, tmp_path: Path
) -> None:
    filed = synthesise("This is from a file.", rate_hz=16_000)
    write_wav(tmp_path / "own.wav", to_samples(filed), 16_000)
    spoken = synthesise("This was recorded.", rate_hz=24_000)
    entries = [
        Entry(1.0, "server", {"type": "response.output_audio.delta", "response_id": "a",
                              "delta": spoken}),
        Entry(1.0, "server", {"type": "response.output_audio_transcript.done", "response_id": "a",
                              "transcript": "This was recorded."}),
    ]  # fmt: skip
    write_recording(tmp_path / "call.jsonl", Recording(Header(), tuple(entries)))
    text = """
        realtime:
          replies:
            - {say: "Written.", voice: en-us+f3, think_ms: 700}
            - {wav: own.wav, transcript: "A file."}
            - {recording: {file: call.jsonl, turn: 1}}
        steps:
          - expect: greeting
          - say: "Say the first one, please."
          - expect: reply
          - expect: {transcript: "written"}
          - say: "And now the second one."
          - expect: reply
          - expect: {transcript: "a file."}
          - say: "And now the last one."
          - expect: reply
          - expect: {transcript: "this was recorded"}
          - hang_up
    """
    call = play(text)
    assert (call.verdict, call.sentence) == ("passed", "every step went as written")
    planned = {m.fields["reply"]: m.fields for m in call.all("response_planned", "realtime")}
    assert planned["reply 1"]["think_ms"] == 700


def test_functions_are_called_and_told_with_their_arguments(play: Play) -> None:
    text = """
        realtime:
          replies:
            - {function_call: {name: book, arguments: {people: 4, day: Monday}}}
            - {say: "Done."}
        steps:
          - expect: greeting
          - say: "A table for four on Monday, please."
          - expect: {function_call: book, arguments: {people: 4}}
          - expect: {state: PROCESSING}
          - expect: {mark: tool_called, fields: {name: book}}
          - expect: reply
          - hang_up
        never: [{function_call: cancel}, {function_call: book, arguments: {people: 5}}]
    """
    call = play(text)
    assert (call.verdict, call.sentence) == ("passed", "every step went as written")


def test_pace_and_faults_are_the_scripts(play: Play) -> None:
    text = """
        realtime:
          timing: {pace: 2, delta_ms: 100}
          faults: [{fault: stall, at: "reply 1 + 100ms", for_ms: 900}]
          replies: [{say: "We are open every day from nine in the morning until six."}]
        caller: {end_silence: 1500ms}
        steps:
          - expect: greeting
          - say: "When are you open?"
          - expect: {mark: fault_applied, source: realtime, fields: {fault: stall}}
          - expect: reply
          - hang_up
        budget: {gap_ms: off}
    """
    call = play(text)
    assert call.verdict == "passed", call.sentence
    assert len(call.all("fault_applied", "realtime")) == 1


# What must be true


@pytest.mark.parametrize(
    ("expected", "sentence"),
    [
        ("{expect: hang_up, within: 1s}", "within 1 s, but the call was still up; heard since"),
        ("{expect: {silence: 3s}, within: 1s}", "3 s of silence within 1 s, but it came after 3 s"),
        ('{expect: {dtmf: "5"}, within: 1s}', "expected keys 5 within 1 s, but no key was heard; "),
        (
            '{expect: {transfer: "sip:desk@*"}, within: 1s}',
            "expected a transfer to sip:desk@* within 1 s, but there was no transfer; heard since",
        ),
        ("{expect: {function_call: look_up}, within: 1s}", "functions called: none"),
        ('{expect: {transcript: "never said"}, within: 1s}', "but what was said: "),
        ("{expect: {state: PROCESSING}, within: 1s}", "but states entered: "),
        ("{expect: {mark: truncated}, within: 1s}", "but marks of that name: none"),
        ("{expect: reply, within: 1s}", "expected reply within 1 s, but heard"),
    ],
)
def test_what_does_not_come_in_its_time_fails_the_call(
    play: Play, expected: str, sentence: str
) -> None:
    call = play(f"steps: [{{expect: greeting}}, {expected}, {{pause: 1500ms}}, hang_up]\n")
    assert call.verdict == "failed"
    assert sentence in call.sentence


@pytest.mark.parametrize(
    "never",
    [
        "answer", "beep", "greeting", "reply", "{silence: 300ms}", '{transcript: "all right"}',
        "{state: PROCESSING}", "{mark: committed, source: agent}", "{mark: beep_heard}",
    ],
)  # fmt: skip
def test_what_must_never_happen_fails_the_call(play: Play, never: str) -> None:
    call = play(TURN + f"never: [{never}]\n")
    assert call.verdict == "failed"
    assert call.sentence.startswith("never: ")


GOODBYE = """
    agent: {limits: {call_ms: 6000, farewell_ms: FAREWELL}}
    realtime:
      greeting: {say: "Hello."}
      replies: [{say: "At nine."}, {say: "I am sorry, our time is over. Goodbye, and call again."}]
      timing: {pace: 1}
    steps:
      - expect: greeting
      - say: "When do you open?"
      - expect: reply
      - expect: AWAITED
"""


@pytest.mark.parametrize(
    ("farewell_ms", "awaited", "sentence"),
    [
        (1500, "reply", "step 4: expected reply to its end, but it still sounded when the call"),
        (1500, "reply start\n      - expect: hang_up", ""),
        (9000, "reply", ""),
    ],
)
def test_what_the_end_of_the_call_cut_has_not_ended(
    play: Play, farewell_ms: int, awaited: str, sentence: str
) -> None:
    call = play(GOODBYE.replace("FAREWELL", str(farewell_ms)).replace("AWAITED", awaited))
    assert call.first("call_ended").fields["by"] == "agent"
    assert call.verdict == ("failed" if sentence else "passed"), call.sentence
    assert sentence in call.sentence


@pytest.mark.parametrize(
    "step", [one.entry.examples[0] for one in ACTIONS.values() if one is not Expect]
)
def test_nothing_can_be_done_in_a_call_that_the_agent_has_ended(play: Play, step: str) -> None:
    text = GOODBYE.replace("FAREWELL", "9000").replace("AWAITED", "hang_up")
    call = play(f"{text}      - {step}\n")
    assert call.verdict == "failed"
    assert "the agent ended the call (200 Normal call clearing) while the caller was at step 5" in (
        call.sentence
    )
    assert not call.all("dtmf_sent")


SILENCE = """
    realtime: {greeting: {say: "Hello."}, timing: {think_ms: 100}}
    steps:
      - expect: greeting
      - pause: 3s
      - say: "When?"
      - expect: {silence: 3s}
      - hang_up
"""


def test_a_silence_that_is_expected_begins_behind_the_callers_turn(play: Play) -> None:
    call = play(SILENCE)
    assert call.verdict == "passed", call.sentence
    last = next(m for m in call.all("step_ended") if m.fields["step"] == 3)
    quiet = call.all("silence_heard")[-1]
    assert len(call.all("silence_heard")) == 2, "the answer came first"
    assert call.after_ms(last, quiet) == pytest.approx(3000, abs=21)


@pytest.mark.parametrize("earlier", ["pause: 4s", 'press: "1"'])
def test_a_silence_that_is_expected_is_none_from_before_its_step(play: Play, earlier: str) -> None:
    text = f"steps: [{{expect: greeting}}, {{{earlier}}}, {{expect: {{silence: 2s}}}}, hang_up]\n"
    call = play(text + 'realtime: {greeting: {say: "Hello."}}\n')
    began, ended = call.all("step_started")[2], call.all("step_ended")[2]
    assert call.after_ms(ended, began) >= 2000


UNASKED = "agent: {limits: {silence_ms: 2000}}\n"
KEYS_AND_A_REPLY = 'steps: [{expect: greeting}, {press: "12#"}, {expect: reply}, hang_up]\n'
A_REPLY_UNASKED = UNASKED + "steps: [{expect: greeting}, {expect: reply}]\n"
NO_GREETING = "agent: {greeting: {enabled: false}}\n"
KEYS_FIRST = 'steps: [{press: "12#", when: answer + 1s}, {expect: reply}, hang_up]\n'


@pytest.mark.parametrize(
    ("text", "never", "happened"),
    [
        pytest.param(KEYS_AND_A_REPLY, "reply", True, id="to keys"),
        pytest.param(KEYS_AND_A_REPLY, "reply start", True, id="its start, to keys"),
        pytest.param(A_REPLY_UNASKED, "reply", True, id="unasked"),
        pytest.param(NO_GREETING + KEYS_FIRST, "greeting", False, id="no greeting without one"),
        pytest.param(NO_GREETING + KEYS_FIRST, "reply", True, id="but a reply"),
        pytest.param("steps: [{expect: greeting}]\n", "reply", False, id="a greeting is no reply"),
    ],
)
def test_a_reply_that_is_expected_is_the_reply_that_must_never_be(
    play: Play, text: str, never: str, happened: bool
) -> None:
    assert play(text).verdict == "passed"
    call = play(text + f"never: [{never}]\n")
    assert call.verdict == ("failed" if happened else "passed"), call.sentence
    assert call.sentence.startswith(f"never: {never}, and yet") == happened


@pytest.mark.parametrize(
    ("meanwhile", "last", "sentence"),
    [
        ('{pause: 20s}, {expect: {dtmf: "9"}}', "hang_up", "step 5 (pause 20 s) of meanwhile was"),
        ("{pause: 20s}, {pause: 1}", "hang_up", "step 5 (pause 20 s) of meanwhile was still to be"),
        ("{expect: hang_up}", "{pause: 1, when: greeting}", "step 5 (expect hang up) of meanwhile"),
        ("{expect: hang_up}", "{expect: {silence: 1s}, when: answer}", "step 5 (expect hang up)"),
        ("{pause: 20s}, {pause: 1}", "{hang_up: , when: silence 1s}", ""),
        ("{pause: 1s, when: greeting end + 9s}", "hang_up", "(pause 1 s (when greeting end + 9 s)"),
        ("{expect: hang_up}", "hang_up", "step 5 (expect hang up) of meanwhile was still to be"),
        ("{pause: 1s, when: greeting end}", "hang_up", ""),
        ("{pause: 1s, when: greeting end + 9s}", "{hang_up: , when: silence 1s}", ""),
    ],
)
def test_what_is_left_of_meanwhile_fails_a_call_that_was_not_left_on_purpose(
    play: Play, meanwhile: str, last: str, sentence: str
) -> None:
    steps = f'{{expect: greeting}}, {{say: "What time do you open?"}}, {{expect: reply}}, {last}'
    call = play(f"meanwhile: [{meanwhile}]\nsteps: [{steps}]\n")
    assert call.verdict == ("failed" if sentence else "passed"), call.sentence
    assert sentence in call.sentence


def test_a_fault_that_never_struck_fails_the_call(play: Play) -> None:
    call = play('realtime: {faults: [{fault: drop, at: "event 900"}]}\n' + TURN)
    assert call.verdict == "failed"
    assert "the fault drop at event 900 never struck" in call.sentence
