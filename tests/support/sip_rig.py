"""Two telephones in two processes, worked from a test by plain calls.

An engine holds one endpoint a process, so each end of a call lives in a child process of its own. A
test says what each end does (`phone.do(...)`), and reads what it was told (`phone.wait_for(...)`).
All that is timed is read from stamps, never from how long the test itself took.
"""

import asyncio
import ctypes
import gc
import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import psutil
import warm_processes

from callerside import event_loop
from callerside.agent.service.signals import keep_what_is_there
from callerside.agent.telephony.engine import AnsweringEndpoint, EngineChoice
from callerside.agent.telephony.engines import choose
from callerside.agent.telephony.interface import (
    AudioReceived,
    CallLeg,
    CallReceived,
    FramePlayed,
    HungUp,
    LegInput,
)
from callerside.agent.telephony.options import SipOptions
from callerside.audio import to_samples
from callerside.simulator.caller.ear import Arrival
from callerside.simulator.lanes.sip.rtp_relay import RelayAddresses
from callerside.simulator.lanes.sip.telephone import CallerEndpoint, PlacedCall

T = TypeVar("T", bound=LegInput)

ENGINES: dict[str, EngineChoice] = {
    "agent": cast("EngineChoice", os.environ.get("CALLERSIDE_TEST_AGENT", "auto")),
    "caller": cast("EngineChoice", os.environ.get("CALLERSIDE_TEST_CALLER", "auto")),
}
"""Of phones whose test does not say."""

WAIT_S = 10.0
"""For anything that should come at once; long, because other work shares the machine."""
START_S = 60.0
"""For a process to start, which has much to import."""


@dataclass(frozen=True, slots=True)
class Told:
    """One input of a leg, when it was delivered, and whether that was within a method's call."""

    at_ns: int
    input: LegInput
    within_call: bool


@dataclass(frozen=True, slots=True)
class Recorded:
    """A caller's recording so far."""

    rate_hz: int
    started_at_ns: int | None
    mouth: bytes
    ear: bytes
    arrivals: Sequence[Arrival]
    """What came in, of which the ear is made."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a process holds."""

    resident_bytes: int
    threads: int
    open_files: int
    udp_ports: int
    cpu_s: float
    active_calls: int


class Phone:
    """One telephone in its own process: the agent's (takes calls) or the caller's (places them)."""

    def __init__(
        self,
        kind: str,
        options: SipOptions,
        relay: RelayAddresses | None = None,
        *,
        engine: EngineChoice | None = None,
        before: Callable[[], None] | None = None,
    ) -> None:
        """`before`: a module's function, which its process calls first."""
        self._pipe, theirs = warm_processes.pipe()
        self.process = warm_processes.start(
            _main, kind, engine or ENGINES[kind], options, relay, theirs, before
        )
        theirs.close()
        self.host = options.listen_host
        """Where it is."""
        self.port: int = self._reply(START_S)

    def do(self, call: int, method: str, *arguments: Any) -> None:
        """Call a method of the n-th call's leg."""
        self._ask("leg", call, method, arguments)

    def dial(self, uri: str, *, stall_s: float = 0.0, **options: Any) -> int:
        """Place a call; returns its number. For `stall_s` behind that its loop stands still."""
        call: int = self._ask("new_call", options)
        self._ask("leg", call, "dial", (uri,), stall_s)
        return call

    def stall(self, call: int, stall_s: float) -> None:
        """Have the loop of a call's process stand still."""
        self._ask("leg", call, "clear", ([],), stall_s)

    def station(self, method: str, *arguments: Any) -> Any:
        """Call a method of the endpoint."""
        return self._ask("station", method, arguments)

    def behave(self, reaction: "Reaction | None") -> None:
        """React to inputs within the process, for tests in which a round trip would be too late."""
        self._ask("behave", reaction)

    def keep_audio(self, keep: bool) -> None:
        """Whether to keep the frames that legs tell, and their legs: for tests that measure."""
        self._ask("keep_audio", keep)

    def keep_calls(self, last: int) -> None:
        """Of how many calls that are over to keep what was told, and how they were placed.

        For tests of what a process holds: this account must be no part of it.
        """
        self._ask("keep_calls", last)

    def calls(self) -> int:
        """How many calls there have been."""
        count: int = self._ask("calls")
        return count

    def told(self, call: int) -> list[Told]:
        """All inputs of a call so far."""
        inputs: list[Told] = self._ask("told", call)
        return inputs

    def refused(self) -> list[tuple[int, str]]:
        """Of each call that never became a leg: its status, and why."""
        refused: list[tuple[int, str]] = self._ask("refused")
        return refused

    def recorded(self, call: int) -> Recorded:
        """A caller's recording so far."""
        recording: Recorded = self._ask("recorded", call)
        return recording

    def impaired(self, call: int) -> dict[str, Mapping[str, int]]:
        """What the relay has done to a caller's packets so far."""
        applied: dict[str, Mapping[str, int]] = self._ask("impaired", call)
        return applied

    def registered(self) -> bool | None:
        """What the agent knows of its place at the registrar."""
        registered: bool | None = self._ask("registered")
        return registered

    def facts(self) -> Facts:
        """What the process holds now."""
        facts: Facts = self._ask("facts")
        return facts

    def give_back(self) -> None:
        """Have the process give back garbage, and what malloc keeps for later: the rest is held."""
        self._ask("give_back")

    def wait_for_call(self, call: int) -> CallReceived:
        """Until the n-th call has come in."""
        wait_until(lambda: self.calls() > call, f"call {call}")
        return self.wait_for(call, CallReceived)

    def wait_for(self, call: int, kind: type[T], count: int = 1, within_s: float = WAIT_S) -> T:
        """Until a leg has been told the `count`-th input of a kind; returns it."""
        found: list[T] = []

        def enough() -> bool:
            found[:] = [told.input for told in self.told(call) if isinstance(told.input, kind)]
            return len(found) >= count

        try:
            wait_until(enough, f"{kind.__name__} number {count}", within_s)
        except TimeoutError as error:
            signals = [t.input for t in self.told(call) if not _is_audio(t.input)]
            raise TimeoutError(f"{error}; was told {signals}") from None
        return found[count - 1]

    def signals(self, call: int) -> list[LegInput]:
        """All inputs of a call so far but audio frames."""
        return [told.input for told in self.told(call) if not _is_audio(told.input)]

    def close(self) -> int | None:
        """Stop the endpoint; returns the process's exit code (None: it had to be killed)."""
        if self.process.is_alive():
            self._ask("stop")
        self.process.join(WAIT_S)
        code = self.process.exitcode
        if code is None:
            self.process.kill()
            self.process.join()
        self._pipe.close()
        return code

    def _ask(self, *question: Any) -> Any:
        self._pipe.send(question)
        return self._reply()

    def _reply(self, within_s: float = WAIT_S) -> Any:
        if not self._pipe.poll(within_s):
            raise TimeoutError(f"{self.process.name} does not answer")
        try:
            ok, value = self._pipe.recv()
        except EOFError:
            self.process.join(WAIT_S)
            raise ChildProcessError(f"a phone died: exit code {self.process.exitcode}") from None
        if not ok:
            raise RuntimeError(f"in the phone's process: {value}")
        return value


