"""A call becomes a scenario: what was bad once is played again, and held to limits.

The caller's side is cut out of the recording. Each thing that the caller said hangs on what the
agent had said before, as it hung there: so long after the agent began, or had ended, or after the
caller's own last word. The server's side is what the timeline says that it sent; where nobody knows
that, it is what was heard, for people to fill in.

What the agent said is parted into utterances by the same listener that a scripted caller has, so
that `reply` in the scenario means what it meant in the call.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from callerside.agent.telephony.interface import FRAME_MS
from callerside.agent.tools.interface import ToolError
from callerside.atomic_files import write_atomically
from callerside.audio import BYTES_PER_SAMPLE, to_bytes
from callerside.audio_files import AudioFileError, write_wav
from callerside.clock import NS_PER_S, ms_to_ns, ns_to_ms
from callerside.marks import Mark
from callerside.reports.evidence import EAR, MOUTH, CallEvidence, Said, load_evidence
from callerside.reports.hearing.keys import keys
from callerside.reports.metrics.audible import Sound, overlaps, spoken
from callerside.reports.metrics.metrics import Measured, measure
from callerside.reports.metrics.turns import Turn
from callerside.simulator.caller.audio.recordings import said_in
from callerside.simulator.caller.audio.utterances import end_mid_frame
from callerside.simulator.caller.audio.voice import voiced_level_dbfs
from callerside.simulator.caller.call_state import is_greeting
from callerside.simulator.caller.listener import AgentUtterance, Listener
from callerside.simulator.caller.performers import KEY_MS
from callerside.simulator.caller.speaker import LEAD_FRAMES
from callerside.simulator.lanes.virtual.lane import VirtualLane
from callerside.simulator.runner.answers import is_made_up_for, unusable_answers
from callerside.simulator.runner.evaluate import evaluate
from callerside.simulator.runner.plan import PlanError, plan
from callerside.simulator.scenario import loader
from callerside.simulator.scenario.model import Codec, Scenario, no_name
from callerside.speech.voices import VoiceError
from callerside.yaml.versions import NEWEST

LIMITED = ("turn_ms", "barge_in_stop_ms", "talk_over_ms", "dead_air_ms")
"""What a scenario is held to by what was measured in the call."""

_BEFORE = "-before"
"""Behind a scenario's name: the call that fills the agent's cache for it."""
_END_SILENCE_MS = (
    700.0  # the default of `caller.end_silence`: so late it is sure that a reply ended
)
_BEFORE_MS, _AFTER_MS = 100.0, 200.0  # kept around what the caller said: it begins and ends softly
_HALF_A_TICK_MS = FRAME_MS / 2  # a caller acts with the next frame after a moment
_STOPPED_MS = 1000.0  # after the caller has begun, an agent that lets itself be interrupted
_SETTLED_MS = 500.0  # after the answer, of a call that is to begin in the middle
_REFUSAL = 300  # the first SIP status that means that something did not work
_KEYS_TOGETHER_MS = 1500.0
_MISSED_MS = 2000.0  # a caller who waits so long for an answer misses it
_SERVER_SILENCE_MS, _PATH_MS = 500.0, 40.0  # what a turn takes besides the think time, by default
_ROUNDS = 3
_LONGEST_PLAYED_S = 600.0  # is played at once, so that its answers come when they did: seconds
_ROOM = 1.1  # above what was measured: a limit is for what is worse, and not for chance
_ROOM_MS = 50.0

Samples = NDArray[np.int16]


class FromCallError(ValueError):
    """A call of which no scenario can be made: says why."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Act:
    """What the caller did: spoke, made a sound that takes no turn, pressed keys, held the call."""

    start_ns: int
    end_ns: int
    text: str = ""
    takes_turn: bool = True
    keys: str = ""
    step: str = ""
    """Of what is done without a sound: `hold` or `resume`."""
    clean: Samples | None = None
    """The sound before it met the line, where that was kept,"""
    clean_ns: int = 0
    """and when it began."""

    @property
    def sounds(self) -> bool:
        """Whether it is something that was said."""
        return not self.keys and not self.step


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sound:
    """What of an act is kept, and what a caller makes of that when it is played."""

    samples: Samples
    level_dbfs: float | None
    from_ns: int
    """When what is played of it was begun to be said, and"""
    until_ns: int
    """was over."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Reply:
    """Something that the server sent, or that the agent was heard to say."""

    sound: Samples
    rate_hz: int
    text: str = ""
    think_ms: float | None = None
    delta_ms: float | None = None
    pace: float | None = None
    function: str = ""
    arguments: Any = None
    is_greeting: bool = False
    is_withheld: bool = False
    """What the caller said was not answered."""
    comment: str = ""


@dataclass
class _Writing:
    """The scenario as it comes to be: lines of YAML, and the sounds beside it."""

    name: str
    sounds: dict[str, tuple[Samples, int]] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)

    def keep(self, what: str, samples: Samples, rate_hz: int) -> str:
        """The name of a sound, relative to the scenario."""
        file = f"{self.name}/{what}.wav"
        self.sounds[file] = samples, rate_hz
        return file


def write_scenario(evidence: CallEvidence, name: str, folder: Path, *, from_s: float = 0.0) -> Path:
    """Write the scenario of a call as `folder/name.yaml`, its sounds into `folder/name/`.

    Args:
        evidence: of the call; it must be recorded.
        name: of the scenario.
        folder: where to.
        from_s: only what is later than that in the recording, as if the call began there.

    Raises:
        FromCallError: there is no recording, nobody speaks in it or it is shorter, the name is
            none, or there is such a scenario already.
    """
    path = _target(evidence, name, folder)
    lasts_s = len(evidence.recording) / evidence.rate_hz
    if from_s >= lasts_s:
        raise FromCallError(f"{evidence.name}: it ends after {lasts_s:.1f} s, before --from")
    call = _CallToReplay(evidence, from_s)
    if not call.acts and not call.utterances:
        after = f" after {from_s:g} s" if from_s else ""
        raise FromCallError(f"{evidence.name}: nobody speaks in it{after}")
    scenarios = _written(call, name, path)
    is_short = lasts_s - from_s <= _LONGEST_PLAYED_S
    if evidence.server_sent is None and is_short:
        call = _put_in_time(path, call, evidence, from_s)
        scenarios = loader.load([path])
    if from_s > 0 and is_short:
        call.played = _played(scenarios)
        write_atomically(path, call.text(_Writing(name)).encode())
    return path


def _written(call: "_CallToReplay", name: str, path: Path) -> list[Scenario]:
    """The scenario in its file, behind the one that it comes after, if there is one."""
    writing = _Writing(name)
    files = {path: call.text(writing)}
    if call.greeting_was_cached:
        files = {path.with_name(f"{name}{_BEFORE}.yaml"): call.text_before(writing), **files}
    for file, (samples, rate_hz) in writing.sounds.items():
        write_wav(path.parent / file, samples, rate_hz)
    for target, lines in files.items():
        write_atomically(target, lines.encode())
    return loader.load([*files])  # it can be read, or this is a fault of ours


def _played(scenarios: Sequence[Scenario]) -> dict[str, float]:
    """The largest of each thing that is measured where the last of them is played in memory.

    Of a part of a call much is otherwise than it was in the call: it begins with a new session, and
    nobody has said anything before. Empty where it cannot be played here.
    """
    with TemporaryDirectory() as folder:
        try:
            planned = plan(scenarios, repeat=None, seed=0)
            lane = VirtualLane(planned, Path(folder))
            *_, last = (evaluate(lane.play(one), "virtual") for one in planned)
        except (PlanError, ToolError, AudioFileError, VoiceError, OSError):
            return {}
    largest: dict[str, float] = {}
    for one in last.result.measured.measurements if last.result is not None else ():
        largest[one.name] = max(one.value, largest.get(one.name, one.value))
    return largest


def _target(evidence: CallEvidence, name: str, folder: Path) -> Path:
    """Where a call's scenario is to be written; raises `FromCallError` where there can be none."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name) or (no_name(name) is not None):
        raise FromCallError(f"{name!r} is no name: expected letters, digits, _ and -")
    path = folder / f"{name}.yaml"
    if path.exists():
        raise FromCallError(f"{path}: there is one already; choose another name with --name")
    if not evidence.recorded:
        raise FromCallError(f"{evidence.name}: it was not recorded, so nobody knows what was said")
    if evidence.info.recording is not None and not evidence.info.recording.caller:
        raise FromCallError(f"{evidence.info.recording.files[0]}: {_reason(evidence)}")
    return path


