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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from callerside.agent.telephony.interface import FRAME_MS
from callerside.atomic_files import write_atomically
from callerside.audio import to_bytes
from callerside.audio_files import write_wav
from callerside.clock import ms_to_ns, ns_to_ms
from callerside.marks import Mark
from callerside.reports.evidence import EAR, MOUTH, CallEvidence
from callerside.reports.hearing.keys import keys
from callerside.reports.metrics.audible import Sound, spoken
from callerside.reports.metrics.metrics import Measured, measure
from callerside.simulator.caller.audio.utterances import end_mid_frame
from callerside.simulator.caller.audio.voice import voiced_level_dbfs
from callerside.simulator.caller.listener import AgentUtterance, Listener
from callerside.simulator.scenario import loader
from callerside.simulator.scenario.model import no_name
from callerside.yaml.source import Loader
from callerside.yaml.versions import NEWEST

LIMITED = ("turn_ms", "barge_in_stop_ms", "talk_over_ms", "dead_air_ms")
"""What a scenario is held to by what was measured in the call."""

_END_SILENCE_MS = (
    700.0  # the default of `caller.end_silence`: so late it is sure that a reply ended
)
_BEFORE_MS, _AFTER_MS = 40.0, 200.0  # kept around what the caller said: it begins and ends softly
_HALF_A_TICK_MS = FRAME_MS / 2  # a caller acts with the next frame after a moment
_SETTLED_MS = 500.0  # after the answer, of a call that is to begin in the middle
_KEYS_TOGETHER_MS = 1500.0
_SERVER_SILENCE_MS, _PATH_MS = 500.0, 40.0  # what a turn takes besides the think time, by default
_ROOM = 1.1  # above what was measured: a limit is for what is worse, and not for chance
_ROOM_MS = 50.0

Samples = NDArray[np.int16]


class FromCallError(ValueError):
    """A call of which no scenario can be made: says why."""


@dataclass(frozen=True, kw_only=True)
class _Act:
    """Something that the caller did: spoke, made a sound that took no turn, or pressed keys."""

    start_ns: int
    end_ns: int
    text: str = ""
    takes_turn: bool = True
    keys: str = ""


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
        FromCallError: there is no recording, nobody speaks in it, the name is none, or there is
            such a scenario already.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name) or (no_name(name) is not None):
        raise FromCallError(f"{name!r} is no name: expected letters, digits, _ and -")
    path = folder / f"{name}.yaml"
    if path.exists():
        raise FromCallError(f"{path}: there is one already; choose another name with --name")
    if not evidence.recorded:
        raise FromCallError(f"{evidence.name}: it was not recorded, so nobody knows what was said")
    if evidence.info.recording is not None and not evidence.info.recording.caller:
        raise FromCallError(f"{evidence.info.recording.files[0]}: {_reason(evidence)}")
    call = _CallToReplay(evidence, from_s)
    if not call.acts and not call.utterances:
        raise FromCallError(f"{evidence.name}: nobody speaks in it")
    writing = _Writing(name)
    text = call.text(writing)
    for file, (samples, rate_hz) in writing.sounds.items():
        write_wav(folder / file, samples, rate_hz)
    write_atomically(path, text.encode())
    loader.load([path])  # it can be read, or this is a fault of ours
    return path


def _reason(evidence: CallEvidence) -> str:
    bare = evidence.info.recording
    return next(iter(bare.unfit.values()), "whose channel is whose is not known") if bare else ""


