"""What is known about one call: its marks, the recording of what was heard, and what was asked.

Every number of a report is computed from a `CallEvidence` and from nothing else, so a report can
be made again from the directory of a call, and also for a call that nobody simulated: then there
may be no recording and no server's marks, and what cannot be known is not reported.
"""

import heapq
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import soundfile
from numpy.typing import NDArray
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from callerside.atomic_files import write_atomically
from callerside.audio_files import write_flac, write_wav
from callerside.files import is_there, read_bytes
from callerside.marks import Mark, Source, merge, to_lines
from callerside.paths import name_of_one
from callerside.reports.hearing.detector import Segment
from callerside.timelines import read_timeline

TIMELINE = "timeline.jsonl"
RECORDING = "call.flac"
EXPORT = "call.wav"
"""The same for programs that want WAV; read where there is no `RECORDING`."""
HEARD = "server_heard.flac"
SENT = "server_sent.flac"
INFO = "call.json"
SAID = "said.json"
CLEAN = "said.flac"
"""What the caller made heard, one after another, before it met the line."""
ARRIVALS = "arrivals.jsonl"
"""When each frame came in that the caller heard: what the ear is made of; nothing reads it."""
DEPARTURES = "departures.jsonl"
"""When those packets of the caller's left that left late."""
ATTEMPT = "attempt-"
"""With its number: the folder of an attempt that does not count, in the call's own."""

MOUTH, EAR = 0, 1
"""The recording's channels: what the caller said, and what the caller heard."""

_OF_EVERY_FRAME = frozenset({"audio_appended", "audio_received", "delta_sent"})
"""Marks that an outline leaves out: nine tenths of them."""

_NS_PER_S = 1_000_000_000
_FRAMES_A_SECOND = 50
_FILTER_MS = 1.5
"""By how much a sound is later in a packet than in the recording: what brings the caller's 16 kHz
to a narrow codec's rate is half its filter late (`agent/telephony/media/frame_rate.py`)."""
OPUS_MS = 2.5
"""The same in Opus, whose packets begin so much earlier than what is decoded of them."""

Verdict = Literal["passed", "failed", "error"]
"""Of what was said, heard and sent in a call, and in what order: its behaviour."""
Samples = NDArray[np.int16]


class EvidenceError(ValueError):
    """Evidence that cannot be read: says which file, and what is wrong with it."""


class KnownFailure(BaseModel):
    """A failure that somebody knows of: shown, and no failure of the run, until a day is over."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: str = Field(min_length=1)
    until: date
    over: bool = False
    """Whether that day was over when the call was played."""


class RecordingInfo(BaseModel):
    """What is known of a bare recording: one that came without marks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: list[str]
    caller: str = ""
    """Which of its channels is the caller's; empty where it is a mix."""
    told: list[str] = Field(default_factory=list)
    """What is to be known before its numbers are believed."""
    unfit: dict[str, str] = Field(default_factory=dict)
    """The metrics that cannot be measured in it, and why."""
    clipped: tuple[int, int] = (0, 0)
    """Samples of the caller's and of the agent's channel that are cut off at the top."""


FolderName = Annotated[str, AfterValidator(name_of_one)]
"""Pages are written there: whoever has made a folder of a run does not choose another place."""


class CallInfo(BaseModel):
    """`call.json`: what is neither in the marks nor in the recording."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: FolderName = Field(min_length=1)
    """Of the scenario, or of a call that was taken in production."""
    stage: FolderName = ""
    """The call's own name in its run, and that of its directory; a scenario may be many calls."""
    attempt: int = Field(default=1, ge=1)
    """2 where the call was placed once more, alone; the first attempt lies in `attempt-1/`."""
    lane: Literal["sip", "virtual", "production", "recording"] = "sip"
    about: str = ""
    """One sentence: what the scenario protects."""
    verdict: Verdict = "passed"
    """Of the call itself: did it go as its script says? The budget is judged apart."""
    detail: str = ""
    """For a failure: what was expected, what was heard, where to look."""
    limits: dict[str, Any] = Field(default_factory=dict)
    """The scenario's own limits, over the default budget (reports/verdict/budget.py)."""
    own_limits: list[str] = Field(default_factory=list)
    """The metrics that the scenario itself limits: something must be held to each of them."""
    unchecked: list[str] = Field(default_factory=list)
    """What the scenario expects that nobody could look at: `step 3 (expect function_call)`."""
    should_yield: list[str] = Field(default_factory=list)
    """The metrics that calls of this kind have, if anything can be measured."""
    goes_on: list[Literal["greeting", "answers"]] = Field(default_factory=list)
    """What of the agent's is meant to go on though a caller speaks into it."""
    known_failure: KnownFailure | None = None
    """What is known to be wrong in this call, and until when it may be."""
    connect_delay_ms: float = 0
    """What the server was to add to its handshake."""
    way_ms: float = 0
    """How long a message was to be under way between agent and server at least, one way,"""
    way_jitter_ms: float = 0
    """and how much later it might come."""
    repeat: int = Field(default=1, ge=1)
    """Which of several calls of the same scenario this is."""
    seed: int | None = None
    warnings: list[str] = Field(default_factory=list)
    """What fails nobody, and is to be known: an answer that the agent had to make up for."""
    log: list[str] = Field(default_factory=list)
    """The last log lines of the processes, for a call that went wrong."""
    scenario: str = ""
    """The scenario file's text."""
    played: dict[str, Any] = Field(default_factory=dict)
    """What the scenario says of agent, caller, server and network: suite, cell and row in it."""
    recording: RecordingInfo | None = None
    """Of the lane `recording`."""


