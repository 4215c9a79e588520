"""The agent and the fake Realtime server as real processes, worked from a test by plain calls."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families
from warm_processes import WarmProgram

PYTHON = (sys.executable, "-m")
"""Runs a module as a user does, where what that costs is measured."""
WAIT_S = 30.0
"""For anything that should come soon; long, because other work shares the machine."""


class Program:
    """One of our programs as a child process, ready when it has said so.

    `runner` is what runs a module, where that matters: a Python of a kind, or one in a container.
    `secrets` stand in its environment.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        module: str,
        *arguments: str,
        runner: Sequence[str] = (),
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        self.log_path = folder / f"{name}.log"
        keys = {"OPENAI_API_KEY": "", **(secrets or {})}
        env = {**os.environ, **keys, "XDG_CACHE_HOME": str(folder / "cache")}
        self.process: subprocess.Popen[bytes] | WarmProgram
        with self.log_path.open("w") as log:
            if runner:
                self.process = subprocess.Popen(
                    [*runner, module, *arguments],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=env,
                )
            else:
                self.process = WarmProgram(module, arguments, env, log)
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode().split()
        if line[:1] != ["ready"]:
            self.close()
            raise AssertionError(f"{name} is not ready: {line} {self.log_path.read_text()}")
        self.addresses = line[1:]

    @property
    def log(self) -> list[dict[str, Any]]:
        """The log so far, for programs that write it as JSON; other lines are left out."""
        lines = self.log_path.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self, within_s: float = WAIT_S) -> int:
        """Wait for its end; the exit code."""
        return self.process.wait(within_s)

    def close(self) -> None:
        """End it, whatever it is doing."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(WAIT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


class Agent(Program):
    """`callerside-agent serve` on free ports, with its pages."""

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        *options: str,
        runner: Sequence[str] = (),
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        merged = {
            "sip": {"port": 0},
            "http": {"port": free_port()},
            "records": {"file": str(folder / "records.jsonl")},
            "timeline": {"dir": str(folder / "timelines")},
            "logs": {"format": "json"},
            **settings,
            "greeting": {"warm_at_start": False, **settings.get("greeting", {})},
        }
        self.http_host: str = merged["http"].get("host", "127.0.0.1")
        self.http_port: int = merged["http"]["port"]
        self.folder = folder
        self.config = folder / "agent.yaml"
        self.write(merged)
        command = ["callerside.agent.cli", "serve", "--config", str(self.config), *options]
        super().__init__(folder, "agent", *command, runner=runner, secrets=secrets)

    def write(self, settings: Mapping[str, Any]) -> None:
        """Write the settings, all of them."""
        self.settings = dict(settings)
        self.config.write_text(yaml.safe_dump(self.settings))

    def get(self, path: str) -> tuple[int, bytes]:
        """A page: its status and body."""
        try:
            url = f"http://{self.http_host}:{self.http_port}{path}"
            with urllib.request.urlopen(url, timeout=WAIT_S) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels; 0 without any."""
        _, page = self.get("/metrics")
        families = text_string_to_metric_families(page.decode())
        samples = (sample for family in families for sample in family.samples)
        return sum(
            sample.value
            for sample in samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def workers(self) -> list[dict[str, Any]]:
        """The supervisor's own words about its workers."""
        _, page = self.get("/healthz")
        workers: list[dict[str, Any]] = json.loads(page)["workers"]
        return workers

    def worker_pids(self) -> list[int]:
        """The workers' process ids, by their number."""
        _, page = self.get("/healthz")
        return [worker["pid"] for worker in json.loads(page)["workers"]]

    def records(self) -> list[dict[str, Any]]:
        """The call records so far."""
        path = self.folder / "records.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def marks(self, called: str) -> list[str]:
        """The names of the marks of the one call to a number, once it has ended."""
        (path,) = (self.folder / "timelines").glob(f"{called}-*.jsonl")
        return [json.loads(line)["name"] for line in path.read_text().splitlines()]

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The log's lines about an event."""
        return [line for line in self.log if line.get("event") == event]


@contextmanager
def fake_realtime(
    folder: Path, script: Mapping[str, Any] | None = None, options: Sequence[str] = ()
) -> Iterator[str]:
    """The fake Realtime server; yields the URL of its sessions."""
    if script is not None:
        path = folder / "script.yaml"
        path.write_text(yaml.safe_dump(dict(script)))
        options = [*options, "--script", str(path)]
    program = Program(folder, "fake", "callerside.fakes.cli", "serve", "--port", "0", *options)
    try:
        yield program.addresses[0]
    finally:
        program.close()


def fill_output(pid: int) -> None:
    """Fill the pipe that a process has as standard output, as if its reader slept for long."""
    pipe = os.open(f"/proc/{pid}/fd/1", os.O_WRONLY | os.O_NONBLOCK)
    try:
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(pipe, b"x" * 4096)
    finally:
        os.close(pipe)


def until(is_true: Callable[[], object], what: str, within_s: float = WAIT_S) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + within_s
    while not is_true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within_s:g} s: {what}")
        time.sleep(0.05)


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
