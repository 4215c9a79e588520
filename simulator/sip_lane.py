"""The sip lane: real SIP, real RTP, real WebSocket, real time, on this machine's loopback.

Three processes: the fake Realtime server, the agent, the scripted caller. They are connected by
files and lines (docs/architecture.md): each stage has its own script, its own path at the server,
its own route at the agent. After a call, what the three saw is brought into one directory, as
`reports.evidence` reads it: one merged timeline, the recording, what the server heard and sent.
"""

import asyncio
import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from agent.timeline import Mark, TimelineError, merge, read_timeline
from reports.evidence import HEARD, SENT, TIMELINE
from reports.write import CALLS
from simulator.processes import ChildProcess, ProcessError
from simulator.stage import Played, Stage

CALLS_AT_ONCE = 4
"""What pjsua2, as packaged, can carry in one process."""
EVIDENCE_TIMEOUT_S = 5.0
"""How long the agent and the server may take to close their timelines after a call."""
VANISHED_TIMEOUT_S = 45.0
"""The same after a caller that vanished: the agent must notice first (RFC 3261: 32 s at most for
a missing ACK). Until then it still has one call less to give."""
TAIL_MARKS = 20
"""Among how many of the last marks the closing one is: others may be written after it."""
ANSWER_MARGIN_S = 20.0
"""Beyond a scenario's own time limit: preparing its speech, hanging up, writing the recording."""

PhaseSink = Callable[[str, str], None]


