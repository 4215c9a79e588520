"""The virtual lane: the same calls, played in memory under a virtual clock.

It leaves the same evidence in the same files as the sip lane, so that measuring, judging and
reporting need not know where a call was played.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from callerside.agent.config.settings import Settings
from callerside.agent.prompts.cache import MemoryPrompts
from callerside.agent.tools.toolboxes import Toolboxes
from callerside.audio import to_samples
from callerside.marks import merge
from callerside.reports.evidence import Audio, CallEvidence, CallInfo, save_evidence
from callerside.reports.formats.write import CALLS
from callerside.simulator.caller.audio.utterances import prepare
from callerside.simulator.lanes.placement import place
from callerside.simulator.lanes.planned_call import PlannedCall, PlayedCall, Verdict
from callerside.simulator.lanes.sip.config import agent_config
from callerside.simulator.lanes.virtual.call import VirtualCall, options_for, play_call
from callerside.simulator.lanes.virtual.caller_invariants import ALL
from callerside.simulator.lanes.virtual.invariants import Invariant, TracedCall, check, recovers

INVARIANTS: Mapping[str, Invariant] = {**ALL, "recovers": recovers}
"""What is true of every call; and that it came to a good end, where its steps do not say that."""


class VirtualLane:
    """Plays calls one after another; nothing here waits."""

    def __init__(self, planned_calls: Sequence[PlannedCall], directory: Path) -> None:
        self._calls = directory / CALLS
        config = agent_config(planned_calls, "ws://virtual", directory / "work")
        self._settings = Settings.model_validate(config)
        self._tools = Toolboxes(self._settings)
        self._prompts: dict[str, MemoryPrompts] = {}

    def play(self, planned: PlannedCall) -> PlayedCall:
        """Play one call, in no time to speak of, and save its evidence."""
        started = time.monotonic()
        settings = self._settings.for_call(planned.name)
        options = options_for(planned.scenario, settings, planned.seed)
        call = play_call(
            planned.scenario,
            prepare(planned.scenario, options.line.sample_rate_hz),
            call=planned.name,
            seed=planned.seed,
            settings=settings,
            prompts=self._prompts.setdefault(planned.greeting_cache, MemoryPrompts()),
            options=options,
            tools=self._tools.for_call(settings),
        )
        directory = self._calls / planned.name
        evidence = evidence_of(planned, call)
        save_evidence(evidence, directory)
        traced = TracedCall(scenario=planned.scenario, settings=settings, call=call)
        verdict, detail = _judge(traced)
        return PlayedCall(
            planned=planned,
            directory=directory,
            verdict=verdict,
            detail=detail,
            took_s=time.monotonic() - started,
            evidence=evidence,
        )


def _judge(traced: TracedCall) -> tuple[Verdict, str]:
    """The caller's verdict, unless an invariant does not hold: that is worse than any scenario."""
    by_steps = traced.scenario.judged_by == "steps"
    finish = traced.call.finish
    if finish is None and by_steps:
        return "error", "the scenario did not come to an end"
    breaches = check(traced, ALL if by_steps else INVARIANTS)
    if breaches:
        return "failed", "; ".join(map(str, breaches))
    if finish is None or not by_steps:
        return "passed", "no invariant was broken"
    return finish.verdict, finish.detail


def evidence_of(planned: PlannedCall, call: VirtualCall) -> CallEvidence:
    """The evidence of a virtual call, in the form that reports read."""
    recorder = call.recorder
    mouth, ear = (to_samples(channel) for channel in recorder.channels())
    started_ns = recorder.started_at_ns or 0
    placed = place(call.said, mouth, recorder.rate_hz, started_ns)
    return CallEvidence(
        info=CallInfo(name=planned.scenario.name, stage=planned.name, lane="virtual"),
        marks=merge([call.caller_marks, call.agent_marks, call.realtime_marks]),
        recording=np.stack([mouth, ear]).T,
        rate_hz=recorder.rate_hz if mouth.size else CallEvidence.rate_hz,
        recording_start_ns=started_ns,
        server_heard=Audio(to_samples(call.heard_by_server), call.heard_rate_hz)
        if call.heard_by_server
        else None,
        server_sent=Audio(to_samples(call.sent_by_server), call.sent_rate_hz)
        if call.sent_by_server
        else None,
        said=placed.said,
        clean=placed.clean if placed.clean.size else None,
    )