def attempt_folder(info: CallInfo) -> str:
    """The folder of an attempt that does not count, in the call's own."""
    return f"{ATTEMPT}{info.attempt}"


class Said(BaseModel):
    """Something that the caller made heard, as it was before noise, echo, gain or codec.

    Its places are samples of the recording, which its own media clock counts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    turn: int | None = None
    """None for what does not take the turn."""
    text: str = ""
    voiced: list[tuple[int, int]] = Field(min_length=1)
    """(first sample, the one after the last), down to pauses of 60 ms; in order."""
    first: int | None = None
    """Where its clean sound begins, silence at its edges included; None where that is not kept."""
    length: int = Field(default=0, ge=0)
    """Of its clean sound, in samples."""


@dataclass(frozen=True, slots=True)
class Audio:
    """One channel of sound."""

    samples: Samples
    rate_hz: int

    @property
    def length_ms(self) -> float:
        """How long it lasts."""
        return self.samples.size * 1000 / self.rate_hz


@dataclass(frozen=True, kw_only=True)
class CallEvidence:
    """Everything that is known about a call.

    `marks` are in order of time. `recording` has shape (n, 2): left what the caller said (`MOUTH`),
    right what the caller heard (`EAR`); n is 0 where nothing was recorded. A channel's samples lie
    side by side, for it is channels that are looked at. Its sample k was spoken,
    or heard, at `recording_start_ns` plus k sample times: of a packet that leaves the caller's
    telephone the last one just before it left, of one that comes the first one when it came.

    `server_heard` is everything that the server received, and `server_sent` every audio delta that
    it sent, each as one stream whose samples the server's marks count; where a call had several
    sessions, one after another, so do their streams. `said` is what the caller made heard, where
    its own clean speech was known.
    """

    info: CallInfo
    marks: list[Mark]
    recording: Samples = field(default_factory=lambda: np.zeros((0, 2), np.int16))
    rate_hz: int = 8000
    recording_start_ns: int = 0
    server_heard: Audio | None = None
    server_sent: Audio | None = None
    said: list[Said] | None = None
    """What the caller made heard, to the sample; None where that is not known."""
    clean: Samples | None = None
    """The clean sounds of `said` at the recording's rate, one behind another; None: not kept."""
    late_departures: Mapping[int, int] = field(default_factory=dict)
    """When a packet of the caller's left that left late: by the sample of the mouth at its end."""
    earlier: tuple["CallEvidence", ...] = ()
    """Of the attempts before this one, in folders of their own in the call's: they do not count."""
    heard: Mapping[int, Sequence[Segment]] = field(default_factory=dict)
    """What the detector has heard already of a channel as it was recorded: it takes its time."""
    outlined: bool = False
    """Whether this is an `outline`."""
    recording_file: str = RECORDING
    """Its name in the call's directory."""

    @property
    def name(self) -> str:
        """Of the scenario."""
        return self.info.name

    @property
    def recorded(self) -> bool:
        """Whether there is any recording."""
        return len(self.recording) > 0

    @property
    def end_ns(self) -> int:
        """The last instant that is known: of its last mark, or of the recording's end."""
        last_ns = self.marks[-1].at_ns if self.marks else self.recording_start_ns
        return max(last_ns, self.at_ns(len(self.recording)))

    def outline(self) -> "CallEvidence":
        """What a run still has to know when the call's own page is written: no sound, few marks."""
        ends = self.marks[:1] + self.marks[-1:]  # these say how long it took
        return CallEvidence(
            info=self.info,
            marks=[m for m in self.marks if m.name not in _OF_EVERY_FRAME or m in ends],
            recording=self.recording[:1].copy(),  # there is one
            rate_hz=self.rate_hz,
            recording_start_ns=self.recording_start_ns,
            earlier=tuple(one.outline() for one in self.earlier),
            outlined=True,
            recording_file=self.recording_file,
        )

    def find(self, source: Source, *names: str, after_ns: int = 0) -> Iterator[Mark]:
        """Marks of a source, of any of these names, from an instant on, in order of time."""
        by_name = self._by_name
        found = [
            by_name[key] for name in dict.fromkeys(names) if (key := (source, name)) in by_name
        ]
        marks = heapq.merge(*found) if len(found) > 1 else chain.from_iterable(found)
        return (mark for _, mark in marks if mark.at_ns >= after_ns)

    @cached_property
    def _by_name(self) -> Mapping[tuple[Source, str], list[tuple[int, Mark]]]:
        """The marks with their places among all: each metric asks for some names of thousands."""
        found: dict[tuple[Source, str], list[tuple[int, Mark]]] = {}
        for place, mark in enumerate(self.marks):
            found.setdefault((mark.source, mark.name), []).append((place, mark))
        return found

    def first(self, source: Source, *names: str, after_ns: int = 0) -> Mark | None:
        """The first of `find`, if there is any."""
        return next(self.find(source, *names, after_ns=after_ns), None)

    def last(self, source: Source, *names: str) -> Mark | None:
        """The last of `find`, if there is any."""
        found = list(self.find(source, *names))
        return found[-1] if found else None

    def at_ns(self, sample: float) -> int:
        """When a sample of the recording was spoken or heard."""
        return self.recording_start_ns + round(sample * _NS_PER_S / self.rate_hz)

    def sample_at(self, at_ns: int) -> int:
        """The recording's sample of an instant; may lie outside of the recording."""
        return round((at_ns - self.recording_start_ns) * self.rate_hz / _NS_PER_S)

    def left_ns(self, sample: int) -> int | None:
        """When the packet with a sample of the mouth left the caller's telephone.

        None where the recording is not the caller's own, who records a frame for every packet.
        """
        if self.first("caller", "recording_started") is None:
            return None
        ready = self.first("caller", "media_ready")
        is_opus = ready is not None and ready.fields.get("codec") == "OPUS"
        filter_ms = OPUS_MS if is_opus else _FILTER_MS
        if self.info.lane != "sip":
            filter_ms = 0.0
        frame = self.rate_hz // _FRAMES_A_SECOND
        packet = (sample + round(filter_ms * self.rate_hz / 1000)) // frame
        until = (packet + 1) * frame
        return self.late_departures.get(until, self.at_ns(until))

    def clean_sound(self, number: int) -> Samples | None:
        """What the caller made heard, by its number in `said`, before noise, echo, gain, codec."""
        if self.clean is None or self.said is None or self.said[number].first is None:
            return None
        first = sum(one.length for one in self.said[:number])
        return self.clean[first : first + self.said[number].length]

    def channel(self, channel: int) -> Samples:
        """One channel of the recording, `MOUTH` or `EAR`; not to be written to."""
        return np.ascontiguousarray(self.recording[:, channel])


