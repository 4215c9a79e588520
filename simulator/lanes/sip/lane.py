"""The sip lane: real SIP, real RTP, real WebSocket, real time, on this machine's loopback.

A fake Realtime server, and as many pairs (a caller's process and an agent's) as there are to be
calls at once. They are connected by files and lines (docs/architecture.md): each call has its own
script, its own path at the server, its own route at the agent.
"""

import asyncio
import contextlib
import shutil
import time
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from callerside.agent.telephony.engine import EngineChoice
from callerside.agent.telephony.options import SipAccount
from callerside.marks import Mark
from callerside.reports.formats.write import CALLS
from callerside.simulator.caller.recorder import CALLER_RATE_HZ
from callerside.simulator.lanes.planned_call import PlannedCall, PlayedCall
from callerside.simulator.lanes.sip.child_process import ChildProcess
from callerside.simulator.lanes.sip.closed_files import ClosedFiles
from callerside.simulator.lanes.sip.collect import collect, notices_vanished_s
from callerside.simulator.lanes.sip.config import (
    Upstream,
    agent_config,
    repeat_script,
    write_scripts,
    write_yaml,
)
from callerside.simulator.lanes.sip.headroom import Headroom
from callerside.simulator.lanes.sip.nursery import Nursery
from callerside.simulator.lanes.sip.process_pair import (
    LEAST_CALLS_AT_ONCE,
    Kind,
    PhaseSink,
    ProcessPair,
    agent_process,
    calls_a_pair,
    child,
)
from callerside.simulator.lanes.sip.scheduler_stalls import StallWatch
from callerside.simulator.lanes.sip.speech_files import SpeechFiles
from callerside.simulator.lanes.sip.stall_marks import marks_of
from callerside.simulator.lanes.sip.targets import Targets
from callerside.simulator.scenario.steps import Vanish

UNANSWERED_S = 66.0
"""How long PJSUA2 keeps the place of a call that nobody answers any more: 32 s for a missing ACK,
and 32 s more for the BYE (RFC 3261: timers H and F)."""


