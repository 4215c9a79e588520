"""Some of the calibration on speech over real SIP and RTP: the same speech, the same numbers.

The scripted caller calls the responder of `callerside calibrate`, which greets with an utterance of
the calibration, answers the caller's question with it, and is talked over. Where a sound is in what
was heard is found by cross-correlation with its own first and last quarter of a second (more,
where that is too faint), each by itself, so that the truth passes through no detector and bears
packets that come late; where it begins and ends is its clean source's to say.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from callerside import audio, audio_files
from callerside.clock import NS_PER_MS
from callerside.reports.evidence import (
    EAR,
    MOUTH,
    TIMELINE,
    CallEvidence,
    EvidenceError,
    load_evidence,
)
from callerside.reports.hearing import active_level, correlation
from callerside.simulator.calibration.ground_truth import TruthError
from callerside.simulator.calibration.placing import CalibrateError, Calling, place
from callerside.simulator.calibration.responder import Said
from callerside.simulator.calibration.responder_marks import (
    FRAMES_A_SECOND,
    Heard,
    load_heard,
    with_marks,
)
from callerside.simulator.calibration.speech.calibrate import (
    Error,
    Plan,
    answer_of,
    errors_in,
    plans,
)
from callerside.simulator.calibration.speech.conditions import Condition
from callerside.simulator.calibration.speech.spoken_call import Ear, both_ms, levelled
from callerside.simulator.calibration.speech.utterances import RATE_HZ as SERVER_HZ
from callerside.simulator.caller.recorder import CALLER_RATE_HZ
from callerside.simulator.lanes.sip.process_pair import calls_at_once
from callerside.simulator.lanes.sip.speech_files import SpeechFiles
from callerside.simulator.scenario.model import Scenario

SAMPLE = 60
"""Calls: some three minutes."""

_CODECS = {"pcmu": "PCMU", "pcma": "PCMA", "g722": "G722"}
_LONGEST_S = 5
_SHORTEST_ANSWER_S = 2.6
_SPLINTER_MS = 20
_INTO_MS = 1200  # of the answer, at least, the caller speaks
_AMID_MS = 300  # of sound without a pause of a frame are to lie ahead then: no pause is cut
_STEP_MS = 20
_PIECES = (CALLER_RATE_HZ // 4, CALLER_RATE_HZ // 2, CALLER_RATE_HZ)
"""Of a sound, by which its edge is found: more of it where that is too faint or too high."""
_AROUND = CALLER_RATE_HZ * 3 // 10
_STRETCH = CALLER_RATE_HZ * 60 // 1000  # as the reports tell sounds apart

Samples = NDArray[np.int16]
Span = tuple[int, int]


def made_by_packets(line: Condition) -> bool:
    """Whether a line needs nothing but a codec and a level: the rest is made in memory."""
    return line.codec in _CODECS and not (line.noise or line.echo_db or line.loss or line.late)


@dataclass(frozen=True, slots=True)
class _Sounds:
    """What is said in a call, at the caller's rate."""

    reply: Samples
    """The greeting, and the source of the answer."""
    question: Samples
    barge: Samples


@dataclass(kw_only=True)
class _PlacedCall:
    """A call that was placed, and what is true of it: see `KnownCall`."""

    told: CallEvidence
    """As a server and its agent would have told it."""
    bare: CallEvidence
    """As the caller alone knows it."""
    heard: list[list[Span]]
    question_left_ns: int
    barge: list[Span]
    answered_ns: int
    """The 200 OK, as it left."""

    def at_ns(self, sample: int) -> int:
        """See `KnownCall`, as of all that follows."""
        return self.bare.at_ns(sample)

    @property
    def turn_ms(self) -> float:
        return (self.at_ns(self.heard[1][0][0]) - self.question_left_ns) / NS_PER_MS

    @property
    def stop_ms(self) -> float:
        return (self.heard[1][-1][1] - self.barge[0][0]) * 1000 / CALLER_RATE_HZ

    @property
    def talk_over_ms(self) -> float:
        return both_ms(self.barge, (span for one in self.heard for span in one))

    @property
    def others(self) -> Iterator[tuple[str, int | None, float]]:
        yield "greeting_ms", None, (self.at_ns(self.heard[0][0][0]) - self.answered_ns) / NS_PER_MS
        for name in ("gap_ms", "missing_ms", "repeated_ms"):
            yield name, None, 0.0

    def evidence(self, ear: Ear) -> CallEvidence:
        told = self.told
        if ear == "unknown":
            return self.bare
        if ear == "sent":
            return replace(told, marks=[mark for mark in told.marks if mark.source != "agent"])
        return told