Reaction = Callable[[CallLeg, LegInput], None]
"""A module's function (it crosses to another process by name)."""


def answer_at_once(leg: CallLeg, item: LegInput) -> None:
    """The reaction of an agent that takes every call."""
    if isinstance(item, CallReceived):
        leg.answer()


@contextmanager
def open_phone(
    kind: str,
    options: SipOptions | None = None,
    reaction: Reaction | None = None,
    *,
    engine: EngineChoice | None = None,
    before: Callable[[], None] | None = None,
) -> Iterator[Phone]:
    """A telephone for as long as a test needs it; it must end in peace."""
    opened = Phone(kind, options or SipOptions(), engine=engine, before=before)
    opened.behave(reaction)
    yield opened
    assert opened.close() == 0


def pitch_hz(pcm: bytes, rate_hz: int) -> float:
    """The strongest frequency in a sound."""
    samples = to_samples(pcm).astype(float)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * rate_hz / len(samples))


def wait_until(condition: Callable[[], bool], what: str, within_s: float = WAIT_S) -> None:
    """Until a condition holds.

    Raises:
        TimeoutError: it did not hold in time.
    """
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {within_s} s for {what}")
        time.sleep(0.01)


_FORGOTTEN: list[Told] = []
"""What was told to a call of which nothing is kept."""


def _is_audio(item: LegInput) -> bool:
    return isinstance(item, AudioReceived | FramePlayed)


# ---- the child process


def _main(
    kind: str,
    engine: EngineChoice,
    options: SipOptions,
    relay: RelayAddresses | None,
    pipe: Connection,
    before: Callable[[], None] | None,
) -> None:
    if before is not None:
        before()
    run = event_loop.run if kind == "agent" else asyncio.run  # as the programs do
    run(_Child(kind, engine, options, relay, pipe).run())