def _put_in_time(
    path: Path, call: "_CallToReplay", evidence: CallEvidence, from_s: float
) -> "_CallToReplay":
    """Have its answers come as late as they came: by how late they come when it is played.

    One turn's answer moves what hangs on it, so that is done up to three times. Answers the call as
    it is written then.
    """
    turns_ms = call.turns_ms
    later_ms = [0.0] * len(turns_ms)
    for _ in range(_ROUNDS):
        more_ms = _played_later_ms(path, turns_ms)
        if not any(more_ms):
            break
        later_ms = [one + more for one, more in zip(later_ms, more_ms, strict=True)]
        call = _CallToReplay(evidence, from_s, later_ms)
        write_atomically(path, call.text(_Writing(path.stem)).encode())
    return call


def _played_later_ms(path: Path, turns_ms: Sequence[float]) -> list[float]:
    """Play the scenario in memory: how much later each of its turns is answered than is wanted.

    What a turn takes besides the think time hangs on how softly its words end, and what the server
    makes of that. In whole packets: by these an answer comes. Empty where not the same turns were
    answered.
    """
    (planned,) = plan(loader.load([path]), repeat=None, seed=0)
    with TemporaryDirectory() as folder:
        played = VirtualLane([planned], Path(folder)).play(planned)
        evidence = played.evidence or load_evidence(played.directory)
    again_ms = [*_from_the_mouth_ms(measure(evidence).turns)]
    if len(again_ms) != len(turns_ms):
        return []
    return [
        FRAME_MS * round((again - wanted) / FRAME_MS)
        for again, wanted in zip(again_ms, turns_ms, strict=True)
    ]


def _from_the_mouth_ms(turns: Iterable[Turn]) -> Iterator[float]:
    """How long answers took from the last that was said: not every call's packets are known."""
    for turn in turns:
        if turn.turn_ms is not None and turn.answer_ns is not None:
            yield ns_to_ms(turn.answer_ns - turn.end_ns)


def _reason(evidence: CallEvidence) -> str:
    bare = evidence.info.recording
    return next(iter(bare.unfit.values()), "whose channel is whose is not known") if bare else ""