def load_evidence(directory: Path) -> CallEvidence:
    """The evidence of a call from its directory, where only the timeline must exist.

    Raises:
        EvidenceError: something there cannot be read.
        callerside.timelines.TimelineError: a line of the timeline is no mark.
    """
    timeline = directory / TIMELINE
    if not is_there(timeline):
        raise EvidenceError(f"{timeline}: no such file: a call's directory holds its {TIMELINE}")
    marks = merge([read_timeline(timeline)])
    info = _read_info(directory / INFO, directory.name)
    _see_that_it_is_whole(timeline, info, marks)
    recording, rate_hz = np.zeros((0, 2), np.int16), 8000
    file = EXPORT if not is_there(directory / RECORDING) else RECORDING
    if is_there(directory / file):
        recording, rate_hz = read_recording(directory / file)
    started = next((m for m in marks if m.name == "recording_started"), None)
    if len(recording) and started is None:
        raise EvidenceError(
            f"{timeline}: no mark recording_started, without which nobody knows when {file} begins"
        )
    return CallEvidence(
        info=info,
        marks=marks,
        recording=recording,
        rate_hz=rate_hz,
        recording_start_ns=started.at_ns if started else 0,
        server_heard=_read_audio(directory / HEARD),
        server_sent=_read_audio(directory / SENT),
        said=_read_said(directory / SAID),
        clean=_read_clean(directory / CLEAN),
        late_departures=_read_departures(directory / DEPARTURES),
        earlier=tuple(
            load_evidence(timeline.parent)
            for timeline in sorted(directory.glob(f"{ATTEMPT}*/{TIMELINE}"))
        ),
        recording_file=file if len(recording) else RECORDING,
    )


