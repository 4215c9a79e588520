"""The virtual lane: plays stages in memory, and leaves the same evidence as the sip lane.

    caller.jsonl, call.wav                 from the caller
    agent.jsonl                            from the agent
    realtime.jsonl, server_heard.wav       from the server

Calls are played one after the other, as fast as they can be computed.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from agent.audio import to_samples, write_wav
from agent.greeting import MemoryPrompts
from agent.settings import CallSettings, Settings
from agent.timeline import Mark, TimelineWriter
from simulator import phrases
from simulator.scenario import Scenario
from simulator.stage import Played, Stage, Verdict
from simulator.virtual_stage import VirtualCall, VirtualOptions, play_call


class VirtualLane:
    """Plays the stages of a run; greeting caches are shared as the stages say.

    Args:
        work: the run's working directory; evidence goes to `work/calls/<stage>/`.
    """

    def __init__(self, work: Path) -> None:
        self._work = work
        self._prompts: defaultdict[str, MemoryPrompts] = defaultdict(MemoryPrompts)

    def play(self, stage: Stage) -> Played:
        """Play one stage and write its evidence."""
        started = time.monotonic()
        directory = self._work / "calls" / stage.name
        directory.mkdir(parents=True, exist_ok=True)
        verdict, detail = self._play(stage, directory)
        return Played(
            stage=stage,
            directory=directory,
            verdict=verdict,
            detail=detail,
            took_s=time.monotonic() - started,
        )

    def _play(self, stage: Stage, directory: Path) -> tuple[Verdict, str]:
        options = VirtualOptions()
        call = play_call(
            stage.scenario,
            phrases.prepare(stage.scenario, options.line.sample_rate_hz),
            stage=stage.name,
            seed=stage.seed,
            settings=agent_settings(stage.scenario),
            prompts=self._prompts[stage.greeting_cache],
            options=options,
        )
        write_evidence(call, directory)
        if call.finish is None:
            return "error", "the caller came to no end"
        if not call.agent_ended:
            return "failed", "the agent's call was not over two minutes after the caller had left"
        return call.finish.verdict, call.finish.detail


def agent_settings(scenario: Scenario) -> CallSettings:
    """The agent's settings for a scenario's call; its loader has seen to it that they are right."""
    route = {"called": "*", **scenario.agent}
    config = {"timeline": {"trace_audio": True}, "routes": [route]}
    return Settings.model_validate(config).for_call("")


def write_evidence(call: VirtualCall, directory: Path) -> None:
    """Write what the sip lane's processes would have written."""
    _write_marks(directory / "caller.jsonl", call.caller_marks)
    _write_marks(directory / "agent.jsonl", call.agent_marks)
    _write_marks(directory / "realtime.jsonl", call.realtime_marks)
    if call.recorder.started_at_ns is not None:
        call.recorder.save(directory / "call.wav")
    if call.heard_by_server:
        heard = to_samples(call.heard_by_server)
        write_wav(directory / "server_heard.wav", heard, call.heard_rate_hz)


def _write_marks(path: Path, marks: Sequence[Mark]) -> None:
    path.unlink(missing_ok=True)
    writer = TimelineWriter(path)
    for mark in marks:
        writer(mark)
    writer.close()