class _CallToReplay:
    """A call, taken apart into what each side did."""

    def __init__(self, evidence: CallEvidence, from_s: float) -> None:
        self._evidence = evidence
        self._measured = measure(evidence)
        self._from_ns = evidence.recording_start_ns + ms_to_ns(from_s * 1000)
        self._from_beginning = from_s <= 0
        self.acts = [act for act in self._acts() if act.start_ns >= self._from_ns]
        self.utterances = [u for u in self._listen() if u.start_ns >= self._from_ns]
        self._greets = bool(self.utterances) and (
            not self.acts or self.utterances[0].start_ns < self.acts[0].start_ns
        )
        self._own = _own_scenario(evidence.info.scenario)

    def _acts(self) -> list[_Act]:
        """What the caller did, in order."""
        evidence = self._evidence
        pressed = [*self._pressed()]
        if evidence.said is not None:
            spoke = [
                _Act(
                    start_ns=evidence.at_ns(said.voiced[0][0]),
                    end_ns=evidence.at_ns(said.voiced[-1][1]),
                    text=said.text,
                    takes_turn=said.turn is not None,
                )
                for said in evidence.said
            ]
        else:
            spoke = [
                _Act(start_ns=sound.start_ns, end_ns=sound.end_ns)
                for sound in spoken(self._measured.audible.mouth)
                if not any(_meet(sound, act) for act in pressed)
            ]
        return sorted([*spoke, *pressed], key=lambda act: act.start_ns)

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
        listener = Listener(evidence.rate_hz, end_silence_ms=_END_SILENCE_MS)
        frame = evidence.rate_hz * FRAME_MS // 1000
        ear = evidence.recording[:, EAR]
        turns = [act for act in self._acts() if act.takes_turn]
        for first in range(0, ear.size - frame + 1, frame):
            at_ns = evidence.at_ns(first)
            while turns and turns[0].start_ns <= at_ns:
                listener.spoken_into()
                turns.pop(0)
            listener.notice_silence(at_ns)
            listener.listen(to_bytes(ear[first : first + frame]), at_ns)
        listener.line_is_dead(evidence.at_ns(ear.size))
        return listener.utterances

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
            *script,
            *self._agent(),
            *self._caller(),
            *([f"network: {_flow(self._own['network'])}"] if self._own.get("network") else []),
            "steps:",
            *writing.steps,
            *self._budget(),
            f"time_limit: {math.ceil(ns_to_ms(evidence.end_ns - self._from_ns) / 1000) + 30}s",
        ]
        return "\n".join(lines) + "\n"

    def _agent(self) -> list[str]:
        """The agent's settings, as the call's own scenario had them; else what is known of them."""
        if settings := self._own.get("agent"):
            return [f"agent: {_flow(settings)}"]
        lines = ["# agent: its settings for this call, if they were others than its defaults"]
        return lines if self._greets else [*lines, "agent: {greeting: {enabled: false}}"]

    def _caller(self) -> list[str]:
        """How long the caller waits, and with what telephone."""
        media = self._evidence.first("caller", "media_ready")
        codec = f"codec: {media.fields['codec']}, " if media else ""
        codec = codec if media and media.fields["codec"] in ("PCMU", "PCMA", "G722") else ""
        waits = [ns_to_ms((u.quiet_ns or u.start_ns) - u.start_ns) for u in self.utterances]
        patience = (
            math.ceil((max(waits, default=0.0) + 2 * _longest_ms(self._measured)) / 1000) + 10
        )
        silence = f"end_silence: {_END_SILENCE_MS:.0f}ms"  # a suite may have another
        return [f"caller: {{{codec}patience: {patience}s, {silence}}}"]

    # The caller's side.

    def _write_steps(self, writing: _Writing) -> None:
        steps = writing.steps
        if self._from_beginning and self._measured.audible.beep is not None:
            steps.append("  - expect: beep")
        left = list(self.utterances)
        before: _Act | None = None
        for number, act in enumerate(self.acts, start=1):
            begun = [u for u in left if u.start_ns < act.start_ns]
            when = self._when(begun, before, act, steps)
            self._write_act(number, act, when, writing)
            if act.takes_turn:
                left = [u for u in left if u.start_ns >= act.start_ns]
                before = act
            else:
                left = left[len(begun) - 1 :] if begun else left
        self._write_end(left, before, steps)

    def _when(
        self,
        begun: Sequence[AgentUtterance],
        before: _Act | None,
        act: _Act,
        steps: list[str],
    ) -> str:
        """The moment of an act; waits for whatever comes before it are written as steps."""
        lead_ms = self._lead_ms(act)
        amid = [u for u in begun if before is not None and u.start_ns < before.end_ns]
        begun = [u for u in begun if u not in amid]
        if not begun:
            if before is None and not self._from_beginning:
                return f"answer + {_SETTLED_MS:.0f}ms"
            if before is None:
                late_ms = ns_to_ms(act.start_ns - self._answered_ns()) - lead_ms
                return f"answer + {max(0.0, late_ms):.0f}ms"
            pause_ms = ns_to_ms(act.start_ns - before.end_ns) - self._after_ms(before) - lead_ms
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
            after_ms = ns_to_ms(act.start_ns - quiet_ns) - lead_ms
            if after_ms >= _END_SILENCE_MS:
                return f"{word} end + {after_ms:.0f}ms"
        offset_ms = max(0.0, ns_to_ms(act.start_ns - last.start_ns) - lead_ms)
        return f"{word} + {offset_ms:.0f}ms"

    def _answered_ns(self) -> int:
        answered = self._evidence.first("caller", "call_answered")
        if answered is not None and self._from_beginning:
            return answered.at_ns
        return self._from_ns

    def _word(self, utterance: AgentUtterance) -> str:
        is_greeting = self._greets and utterance is self.utterances[0]
        return "greeting" if is_greeting else "reply"

    def _lead_ms(self, act: _Act) -> float:
        """How much of silence what is said begins with, when it is played again."""
        if act.keys:
            return 0.0
        samples = self._sound(act)
        rate_hz = self._evidence.rate_hz
        padded = len(end_mid_frame(to_bytes(samples), rate_hz)) // 2
        return _BEFORE_MS + (padded - samples.size) * 1000 / rate_hz + _HALF_A_TICK_MS

    def _after_ms(self, act: _Act) -> float:
        """How much is kept behind it: as much as there is before the caller goes on."""
        if act.keys:
            return 0.0
        later = (one.start_ns for one in self.acts if one.start_ns >= act.end_ns)
        return min(_AFTER_MS, ns_to_ms(next(later, self._evidence.end_ns) - act.end_ns))

    def _sound(self, act: _Act) -> Samples:
        evidence = self._evidence
        first, past = evidence.sample_at(act.start_ns), evidence.sample_at(act.end_ns)
        first -= round(_BEFORE_MS * evidence.rate_hz / 1000)
        past += round(self._after_ms(act) * evidence.rate_hz / 1000)
        return np.ascontiguousarray(evidence.recording[max(0, first) : past, MOUTH])

    def _write_act(self, number: int, act: _Act, when: str, writing: _Writing) -> None:
        at_s = (act.start_ns - self._evidence.recording_start_ns) / 1e9
        comment = f"  # at {at_s:.2f} s" + (f": {' '.join(act.text.split())}" if act.text else "")
        moment = f"\n    when: {when}" if when else ""
        if act.keys:
            writing.steps.append(f'{comment}\n  - press: "{act.keys}"{moment}')
            return
        samples = self._sound(act)
        file = writing.keep(f"caller-{number}", samples, self._evidence.rate_hz)
        level_dbfs = voiced_level_dbfs(to_bytes(samples), self._evidence.rate_hz)
        level = "" if level_dbfs is None else f", level_dbfs: {max(-60.0, level_dbfs):.2f}"
        if not act.takes_turn:
            comment += (
                "\n  # it took no turn in that call; `sound:` says so, of the sounds it knows"
            )
        known = act.text if not act.takes_turn and act.text in _SOUNDS else ""
        what = f"sound: {known}" if known else f"say: {{wav: {file}{level}}}"
        if known:
            del writing.sounds[file]
        writing.steps.append(f"{comment}\n  - {what}{moment}")

    def _write_end(self, left: list[AgentUtterance], before: _Act | None, steps: list[str]) -> None:
        evidence = self._evidence
        heard = [u for u in left if before is None or u.start_ns >= before.end_ns]
        hung_up = evidence.first("caller", "hang_up_sent")
        ended = evidence.last("caller", "call_ended")
        by_agent = hung_up is None and ended is not None and ended.fields.get("by") == "agent"
        end_ns = hung_up.at_ns if hung_up is not None else evidence.at_ns(len(evidence.recording))
        if by_agent:
            steps += [f"  - expect: {self._word(u)}" for u in heard if u.over]
            steps.append("  - expect: hang_up")
            return
        if not heard:
            since_ns = before.end_ns if before is not None else self._from_ns
            kept_ms = self._after_ms(before) if before is not None else 0.0
            pause_ms = max(0.0, ns_to_ms(end_ns - since_ns) - kept_ms)
            steps += [f"  - pause: {pause_ms:.0f}ms", "  - hang_up"]
            return
        *earlier, last = heard
        steps += [f"  - expect: {self._word(u)}" for u in earlier]
        after_ms = ns_to_ms(end_ns - (last.quiet_ns or end_ns))
        if last.over and after_ms >= _END_SILENCE_MS:
            steps.append(f"  - expect: {self._word(last)}")
            if after_ms - _END_SILENCE_MS >= FRAME_MS:
                steps.append(f"  - pause: {after_ms - _END_SILENCE_MS:.0f}ms")
            steps.append("  - hang_up")
        else:
            offset_ms = ns_to_ms(end_ns - last.start_ns)
            steps.append(f"  - hang_up:\n    when: {self._word(last)} + {offset_ms:.0f}ms")

    # The server's side.

    def _script(self, writing: _Writing) -> list[str]:
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

    def _server_settings(self) -> list[str]:
        """How the server hears and what befell it, where the call's own scenario says so."""
        own = self._own.get("realtime") or {}
        opened = self._evidence.first("realtime", "session_opened")
        delay_ms = _number(opened, "delay_ms") if opened is not None else None
        lines = [f"  {key}: {_flow(own[key])}" for key in _OF_THE_SERVER if own.get(key)]
        if delay_ms and "faults" not in own:  # one of which may be what delayed it
            lines.append(f"  timing: {{connect_delay_ms: {delay_ms:g}}}")
        struck = [*self._evidence.find("realtime", "fault_applied")] if "faults" not in own else []
        lines += [f"  # in that call a fault struck: {mark.fields['fault']}" for mark in struck]
        return lines

    def _reply(self, one: _Reply, what: str, writing: _Writing) -> str:
        parts = []
        if one.function:
            call = {"name": one.function, "arguments": one.arguments or {}}
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
        """What the agent was heard to say, with think times that make it as late as it was."""
        evidence = self._evidence
        late_ms = {
            turn.answer_ns: turn.turn_ms
            for turn in self._measured.turns
            if turn.turn_ms is not None
        }
        for number, utterance in enumerate(self.utterances):
            first = evidence.sample_at(utterance.start_ns)
            past = evidence.sample_at(utterance.quiet_ns or evidence.end_ns)
            near = [
                ms for at_ns, ms in late_ms.items()
                if at_ns is not None and abs(at_ns - utterance.start_ns) < ms_to_ns(100)
            ]  # fmt: skip
            own_ms = _SERVER_SILENCE_MS + _PATH_MS
            yield _Reply(
                sound=np.ascontiguousarray(evidence.recording[first:past, EAR]),
                rate_hz=evidence.rate_hz,
                think_ms=max(0.0, near[0] - own_ms) if near else None,
                is_greeting=number == 0 and self._greets,
                comment="the caller spoke into it: what followed was never heard"
                if utterance.spoken_into
                else "",
            )

    def _budget(self) -> list[str]:
        """Limits with some room above what was measured."""
        lines = []
        for name in LIMITED:
            values = [one.value for one in self._measured.measurements if one.name == name]
            if values:
                limit = math.ceil((max(values) * _ROOM + _ROOM_MS) / 10) * 10
                were = ", ".join(f"{value:.0f}" for value in values[:8])
                lines.append(f"  {name}: {limit}  # measured: {were}")
        own = self._own.get("budget") or {}
        lines += [f"  {name}: {_flow(own[name])}" for name in own if name not in LIMITED]
        if not lines:
            return []
        return ["# Somewhat more than was measured; make it what it should be.", "budget:", *lines]


_SOUNDS = ("mm-hmm", "uh-huh", "hum", "cough", "breath")


_OF_THE_SERVER = ("vad", "dialect", "commits", "faults")


def _own_scenario(text: str) -> dict[str, Any]:
    """What is known of a call by the scenario that it was played from; not of cells or rows."""
    own = yaml.load(text, Loader) if text else None  # noqa: S506 - it is a safe loader
    return own if isinstance(own, dict) and not {"matrix", "rows"} & own.keys() else {}


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