class _Child:
    def __init__(
        self,
        kind: str,
        engine: EngineChoice,
        options: SipOptions,
        relay: RelayAddresses | None,
        pipe: Connection,
    ) -> None:
        self._pipe = pipe
        self._legs: list[CallLeg | None] = []
        """In the order of their calls; of those that are over none are kept, if audio is not."""
        self._placed: list[PlacedCall | None] = []
        self._told: list[list[Told]] = []
        self._forgotten = 0
        self._last_calls: int | None = None
        self._refused: list[tuple[int, str]] = []
        self._reaction: Reaction | None = None
        self._stopped = asyncio.Event()
        self._calling = False
        self._keeps_audio = True
        if kind == "agent":
            self._station: AnsweringEndpoint | CallerEndpoint = choose(engine).answering(
                options, self._add, on_refused=lambda *one: self._refused.append(one)
            )
        else:
            self._station = CallerEndpoint(choose(engine), options, relay)

    async def run(self) -> None:
        try:
            port = await self._station.start()
        except Exception:
            self._pipe.send((False, traceback.format_exc()))
            return
        keep_what_is_there()  # as the programs do
        self._pipe.send((True, port))
        loop = asyncio.get_running_loop()
        loop.add_reader(self._pipe.fileno(), self._serve)
        os.set_blocking(self._pipe.fileno(), True)  # uvloop has it otherwise, and we read it whole
        await self._stopped.wait()
        loop.remove_reader(self._pipe.fileno())
        await self._station.stop()
        self._pipe.send((True, None))

    def _serve(self) -> None:
        try:
            name, *arguments = self._pipe.recv()
        except EOFError:  # the test is gone
            self._stopped.set()
            return
        if name == "stop":
            self._stopped.set()
            return
        try:
            self._pipe.send((True, getattr(self, f"on_{name}")(*arguments)))
        except Exception:
            self._pipe.send((False, traceback.format_exc()))

    def _add(self, leg: CallLeg) -> None:
        told: list[Told] = []
        number = len(self._legs)
        self._legs.append(leg)
        self._told.append(told)

        def on_input(item: LegInput) -> None:
            if self._keeps_audio or not _is_audio(item):
                told.append(Told(time.monotonic_ns(), item, self._calling))
            if self._reaction is not None:
                self._reaction(leg, item)
            if isinstance(item, HungUp) and not self._keeps_audio:
                self._legs[number] = None
            if isinstance(item, HungUp) and self._last_calls is not None:
                self._forget_before(number - self._last_calls)

        leg.start(on_input)

    def _forget_before(self, number: int) -> None:
        for over in range(self._forgotten, number):
            self._told[over] = _FORGOTTEN
            if over < len(self._placed):
                self._placed[over] = None
        self._forgotten = max(self._forgotten, number)

    def on_new_call(self, options: dict[str, Any]) -> int:
        assert isinstance(self._station, CallerEndpoint)
        placed = self._station.new_call(**options)
        self._placed.append(placed)
        self._add(placed.leg)
        return len(self._legs) - 1

    def on_leg(
        self, call: int, method: str, arguments: tuple[Any, ...], stall_s: float = 0.0
    ) -> None:
        self._calling = True
        try:
            getattr(self._legs[call], method)(*arguments)
        finally:
            self._calling = False
        if stall_s:  # behind what the method has the loop do next
            asyncio.get_running_loop().call_soon(time.sleep, stall_s)

    def on_station(self, method: str, arguments: tuple[Any, ...]) -> Any:
        return getattr(self._station, method)(*arguments)

    def on_keep_audio(self, keep: bool) -> None:
        self._keeps_audio = keep

    def on_keep_calls(self, last: int) -> None:
        self._last_calls = last

    def on_behave(self, reaction: Reaction | None) -> None:
        self._reaction = reaction

    def on_calls(self) -> int:
        return len(self._legs)

    def on_told(self, call: int) -> list[Told]:
        return self._told[call] if call < len(self._told) else []

    def on_refused(self) -> list[tuple[int, str]]:
        return self._refused

    def on_recorded(self, call: int) -> Recorded:
        recorder = self._placed_call(call).recorder
        return Recorded(
            recorder.rate_hz, recorder.started_at_ns, *recorder.channels(), recorder.arrivals
        )

    def on_impaired(self, call: int) -> dict[str, Mapping[str, int]]:
        return {
            direction: {
                what: sum(one.packets for one in struck if one.what == what)
                for what in {one.what for one in struck}
            }
            for direction, struck in self._placed_call(call).impairments.items()
        }

    def _placed_call(self, call: int) -> PlacedCall:
        placed = self._placed[call]
        assert placed is not None, "of a call that is over nothing is kept: keep_calls"
        return placed

    def on_registered(self) -> bool | None:
        assert not isinstance(self._station, CallerEndpoint)
        return self._station.registered

    def on_give_back(self) -> None:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)

    def on_facts(self) -> Facts:
        process = psutil.Process()
        return Facts(
            resident_bytes=process.memory_info().rss,
            threads=process.num_threads(),
            open_files=len(list(Path(f"/proc/{os.getpid()}/fd").iterdir())),
            udp_ports=len(process.net_connections("udp")),
            cpu_s=sum(process.cpu_times()[:2]),
            active_calls=self._station.active_calls,
        )
