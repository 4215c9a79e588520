"""The SIP engines side by side, in one run: the table of docs/engines.md that `auto` follows.

`nox -s engines` measures and writes it. Without `--benchmark-enable` everything is measured for a
moment and nothing is written, so that this file is known to work.
"""

import statistics
import time
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest
from agent_rig import PYTHON, Agent, fake_realtime
from engines_table import PAGE, Figures, page_with
from process_cost import answers_ms, call_cost, sent_intervals_ms, share
from pytest_benchmark.fixture import BenchmarkFixture
from sip_rig import Phone, answer_at_once, open_phone
from stalling import stalls

from callerside.agent.telephony.engine import PROFILES, EngineName
from callerside.agent.telephony.interface import AudioReceived, HungUp, MediaReady
from callerside.agent.telephony.options import SipOptions
from callerside.atomic_files import write_atomically
from callerside.audio import resample
from callerside.speech.synthesis import synthesise

pytestmark = pytest.mark.e2e

REPLY = "On Saturday we open at nine in the morning and close at five."
CALLER_HZ = 16_000
MANY = 12
ROUNDS = 2


def test_bench_the_engines(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    in_full = not benchmark.disabled
    found: dict[EngineName, Figures] = {}

    def measure() -> None:
        rounds = ROUNDS if in_full else 1
        names = tuple(PROFILES) if in_full else ("baresip",)
        tries = [
            {name: figures(name, tmp_path / f"{number}{name}", in_full) for name in names}
            for number in range(rounds)
        ]
        for name in names:
            each = [one[name] for one in tries]
            found[name] = {key: statistics.median(one[key] for one in each) for key in each[0]}

    benchmark.pedantic(measure, rounds=1)  # type: ignore[no-untyped-call]
    for name, measured in found.items():
        benchmark.extra_info.update({f"{name} {key}": value for key, value in measured.items()})
    page = page_with(PAGE.read_text(), found)
    if in_full:
        write_atomically(PAGE, page.encode())
    assert all(f"{value:.3g}" in page for one in found.values() for value in one.values())


def figures(engine: EngineName, folder: Path, in_full: bool) -> Figures:
    """One engine's, as the agent's; the caller's is the same for all."""
    length_s, idle_s, invites = (10.0, 15.0, 30) if in_full else (0.5, 0.2, 3)
    folder.mkdir()
    question = resample(synthesise("When do you open on Saturday?"), 24_000, CALLER_HZ)
    measured: Figures = {}
    workers = -(-MANY // PROFILES[engine].calls_a_process)
    with (
        fake_realtime(folder, {"default_reply": {"say": REPLY}}) as url,
        open_phone("caller", SipOptions(max_calls=MANY), engine="baresip") as phone,
    ):
        phone.keep_audio(False)
        settings: Mapping[str, object] = {
            "realtime": {"url": url},
            "sip": {"engine": engine, "port": 0},
        }
        for calls, count in ((4, 1), (MANY, workers))[: 2 if in_full else 1]:
            agent = Agent(folder, settings, "--workers", str(count), runner=PYTHON)
            try:
                (idle,) = share([psutil.Process(agent.process.pid)], idle_s)
                cost = call_cost(agent, phone, calls, length_s, question, idle)
                measured[f"CPU a call, {calls} calls, % of a core"] = 100 * cost.share
                if calls != MANY:
                    measured["CPU without a call, % of a core"] = 100 * idle
                    measured["memory a call, MB"] = cost.resident_bytes / 1e6
                    answers = answers_ms(agent, invites)
                    measured["INVITE to 200, p50, ms"] = statistics.median(answers)
                    measured["INVITE to 200, p95, ms"] = _p(answers, 95)
            finally:
                agent.close()
    with open_phone("agent", SipOptions(), engine=engine) as agent_phone:
        agent_phone.behave(stalls)
        with open_phone("caller", SipOptions(), engine="pjsua2") as caller:
            intervals = sent_intervals_ms(agent_phone, caller, length_s)
            measured["sent interval, loop stalled 40 ms twice a second, p99, ms"] = _p(
                intervals, 99
            )
    with open_phone("agent", SipOptions(), engine=engine) as agent_phone:
        waits = packet_to_input_ms(agent_phone, length_s)
        measured["packet to input, p50, ms"] = statistics.median(waits)
        measured["packet to input, p95, ms"] = _p(waits, 95)
    return measured


def packet_to_input_ms(agent: Phone, length_s: float) -> list[float]:
    """From the kernel's stamp to the call's machine."""
    agent.behave(answer_at_once)
    with open_phone("caller", SipOptions(), engine="pjsua2") as caller:
        call = caller.dial(f"sip:100@127.0.0.1:{agent.port}")
        caller.wait_for(call, MediaReady)
        time.sleep(length_s)
        told = agent.told(0)
        caller.do(call, "hang_up")
        caller.wait_for(call, HungUp)
    return [(o.at_ns - o.input.at_ns) / 1e6 for o in told if isinstance(o.input, AudioReceived)]


def _p(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
