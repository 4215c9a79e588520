"""A pair of processes of the sip lane: a caller's, and that of the agent that it calls.

An engine carries so many calls in a process, so a run with more at once has several cells. The
agent is the cell's own process, or a worker of one that several cells share, or one that somebody
else runs.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from callerside.agent.telephony.engine import PROFILES, EngineChoice
from callerside.agent.telephony.engines import resolve
from callerside.agent.telephony.options import SipAccount
from callerside.audio_files import AudioFileError
from callerside.child_processes import command
from callerside.host import processors
from callerside.simulator.lanes.planned_call import PlannedCall, Verdict
from callerside.simulator.lanes.sip.child_process import LINE_LIMIT, ChildProcess, ProcessError
from callerside.simulator.lanes.sip.config import address_towards, child_environment
from callerside.simulator.lanes.sip.nursery import Nursery
from callerside.simulator.lanes.sip.order import Order, to_environment
from callerside.simulator.lanes.sip.speech_files import SpeechFiles
from callerside.speech.voices import VoiceError

LEAST_CALLS_AT_ONCE = 4
CALLS_A_CORE = 3
MOST_CALLS_AT_ONCE = 12
"""Measured on two cores (docs/metrics.md): with eight calls at once the metrics are those of four,
and so is the harness's own error; six leave room for what else a machine does."""
ANSWER_MARGIN_S = 20.0
"""Beyond a scenario's own time limit: reading its speech, hanging up, writing the recording."""

PhaseSink = Callable[[str, str], None]

Kind = Literal["", "relayed", "vanishing"]
"""What a pair is for: ordinary calls; calls whose RTP passes a relay of the caller's, where it can
be impaired; calls whose caller vanishes, for their places are lost for a while."""


def calls_at_once() -> int:
    """How many calls this machine can carry at once without bending what is measured."""
    cores = len(processors())
    return min(max(LEAST_CALLS_AT_ONCE, CALLS_A_CORE * cores), MOST_CALLS_AT_ONCE)


def calls_a_pair(*engines: EngineChoice) -> int:
    """How many calls those engines carry at once in a process each.

    Raises:
        EngineUnavailableError: one cannot be used.
    """
    return min(PROFILES[resolve(engine)].calls_a_process for engine in engines)


