from pathlib import Path
from typing import Any

import numpy as np
import pytest
from in_memory import Client

from callerside.audio import AudioFormat, resample, silence, to_bytes, to_samples
from callerside.fakes.script.cache import ScriptCache
from callerside.fakes.script.prepare import prepared_reply
from callerside.fakes.script.reply import Reply
from callerside.fakes.session.input_audio import SEMANTIC_LONGEST_WAIT_MS
from callerside.fakes.session.interface import Changed
from callerside.speech.synthesis import synthesise
from callerside.vad import silero
from callerside.vad.energy import EnergyJudge
from callerside.vad.engines import make_judge
from callerside.vad.turn_detector import (
    FRAME_MS,
    SpeechStarted,
    SpeechStopped,
    TurnDetector,
    VadParameters,
)

ENGINES = ["energy", "silero"]
RATES = [8000, 24_000]


def noise(length_ms: float, level_dbfs: float, rate_hz: int = 24_000, seed: int = 1) -> bytes:
    count = round(length_ms * rate_hz / 1000)
    wave = np.random.default_rng(seed).normal(0, 32768 * 10 ** (level_dbfs / 20), count)
    return to_bytes(wave)


def mixed(*sounds: bytes) -> bytes:
    length = max(map(len, sounds))
    padded = [to_samples(sound + bytes(length - len(sound))).astype(np.int32) for sound in sounds]
    return to_bytes(np.sum(padded, axis=0))