class SipLane:
    """The processes, for as long as a run lasts: `async with SipLane(...) as lane`.

    Args:
        planned_calls: all that will be played.
        directory: of the run; absolute, for the processes get it.
        on_phase: called with (call, phase) while calls run.
        calls_at_once: how many places there must be; a pair has as many as its engines carry.
        calls_a_worker: one agent with workers that take so many calls each, instead of an agent
            of its own for every pair.
        engine: the agent's SIP engine.
        caller_engine: the caller's.
        agent_uri: dial this agent, which somebody else runs, instead of one of ours; there is
            then no server of ours either, and only the caller's evidence.
        account: as whom it is dialled; the first caller's process alone registers.
        nursery: where processes of the harness begin, if there is one.
        upstream: our agent talks to this server through a proxy that records it, instead of to a
            fake of ours; for one call.
    """

    def __init__(
        self,
        planned_calls: Sequence[PlannedCall],
        directory: Path,
        on_phase: PhaseSink,
        *,
        calls_at_once: int = LEAST_CALLS_AT_ONCE,
        calls_a_worker: int | None = None,
        engine: EngineChoice = "auto",
        caller_engine: EngineChoice = "auto",
        agent_uri: str | None = None,
        account: SipAccount | None = None,
        upstream: Upstream | None = None,
        nursery: Nursery | None = None,
    ) -> None:
        self._planned_calls = planned_calls
        self._upstream = upstream
        self._nursery = nursery
        self._calls = directory / CALLS
        self._work = directory / "work"
        self._engine = engine
        self._caller_engine = caller_engine
        self._agent_uri = agent_uri
        self._account = account
        self._fake: ChildProcess | None = None
        self._target: Targets | None = None
        self.headroom = Headroom()
        self._stalls = StallWatch()
        self._closed = ClosedFiles()
        self._speech = SpeechFiles(self._work / "speech", CALLER_RATE_HZ)
        self._watching = contextlib.AsyncExitStack()
        ours = (engine, caller_engine) if agent_uri is None else (caller_engine,)
        self._places = calls_a_worker or calls_a_pair(*ours)
        needed = _places_of_kinds(planned_calls, calls_at_once)
        count = -(-needed.pop("", 0) // self._places)
        shared = self._agent("", "", count) if calls_a_worker and count else None
        self._pairs: list[ProcessPair] = []
        for number in range(count):
            name = str(number + 1) if count > 1 else ""
            self._pairs.append(self._pair(name, on_phase, agent=shared, worker=number))
        for kind, places in sorted(needed.items()):
            for number in range(-(-places // self._places)):
                name = f"-{kind}{number + 1}" if number else f"-{kind}"
                self._pairs.append(self._pair(name, on_phase, kind))

    def _pair(
        self,
        name: str,
        on_phase: PhaseSink,
        kind: Kind = "",
        *,
        agent: ChildProcess | None = None,
        worker: int = 0,
    ) -> ProcessPair:
        account = self._account
        if account is not None and self._pairs:  # the first, of whatever kind, registers for all
            account = replace(account, registers=False)
        return ProcessPair(
            name,
            self._work / "logs",
            on_phase,
            self._speech,
            agent=agent or self._agent(name, kind),
            worker=worker if agent else 0,
            agent_uri=self._agent_uri or "",
            account=account,
            kind=kind,
            engine=self._caller_engine,
            places=self._places,
            nursery=self._nursery,
        )

    def _agent(self, name: str, kind: Kind, workers: int = 1) -> ChildProcess | None:
        if self._agent_uri is not None:
            return None
        logs = self._work / "logs"
        key = self._upstream.key if self._upstream else None
        return agent_process(
            name,
            self._config(kind),
            logs,
            self._closed.take,
            workers=workers,
            more={"OPENAI_API_KEY": key} if key else {},
        )

    def _config(self, kind: Kind) -> Path:
        return self._work / ("agent-relayed.yaml" if kind == "relayed" else "agent.yaml")

    @property
    def processes(self) -> list[ChildProcess]:
        """All of them, each once."""
        fake = [self._fake] if self._fake else []
        ours = [process for pair in self._pairs for process in pair.processes]
        return [*fake, *dict.fromkeys(ours)]

    async def __aenter__(self) -> Self:
        """Start the processes.

        Raises:
            ProcessError: one of them could not be started.
        """
        try:
            await self._watching.enter_async_context(self._stalls)
            if self._agent_uri is None:
                await self._start_fake()
            others = [process for process in self.processes if process is not self._fake]
            await asyncio.gather(*(process.start() for process in others))
            if self._agent_uri is None:  # of another's agent nobody knows what waits behind it
                self._stalls.look_at(self._pids())
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the processes, whatever happened."""
        await self._stop()

    async def play(self, planned: PlannedCall) -> PlayedCall:
        """Play one call and bring its evidence together.

        Raises:
            ProcessError: a process of the lane has died; no call can be played any more.
        """
        if planned.attempt > 1:
            if self._agent_uri is None:
                repeat_script(planned, self._work / "scripts")
            self._forget_greetings(planned)
            await self._stalls.calm()
        directory = self._calls / planned.name
        directory.mkdir(parents=True, exist_ok=True)
        if self._target is not None:
            self._target.expect(planned.address, planned.scenario.target)
        kind = _kind_for(planned)
        pair = min((pair for pair in self._pairs if pair.kind == kind), key=lambda pair: pair.busy)
        places = 1 + (self._agent_uri is None and planned.scenario.consults)
        pair.busy += places
        await pair.take_places(places)
        started_ns = time.monotonic_ns()  # what the machine did before is nothing to this call
        try:
            verdict, detail = await pair.play(planned, directory)
            work = None if self._agent_uri else self._work
            concerned = {one.name for one in (self._fake, *pair.processes) if one is not None}
            stalls = self._stall_marks(planned, started_ns, concerned)
            missing = await asyncio.to_thread(
                collect,
                planned.address,
                directory,
                work,
                stalls,
                self._closed,
                upstream=self._upstream is not None,
                vanished_s=notices_vanished_s(planned.scenario.agent),
            )
        finally:
            pair.busy -= places
            release_s = UNANSWERED_S if _vanishes(planned) else 0
            for _ in range(places):
                asyncio.get_running_loop().call_later(release_s, pair.places.release)
        if missing and verdict == "passed":
            verdict, detail = "error", f"the evidence is not whole: {'; '.join(missing)}"
        if verdict != "passed":
            detail += "".join(f"\n  agent: {line}" for line in pair.last_log_lines(planned))
        return PlayedCall(
            planned=planned,
            directory=directory,
            verdict=verdict,
            detail=detail,
            ours=self._agent_uri is None,
            took_s=(time.monotonic_ns() - started_ns) / 1e9,
        )

    def _forget_greetings(self, planned: PlannedCall) -> None:
        """Take what an attempt that does not count has left in a cache from whoever uses it."""
        if planned.greeting_cache == planned.name:
            shutil.rmtree(self._work / "greetings" / planned.name, ignore_errors=True)

    def _stall_marks(self, planned: PlannedCall, since_ns: int, concerned: Set[str]) -> list[Mark]:
        """What the machine did to a call that began then and is over, and to its processes."""
        stalls = self._stalls.between(since_ns, time.monotonic_ns())
        its = (stall for stall in stalls if not stall.process or stall.process in concerned)
        return marks_of(its, planned.name)

    def _pids(self) -> dict[str, int]:
        return {one.name: one.pid for one in self.processes if one.pid is not None}

    def _fake_arguments(self) -> list[str]:
        here = ["--host", "127.0.0.1", "--port", "0"]
        if self._upstream is not None:
            upstream, to = self._upstream.url, str(self._upstream.recording)
            silent = [] if self._upstream.keep_audio else ["--no-caller-audio"]
            return ["record", *here, "--upstream", upstream, "--to", to, *silent]
        scripts, timelines = self._work / "scripts", self._work / "realtime"
        write_scripts(self._planned_calls, scripts)
        said = ["--scripts", str(scripts), "--timelines", str(timelines)]
        return ["serve", *here, *said, "--keep-audio", "--announce"]

    async def _start_fake(self) -> None:
        logs = self._work / "logs"
        module = "callerside.fakes.cli"
        arguments = self._fake_arguments()
        self._fake = child(
            "fake-realtime", module, arguments, logs, self._closed.take, nursery=self._nursery
        )
        await self._fake.start()
        for pair in self._pairs:
            pair.server = self._fake
        if any(planned.scenario.consults for planned in self._planned_calls):
            self._target = await Targets.listening()
        base = self._fake.ready_line.split()[-1].split("/v1/")[0]
        for kind in {pair.kind for pair in self._pairs}:
            relayed = kind == "relayed"
            config = agent_config(
                self._planned_calls,
                base,
                self._work,
                relayed=relayed,
                engine=self._engine,
                target=self._target.address if self._target else "",
            )
            write_yaml(self._config(kind), config)

    async def _stop(self) -> None:
        self._closed.end()  # of calls that are over; a caller that vanished is missed late
        others = [process for process in self.processes if process is not self._fake]
        await asyncio.gather(*(process.stop() for process in others))
        if self._fake is not None:
            await self._fake.stop()
        if self._target is not None:
            self._target.close()
        await self._watching.aclose()


def _kind_for(planned: PlannedCall) -> Kind:
    """The kind of pair in which a call is played."""
    if planned.scenario.network is not None:
        return "relayed"
    return "vanishing" if _vanishes(planned) else ""


def _places_of_kinds(planned_calls: Sequence[PlannedCall], at_once: int) -> dict[Kind, int]:
    """How many places there must be of each kind that any call is of.

    Ordinary calls have as many as there may be at once. Of the others, who calls together needs as
    many; calls that do not, a few wait for each other.
    """
    groups = Counter((_kind_for(planned), planned.together) for planned in planned_calls)
    needed: dict[Kind, int] = {}
    for (kind, _), callers in groups.items():
        so_far = needed.get(kind, 0)
        needed[kind] = so_far + callers if kind == "" else max(so_far, callers)
    return {kind: min(callers, at_once) for kind, callers in needed.items()}


def _vanishes(planned: PlannedCall) -> bool:
    return any(isinstance(step, Vanish) for step in planned.scenario.all_steps)
