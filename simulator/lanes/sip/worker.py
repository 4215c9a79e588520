"""The caller's process: one telephone, as many scripted calls at once as its engine holds.

`--engine` is the SIP engine. With `--relay` every call's RTP passes a relay, where a scenario's
`network` befalls it. `--host` is the address of this machine to call from, 127.0.0.1 without it.

It gets the calls to make on standard input, one JSON object a line:

    {"call": "...", "scenario": "(JSON)", "audio": {"0": "a.wav"}, "uri": "sip:...", "seed": 1,
     "directory": "where the evidence goes"}

and reports on standard output, likewise, `{"call", "phase"}` while a call runs and
`{"call", "verdict", "detail"}` when its `caller.jsonl` and `call.flac` are written. It ends when
its standard input does, or at SIGTERM.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

from callerside import event_loop
from callerside.addresses import joined
from callerside.agent.service.signals import keep_what_is_there
from callerside.agent.telephony.engine import CHOICES, Engine, codecs_of
from callerside.agent.telephony.engines import choose
from callerside.agent.telephony.errors import SipError
from callerside.agent.telephony.options import SipAccount, SipOptions
from callerside.audio import to_samples
from callerside.loop_clock import LoopClock
from callerside.marks import Mark
from callerside.reports.evidence import ARRIVALS, DEPARTURES, RECORDING, write_said
from callerside.simulator.caller.driver import CallerDriver
from callerside.simulator.caller.events import Finish
from callerside.simulator.caller.machine import CallerMachine
from callerside.simulator.caller.recorder import CALLER_RATE_HZ
from callerside.simulator.lanes.impairments import Impairer
from callerside.simulator.lanes.placement import place
from callerside.simulator.lanes.sip.loop_lag import LagWatch
from callerside.simulator.lanes.sip.order import ACCOUNT, MAX_BYTES, Order, from_environment
from callerside.simulator.lanes.sip.rtp_relay import RelayAddresses
from callerside.simulator.lanes.sip.telephone import CallerEndpoint, PlacedCall
from callerside.simulator.scenario.model import Scenario
from callerside.timelines import TimelineWriter

PHASE_TICK_S = 0.5
"""For people who watch: a wake costs more than what it shows."""


class CallerProcess:
    """Takes orders and makes calls."""

    def __init__(
        self,
        engine: Engine,
        host: str = "127.0.0.1",
        relay: RelayAddresses | None = None,
        account: SipAccount | None = None,
    ) -> None:
        self._host = host
        options = SipOptions(
            user_agent="callerside-caller",
            listen_host=host,
            codecs=codecs_of(engine.profile),
            max_calls=engine.profile.calls_a_process,
            account=account,
        )
        self._endpoint = CallerEndpoint(engine, options, relay)
        self._lag = LagWatch()
        self._calls: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until standard input ends or a signal says so; calls under way are dropped then."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        port = await self._endpoint.start()
        keep_what_is_there()
        _report({}, prefix=f"ready sip:{joined(self._host, port)}")
        reader = asyncio.create_task(self._read_orders(stop))
        await stop.wait()
        reader.cancel()
        for call in self._calls:
            call.cancel()
        await self._endpoint.stop()

    async def _read_orders(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        stream = asyncio.StreamReader(limit=MAX_BYTES)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), sys.stdin)
        async for line in stream:
            order = Order.from_line(line)
            call = asyncio.create_task(self._take(order))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        stop.set()

    async def _take(self, order: Order) -> None:
        """Make one call; whatever goes wrong with it is its own error, not the others'."""
        try:
            verdict, detail = await self._call(order)
        except Exception as error:
            verdict, detail = (
                "error",
                f"the caller could not play it: {type(error).__name__}: {error}",
            )
        _report({"call": order.call, "verdict": verdict, "detail": detail})

    async def _call(self, order: Order) -> tuple[str, str]:
        scenario = order.resolved()
        audio = await asyncio.to_thread(order.read_audio, CALLER_RATE_HZ)
        directory = Path(order.directory)
        timeline = TimelineWriter(directory / "caller.jsonl")
        try:
            placed = self._endpoint.new_call(
                user=scenario.caller.user,
                codec=scenario.caller.codec,
                max_recording_ms=round(scenario.time_limit) + 10_000,
                lets_itself_be_transferred=scenario.expects_transfer,
                on_arrival=self._lag.arrived,
                **_impairers(scenario, order.seed),
            )
        except SipError as error:
            timeline.close()
            return "error", str(error)
        machine = CallerMachine(
            scenario,
            audio,
            uri=order.uri,
            rate_hz=placed.leg.sample_rate_hz,
            rng=random.Random(order.seed),
        )
        loop = asyncio.get_running_loop()
        finished: asyncio.Future[Finish] = loop.create_future()
        driver = CallerDriver(
            machine,
            placed.leg,
            LoopClock(loop),
            timeline,
            call=order.call,
            on_finish=finished.set_result,
        )
        self._lag.begin(order.call)
        driver.start()
        finish = await self._show_phases_until(finished, driver, order.call)
        await self._keep_evidence(order.call, machine, placed, timeline, directory)
        return finish.verdict, finish.detail

    async def _show_phases_until(
        self, finished: asyncio.Future[Finish], driver: CallerDriver, call: str
    ) -> Finish:
        shown = ""
        while not finished.done():
            if driver.phase != shown:
                shown = driver.phase
                _report({"call": call, "phase": shown})
            await asyncio.wait([finished], timeout=PHASE_TICK_S)
        return finished.result()

    async def _keep_evidence(
        self,
        call: str,
        machine: CallerMachine,
        placed: PlacedCall,
        timeline: TimelineWriter,
        directory: Path,
    ) -> None:
        worst_ms = self._lag.end(call)
        now_ns = LoopClock(asyncio.get_running_loop()).now_ns()
        started_at_ns = placed.recorder.started_at_ns
        if started_at_ns is not None:
            _mark(timeline, started_at_ns, call, "recording_started", sample_rate_hz=CALLER_RATE_HZ)
            await asyncio.to_thread(
                placed.recorder.save,
                directory / RECORDING,
                arrivals=directory / ARRIVALS,
                departures=directory / DEPARTURES,
            )
            buffered = await asyncio.to_thread(placed.recorder.buffered)
            _mark(timeline, now_ns, call, "packets_buffered", **buffered)
            await asyncio.to_thread(_keep_said, machine, placed, started_at_ns, directory)
        for direction, episodes in placed.impairments.items():
            for struck in episodes:
                _mark(
                    timeline,
                    struck.first_ns,
                    call,
                    "impairment_applied",
                    **struck.fields(direction),
                )
        _mark(timeline, now_ns, call, "scheduling_lag", worst_ms=round(worst_ms, 3))
        timeline.close()