class ProcessPair:
    """One caller's process, and where it calls: a worker of `agent`, or else `agent_uri`."""

    def __init__(
        self,
        name: str,
        logs: Path,
        on_phase: PhaseSink,
        speech: SpeechFiles,
        *,
        agent: ChildProcess | None = None,
        worker: int = 0,
        agent_uri: str = "",
        account: SipAccount | None = None,
        kind: Kind = "",
        engine: EngineChoice = "auto",
        places: int = LEAST_CALLS_AT_ONCE,
        nursery: Nursery | None = None,
    ) -> None:
        self._on_phase = on_phase
        self._speech = speech
        self._worker = worker
        self._foreign_uri = agent_uri
        self.places = asyncio.Semaphore(places)
        """Given back by whoever plays: a call may hold its places longer than it lasts."""
        self._taking = asyncio.Lock()
        self._results: dict[str, asyncio.Future[tuple[Verdict, str]]] = {}
        self.kind = kind
        self.busy = 0
        """Places that are taken, and those that are waited for."""
        self.agent = agent
        self.server: ChildProcess | None = None
        """The fake, where it is ours: without it no call says anything."""
        arguments = ["--engine", engine, *(["--relay"] if kind == "relayed" else [])]
        if agent_uri:
            arguments += ["--host", address_towards(agent_uri, account)]
        take = self._on_caller_line
        self.caller = caller_process(name, arguments, logs, take, account, nursery)

    @property
    def processes(self) -> list[ChildProcess]:
        """Those of this pair, whoever started them."""
        return [process for process in (self.agent, self.caller) if process is not None]

    async def take_places(self, count: int) -> None:
        """Wait for so many places; one taker at a time, so that no two hold half of theirs."""
        async with self._taking:
            for _ in range(count):
                await self.places.acquire()

    async def play(self, planned: PlannedCall, directory: Path) -> tuple[Verdict, str]:
        """Have the caller play a call; its verdict and its sentence about it.

        Raises:
            ProcessError: a process of the pair has died.
        """
        try:
            audio = await asyncio.to_thread(self._speech.of, planned.scenario)
        except (AudioFileError, VoiceError, OSError) as error:  # gone since the run began
            return "error", f"the caller's speech cannot be made: {error}"
        result = asyncio.get_running_loop().create_future()
        self._results[planned.name] = result
        self.caller.send_line(self._order(planned, audio, directory).to_line())
        limit_s = planned.scenario.time_limit / 1000 + ANSWER_MARGIN_S
        needed = [*self.processes, *([self.server] if self.server else [])]
        deaths = [asyncio.create_task(process.died.wait()) for process in needed]
        try:
            await asyncio.wait(
                [result, *deaths], timeout=limit_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for death in deaths:
                death.cancel()
            del self._results[planned.name]
        # A server that has died is not told as an agent that hangs up: it dies before that.
        if result.done() and not (self.server and self.server.died.is_set()):
            verdict: tuple[Verdict, str] = result.result()
            return verdict
        for process in needed:
            if process.died.is_set():
                raise ProcessError(
                    f"{process.name} died with exit code {process.exit_code} "
                    f"during {planned.name}: {process.last_words()}"
                )
        return "error", f"stalled: the caller said nothing for {limit_s:.0f} s"

    def last_log_lines(self, planned: PlannedCall, count: int = 5) -> list[str]:
        """The agent's last lines about a call, or its last of all."""
        if self.agent is None:
            return []
        lines = list(self.agent.log_tail)
        about = [line for line in lines if planned.address in line]
        return (about or lines)[-count:]

    def _order(self, planned: PlannedCall, audio: dict[str, str], directory: Path) -> Order:
        uri = self._foreign_uri
        if self.agent is not None:  # the called number says which call this is
            address = self.agent.ready_line.split()[1 + self._worker]
            uri = address.replace("sip:", f"sip:{planned.address}@", 1)
        return Order(
            call=planned.name,
            scenario=planned.scenario.model_dump_json(),
            audio=audio,
            uri=uri,
            seed=planned.seed,
            directory=str(directory),
        )

    def _on_caller_line(self, line: str) -> None:
        with contextlib.suppress(json.JSONDecodeError):
            message = json.loads(line)
            call = message["call"]
            if "phase" in message:
                self._on_phase(call, message["phase"])
            elif (result := self._results.get(call)) and not result.done():
                result.set_result((message["verdict"], message["detail"]))


def agent_process(
    name: str,
    config: Path,
    logs: Path,
    on_line: Callable[[str], None] | None = None,
    *,
    workers: int = 1,
    more: Mapping[str, str] = MappingProxyType({}),
) -> ChildProcess:
    """An agent of ours; with several workers, a supervisor and they. `more` is environment.

    `on_line` gets its announcements of timelines that are complete.
    """
    arguments = ["serve", "--config", str(config), "--workers", str(workers)]
    if on_line is not None:
        arguments.append("--announce")
    return child(f"agent{name}", "callerside.agent.cli", arguments, logs, on_line, more)


def caller_process(
    name: str,
    arguments: list[str],
    logs: Path,
    on_line: Callable[[str], None],
    account: SipAccount | None = None,
    nursery: Nursery | None = None,
) -> ChildProcess:
    """A caller's process; what it reports, `lanes.sip.worker` says."""
    module = "callerside.simulator.lanes.sip.worker"
    more = to_environment(account)
    return child(f"caller{name}", module, arguments, logs, on_line, more, nursery)


def child(
    name: str,
    module: str,
    arguments: list[str],
    logs: Path,
    on_line: Callable[[str], None] | None = None,
    more: Mapping[str, str] = MappingProxyType({}),
    nursery: Nursery | None = None,
) -> ChildProcess:
    """A child of the run, in the environment that children of a run have, and `more`.

    It begins in the nursery, if there is one; `main` of its module takes no arguments.
    """
    environment = {**child_environment(os.environ), **more}
    begin = None
    if nursery is not None:
        begin = partial(nursery.begin, name, module, arguments, environment, LINE_LIMIT)
    return ChildProcess(
        name,
        command(module, *arguments),
        log_path=logs / f"{name}.log",
        environment=environment,
        on_line=on_line,
        begin=begin,
    )
