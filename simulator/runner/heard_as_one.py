"""Replies to one turn that no caller can tell apart: too little silence is between them.

A preamble still sounds when the answer comes that a function has led to, unless the function takes
long; and then the two are one reply to whoever listens. What a scenario expects of the second is
awaited in vain, which can be told from the script: what is sent when, and how long it sounds.
"""

import math
import random
from collections.abc import Iterator, Sequence

from callerside.agent.call.builtin_tools import BUILT_IN
from callerside.agent.config.settings import CallSettings, ToolSettings
from callerside.audio import AudioFormat, duration_ms, heard_from_ms, to_bytes, to_samples
from callerside.audio_files import AudioFileError
from callerside.durations import format_duration
from callerside.fakes.script.model import Timing
from callerside.fakes.script.prepare import prepare
from callerside.fakes.script.prepared import PreparedReply, PreparedScript
from callerside.fakes.script.reply import FunctionCall, Reply
from callerside.fakes.session.response_plan import Audio, make_plan, specify
from callerside.simulator.scenario.model import Scenario
from callerside.simulator.scenario.steps import Expect, Step
from callerside.speech.voices import VoiceError

_MOST_IN_A_TURN = 20
"""Of responses: a default reply that calls a function is followed by itself."""
_SEVERAL = 2
_FORMAT = AudioFormat("pcm")


def heard_as_one(scenario: Scenario) -> Iterator[str]:
    """One line for each turn of which more replies are expected than can be told apart.

    What may be asked for again, or takes nobody knows how long, is left alone.
    """
    turns = [(steps, [n for n, step in steps if _waits(step)]) for steps in _turns(scenario.steps)]
    if all(len(waits) < _SEVERAL for _, waits in turns):
        return
    try:
        script = prepare(scenario.realtime, scenario.folder)
    except (AudioFileError, VoiceError):
        return  # which is told as an error
    functions = _Functions(CallSettings.model_validate(scenario.agent).tools)
    end_silence_ms = scenario.caller.end_silence
    taken = 0
    for _, waits in turns:
        replies = _answers(script, taken)
        if any(_is_repaired(one.reply) for one in replies):
            return
        taken += len(replies)
        gaps_ms = list(_gaps_ms(replies, script.script.timing, functions))
        short_ms = [ms for ms in gaps_ms if ms < end_silence_ms]
        heard = 1 + len(gaps_ms) - len(short_ms)
        if heard < len(waits) <= 1 + len(gaps_ms):
            yield (
                f"{scenario.at('steps', waits[heard], 'expect')}: no reply of its own: it follows "
                f"the one before after {format_duration(max(0.0, *short_ms))} of silence, and a "
                f"talk is over after {format_duration(end_silence_ms)} (caller.end_silence); "
                "expect one reply, or let the function between take longer"
            )


def _turns(steps: Sequence[Step]) -> list[list[tuple[int, Step]]]:
    """The steps behind each turn of the caller's, up to the next, with their numbers."""
    turns: list[list[tuple[int, Step]]] = []
    for number, step in enumerate(steps):
        if step.may_take_turn:
            turns.append([])
        elif turns:
            turns[-1].append((number, step))
    return turns


def _waits(step: Step) -> bool:
    return isinstance(step, Expect) and step.expect in ("reply", "reply start")


def _answers(script: PreparedScript, taken: int) -> list[PreparedReply]:
    """What one turn is given, one reply after another, where `taken` have been given before."""
    answers: list[PreparedReply] = []
    for number in range(taken + 1, taken + 1 + _MOST_IN_A_TURN):
        answers.append(script.reply(number))
        if not answers[-1].reply.calls and answers[-1].reply.next_after_ms is None:
            break
    return answers


def _is_repaired(reply: Reply) -> bool:
    """Whether the agent may ask for another answer in its place."""
    unheard = reply.is_silent and not reply.calls
    return unheard or reply.ending is not None or reply.sends_only is not None


class _Functions:
    """How long the functions take that are called one after another."""

    def __init__(self, tools: ToolSettings) -> None:
        self._tools = tools
        self._called: dict[str, int] = {}

    def take_ms(self, calls: Sequence[FunctionCall]) -> float:
        """From the calls of one response to the last result; infinite if nobody knows."""
        return max((self._takes_ms(call.name) for call in calls), default=0.0)

    def _takes_ms(self, name: str) -> float:
        tools = self._tools
        if name not in tools.stub:
            may_run = name in BUILT_IN or name in tools.http or tools.module or tools.mcp
            return math.inf if may_run else 0.0  # what nobody offers is refused at once
        answers = tools.stub[name].each_answer
        answer = answers[min(self._called.get(name, 0), len(answers) - 1)]
        self._called[name] = self._called.get(name, 0) + 1
        return math.inf if answer.never_returns else answer.after


def _gaps_ms(
    replies: Sequence[PreparedReply], timing: Timing, functions: _Functions
) -> Iterator[float]:
    """How long it is silent between each of these that sounds and the next one that does."""
    asked_ms = played_ms = 0.0
    last_ms: float | None = None
    for prepared in replies:
        rng = random.Random(0)
        plan = make_plan(specify(prepared, "", timing, rng), "client", _FORMAT, timing, rng)
        begun = False
        for at_ms, step in plan:
            if not isinstance(step, Audio):
                continue
            start_ms = max(played_ms, asked_ms + at_ms)
            played_ms = start_ms + step.length_ms
            heard = _heard_ms(step.wire)
            if heard is None:
                continue
            if last_ms is not None and not begun:
                yield start_ms + heard[0] - last_ms
            begun, last_ms = True, start_ms + heard[1]
        asked_ms += plan[-1][0] + functions.take_ms(prepared.reply.calls)
        asked_ms += prepared.reply.next_after_ms or 0.0


def _heard_ms(pcm: bytes) -> tuple[float, float] | None:
    """From when until when something in it can be heard; None: nothing can."""
    first_ms = heard_from_ms(pcm, _FORMAT.rate_hz)
    if math.isinf(first_ms):
        return None
    backwards = to_bytes(to_samples(pcm)[::-1])
    quiet_ms = heard_from_ms(backwards, _FORMAT.rate_hz)
    return first_ms, duration_ms(pcm, _FORMAT.rate_hz) - quiet_ms