def _see_that_it_is_whole(timeline: Path, info: CallInfo, marks: list[Mark]) -> None:
    """A run writes its timelines in one piece; only a killed agent's own may end in half a line."""
    if info.lane != "production" and marks and not timeline.read_bytes().endswith(b"\n"):
        raise EvidenceError(f"{timeline}: cut short: its last line has no end")
    if not marks and info.verdict == "passed":
        raise EvidenceError(f"{timeline}: an empty timeline, of a call that passed")


def read_recording(path: Path) -> tuple[Samples, int]:
    """A recording of two channels, shape (n, 2), and its rate.

    Raises:
        EvidenceError: it is none.
    """
    samples, rate_hz = _read_sound(path)
    if samples.shape[1] != 2:
        raise EvidenceError(
            f"{path}: {samples.shape[1]} channels, expected two: what the caller said, and heard"
        )
    return np.asfortranarray(samples), rate_hz


def _read_departures(path: Path) -> dict[int, int]:
    if not is_there(path):
        return {}
    try:
        lines = [json.loads(line) for line in read_bytes(path).splitlines()]
        return {int(line["until"]): int(line["at_ns"]) for line in lines}
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise EvidenceError(f"{path}: cannot be read: {error!r}") from None


def _read_info(path: Path, name: str) -> CallInfo:
    if not is_there(path):
        return CallInfo(name=name, lane="production")
    try:
        return CallInfo.model_validate_json(read_bytes(path))
    except OSError as error:
        raise EvidenceError(f"{path}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise EvidenceError(f"{path}: {where}: {first['msg']}") from None


_SAID = TypeAdapter(list[Said])


def _read_said(path: Path) -> list[Said] | None:
    if not is_there(path):
        return None
    try:
        return _SAID.validate_json(read_bytes(path))
    except OSError as error:
        raise EvidenceError(f"{path}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise EvidenceError(f"{path}: {where}: {first['msg']}") from None


def write_said(directory: Path, said: list[Said], clean: Samples | None, rate_hz: int) -> None:
    """What `load_evidence` reads of the caller's own speech in a call's directory; atomic."""
    write_atomically(directory / SAID, _SAID.dump_json(said) + b"\n")
    if clean is not None and clean.size:
        write_flac(directory / CLEAN, clean, rate_hz)


def _read_clean(path: Path) -> Samples | None:
    audio = _read_audio(path)
    return None if audio is None else audio.samples


def _read_audio(path: Path) -> Audio | None:
    if not is_there(path):
        return None
    samples, rate_hz = _read_sound(path)
    return Audio(np.ascontiguousarray(samples[:, 0]), rate_hz)


def _read_sound(path: Path) -> tuple[Samples, int]:
    try:
        samples, rate_hz = soundfile.read(
            io.BytesIO(read_bytes(path)), dtype="int16", always_2d=True
        )
    except OSError as error:
        raise EvidenceError(f"{path}: cannot be read: {error.strerror}") from None
    except soundfile.LibsndfileError as error:
        why = error.error_string.rstrip(".") or "it cannot be decoded"
        if _is_flac(path):
            why = f"cut short, or damaged: {why}"
        raise EvidenceError(f"{path}: cannot be read as sound: {why}") from None
    with path.open("rb") as file:
        tag, length = file.read(4), int.from_bytes(file.read(4), "little") + 8
    if tag == b"RIFF" and length > path.stat().st_size:
        raise EvidenceError(f"{path}: cut short: {path.stat().st_size} of {length} bytes")
    return samples, rate_hz


def export_wav(evidence: CallEvidence, directory: Path) -> None:
    """Write the recording as WAV beside the one that is kept, for programs that read no FLAC."""
    if evidence.recorded:
        write_wav(directory / EXPORT, evidence.recording, evidence.rate_hz)


def _is_flac(path: Path) -> bool:
    """Whether a file begins as FLAC does."""
    with path.open("rb") as file:
        return file.read(4) == b"fLaC"


def save_evidence(evidence: CallEvidence, directory: Path) -> None:
    """Write what `load_evidence` reads, each file atomically."""
    directory.mkdir(parents=True, exist_ok=True)
    write_atomically(directory / TIMELINE, to_lines(evidence.marks))
    info = evidence.info.model_dump_json(indent=2, exclude_defaults=True)
    write_atomically(directory / INFO, info.encode() + b"\n")
    if evidence.recorded:
        write_flac(directory / RECORDING, evidence.recording, evidence.rate_hz)
    if evidence.said is not None:
        write_said(directory, evidence.said, evidence.clean, evidence.rate_hz)
    for attempt in evidence.earlier:
        save_evidence(attempt, directory / attempt_folder(attempt.info))
    for name, audio in ((HEARD, evidence.server_heard), (SENT, evidence.server_sent)):
        if audio is not None and audio.samples.size:
            write_flac(directory / name, audio.samples, audio.rate_hz)