class SipLane:
    """The three processes, for as long as a run lasts: `async with SipLane(...) as lane`."""

    def __init__(self, stages: Sequence[Stage], directory: Path, on_phase: PhaseSink) -> None:
        self._stages = stages
        self._calls = directory / CALLS
        self._work = directory / "work"
        self._on_phase = on_phase
        self._results: dict[str, asyncio.Future[tuple[str, str]]] = {}
        self.processes: list[ChildProcess] = []
        self._agent_uri = ""

    async def __aenter__(self) -> Self:
        """Start the processes.

        Raises:
            ProcessError: one of them could not be started.
        """
        try:
            await self._start()
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
        verdict, detail = await self._play(stage, directory)
        missing = await asyncio.to_thread(self._collect, stage, directory)
        if missing and verdict == "passed":
            verdict, detail = "error", f"the evidence is not whole: {'; '.join(missing)}"
        if verdict != "passed":
            detail += self._last_log_lines(stage)
        return Played(
            stage=stage,
            directory=directory,
            verdict="error" if verdict not in ("passed", "failed") else verdict,  # type: ignore[arg-type]
            detail=detail,
            took_s=time.monotonic() - started,
        )

    async def _play(self, stage: Stage, directory: Path) -> tuple[str, str]:
        result = asyncio.get_running_loop().create_future()
        self._results[stage.name] = result
        self._caller.send_line(
            json.dumps(
                {
                    "stage": stage.name,
                    "path": str(stage.scenario.path),
                    "scenario": stage.scenario.name,
                    "uri": self._agent_uri.replace("sip:", f"sip:{stage.name}@"),
                    "seed": stage.seed,
                    "directory": str(directory),
                }
            )
        )
        limit_s = stage.scenario.time_limit / 1000 + ANSWER_MARGIN_S
        deaths = [asyncio.create_task(process.died.wait()) for process in self.processes]
        try:
            await asyncio.wait(
                [result, *deaths], timeout=limit_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for death in deaths:
                death.cancel()
            del self._results[stage.name]
        if result.done():
            verdict: tuple[str, str] = result.result()
            return verdict
        for process in self.processes:
            if process.died.is_set():
                raise ProcessError(
                    f"{process.name} died with exit code {process.exit_code} during {stage.name}: "
                    f"{process.last_words()}"
                )
        return "error", f"stalled: the caller said nothing for {limit_s:.0f} s"

    def _collect(self, stage: Stage, directory: Path) -> list[str]:
        """Bring together what the three wrote about this stage; returns what is missing."""
        caller = _read(directory / "caller.jsonl")
        vanished = any(m.name == "hang_up_sent" and m.fields["how"] == "vanish" for m in caller)
        answered = any(mark.name == "call_answered" for mark in caller)
        agent = _wait_for_timeline(
            lambda: _timelines_of(self._work / "agent", stage.name),
            "call_ended",
            VANISHED_TIMEOUT_S if vanished else EVIDENCE_TIMEOUT_S,
        )
        connected = any(mark.name == "realtime_connected" for mark in agent)
        server = _wait_for_timeline(
            lambda: [self._work / "realtime" / f"{stage.name}.realtime.jsonl"],
            "session_closed",
            EVIDENCE_TIMEOUT_S if connected else 0.0,
        )
        missing = [
            f"the {whose} timeline has no {last_mark} mark"
            for whose, marks, last_mark, needed in (
                ("caller's", caller, "scenario_ended", True),
                ("agent's", agent, "call_ended", answered or vanished),
                ("server's", server, "session_closed", connected),
            )
            if needed and not _is_over(marks, last_mark)
        ]
        timelines = (agent, server, caller)
        lines = "".join(mark.to_json() + "\n" for mark in merge(timelines))
        (directory / TIMELINE).write_text(lines, encoding="utf-8")
        (directory / "caller.jsonl").unlink(missing_ok=True)
        for suffix, name in (("heard", HEARD), ("sent", SENT)):
            audio = self._work / "realtime" / f"{stage.name}.{suffix}.wav"
            if audio.exists():
                shutil.move(audio, directory / name)
        return missing

    def _last_log_lines(self, stage: Stage) -> str:
        """The agent's last lines about this call, or its last of all."""
        about = [line for line in self._agent.log_tail if stage.name in line]
        lines = (about or list(self._agent.log_tail))[-5:]
        return "".join(f"\n  agent: {line}" for line in lines)

    async def _start(self) -> None:
        for folder in ("scripts", "realtime", "agent", "logs"):
            (self._work / folder).mkdir(parents=True, exist_ok=True)
        for stage in self._stages:
            script = stage.scenario.realtime.resolved(stage.scenario.folder.resolve())
            _write_yaml(
                self._work / "scripts" / f"{stage.name}.yaml",
                script.model_dump(mode="json", exclude_unset=True),
            )
        self._fake = self._child(
            "fake-realtime",
            ["-m", "fakes.cli", "serve", "--host", "127.0.0.1", "--port", "0", "--keep-audio",
             "--scripts", str(self._work / "scripts"), "--timelines", str(self._work / "realtime")],
        )  # fmt: skip
        await self._fake.start()
        base = self._fake.ready_line.split()[-1].split("/v1/")[0]
        config = self._work / "agent.yaml"
        _write_yaml(config, agent_config(self._stages, base, self._work))
        self._agent = self._child("agent", ["-m", "agent.cli", "serve", "--config", str(config)])
        self._caller = self._child(
            "caller", ["-m", "simulator.caller_process"], on_line=self._on_caller_line
        )
        await asyncio.gather(self._agent.start(), self._caller.start())
        self._agent_uri = self._agent.ready_line.split()[-1]

    def _child(
        self, name: str, arguments: list[str], on_line: Callable[[str], None] | None = None
    ) -> ChildProcess:
        process = ChildProcess(
            name,
            arguments,
            log_path=self._work / "logs" / f"{name}.log",
            environment=child_environment(os.environ),
            on_line=on_line,
        )
        self.processes.append(process)
        return process

    async def _stop(self) -> None:
        await asyncio.gather(*(process.stop() for process in reversed(self.processes)))

    def _on_caller_line(self, line: str) -> None:
        with contextlib.suppress(json.JSONDecodeError):
            message = json.loads(line)
            stage = message["stage"]
            if "phase" in message:
                self._on_phase(stage, message["phase"])
            elif (result := self._results.get(stage)) and not result.done():
                result.set_result((message["verdict"], message["detail"]))


def agent_config(stages: Sequence[Stage], realtime_base: str, work: Path) -> dict[str, Any]:
    """The agent's configuration for a run: one route for each stage, each at its own path."""
    return {
        "sip": {"host": "127.0.0.1", "port": 0, "rtp_port": 0},
        "realtime": {"url": realtime_base + "/{called}/v1/realtime"},
        "timeline": {"dir": str(work / "agent"), "trace_audio": True},
        "routes": [
            {"called": stage.name, **_with_cache(stage.scenario.agent, work, stage.greeting_cache)}
            for stage in stages
        ],
    }


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Ours without settings that would change the run, and with a key that opens nothing."""
    kept = {k: v for k, v in environment.items() if not k.startswith(("EARSHOT_", "OPENAI_"))}
    return {**kept, "OPENAI_API_KEY": "no-key-is-needed-for-the-fake", "PYTHONUNBUFFERED": "1"}


def _with_cache(agent: Mapping[str, Any], work: Path, cache: str) -> dict[str, Any]:
    greeting = {"cache_dir": str(work / "greetings" / cache), **agent.get("greeting", {})}
    return {**agent, "greeting": greeting}


def _write_yaml(path: Path, data: Any) -> None:
    path.write_text(yaml.safe_dump(data, allow_unicode=True, sort_keys=False), encoding="utf-8")


def _timelines_of(folder: Path, stage: str) -> list[Path]:
    """The agent's timelines of a stage, `{stage}-{call}.jsonl`; another stage may begin alike."""
    paths = sorted(folder.glob(f"{stage}-*.jsonl"))
    return [path for path in paths if path.stem.rpartition("-")[0] == stage]


def _wait_for_timeline(
    paths: Callable[[], list[Path]], last_mark: str, timeout_s: float
) -> list[Mark]:
    """The marks of the files, once the closing one is there or time is up."""
    deadline = time.monotonic() + timeout_s
    while True:
        marks = [mark for path in paths() for mark in _read(path)]
        if _is_over(marks, last_mark) or time.monotonic() > deadline:
            return marks
        time.sleep(0.05)


def _is_over(marks: Sequence[Mark], last_mark: str) -> bool:
    return any(mark.name == last_mark for mark in marks[-TAIL_MARKS:])


def _read(path: Path) -> list[Mark]:
    """A timeline that is still being written may end in half a line, or not be there yet."""
    try:
        return read_timeline(path)
    except (TimelineError, FileNotFoundError):
        return []