def heard(
    engine: Any, pcm: bytes, rate_hz: int = 24_000, *, threshold: float = 0.5, silence_ms: int = 500
) -> list[SpeechStarted | SpeechStopped]:
    judge = make_judge(engine, rate_hz)
    detector = TurnDetector(VadParameters(threshold=threshold, silence_ms=silence_ms))
    size = 2 * rate_hz * FRAME_MS // 1000
    found = []
    for number in range(len(pcm) // size):
        frame = pcm[number * size : (number + 1) * size]
        event = detector.hear(judge.probability(frame), number * FRAME_MS)
        if event is not None:
            found.append(event)
    return found


@pytest.mark.parametrize("rate_hz", RATES)
@pytest.mark.parametrize("engine", ENGINES)
def test_speech_is_found_where_it_is(engine: str, rate_hz: int) -> None:
    speech = synthesise("What time do you open on Saturday?", rate_hz=rate_hz)
    length_ms = len(speech) / 2 / rate_hz * 1000
    pcm = silence(1000, rate_hz) + speech + silence(1000, rate_hz)
    started, stopped = heard(engine, pcm, rate_hz)
    assert isinstance(started, SpeechStarted)
    assert isinstance(stopped, SpeechStopped)
    assert started.onset_ms == pytest.approx(1000, abs=3 * FRAME_MS)
    assert stopped.last_voiced_ms == pytest.approx(1000 + length_ms, abs=6 * FRAME_MS)
    assert stopped.end_ms - stopped.last_voiced_ms == pytest.approx(500, abs=FRAME_MS)


@pytest.mark.parametrize("engine", ENGINES)
def test_silence_and_steady_noise_are_no_speech(engine: str) -> None:
    assert heard(engine, silence(3000, 24_000)) == []
    assert heard(engine, noise(5000, -45)) == []
    assert heard(engine, noise(5000, -32)) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_speech_is_found_in_noise(engine: str) -> None:
    """15 dB below the speech, as in a street."""
    speech = synthesise("What time do you open on Saturday?")
    spoken = silence(2000, 24_000) + speech + silence(1500, 24_000)
    events = heard(engine, mixed(spoken, noise(len(spoken) / 48, -35)))
    assert isinstance(events[0], SpeechStarted)
    assert events[0].onset_ms == pytest.approx(2000, abs=200)
    assert isinstance(events[-1], SpeechStopped)


def test_silero_tells_a_bang_from_a_voice() -> None:
    """What it is for: by level alone this is speech."""
    bang = silence(1000, 24_000) + noise(300, -15) + silence(1500, 24_000)
    assert heard("energy", bang)
    assert not heard("silero", bang)


def test_the_energy_judge_gets_used_to_a_noise_that_begins() -> None:
    pcm = silence(500, 24_000) + noise(6000, -33)
    events = heard("energy", pcm)
    assert len(events) in (0, 2)  # heard as speech at first, perhaps, but not for ever


def test_a_higher_threshold_asks_for_louder_speech() -> None:
    quiet = noise(640, -40)
    pcm = silence(2000, 24_000) + quiet + silence(1000, 24_000)
    assert heard("energy", pcm, threshold=0.3)
    assert not heard("energy", pcm, threshold=0.9)


def test_probability_grows_with_the_level() -> None:
    def probability(level_dbfs: float) -> float:
        judge = EnergyJudge()
        judge.probability(bytes(1536))
        return judge.probability(noise(FRAME_MS, level_dbfs))

    levels = [probability(level) for level in (-70, -50, -42, -30, -20)]
    assert levels == sorted(levels)
    assert levels[0] == 0
    assert levels[-1] > 0.95


def frames(*runs: tuple[float, int]) -> list[float]:
    return [probability for probability, count in runs for _ in range(count)]


def detect(
    probabilities: list[float], parameters: VadParameters
) -> list[SpeechStarted | SpeechStopped]:
    detector = TurnDetector(parameters)
    events = (detector.hear(p, n * FRAME_MS) for n, p in enumerate(probabilities))
    return [event for event in events if event is not None]


def test_a_turn_ends_on_the_first_frame_that_completes_the_silence() -> None:
    parameters = VadParameters(threshold=0.5, silence_ms=500)
    events = detect(frames((0, 10), (0.9, 10), (0, 40)), parameters)
    assert events == [SpeechStarted(320), SpeechStopped(640 + 16 * 32, 640)]


def test_a_pause_within_a_turn_does_not_end_it() -> None:
    parameters = VadParameters(threshold=0.5, silence_ms=500)
    events = detect(frames((0.9, 10), (0, 15), (0.9, 10), (0, 20)), parameters)
    assert [type(event) for event in events] == [SpeechStarted, SpeechStopped]


def test_soft_endings_belong_to_the_turn() -> None:
    parameters = VadParameters(threshold=0.5, silence_ms=96)
    (_, stopped) = detect(frames((0.9, 3), (0.4, 5), (0.1, 5)), parameters)
    assert stopped == SpeechStopped(8 * 32 + 96, 8 * 32)


def test_too_little_voice_is_no_speech() -> None:
    parameters = VadParameters(threshold=0.5, silence_ms=96, min_speech_ms=96)
    assert detect(frames((0.9, 2), (0, 5)), parameters) == []
    events = detect(frames((0, 1), (0.9, 3), (0, 5)), parameters)
    assert events[0] == SpeechStarted(32)


@pytest.mark.parametrize(("eagerness", "longest_ms"), SEMANTIC_LONGEST_WAIT_MS.items())
def test_semantic_vad_waits_for_an_unfinished_turn(eagerness: str, longest_ms: int) -> None:
    client = Client({"replies": [{"say": "Yes?", "unfinished": True}, {"say": "Nine."}]})
    client.turn_detection({"type": "semantic_vad", "eagerness": eagerness})
    for silence_ms in (longest_ms, 600):
        client.say("What time", then_silence_ms=longest_ms + 500)
        stopped = client.marked("speech_stopped")[-1].fields
        waited_ms = stopped["audio_end_ms"] - stopped["last_voiced_ms"]
        assert waited_ms == pytest.approx(silence_ms, abs=FRAME_MS)


def test_semantic_vad_waits_for_an_unfinished_turn_that_is_given_meanwhile() -> None:
    client = Client({"replies": [{"say": "Nine."}]})
    client.turn_detection({"type": "semantic_vad", "eagerness": "high"})
    client.feed(Changed(replies=(prepared_reply(Reply(say="Yes?", unfinished=True)),)))
    client.say("What time", then_silence_ms=2500)
    stopped = client.marked("speech_stopped")[-1].fields
    waited_ms = stopped["audio_end_ms"] - stopped["last_voiced_ms"]
    assert waited_ms == pytest.approx(SEMANTIC_LONGEST_WAIT_MS["high"], abs=FRAME_MS)


def turn_of(vad: Any, detection: dict[str, Any] | None = None) -> dict[str, Any]:
    client = Client({"vad": vad})
    client.turn_detection({"type": "server_vad", **(detection or {})})
    client.hear(silence(2000, 24_000))
    client.say(then_silence_ms=3000)
    fields = dict(client.marked("speech_stopped")[0].fields)
    fields["audio_start_ms"] = client.only("input_audio_buffer.speech_started")["audio_start_ms"]
    return fields


@pytest.mark.parametrize("encoding", ["audio/pcm", "audio/pcmu"])
def test_a_session_hears_with_silero_too(encoding: str) -> None:
    client = Client({"vad": "silero"})
    client.update(audio={"input": {"format": {"type": encoding}}})
    audio_format = AudioFormat("pcm" if encoding == "audio/pcm" else "pcmu")
    rate_hz = audio_format.rate_hz
    pcm = silence(1024, rate_hz) + synthesise("Hello there.", rate_hz=rate_hz)
    client.send(
        "input_audio_buffer.append", audio=audio_format.encode(pcm + silence(1000, rate_hz))
    )
    started = client.only("input_audio_buffer.speech_started")["audio_start_ms"]
    assert started + 300 == pytest.approx(1024, abs=2 * FRAME_MS)
    assert "input_audio_buffer.committed" in client.types


def test_no_second_model_is_loaded_when_the_format_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = Client({"vad": "silero"})

    def too_late() -> None:
        raise AssertionError("it takes 0.1 s, in which no other session is served")

    monkeypatch.setattr(silero, "_load_model", too_late)
    monkeypatch.setattr(silero, "_SPARE_MODELS", [])
    for encoding in ("audio/pcmu", "audio/pcm", "audio/pcma"):
        client.update(audio={"input": {"format": {"type": encoding}}})
    pcm = silence(1024, 8000) + synthesise("Hello there.", rate_hz=8000) + silence(1000, 8000)
    client.send("input_audio_buffer.append", audio=AudioFormat("pcma").encode(pcm))
    assert "input_audio_buffer.committed" in client.types


def test_every_script_finds_a_model_loaded_though_others_say_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spare: list[Any] = []
    monkeypatch.setattr(silero, "_SPARE_MODELS", spare)
    for name in ("loud", "quiet"):
        (tmp_path / f"{name}.yaml").write_text("vad: silero\n")
    ScriptCache(tmp_path).fill()
    assert len(spare) == 2


def test_padding_and_silence_are_what_the_session_asks_for() -> None:
    fields = turn_of({}, {"prefix_padding_ms": 96, "silence_duration_ms": 992})
    assert fields["audio_start_ms"] == 2000 // 32 * 32 - 96
    assert fields["audio_end_ms"] - fields["last_voiced_ms"] == 992


def test_a_script_can_overrule_the_session() -> None:
    fields = turn_of({"silence_duration_ms": 320, "prefix_padding_ms": 0})
    assert fields["audio_start_ms"] == 2000 // 32 * 32
    assert fields["audio_end_ms"] - fields["last_voiced_ms"] == 320


@pytest.mark.parametrize("frame_ms", [1, 7, 20, 33, 100, 400])
def test_the_size_of_appends_changes_nothing(frame_ms: int) -> None:
    pcm = silence(1000, 24_000) + synthesise("Hello there.") + silence(1000, 24_000)
    client = Client()
    for start in range(0, len(pcm), frame_ms * 48):
        client.send("input_audio_buffer.append", audio=pcm[start : start + frame_ms * 48])
    whole = Client()
    whole.send("input_audio_buffer.append", audio=pcm)
    expected = [mark.fields["audio_end_ms"] for mark in whole.marked("speech_stopped")]
    assert [mark.fields["audio_end_ms"] for mark in client.marked("speech_stopped")] == expected


@pytest.mark.parametrize("frame_ms", [10, 20, 100, 999])
def test_the_size_of_appends_does_not_move_the_idle_timeout(frame_ms: int) -> None:
    client = Client({"timing": {"think_ms": 10}})
    client.turn_detection({"type": "server_vad", "idle_timeout_ms": 5000})
    client.say(then_silence_ms=1500)
    client.wait(500)
    pcm = silence(9000, 24_000)
    for start in range(0, len(pcm), frame_ms * 48):
        client.send("input_audio_buffer.append", audio=pcm[start : start + frame_ms * 48])
    timeout = client.all("input_audio_buffer.timeout_triggered")[0]
    assert timeout["audio_end_ms"] % FRAME_MS == 0
    assert 0 <= timeout["audio_end_ms"] - timeout["audio_start_ms"] - 5000 < FRAME_MS


def test_a_sample_may_come_in_halves() -> None:
    pcm = silence(1000, 24_000) + synthesise("Hello there.") + silence(1000, 24_000)
    client, whole = Client(), Client()
    for start in range(0, len(pcm), 961):
        client.send("input_audio_buffer.append", audio=pcm[start : start + 961])
    whole.send("input_audio_buffer.append", audio=pcm)
    for kind in ("speech_started", "speech_stopped"):
        assert [{**mark.fields, "item": 0} for mark in client.marked(kind)] == [
            {**mark.fields, "item": 0} for mark in whole.marked(kind)
        ]


def test_the_clock_runs_on_when_the_format_changes() -> None:
    client = Client()
    client.hear(silence(1600, 24_000))
    client.update(audio={"input": {"format": {"type": "audio/pcmu"}}})
    speech = resample(synthesise("Hello there."), 24_000, 8000)
    wire = AudioFormat("pcmu").encode(silence(640, 8000) + speech + silence(1000, 8000))
    client.send("input_audio_buffer.append", audio=wire)
    started = client.only("input_audio_buffer.speech_started")["audio_start_ms"]
    assert started == pytest.approx(1600 + 640 - 300, abs=FRAME_MS)