async def calibrate_over_sip(
    directory: Path,
    *,
    sample: int = SAMPLE,
    concurrency: int | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Error]:
    """Place the calls, and compute how far off what is measured in them is.

    Args:
        directory: where the calls' evidence goes.
        sample: how many calls, drawn by a seed, each of another utterance if there are as many.
        concurrency: how many at once; as many as a run places, if not given.
        progress: called with a line after each call.

    Raises:
        CalibrateError: too few of the calls could serve.
        ProcessError: a process died, or did not start.
    """
    planned = plans(sample=sample, suits=made_by_packets)
    named = {f"call{number}": plan for number, plan in enumerate(planned, start=1)}
    sounds = {name: await asyncio.to_thread(_sounds, plan) for name, plan in named.items()}
    callings = await asyncio.to_thread(_written, directory, named, sounds)
    await place(directory, callings, directory / "speaks", concurrency or calls_at_once(), progress)
    errors: list[Error] = []
    refused: list[str] = []
    for name, plan in named.items():
        try:
            placed = await asyncio.to_thread(_placed, directory / name, sounds[name])
            errors += await asyncio.to_thread(errors_in, plan, placed)
        except (OSError, EvidenceError, TruthError) as error:
            refused.append(f"{name} ({plan.name}): {error}")
            progress(f"not used: {refused[-1]}")
    if len(refused) > len(named) // 4:
        raise CalibrateError(f"{len(refused)} of {len(named)} calls could not serve")
    return errors


def _sounds(plan: Plan) -> _Sounds:
    more, question, barge = (one.wave() for one in plan.others)
    longest = _LONGEST_S * SERVER_HZ
    reply = answer_of(plan.utterance.wave(), more, _SHORTEST_ANSWER_S)
    level = plan.condition.level_dbfs
    said = shortened(reply), question[-longest:], shortened(barge)
    greets, asks, barges = (_as_said(levelled(wave, level)) for wave in said)
    return _Sounds(greets, _without_lead(asks), _without_lead(barges))


def shortened(wave: NDArray[np.float64]) -> NDArray[np.float64]:
    """A sound at the server's rate, as much as is said of it: without a splinter at its end.

    Of a syllable that is cut in its first instant there is a millisecond behind a pause. It would
    be the end, by the definition, and a telephone's line leaves nothing of it.
    """
    wave = wave[: _LONGEST_S * SERVER_HZ]
    spans = active_level.voiced(
        audio.to_samples(audio.to_bytes(wave * 32768)), SERVER_HZ, pause_ms=_SPLINTER_MS
    )
    while len(spans) > 1 and spans[-1][1] - spans[-1][0] < _SPLINTER_MS * SERVER_HZ // 1000:
        spans.pop()
        wave = wave[: spans[-1][1]]
    return wave


def _as_said(wave: NDArray[np.float64]) -> Samples:
    pcm = audio.resample(audio.to_bytes(wave * 32768), SERVER_HZ, CALLER_RATE_HZ)
    return audio.to_samples(pcm)


def _without_lead(wave: Samples) -> Samples:
    """A sound without the silence before it, which a caller leaves out, too."""
    first = int(active_level.loud(wave, CALLER_RATE_HZ)[0])
    return wave[max(0, first - _STRETCH) :]


def _written(
    directory: Path, named: dict[str, Plan], sounds: dict[str, _Sounds]
) -> dict[str, Calling]:
    """What responders and callers say, as files, and what each caller does."""
    speaks = directory / "speaks"
    speaks.mkdir(parents=True, exist_ok=True)
    speech = SpeechFiles(directory / "speech", CALLER_RATE_HZ)
    callings = {}
    for name, plan in named.items():
        said = sounds[name]
        audio_files.write_wav(speaks / f"{name}.wav", said.reply, CALLER_RATE_HZ)
        for what, samples in (("question", said.question), ("barge", said.barge)):
            audio_files.write_wav(directory / f"{name}-{what}.wav", samples, CALLER_RATE_HZ)
        scenario = Scenario.model_validate(_scenario(name, plan.condition, into_ms(said.reply)))
        resolved = scenario.named("calibration", directory / "of_no_file")
        callings[name] = Calling(resolved.model_dump_json(), speech.of(resolved))
    return callings