@dataclass(frozen=True, kw_only=True)
class _PartOfScript:
    """What of a script is played again in a part of its call."""

    greeting: str
    """What of the script the agent's first words are: `greeting`, `reply 2`; "" for none of it."""
    replies: int
    """So many of its replies are over,"""
    turns: int
    """and so many of the caller's turns."""
    is_connected: bool
    """Whether a session was open, as far as is known: how it came to be was before the part."""

    def greeting_of(self, own: Mapping[str, Any]) -> Mapping[str, Any]:
        """What is to be said first."""
        key = self.greeting.replace(" ", "_")
        if self.greeting.startswith("reply "):
            number = int(self.greeting.removeprefix("reply "))
            scripted: Sequence[Mapping[str, Any]] = own.get("replies", ())
            if number <= len(scripted):
                return scripted[number - 1]
            key = "default_reply"
        said: Mapping[str, Any] = own.get(key, own["greeting"])
        return said

    def faults(self, faults: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        """Lines for those that strike in it, where they strike now; the others in a comment."""
        if self == _WHOLE:
            yield f"  faults: {_flow(faults)}"
            return
        kept = []
        for fault in faults:
            at = self._place(str(fault.get("at", "connect")))
            if at is None:
                yield f"  # left out, for it struck before: {_flow(fault)}"
            else:
                kept.append({**fault, "at": at})
        if kept:
            yield f"  faults: {_flow(kept)}"

    def timing(self, timing: Mapping[str, Any]) -> Iterator[str]:
        """Lines for the server's times: how late it connected is over, where it was connected."""
        later = {key: one for key, one in timing.items() if key != _CONNECTS_LATE}
        if not self.is_connected or len(later) == len(timing):
            yield f"  timing: {_flow(timing)}"
            return
        late = {_CONNECTS_LATE: timing[_CONNECTS_LATE]}
        yield f"  # left out, for it was before: {_flow(late)}"
        if later:
            yield f"  timing: {_flow(later)}"

    def _place(self, at: str) -> str | None:
        """Where that is in the part; None if it is before it, or nobody knows."""
        place, plus, offset = at.partition(" +")
        name, _, number = place.partition(" ")
        if place == self.greeting == "greeting" or (place == "connect" and not self.is_connected):
            return at
        over = {"reply": self.replies, "turn": self.turns, "speech": self.turns}.get(name)
        if over is None or not number.isdigit() or int(number) <= over:
            return None
        return f"{name} {int(number) - over}{plus}{offset}"


_WHOLE = _PartOfScript(greeting="greeting", replies=0, turns=0, is_connected=False)


class _CallToReplay:
    """A call, taken apart into what each side did."""

    def __init__(
        self, evidence: CallEvidence, from_s: float, later_ms: Sequence[float] = ()
    ) -> None:
        """`later_ms`: by how much each answer came too late when what was made of it was played."""
        self._evidence = evidence
        self._later_ms = later_ms
        self._measured = measure(evidence)
        self._from_ns = evidence.recording_start_ns + ms_to_ns(from_s * 1000)
        self._from_beginning = from_s <= 0
        self._script_is_known = _is_script_known(evidence)
        self._own = evidence.info.played
        if not self._script_is_known:
            self._own = {key: one for key, one in self._own.items() if key not in _NEVER_SHOWN}
        own_silence = self._own.get("caller", {}).get("end_silence", _END_SILENCE_MS)
        self._end_silence_ms = float(own_silence)
        self._line = _line_of(evidence)
        self._kept: dict[_Act, _Sound] = {}
        self.acts = [act for act in self._acts() if act.start_ns >= self._from_ns]
        self.utterances = [u for u in self._listen() if u.start_ns >= self._from_ns]
        self.played: Mapping[str, float] = {}
        """What was measured where the part was played in memory, the largest of each."""
        self._greets = self._is_set_to_greet()
        self._replaying = _WHOLE if self._from_beginning else self._part()

    @property
    def _turns(self) -> list[Turn]:
        """Those that were answered in what is played again."""
        return [
            turn
            for turn in self._measured.turns
            if turn.turn_ms is not None and turn.end_ns >= self._from_ns
        ]

    @property
    def turns_ms(self) -> list[float]:
        """How long each of its answers took."""
        return [*_from_the_mouth_ms(self._turns)]

    def _part(self) -> "_PartOfScript":
        """What of the script a part of the call plays, and which of its replies greets the caller.

        What the agent said last before the caller does anything is the greeting of such a call;
        what it had said before that hangs on what the caller did before, and is left out.

        Raises:
            FromCallError: the caller does nothing more.
        """
        if not self.acts:
            after_s = ns_to_ms(self._from_ns - self._evidence.recording_start_ns) / 1000
            raise FromCallError(
                f"{self._evidence.name}: after {after_s:g} s the caller does nothing more, so what "
                "the agent does then hangs on what came before: choose an earlier --from"
            )
        first_ns = self.acts[0].start_ns
        before = [one for one in self.utterances if one.start_ns < first_ns]
        self.utterances = [one for one in self.utterances if one not in before[:-1]]
        evidence = self._evidence
        names = {
            str(mark.fields["response"]): str(mark.fields["reply"])
            for mark in evidence.find("realtime", "response_planned")
        }
        greeting = ""
        if before:
            for mark in evidence.find("realtime", "delta_sent"):
                if mark.at_ns > before[-1].start_ns:
                    break
                greeting = names.get(str(mark.fields["response"]), "")
        numbers = [
            int(name.removeprefix("reply "))
            for mark in evidence.find("realtime", "response_planned")
            if (name := str(mark.fields["reply"])).startswith("reply ") and mark.at_ns < first_ns
        ]
        turns = [act for act in self._acts() if act.takes_turn and act.start_ns < self._from_ns]
        opened = evidence.first("realtime", "session_opened")
        is_seen = any(mark.source == "realtime" for mark in evidence.marks)
        return _PartOfScript(
            greeting=greeting,
            replies=max(numbers, default=0),
            turns=len(turns),
            is_connected=not is_seen or (opened is not None and opened.at_ns < self._from_ns),
        )

    def _is_set_to_greet(self) -> bool:
        """Whether the first that the agent says is a greeting."""
        if self._greets_as_it_did:
            return bool(self._own.get("agent", {}).get("greeting", {}).get("enabled", True))
        return bool(self.utterances) and (
            not self.acts or self.utterances[0].start_ns < self.acts[0].start_ns
        )

    def _acts(self) -> list[_Act]:
        """What the caller did, in order."""
        evidence = self._evidence
        pressed = [*self._pressed()]
        if evidence.said is not None:
            spoke = [self._spoken(number, said) for number, said in enumerate(evidence.said)]
        else:
            spoke = [
                _Act(start_ns=sound.start_ns, end_ns=sound.end_ns)
                for sound in spoken(self._measured.audible.mouth)
                if not any(_meet(sound, act) for act in pressed)
            ]
        return sorted([*spoke, *pressed, *self._held()], key=lambda act: act.start_ns)

    def _spoken(self, number: int, said: Said) -> _Act:
        evidence = self._evidence
        clean = evidence.clean_sound(number) if self._line is not None else None
        if clean is not None and said.voiced[-1][1] == len(evidence.recording):
            clean = clean[: len(evidence.recording) - (said.first or 0)]  # it was cut off
        return _Act(
            start_ns=evidence.at_ns(said.voiced[0][0]),
            end_ns=evidence.at_ns(said.voiced[-1][1]),
            text=said.text,
            takes_turn=said.turn is not None,
            clean=clean,
            clean_ns=evidence.at_ns(said.first or 0),
        )

    def _held(self) -> Iterator[_Act]:
        """When the call was put on hold, and taken up again."""
        held = False
        for mark in self._evidence.find("agent", "media_held", "media_resumed"):
            if (mark.name == "media_held") == held:
                continue  # media comes anew after other re-INVITEs, too
            held = not held
            step = "hold" if held else "resume"
            yield _Act(start_ns=mark.at_ns, end_ns=mark.at_ns, step=step, takes_turn=False)

    def _pressed(self) -> Iterator[_Act]:
        evidence = self._evidence
        for mark in evidence.find("caller", "dtmf_sent"):
            yield _Act(start_ns=mark.at_ns, end_ns=mark.at_ns, keys=str(mark.fields["digits"]))
        if evidence.first("caller", "call_dialed") is not None:
            return  # its marks are all
        together: list[_Act] = []
        for key in keys(evidence.channel(MOUTH), evidence.rate_hz):
            start_ns, end_ns = evidence.at_ns(key.start), evidence.at_ns(key.end)
            last = together[-1] if together else None
            if last and start_ns - last.end_ns < ms_to_ns(_KEYS_TOGETHER_MS):
                together[-1] = replace(last, end_ns=end_ns, keys=last.keys + key.key)
            else:
                together.append(_Act(start_ns=start_ns, end_ns=end_ns, keys=key.key))
        yield from together

    def _listen(self) -> list[AgentUtterance]:
        """What the agent said, as a caller who is there makes utterances of it."""
        evidence = self._evidence
        turns = [act for act in self._acts() if act.takes_turn]
        if evidence.first("caller", "speech_heard") is not None:
            return self._heard_live(turns)
        listener = Listener(evidence.rate_hz, end_silence_ms=self._end_silence_ms)
        frame = evidence.rate_hz * FRAME_MS // 1000
        ear = evidence.recording[:, EAR]
        for first in range(0, ear.size - frame + 1, frame):
            at_ns = evidence.at_ns(first)
            while turns and turns[0].start_ns <= at_ns:
                listener.spoken_into()
                turns.pop(0)
            listener.notice_silence(at_ns)
            listener.listen(to_bytes(ear[first : first + frame]), at_ns)
        listener.line_is_dead(evidence.at_ns(ear.size))
        return listener.utterances

    def _heard_live(self, turns: Sequence[_Act]) -> list[AgentUtterance]:
        """The same, where a caller was there and has marked it."""
        utterances: list[AgentUtterance] = []
        ended = self._evidence.last("caller", "call_ended")
        end_ns = self._evidence.end_ns if ended is None else ended.at_ns
        for mark in self._evidence.find("caller", "speech_heard", "silence_heard"):
            if mark.name == "speech_heard":
                utterances.append(AgentUtterance(mark.at_ns))
            elif utterances:
                last = utterances[-1]
                last.quiet_ns = mark.at_ns
                last.cut = mark.at_ns >= end_ns
                last.over = not last.cut
        for one in utterances:
            past_ns = end_ns if one.quiet_ns is None else one.quiet_ns
            one.spoken_into = any(one.start_ns < act.start_ns < past_ns for act in turns)
        return utterances

    @property
    def greeting_was_cached(self) -> bool:
        """Whether the agent had its greeting from a call before this one."""
        started = self._evidence.first("agent", "greeting_started")
        cached = started is not None and started.fields.get("origin") == "cache"
        return cached and self._greets and self._from_beginning

    def text_before(self, writing: _Writing) -> str:
        """The YAML of the call that leaves its greeting in the agent's cache."""
        heard = next(self._heard())
        ended = self._evidence.first("agent", "greeting_ended")
        if ended is not None:  # the silence at its end is part of it
            length = round(float(ended.fields["played_ms"]) * heard.rate_hz / 1000)
            silence = np.zeros(max(0, length - heard.sound.size), np.int16)
            heard = replace(heard, sound=np.concatenate([heard.sound, silence]))
        lines = [
            f"# Its greeting is what {writing.name} has from the agent's cache.",
            f"version: {NEWEST}",
            f"about: The call before {writing.name}.",
            "realtime:",
            f"  greeting: {self._reply(heard, 'greeting', writing)}",
            *self._agent(),
            "steps: [{expect: greeting}, hang_up]",
        ]
        return "\n".join(lines) + "\n"

    def text(self, writing: _Writing) -> str:
        """The scenario's YAML; what it needs beside it is kept in `writing`."""
        evidence = self._evidence
        self._write_steps(writing)
        script = self._script(writing)
        source = evidence.info.recording.files[0] if evidence.info.recording else evidence.name
        about = f"What was heard in {source}, played again."
        lines = [
            "# Protects: say here, in one sentence, what breaks for a caller when this fails.",
            f"version: {NEWEST}",
            f"about: {json.dumps(about, ensure_ascii=False)}",
            *([f"after: {writing.name}{_BEFORE}"] if self.greeting_was_cached else []),
            *script,
            *self._agent(),
            *self._caller(),
            *(f"{key}: {_flow(self._own[key])}" for key in _AROUND if self._own.get(key)),
            "steps:",
            *writing.steps,
            *self._budget(),
            f"time_limit: {math.ceil(ns_to_ms(evidence.end_ns - self._from_ns) / 1000) + 30}s",
        ]
        return "\n".join(lines) + "\n"

    def _agent(self) -> list[str]:
        """The agent's settings, as the call's own scenario had them; else what is known of them."""
        settings = self._with_answers_left(self._own.get("agent") or {})
        greeting = dict(settings.get("greeting", {}))
        if not self._greets:
            greeting["enabled"] = False
        elif self._is_greeting_stopped():
            greeting["interruptible"] = True  # what stands in its place was
        if greeting:
            settings = {**settings, "greeting": greeting}
        comments = []
        if not self._own.get("agent"):
            comments = ["# agent: its settings for this call, if they were others than defaults"]
            if self._unanswered:
                settings = {**settings, "turns": {"watchdogs": {"response_ms": 0}}}
                comments.append("# (response_ms: 0: it does not ask anew for what does not come)")
        return [*comments, *([f"agent: {_flow(settings)}"] if settings else [])]

    def _is_greeting_stopped(self) -> bool:
        """Whether what now greets was broken off when the caller spoke into it."""
        if self._greets_as_it_did or not self._greets or not self.utterances[0].spoken_into:
            return False
        first = self.utterances[0]
        spoke_ns = next((one.start_ns for one in self.acts if one.start_ns > first.start_ns), 0)
        ended_ns = self._evidence.end_ns if first.quiet_ns is None else first.quiet_ns
        return ended_ns - spoke_ns < ms_to_ns(_STOPPED_MS)

    def _with_answers_left(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """The agent's settings, its stubs without the answers that are given before the part."""
        stubs = settings.get("tools", {}).get("stub", {})
        if self._from_beginning or not stubs:
            return settings
        first_ns = self.acts[0].start_ns
        left = {}
        for name, stub in stubs.items():
            given = sum(
                mark.fields["name"] == name and mark.at_ns < first_ns
                for mark in self._evidence.find("realtime", "function_called")
            )
            answers = stub.get("answers", [])
            left[name] = {**stub, "answers": answers[given:] or answers[-1:]} if answers else stub
        return {**settings, "tools": {**settings["tools"], "stub": left}}

    @property
    def _greets_as_it_did(self) -> bool:
        """Whether what greets the caller is what greeted in that call, and is known to be."""
        return self._script_is_known and self._from_beginning

    def _caller(self) -> list[str]:
        """How long the caller waits, and with what telephone."""
        media = self._evidence.first("caller", "media_ready")
        codec = f"codec: {media.fields['codec']}, " if media else ""
        codec = codec if media and media.fields["codec"] in get_args(Codec) else ""
        waits = [ns_to_ms((u.quiet_ns or u.start_ns) - u.start_ns) for u in self.utterances]
        patience = (
            math.ceil((max(waits, default=0.0) + 2 * _longest_ms(self._measured)) / 1000) + 10
        )
        silence = f"end_silence: {self._end_silence_ms:.0f}ms"  # a suite may have another
        line = "".join(f", {key}: {_flow(value)}" for key, value in (self._line or {}).items())
        return [f"caller: {{{codec}patience: {patience}s, {silence}{line}}}"]

    # The caller's side.

    def _write_steps(self, writing: _Writing) -> None:
        steps = writing.steps
        beep = self._measured.audible.beep
        first_ns = min(map(self._acts_ns, self.acts), default=self._evidence.end_ns)
        if self._from_beginning and beep is not None and beep.end_ns <= first_ns:
            steps.append("  - expect: beep")
        left = list(self.utterances)
        before: _Act | None = None
        turns_ns = [act.start_ns for act in self.acts if act.takes_turn]
        steps += self._meant(self._from_ns, min(turns_ns, default=self._evidence.end_ns))
        for number, act in enumerate(self.acts, start=1):
            begun = [u for u in left if u.start_ns < act.start_ns]
            when = self._when(begun, before, act, steps)
            self._write_act(number, act, when, writing)
            if act.takes_turn:
                left = [u for u in left if u.start_ns >= act.start_ns]
                before = act
                later_ns = (at_ns for at_ns in turns_ns if at_ns > act.start_ns)
                until_ns = next(later_ns, self._evidence.end_ns)
                steps += self._meant(act.start_ns, until_ns)
                if act in self._unanswered and ns_to_ms(until_ns - act.end_ns) >= _MISSED_MS:
                    steps.append("  - expect: {response: withheld}")
            elif act.step:
                before = act
            else:
                left = left[len(begun) - 1 :] if begun else left
        self._write_end(left, before, steps)

    def _meant(self, from_ns: int, until_ns: int) -> Iterator[str]:
        """Answers of that time that a caller cannot use: meant, as the call passed with them.

        Only where the server is to fail as it failed there. They keep no caller waiting. One whose
        sound was lost on its way is silent for the caller alone: the server ends it as any other.
        """
        info = self._evidence.info
        if info.verdict != "passed" or not self._own_script():
            return
        marks = self._evidence.marks
        for answer in unusable_answers(marks):
            lost = answer.how == "silent" and is_made_up_for(answer, marks)
            if from_ns <= answer.at_ns < until_ns and not lost:
                yield f"  - expect: {{response: {answer.how}}}"

    def _when(
        self,
        begun: Sequence[AgentUtterance],
        before: _Act | None,
        act: _Act,
        steps: list[str],
    ) -> str:
        """The moment of an act; waits for whatever comes before it are written as steps."""
        acts_ns = self._acts_ns(act)
        amid = [u for u in begun if before is not None and u.start_ns < before.end_ns]
        begun = [u for u in begun if u not in amid]
        if not begun:
            if before is None and self._replaying.is_connected:
                return f"answer + {_SETTLED_MS:.0f}ms"
            if before is None:
                late_ms = ns_to_ms(acts_ns - self._answered_ns())
                return f"answer + {max(0.0, late_ms):.0f}ms"
            pause_ms = ns_to_ms(acts_ns - self._over_ns(before))
            if amid:
                steps.append("  # the agent had begun to speak before the caller was done")
            if pause_ms > 0:
                steps.append(f"  - pause: {pause_ms:.0f}ms")
            return ""
        *earlier, last = begun
        steps += [f"  - expect: {self._word(utterance)}" for utterance in earlier]
        word = self._word(last)
        quiet_ns = last.quiet_ns
        if quiet_ns is not None and last.over:
            after_ms = ns_to_ms(acts_ns - quiet_ns)
            if after_ms >= self._end_silence_ms:
                return f"{word} end + {after_ms:.0f}ms"
        offset_ms = max(0.0, ns_to_ms(acts_ns - last.start_ns))
        return f"{word} + {offset_ms:.0f}ms"

    def _answered_ns(self) -> int:
        answered = self._evidence.first("caller", "call_answered")
        if answered is not None and self._from_beginning:
            return answered.at_ns
        return self._from_ns

    def _word(self, utterance: AgentUtterance) -> str:
        number = self.utterances.index(utterance)
        return "greeting" if is_greeting(number, greets=self._greets) else "reply"

    def _acts_ns(self, act: _Act) -> int:
        """When a caller has to act for it to be as it was: with the next frame, it is done."""
        if not act.sounds:
            return act.start_ns
        ahead = LEAD_FRAMES if self._line and {"noise", "echo"} & self._line.keys() else 0
        return self._sound(act).from_ns + ms_to_ns(_HALF_A_TICK_MS - ahead * FRAME_MS)

    def _over_ns(self, act: _Act) -> int:
        """When a caller that plays it again is done with it: its last frame has left."""
        if not act.sounds:
            return act.end_ns + ms_to_ns(KEY_MS * len(act.keys))
        until = self._evidence.sample_at(self._sound(act).until_ns)
        return self._evidence.left_ns(until - 1) or self._sound(act).until_ns

    def _sound(self, act: _Act) -> _Sound:
        """What is kept of what was said."""
        if act not in self._kept:
            self._kept[act] = self._cut(act)
        return self._kept[act]

    def _cut(self, act: _Act) -> _Sound:
        evidence = self._evidence
        if act.clean is not None:
            samples, first_ns = act.clean, act.clean_ns
        else:
            later = (one.start_ns for one in self.acts if one.start_ns >= act.end_ns)
            earlier = (one.end_ns for one in self.acts if one.end_ns <= act.start_ns)
            first_ns = max(act.start_ns - ms_to_ns(_BEFORE_MS), *earlier, evidence.at_ns(0))
            past_ns = min(act.end_ns + ms_to_ns(_AFTER_MS), next(later, evidence.end_ns))
            first, past = evidence.sample_at(first_ns), evidence.sample_at(past_ns)
            samples = np.ascontiguousarray(evidence.recording[first:past, MOUTH])
        start, end, silence, part = 0, samples.size, 0, to_bytes(samples)
        if not self._is_known(act):
            try:
                start, end = said_in(Path(act.text or "what was said"), part, evidence.rate_hz)
            except AudioFileError as error:
                at_s = (act.start_ns - evidence.at_ns(0)) / NS_PER_S
                raise FromCallError(
                    f"what the caller said at {at_s:.2f} s cannot be said again: {error} "
                    "(--from leaves out what lies before)"
                ) from None
            part = to_bytes(samples[start:end])
            silence = (len(end_mid_frame(part, evidence.rate_hz)) - len(part)) // BYTES_PER_SAMPLE
        at = evidence.sample_at(first_ns)
        return _Sound(
            samples=samples,
            level_dbfs=voiced_level_dbfs(part, evidence.rate_hz),
            from_ns=evidence.at_ns(at + start - silence),
            until_ns=evidence.at_ns(at + end),
        )

    @staticmethod
    def _is_known(act: _Act) -> bool:
        """Whether it is a sound that the language has a name for."""
        return not act.takes_turn and act.text in _SOUNDS

    def _write_act(self, number: int, act: _Act, when: str, writing: _Writing) -> None:
        at_s = (act.start_ns - self._evidence.recording_start_ns) / 1e9
        comment = f"  # at {at_s:.2f} s" + (f": {' '.join(act.text.split())}" if act.text else "")
        moment = f"\n    when: {when}" if when else ""
        if act.keys or act.step:
            step = act.step or f'press: "{act.keys}"'
            if act.step and moment:
                step += ":"
            writing.steps.append(f"{comment}\n  - {step}{moment}")
            return
        sound = self._sound(act)
        level_dbfs = sound.level_dbfs
        file = writing.keep(f"caller-{number}", sound.samples, self._evidence.rate_hz)
        level = "" if level_dbfs is None else f", level_dbfs: {max(-60.0, level_dbfs):.2f}"
        if not act.takes_turn:
            comment += (
                "\n  # it took no turn in that call; `sound:` says so, of the sounds it knows"
            )
        known = self._is_known(act)
        what = f"sound: {act.text}" if known else f"say: {{wav: {file}{level}}}"
        if known:
            del writing.sounds[file]
        writing.steps.append(f"{comment}\n  - {what}{moment}")

    def _write_end(self, left: list[AgentUtterance], before: _Act | None, steps: list[str]) -> None:
        evidence = self._evidence
        heard = [u for u in left if before is None or u.start_ns >= before.end_ns]
        hung_up = evidence.first("caller", "hang_up_sent")
        leave = "vanish" if hung_up is not None and hung_up.fields["how"] == "vanish" else "hang_up"
        ended = evidence.last("caller", "call_ended")
        by_agent = hung_up is None and ended is not None and ended.fields.get("by") == "agent"
        end_ns = hung_up.at_ns if hung_up is not None else evidence.at_ns(len(evidence.recording))
        if by_agent:
            steps += [f"  - expect: {self._word(u)}" for u in heard if u.over]
            transferred = evidence.last("agent", "transfer_ended")
            if transferred is not None and int(transferred.fields["status"]) < _REFUSAL:
                steps.append('  - expect: {transfer: "*"}')
            steps.append("  - expect: hang_up")
            return
        if not heard:
            since_ns = self._over_ns(before) if before is not None else self._from_ns
            pause_ms = max(0.0, ns_to_ms(end_ns - since_ns))
            steps += [f"  - pause: {pause_ms:.0f}ms", f"  - {leave}"]
            return
        *earlier, last = heard
        steps += [f"  - expect: {self._word(u)}" for u in earlier]
        after_ms = ns_to_ms(end_ns - (last.quiet_ns or end_ns))
        if last.over and after_ms >= self._end_silence_ms:
            steps.append(f"  - expect: {self._word(last)}")
            rest_ms = after_ms - self._end_silence_ms
            if rest_ms >= FRAME_MS:
                steps.append(f"  - pause: {rest_ms:.0f}ms")
            steps.append(f"  - {leave}")
        else:
            offset_ms = ns_to_ms(end_ns - last.start_ns)
            steps.append(f"  - {leave}:\n    when: {self._word(last)} + {offset_ms:.0f}ms")

    # The server's side.

    def _script(self, writing: _Writing) -> list[str]:
        if own := self._own_script():
            return own
        sent = [*self._sent()]
        heard = [*self._heard()] if not sent else []
        replies = sent or heard
        lines = ["realtime:", *self._server_settings()]
        if heard:
            lines[:0] = [
                "# What the server sent is not known. This is what was heard, with think times by",
                "# which it comes as late as it came; say here what your model says, or dial your",
                "# agent (callerside run --agent), for which none of this counts.",
            ]
        first = [one for one in replies if one.is_greeting][:1]
        if self._greets and first:
            lines += [f"  greeting: {self._reply(first[0], 'greeting', writing)}"]
        others = [one for one in replies if one not in first]
        if others:
            lines.append("  replies:")
        for number, one in enumerate(others, start=1):
            if one.comment:
                lines.append(f"    # {one.comment}")
            lines.append(f"    - {self._reply(one, f'reply-{number}', writing)}")
        return lines if replies or len(lines) > 1 else ["realtime: {}"]

    def _own_script(self) -> list[str]:
        """The script that the call was played from, with the times that were drawn for it.

        Empty where there was none, or where it says files, whose folder is not known.
        """
        own = self._own.get("realtime")
        planned: dict[str, Mark] = {}
        for mark in self._evidence.find("realtime", "response_planned"):
            planned.setdefault(str(mark.fields["reply"]), mark)
        if own is None or _names_files(own):
            return []
        replies = [*enumerate(own.get("replies", ()), start=1)]
        part = self._replaying
        lines = ["realtime:"]
        for key, value in own.items():
            if key == "greeting":
                greeting = part.greeting_of(own)
                lines.append(f"  greeting: {_flow(_timed(greeting, planned.get(part.greeting)))}")
            elif key == "faults":
                lines += part.faults(value)
            elif key == "timing":
                lines += part.timing(value)
            elif key == "replies":
                later = [(number, one) for number, one in replies if number > part.replies]
                lines += ["  replies:"] if later else []
                lines += [
                    f"    - {_flow(_timed(one, planned.get(f'reply {number}')))}"
                    for number, one in later
                ]
            else:
                lines.append(f"  {key}: {_flow(value)}")
        return lines

    def _server_settings(self) -> list[str]:
        """How the server hears and what befell it, where the call's own scenario says so."""
        own = self._own.get("realtime") or {}
        opened = self._evidence.first("realtime", "session_opened")
        delay_ms = _number(opened, "delay_ms") if opened is not None else None
        lines = [f"  {key}: {_flow(own[key])}" for key in _OF_THE_SERVER if own.get(key)]
        if own.get("timing"):
            lines += self._replaying.timing(own["timing"])
        delayed_otherwise = {"faults", "timing"} & own.keys()  # one may be what delayed it
        if delay_ms and not delayed_otherwise and not self._replaying.is_connected:
            lines.append(f"  timing: {{{_CONNECTS_LATE}: {delay_ms:g}}}")
        struck = [*self._evidence.find("realtime", "fault_applied")] if "faults" not in own else []
        lines += [f"  # in that call a fault struck: {mark.fields['fault']}" for mark in struck]
        return lines

    def _reply(self, one: _Reply, what: str, writing: _Writing) -> str:
        parts = []
        if one.is_withheld:
            parts.append("sends_only: nothing")
        elif one.function:
            said = "raw_arguments" if isinstance(one.arguments, str) else "arguments"
            call = {"name": one.function, said: one.arguments or {}}
            parts.append(f"function_call: {json.dumps(call, ensure_ascii=False)}")
        else:
            parts.append(f"wav: {writing.keep(what, one.sound, one.rate_hz)}")
            if what == "greeting":
                parts.append("say: null")  # a suite's would be a second one
            if one.text:
                parts.append(f"transcript: {json.dumps(one.text, ensure_ascii=False)}")
        for key in ("think_ms", "delta_ms", "pace"):
            value = getattr(one, key)
            if value is not None:
                parts.append(f"{key}: {round(value, 1):g}")
        return "{" + ", ".join(parts) + "}"

    def _sent(self) -> Iterator[_Reply]:
        """What the server planned and sent, as its marks tell it."""
        evidence = self._evidence
        sent = evidence.server_sent
        if sent is None:
            return
        places: dict[str, list[tuple[int, int]]] = {}
        total = 0
        for mark in evidence.find("realtime", "delta_sent"):
            samples = int(mark.fields["samples"])
            places.setdefault(str(mark.fields["response"]), []).append((total, total + samples))
            total += samples
        calls = [*evidence.find("realtime", "function_called")]
        planned = [*evidence.find("realtime", "response_planned", after_ns=self._from_ns)]
        if self._from_beginning:
            planned = [*evidence.find("realtime", "response_planned")]
        for mark in planned:
            response = str(mark.fields["response"])
            done = next(
                (
                    one.at_ns
                    for one in evidence.find("realtime", "response_done", after_ns=mark.at_ns)
                    if one.fields.get("response") == response
                ),
                evidence.end_ns,
            )
            called = next((one for one in calls if mark.at_ns <= one.at_ns <= done), None)
            spans = places.get(response, [])
            if not spans and called is None:
                continue
            sound = [sent.samples[first:past] for first, past in spans]
            yield _Reply(
                sound=np.concatenate(sound) if sound else np.zeros(0, np.int16),
                rate_hz=sent.rate_hz,
                text=str(mark.fields.get("text", "")),
                think_ms=float(mark.fields["think_ms"]),
                delta_ms=_number(mark, "delta_ms"),
                pace=_number(mark, "pace"),
                function=str(called.fields["name"]) if called is not None and not sound else "",
                arguments=called.fields["arguments"] if called is not None else None,
                is_greeting=mark.fields.get("reply") == "greeting",
            )

    def _heard(self) -> Iterator[_Reply]:
        """What the agent was heard to say, and where it said nothing."""
        unanswered = list(self._unanswered)
        for start_ns, reply in self._said_by_agent():
            while unanswered and unanswered[0].start_ns < start_ns:
                yield self._withheld(unanswered.pop(0))
            yield reply
        yield from map(self._withheld, unanswered)

    def _withheld(self, act: _Act) -> _Reply:
        at_s = (act.start_ns - self._evidence.recording_start_ns) / NS_PER_S
        return _Reply(
            sound=np.zeros(0, np.int16),
            rate_hz=self._evidence.rate_hz,
            is_withheld=True,
            comment=f"nobody answered what the caller said at {at_s:.2f} s",
        )

    def _said_by_agent(self) -> Iterator[tuple[int, _Reply]]:
        """What the agent was heard to say, with think times that make it as late as it was.

        Each with when it began.
        """
        evidence = self._evidence
        late_ms = {
            turn.answer_ns: (turn.turn_ms or 0.0) - later_ms
            for turn, later_ms in zip(self._turns, self._later_ms or repeat(0.0), strict=False)
        }
        for number, said in enumerate(self._unasked()):
            utterance, last = said[0], said[-1]
            first = evidence.sample_at(utterance.start_ns)
            past = evidence.sample_at(last.quiet_ns or evidence.end_ns)
            near = [
                ms for at_ns, ms in late_ms.items()
                if at_ns is not None and abs(at_ns - utterance.start_ns) < ms_to_ns(100)
            ]  # fmt: skip
            own_ms = _SERVER_SILENCE_MS + _PATH_MS
            yield (
                utterance.start_ns,
                _Reply(
                    sound=np.ascontiguousarray(evidence.recording[first:past, EAR]),
                    rate_hz=evidence.rate_hz,
                    think_ms=max(0.0, near[0] - own_ms) if near else None,
                    is_greeting=number == 0 and self._greets,
                    comment="the caller spoke into it: what followed was never heard"
                    if last.spoken_into
                    else "",
                ),
            )

    @cached_property
    def _unanswered(self) -> list[_Act]:
        """What the caller said, and the agent said nothing more before the caller spoke again.

        Where nobody knows what the server sent. What the caller says in two pieces is one turn of
        a server's that waits longer than the pause.
        """
        if self._evidence.server_sent is not None:
            return []
        spoke = [act for act in self.acts if act.takes_turn]
        turns = [
            act
            for act, later in zip(spoke, [*spoke[1:], None], strict=True)
            if later is None or later.start_ns - act.end_ns > ms_to_ns(_SERVER_SILENCE_MS)
        ]
        begun_ns = [one.start_ns for one in self.utterances]
        untils_ns = [*(act.start_ns for act in turns[1:]), self._evidence.end_ns]
        return [
            act
            for act, until_ns in zip(turns, untils_ns, strict=True)
            if not any(act.start_ns < at_ns < until_ns for at_ns in begun_ns)
        ]

    def _unasked(self) -> Iterator[list[AgentUtterance]]:
        """What the agent said, each with what it said later before the caller spoke again.

        A server answers once: what was said in two pieces is one answer with a pause in it.
        """
        turns_ns = [act.start_ns for act in self.acts if act.takes_turn]
        together: list[AgentUtterance] = []
        for one in self.utterances:
            if together and any(together[-1].start_ns < at < one.start_ns for at in turns_ns):
                yield together
                together = []
            together.append(one)
        if together:
            yield together

    def _measured_later(self) -> Iterator[tuple[str, float]]:
        """Names and values of what was measured, as far as the scenario plays it again."""
        began_ns = {turn.number: turn.start_ns for turn in self._measured.turns}
        for one in self._measured.measurements:
            at_ns = self._from_ns
            if one.turn is not None:
                at_ns = began_ns.get(one.turn, at_ns)
            elif one.span_ns is not None:
                at_ns = one.span_ns[0]
            is_stop = one.name == "barge_in_stop_ms"
            if is_stop and self._is_into_what_goes_on(at_ns):
                continue
            if self._from_beginning:
                yield one.name, one.value
            elif at_ns >= self._from_ns and not (is_stop and not self._is_into_a_reply(at_ns)):
                is_sum = one.name == "talk_over_ms"
                yield one.name, self._talk_over_later_ms() if is_sum else one.value

    def _is_into_what_goes_on(self, at_ns: int) -> bool:
        """Whether it is into a greeting that the scenario's agent says to its end."""
        if self._greets_as_it_did or not self._greets or self._is_greeting_stopped():
            return False
        first = self.utterances[0]
        return first.start_ns < at_ns < (first.quiet_ns or at_ns + 1)

    def _is_into_a_reply(self, at_ns: int) -> bool:
        """Whether what the agent said at that time is in the scenario from its beginning."""
        return any(one.start_ns < at_ns < (one.quiet_ns or at_ns + 1) for one in self.utterances)

    def _talk_over_later_ms(self) -> float:
        audible = self._measured.audible
        agent = [one for one in spoken(audible.ear) if one.start_ns >= self._from_ns]
        spans, _ = overlaps(spoken(audible.mouth), agent)
        return sum(ns_to_ms(end_ns - start_ns) for start_ns, end_ns in spans)

    def _budget(self) -> list[str]:
        """Limits with some room above what was measured."""
        lines = []
        own = self._own.get("budget") or {}
        kept = [*self._measured_later()]
        for name in LIMITED:
            values = [value for one, value in kept if one == name]
            if values:
                were = ", ".join(f"{value:.0f}" for value in values[:8])
                played = self.played.get(name, 0.0)
                if played > _limit(max(values)):
                    were += f"; in memory, of this part: {played:.0f}"
                    values.append(played)
                limit = str(_limit(max(values)))
                if self._from_beginning and name in own:  # what failed by it fails by it again
                    limit, were = _flow(own[name]), f"{were}; the limit is the call's own"
                lines.append(f"  {name}: {limit}  # measured: {were}")
        others = own.keys() - {*LIMITED}
        if not self._from_beginning:  # what nothing is held to ends a run with 2
            others &= {one for one, _ in kept} | self.played.keys()
        lines += [f"  {name}: {_flow(own[name])}" for name in own if name in others]
        if self._greets and not self._greets_as_it_did and "ready_ms" not in own:
            lines.append("  ready_ms: off  # what greets may be a long answer")
        if not lines:
            return []
        return ["# Somewhat more than was measured; make it what it should be.", "budget:", *lines]


def _limit(measured: float) -> int:
    return math.ceil((measured * _ROOM + _ROOM_MS) / 10) * 10


_SOUNDS = ("mm-hmm", "uh-huh", "hum", "cough", "breath")


_AROUND = ("target", "network")
_NEVER_SHOWN = ("agent", "realtime")
"""What a scenario says to an agent and a server of ours: nobody said so to another's."""
_CONNECTS_LATE = "connect_delay_ms"
_OF_THE_SERVER = ("vad", "dialect", "commits", "faults", "path")
_OF_THE_LINE = ("user", "level_dbfs", "noise", "echo", "gain_db", "clip_dbfs")


def _is_script_known(evidence: CallEvidence) -> bool:
    """Whether what a call's scenario says of agent and server is what they were.

    An agent that the caller dialled, and that is not ours, has left no mark, and was shown nothing.
    """
    is_theirs = not any(mark.source in ("agent", "realtime") for mark in evidence.marks)
    return bool(evidence.info.played) and not is_theirs


def _names_files(script: Mapping[str, Any]) -> bool:
    """Whether anything in a script is said by a file."""
    spoken = [script.get("greeting", {}), script.get("default_reply", {})]
    spoken += script.get("replies", ())
    items = [item for one in spoken for item in (one, *one.get("items", ()))]
    return any({"wav", "recording"} & item.keys() for item in items)


def _timed(reply: Mapping[str, Any], planned: Mark | None) -> dict[str, Any]:
    """A reply as it was in that call: with the times that the seed had drawn."""
    if planned is None:
        return dict(reply)
    drawn = {name: _number(planned, name) for name in ("think_ms", "delta_ms", "pace")}
    return {**reply, **{name: value for name, value in drawn.items() if value is not None}}


def _line_of(evidence: CallEvidence) -> dict[str, Any] | None:
    """What lay between the caller's voice and the network, as a scenario says it.

    None where that cannot be said again: then what was said is what left, with all that.
    """
    said = evidence.info.played.get("caller", {})
    line = {key: said[key] for key in _OF_THE_LINE if said.get(key)}
    lost = (line.get("noise") or {}).get("wav")
    return None if evidence.clean is None or lost else line


def _flow(value: Any) -> str:
    """A value on one line: JSON is YAML."""
    return json.dumps(value, ensure_ascii=False)


def _number(mark: Mark, name: str) -> float | None:
    value = mark.fields.get(name)
    return float(value) if isinstance(value, int | float) else None


def _meet(sound: Sound, act: _Act) -> bool:
    return sound.start_ns < act.end_ns and act.start_ns < sound.end_ns


def _longest_ms(measured: Measured) -> float:
    """The longest wait of the call."""
    named = ("turn_ms", "dead_air_ms", "greeting_ms")
    return max((one.value for one in measured.measurements if one.name in named), default=0.0)
