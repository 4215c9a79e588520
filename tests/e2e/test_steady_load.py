"""Steady calls while the model's side restarts and settings are read again: nothing grows, and each
call has one record.

CALLERSIDE_STEADY_S says for how long (`nox -s soak`: 40 minutes). Half of the lines are taken; what
is measured is printed.
"""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest
from agent_rig import Agent, Program, free_port, until
from sip_rig import Phone

from callerside.agent.telephony.engine import PROFILES, EngineName
from callerside.agent.telephony.interface import CallAnswered, HungUp
from callerside.agent.telephony.options import SipOptions

pytestmark = pytest.mark.e2e

STEADY_S = float(os.environ.get("CALLERSIDE_STEADY_S", "12"))
CALL_S = 2.0
DISTURBED_S = 5.0
"""After so long the model's side is started anew, or the settings are read again, in turn."""
GROWS_BY_FILES, GROWS_BY_THREADS, GROWS_BY_MIB = 4, 4, 40.0


class Watched:
    """What a process has, each second."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.rows: list[tuple[float, float, int, int]] = []

    def look(self) -> None:
        now_s = time.monotonic()
        if not self.rows or now_s - self.rows[-1][0] >= 1.0:
            with self._process.oneshot():
                mib = self._process.memory_info().rss / 2**20
                self.rows.append((now_s, mib, self._process.num_fds(), self._process.num_threads()))

    def slopes_per_hour(self) -> list[float]:
        """MiB, files and threads, by least squares over the second half."""
        rows = np.array(self.rows[len(self.rows) // 2 :])
        return [float(np.polyfit(rows[:, 0], rows[:, n], 1)[0]) * 3600 for n in (1, 2, 3)]

    def growth(self) -> Sequence[float]:
        """From the highest of the second quarter to the highest of the last."""
        rows = np.array(self.rows)
        quarter = len(rows) // 4
        late = rows[-quarter:].max(axis=0)
        return list((late - rows[quarter : 2 * quarter].max(axis=0))[1:])


class Model:
    """The fake, which can be killed and started anew where it was."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self.url = f"ws://127.0.0.1:{self._port}/v1/realtime"
        self._program = self._start()

    def _start(self) -> Program:
        return Program(
            self._folder, "fake", "callerside.fakes.cli", "serve", "--port", str(self._port)
        )

    def restart(self) -> None:
        self._program.close()
        self._program = self._start()

    def close(self) -> None:
        self._program.close()


@pytest.fixture
def model(tmp_path: Path) -> Iterator[Model]:
    model = Model(tmp_path)
    yield model
    model.close()


@pytest.mark.timeout(STEADY_S + 300)
@pytest.mark.parametrize("engine", tuple(PROFILES))
def test_nothing_grows_and_each_call_has_one_record(
    engine: EngineName, model: Model, tmp_path: Path
) -> None:
    at_once = PROFILES[engine].calls_a_process // 2
    settings = {"realtime": {"url": model.url}, "sip": {"port": 0, "engine": engine}}
    agent = Agent(tmp_path, {**settings, "limits": {"call_ms": 60_000}})
    phone = Phone("caller", SipOptions(max_calls=at_once), engine=engine)
    watched = Watched(agent.process.pid)
    uri = agent.addresses[0].replace("sip:", "sip:100@")
    placed = 0
    up: dict[int, float] = {}
    began_s = disturbed_s = time.monotonic()
    disturbances = 0
    try:
        while time.monotonic() - began_s < STEADY_S or up:
            now_s = time.monotonic()
            if len(up) < at_once and now_s - began_s < STEADY_S:
                number = phone.dial(uri)
                phone.wait_for(number, CallAnswered, within_s=10)
                up[number] = time.monotonic()
                placed += 1
            for number, since_s in list(up.items()):
                if now_s - since_s > CALL_S:
                    phone.do(number, "hang_up")
                    phone.wait_for(number, HungUp, within_s=10)
                    del up[number]
            if now_s - disturbed_s > DISTURBED_S:
                disturbed_s, disturbances = now_s, disturbances + 1
                if disturbances % 2:
                    model.restart()
                else:
                    agent.signal(signal.SIGHUP)
            watched.look()
            time.sleep(0.02)
        until(lambda: len(agent.records()) == placed, "a record of each call")
        records = agent.records()
        assert len({record["call"] for record in records}) == placed
        assert {record["ended"]["by"] for record in records} <= {"caller"}
        growth, slopes = watched.growth(), watched.slopes_per_hour()
        print(  # noqa: T201 - the measurement
            f"{engine}: {placed} calls, {disturbances} disturbances in {STEADY_S:g} s; "
            f"grew by {growth[0]:.1f} MiB, {growth[1]:.0f} files, {growth[2]:.0f} threads; "
            f"slopes an hour {slopes[0]:.1f} MiB, {slopes[1]:.1f} files, {slopes[2]:.1f} threads"
        )
        assert growth[0] < GROWS_BY_MIB
        assert growth[1] <= GROWS_BY_FILES
        assert growth[2] <= GROWS_BY_THREADS
    finally:
        phone.close()
        agent.close()