def into_ms(reply: Samples) -> int:
    """How long after the beginning of an answer it is to be talked over: in the midst of a sound.

    What is cut in a pause of its own had ended before.
    """
    step = CALLER_RATE_HZ * _STEP_MS // 1000
    loud = active_level.loud(reply, CALLER_RATE_HZ)
    frames = np.bincount((loud - loud[0]) // step) > 0
    ahead = _AMID_MS // _STEP_MS
    earliest = _INTO_MS // _STEP_MS
    full = np.convolve(frames, np.ones(ahead), mode="valid")[earliest:]
    return (earliest + int(full.argmax()) if full.size else earliest) * _STEP_MS


def _scenario(name: str, line: Condition, into: int) -> dict[str, object]:
    return {
        "about": "A responder that speaks as people do.",
        "time_limit": "50s",
        "caller": {"codec": _CODECS[line.codec], "end_silence": "900ms"},
        "steps": [
            {"expect": "beep"},
            {"expect": "greeting"},
            {"say": {"wav": f"{name}-question.wav"}},
            {"say": {"wav": f"{name}-barge.wav"}, "when": f"reply + {into}ms"},
            "hang_up",
        ],
    }


def _placed(directory: Path, sounds: _Sounds) -> _PlacedCall:
    (directory / "caller.jsonl").rename(directory / TIMELINE)
    bare = load_evidence(directory)
    heard = load_heard(directory)
    return known_call(bare, heard, sounds.reply, sounds.question, sounds.barge)


def known_call(
    bare: CallEvidence, heard: Heard, reply: Samples, question: Samples, barge: Samples
) -> _PlacedCall:
    """What is true of a call that was placed.

    Raises:
        TruthError: a sound was not found, or the call did not go as it was to.
    """
    said = {one.name: one for one in heard.spoken}
    if "greeting" not in said or "answer 1" not in said:
        raise TruthError("the responder did not greet, or did not answer")
    greeting, answer = said["greeting"], said["answer 1"]
    begun = [bare.sample_at(mark.at_ns) for mark in bare.find("caller", "utterance_started")]
    if len(begun) != 2:
        raise TruthError(f"the caller spoke {len(begun)} times, not twice")
    mouth, ear = bare.channel(MOUTH), bare.channel(EAR)
    asked, barged = (
        _stretches(sound, sound.size, mouth, near, what)
        for sound, near, what in ((question, begun[0], "question"), (barge, begun[1], "barge-in"))
    )
    greeted, answered = (
        _stretches(reply, one.end - one.start, ear, bare.sample_at(heard.at_ns(one.start)), what)
        for one, what in ((greeting, "greeting"), (answer, "answer"))
    )
    if asked[0][0] < greeted[-1][1] or not answered[0][0] < barged[0][0] < answered[-1][1]:
        raise TruthError("the caller spoke into the greeting, or not into the answer")
    frame = CALLER_RATE_HZ // FRAMES_A_SECOND
    there = _end_there(heard, answer, question)
    return _PlacedCall(
        told=with_marks(bare, heard, reply),
        bare=bare,
        heard=[greeted, answered],
        question_left_ns=heard.heard_ns[(there - 1) // frame],
        barge=barged,
        answered_ns=heard.answered_ns,
    )


def _stretches(source: Samples, played: int, channel: Samples, near: int, what: str) -> list[Span]:
    """Where a channel has what is part of a sound of which so many samples were played.

    What lies in its first half is placed by its beginning, the rest by its end.
    """
    loud = active_level.loud(source, CALLER_RATE_HZ)
    loud = loud[loud < played]
    if not loud.size:
        raise TruthError(f"nothing was heard of the {what}")
    first, past = int(loud[0]), int(loud[-1]) + 1

    def lag(low: int, high: int) -> int | None:
        start, end = max(0, near + low - _AROUND), near + high + _AROUND
        match = correlation.find(source[low:high], channel[start:end])
        return start + match.offset - low if match.found else None

    by_beginning = _first_found(lag(first, min(first + size, played)) for size in _PIECES)
    by_end = _first_found(lag(max(0, past - size), past) for size in _PIECES)
    if by_beginning is None or by_end is None:
        edge = "beginning" if by_beginning is None else "end"
        raise TruthError(f"the {edge} of the {what} was not found")
    places = loud + np.where(loud < (first + past) // 2, by_beginning, by_end)
    return active_level.without_pauses(np.unique(places), _STRETCH)


def _first_found(places: Iterable[int | None]) -> int | None:
    return next((place for place in places if place is not None), None)


def _end_there(heard: Heard, answer: Said, question: Samples) -> int:
    """Where the question ended in what the responder heard."""
    past = int(active_level.loud(question, CALLER_RATE_HZ)[-1]) + 1
    earliest = max(0, answer.start - 3 * CALLER_RATE_HZ)
    for size in _PIECES:
        tail = question[max(0, past - size) : past]
        match = correlation.find(tail, heard.recording[earliest : answer.start, 1])
        if match.found:
            return earliest + match.offset + tail.size
    raise TruthError(f"the end of the question was not found there ({match.correlation:.2f})")