def _keep_said(
    machine: CallerMachine, placed: PlacedCall, started_at_ns: int, directory: Path
) -> None:
    """Beside the recording: what of it the caller said, to the sample."""
    mouth, _ = placed.recorder.channels()
    rate_hz = placed.recorder.rate_hz
    found = place(machine.said, to_samples(mouth), rate_hz, started_at_ns)
    write_said(directory, found.said, found.clean, rate_hz)


def _impairers(scenario: Scenario, seed: int) -> dict[str, Impairer]:
    """What befalls the call's packets; as in the virtual lane, each direction has its own dice."""
    if scenario.network is None:
        return {}
    to_agent, to_caller = scenario.network.directions()
    return {
        "to_agent": Impairer(to_agent, random.Random(f"{seed}/network to_agent")),
        "to_caller": Impairer(to_caller, random.Random(f"{seed}/network to_caller")),
    }


def _mark(timeline: TimelineWriter, at_ns: int, call: str, name: str, **fields: Any) -> None:
    timeline(Mark(at_ns=at_ns, source="caller", call=call, name=name, fields=fields))


def _report(message: dict[str, Any], *, prefix: str = "") -> None:
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write((prefix or json.dumps(message)) + "\n")
        sys.stdout.flush()


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--relay", action="store_true")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--engine", choices=CHOICES, default="auto")
    given = parser.parse_args()
    relay = RelayAddresses() if given.relay else None
    account = from_environment(os.environ)
    os.environ.pop(ACCOUNT, None)
    try:
        callers = CallerProcess(choose(given.engine), given.host, relay, account).run()
        if relay is None:
            event_loop.run(callers)
        else:  # whose delays are no whole milliseconds
            asyncio.run(callers)
    except SipError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
