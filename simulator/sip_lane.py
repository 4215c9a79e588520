"""The sip lane: real SIP, real RTP, real WebSocket, real time, on this machine's loopback.

A fake Realtime server, and as many cells (an agent and a caller, each a process) as there are to be
calls at once. They are connected by files and lines (docs/architecture.md): each stage has its own
script, its own path at the server, its own route at the agent.
"""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from reports.write import CALLS
from simulator.cell import CALLS_IN_A_CELL, Cell, PhaseSink, child
from simulator.collecting import collect
from simulator.processes import ChildProcess
from simulator.sip_setup import agent_config, write_scripts, write_yaml
from simulator.stage import Played, Stage
from simulator.steps import Vanish

UNANSWERED_BYE_S = 33.0
"""How long PJSUA2 keeps the place of a call whose BYE nobody answers (RFC 3261: timer F, 32 s).

Until then an agent has one call less to give, and a fourth call would be refused."""


class SipLane:
    """The processes, for as long as a run lasts: `async with SipLane(...) as lane`.

    Args:
        stages: all that will be played.
        directory: of the run; absolute, for it is told to the processes.
        on_phase: told (stage, phase) while calls run.
        calls_at_once: how many places there must be.
        agent_uri: dial this agent, which somebody else runs, instead of one of ours; there is
            then no server of ours either, and only the caller's evidence.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        directory: Path,
        on_phase: PhaseSink,
        *,
        calls_at_once: int = CALLS_IN_A_CELL,
        agent_uri: str | None = None,
    ) -> None:
        self._stages = stages
        self._calls = directory / CALLS
        self._work = directory / "work"
        self._agent_uri = agent_uri
        self._fake: ChildProcess | None = None
        count = -(-calls_at_once // CALLS_IN_A_CELL)
        self._cells = [
            self._cell(str(number) if count > 1 else "", on_phase) for number in range(1, count + 1)
        ]
        if any(stage.scenario.network for stage in stages):
            self._cells.append(self._cell("-relayed", on_phase, relayed=True))

    def _cell(self, name: str, on_phase: PhaseSink, *, relayed: bool = False) -> Cell:
        return Cell(
            name,
            self._work / "logs",
            on_phase,
            config=None if self._agent_uri else self._config(relayed),
            agent_uri=self._agent_uri or "",
            relayed=relayed,
        )

    def _config(self, relayed: bool) -> Path:
        return self._work / ("agent-relayed.yaml" if relayed else "agent.yaml")

    @property
    def processes(self) -> list[ChildProcess]:
        """All of them."""
        fake = [self._fake] if self._fake else []
        return fake + [process for cell in self._cells for process in cell.processes]

    async def __aenter__(self) -> Self:
        """Start the processes.

        Raises:
            ProcessError: one of them could not be started.
        """
        try:
            if self._agent_uri is None:
                await self._start_fake()
            await asyncio.gather(*(cell.start() for cell in self._cells))
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

    async def play(self, stage: Stage) -> Played:
        """Play one stage and bring its evidence together.

        Raises:
            ProcessError: a process of the lane has died; no call can be played any more.
        """
        started = time.monotonic()
        directory = self._calls / stage.name
        directory.mkdir(parents=True, exist_ok=True)
        fit = [cell for cell in self._cells if cell.relayed == bool(stage.scenario.network)]
        cell = min(fit, key=lambda cell: cell.busy)
        cell.busy += 1
        try:
            verdict, detail = await cell.play(stage, directory)
            work = None if self._agent_uri else self._work
            missing = await asyncio.to_thread(collect, stage.name, directory, work)
            if any(isinstance(step, Vanish) for step in stage.scenario.all_steps):
                await asyncio.sleep(UNANSWERED_BYE_S)
        finally:
            cell.busy -= 1
        if missing and verdict == "passed":
            verdict, detail = "error", f"the evidence is not whole: {'; '.join(missing)}"
        if verdict != "passed":
            detail += "".join(f"\n  agent: {line}" for line in cell.last_log_lines(stage))
        return Played(
            stage=stage,
            directory=directory,
            verdict=verdict,
            detail=detail,
            ours=self._agent_uri is None,
            took_s=time.monotonic() - started,
        )

    async def _start_fake(self) -> None:
        scripts, timelines = self._work / "scripts", self._work / "realtime"
        write_scripts(self._stages, scripts)
        arguments = ["-m", "fakes.cli", "serve", "--host", "127.0.0.1", "--port", "0"]
        arguments += ["--scripts", str(scripts), "--timelines", str(timelines), "--keep-audio"]
        self._fake = child("fake-realtime", arguments, self._work / "logs")
        await self._fake.start()
        base = self._fake.ready_line.split()[-1].split("/v1/")[0]
        for relayed in {cell.relayed for cell in self._cells}:
            config = agent_config(self._stages, base, self._work, relayed=relayed)
            write_yaml(self._config(relayed), config)

    async def _stop(self) -> None:
        await asyncio.gather(*(cell.stop() for cell in self._cells))
        if self._fake is not None:
            await self._fake.stop()
