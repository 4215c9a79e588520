"""One call in the virtual lane: agent, fake Realtime API and caller under a virtual clock.

The three machines and the two drivers are those of the sip lane; what they stand on is made of
`simulator.virtual_*`. The same scenario, settings and seed give the same marks and the same
recording, byte for byte, on any machine.
"""

import math
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType

from callerside.agent.call.events import CallInput, ConnectRealtime
from callerside.agent.config.settings import CallSettings
from callerside.agent.prompts.cache import MemoryPrompts
from callerside.agent.service.driver import CallDriver, Work, run_inline
from callerside.agent.telephony.interface import FRAME_MS
from callerside.agent.tools.toolboxes import Toolbox
from callerside.clock import NS_PER_S, ms_to_ns
from callerside.fakes.script import prepare
from callerside.fakes.session.context import Observation
from callerside.fakes.session.session import RealtimeSession
from callerside.marks import Mark
from callerside.simulator.caller.driver import CallerDriver
from callerside.simulator.caller.events import Finish
from callerside.simulator.caller.machine import CallerMachine
from callerside.simulator.caller.recorder import CallRecorder
from callerside.simulator.caller.speaker import Utterance
from callerside.simulator.lanes.impairments import Impairer
from callerside.simulator.lanes.virtual.clock import VirtualClock
from callerside.simulator.lanes.virtual.leg import LineOptions, VirtualLeg
from callerside.simulator.lanes.virtual.line import VirtualLine
from callerside.simulator.lanes.virtual.packet_link import Network
from callerside.simulator.lanes.virtual.realtime import (
    VirtualRealtimeConnection,
    VirtualRealtimeServer,
)
from callerside.simulator.lanes.virtual.target import answer_as
from callerside.simulator.lanes.virtual.trace import Step, TracedMachine
from callerside.simulator.scenario.model import Scenario

_AFTERWARDS_MS = 120_000
"""How long the agent may take to end once the caller has: all of its own limits are shorter."""
_DIRECTIONS = ("to_agent", "to_caller")
_RECORDING_MARGIN_MS = 10_000
_LAST_MESSAGES_NS = NS_PER_S
"""For what is still on its way when the call is over."""


@dataclass(frozen=True, kw_only=True)
class VirtualOptions:
    """What the call stands on.

    Attributes:
        line: the telephone line.
        packet_ms: one way of an RTP packet.
        frame_by_frame: no two frames pass at once, which takes longer and changes nothing.
    """

    line: LineOptions = field(default_factory=LineOptions)
    packet_ms: float = 0.5
    frame_by_frame: bool = False


def options_for(scenario: Scenario, settings: CallSettings, seed: int) -> VirtualOptions:
    """What a call stands on as its scenario and settings say; the seed sets the media clocks."""
    line = LineOptions(
        caller=scenario.caller.user,
        lets_itself_be_transferred=scenario.expects_transfer,
        codec=scenario.caller.codec,
        phase_ms=random.Random(f"{seed}/phase").uniform(0, FRAME_MS),
        drift_ppm=scenario.network.drift_ppm if scenario.network else 0.0,
        media_delay_ms=scenario.network.media_delay if scenario.network else 0.0,
        max_playout_ms=settings.playout.max_ms,
        caller_playout_ms=round(scenario.time_limit),
        max_recording_ms=round(scenario.time_limit) + _RECORDING_MARGIN_MS,
    )
    return VirtualOptions(line=line)


@dataclass(kw_only=True)
class VirtualCall:
    """The evidence of one call, as the sip lane leaves it in files."""

    finish: Finish | None = None
    """None: the scenario did not come to an end, which is a bug of the harness."""
    ended_ns: int = 0
    """When the last message had arrived, on the run's clock."""
    agent_ended: bool = False
    """Whether the agent's call was over in bounded time after the caller had left."""
    agent_marks: list[Mark] = field(default_factory=list)
    caller_marks: list[Mark] = field(default_factory=list)
    realtime_marks: list[Mark] = field(default_factory=list)
    trace: list[Step] = field(default_factory=list)
    """Of the agent's machine; empty if the agent was never called."""
    recorder: CallRecorder = field(default_factory=lambda: CallRecorder(24_000))
    heard_by_server: bytes = b""
    heard_rate_hz: int = 0
    sent_by_server: bytes = b""
    sent_rate_hz: int = 0
    said: Sequence[Utterance] = ()
    """What the caller made heard, as it was before it met the line."""


def play_call(
    scenario: Scenario,
    audio: Mapping[int, bytes],
    *,
    call: str,
    seed: int,
    settings: CallSettings,
    prompts: MemoryPrompts,
    options: VirtualOptions | None = None,
    tools: Toolbox = MappingProxyType({}),
    make_machine: Callable[..., TracedMachine] = TracedMachine,
) -> VirtualCall:
    """Play one call of a scenario.

    Args:
        scenario: what caller and server do.
        audio: the caller's phrases (`caller.audio.utterances.prepare`) at the line's rate.
        call: its name, in marks and as the called number.
        seed: everything random comes from it.
        settings: of the agent, for this call; with `timeline.trace_audio`, the server marks
            every append as well, and keeps what it hears.
        prompts: the agent's cache, which outlives the call.
        options: what the call stands on.
        tools: what the model may call; whatever time one takes, it takes none of the call's, but
            for stubs, which take theirs.
        make_machine: makes the agent's machine; another than its own is for those who test us.
    """
    wired = _VirtualCallHarness(
        scenario, audio, call, seed, settings, prompts, options or VirtualOptions(), make_machine
    )
    wired.tools = tools
    return wired.play()


def _run_bounded(limit_ms: float, work: Work, on_done: Callable[[CallInput], None]) -> None:
    """Run a user's function now, in no time of the call's; one that never returns is left behind.

    The call then goes on without it after `limits.tool_ms`, as over SIP.
    """
    results: list[CallInput] = []
    thread = threading.Thread(target=lambda: results.append(work()), name="tool", daemon=True)
    thread.start()
    thread.join(limit_ms / 1000)
    if results:
        on_done(results[0])


class _VirtualCallHarness:
    """Wires the parts of one call together."""

    def __init__(
        self,
        scenario: Scenario,
        audio: Mapping[int, bytes],
        call: str,
        seed: int,
        settings: CallSettings,
        prompts: MemoryPrompts,
        options: VirtualOptions,
        make_machine: Callable[..., TracedMachine],
    ) -> None:
        self.tools: Toolbox = {}
        self._make_machine = make_machine
        self._name = call
        self._packet_ms = options.packet_ms
        self._seed = seed
        self._scenario = scenario
        self._settings = settings
        self._prompts = prompts
        self._prepared = prepare.prepare(scenario.realtime, scenario.folder)
        self._sessions = 0
        self._clock = VirtualClock(start_ns=NS_PER_S)
        self._impairers = self._impair()
        to_agent, to_caller = (
            _network(self._impairers.get(direction), ms_to_ns(options.packet_ms))
            for direction in _DIRECTIONS
        )
        self._line = VirtualLine(
            self._clock,
            options.line,
            to_agent=to_agent,
            to_caller=to_caller,
            on_call=self._accept,
        )
        self._call = VirtualCall()
        self._server = VirtualRealtimeServer(
            self._clock,
            self._open_session,
            path=scenario.realtime.path,
            rng=self._random("path"),
            marks=self._call.realtime_marks.append,
        )
        machine = CallerMachine(
            scenario,
            audio,
            uri=f"sip:{call}@virtual",
            rate_hz=options.line.sample_rate_hz,
            rng=self._random("caller"),
        )
        self._agent: TracedMachine | None = None
        self._connection: VirtualRealtimeConnection | None = None
        self._machine = machine
        self._patient = not options.frame_by_frame
        if self._patient:
            self._line.beat.caller_patience = machine.routine_heard
        self._caller = CallerDriver(
            machine,
            self._line.caller,
            self._clock,
            self._call.caller_marks.append,
            call=call,
            on_finish=self._finish,
        )

    def play(self) -> VirtualCall:
        call = self._call
        limit_ns = self._clock.now_ns() + ms_to_ns(self._scenario.time_limit + _AFTERWARDS_MS)
        self._caller.start()
        self._clock.run(limit_ns)
        if not call.agent_ended:
            self._clock.run(self._clock.now_ns() + ms_to_ns(_AFTERWARDS_MS))
        self._clock.run_until(self._clock.now_ns() + _LAST_MESSAGES_NS)
        self._server.stop()
        self._clock.run_until(self._clock.now_ns() + _LAST_MESSAGES_NS)
        call.recorder = self._line.caller.recorder
        call.ended_ns = self._clock.now_ns()
        call.heard_by_server = bytes(self._server.heard)
        call.heard_rate_hz = self._server.heard_rate_hz
        call.sent_by_server = bytes(self._server.sent)
        call.sent_rate_hz = self._server.sent_rate_hz
        call.said = self._machine.said
        self._mark_the_recording()
        return call

    def _accept(self, leg: VirtualLeg) -> None:
        machine = self._make_machine(
            self._settings,
            called=self._name,
            sample_rate_hz=leg.sample_rate_hz,
            tools=[tool.declaration for tool in self.tools.values()],
        )
        self._call.trace = machine.trace
        self._agent = machine
        if self._patient:
            self._line.beat.agent_patience = self._agent_patience
        leg.reports_each_frame = self._settings.timeline.trace_audio or (
            self._settings.turns.append_interval_ms != FRAME_MS
        )
        leg.on_consult = self._consult
        driver = CallDriver(
            machine,
            leg,
            self._connect,
            self._clock,
            self._prompts,
            self._call.agent_marks.append,
            call=self._name,
            tools=self.tools,
            background=run_inline,
            run_tools=partial(_run_bounded, self._settings.limits.tool_ms),
            on_end=self._agent_ended,
        )
        driver.start()
        if ends := self._scenario.agent_ends:
            end = partial(driver.end, "draining", at_once=ends.at_once)
            self._clock.call_at(self._clock.now_ns() + ms_to_ns(ends.after), end)

    def _consult(self, uri: str) -> VirtualLeg:
        """Somebody else's line, on which the agent is who calls."""
        line = VirtualLine(
            self._clock,
            LineOptions(sample_rate_hz=self._line.agent.sample_rate_hz, caller=self._name),
            to_agent=ms_to_ns(self._packet_ms),
            to_caller=ms_to_ns(self._packet_ms),
            on_call=partial(answer_as, self._scenario.target, self._clock),
        )
        line.caller.dial(uri)
        return line.caller

    def _agent_patience(self, frames: int, coming: bytes | None) -> int:
        """How many frames may reach the agent, be appended, and leave the caller, at once."""
        machine, connection = self._agent, self._connection
        routine = min(frames, self._machine.routine_frames)
        routine = min(routine, machine.routine_frames) if machine else 0
        if routine > 1 and machine and machine.is_appending and connection:
            session_ms = connection.routine_ms(silent=coming is None)
            if session_ms != math.inf:
                # Up to an interval less a frame may wait already to be appended with the next.
                appended_ms = session_ms - self._settings.turns.append_interval_ms + FRAME_MS
                routine = min(routine, math.ceil(appended_ms / FRAME_MS) - 1)
        return routine

    def _finish(self, finish: Finish) -> None:
        self._call.finish = finish
        self._clock.stop()

    def _agent_ended(self) -> None:
        self._call.agent_ended = True
        if self._call.finish is not None:
            self._clock.stop()

    def _connect(self, effect: ConnectRealtime) -> VirtualRealtimeConnection:
        self._connection = self._server.connect(
            model=effect.model, dialect=effect.dialect, timeout_ms=effect.timeout_ms
        )
        return self._connection

    def _open_session(self) -> RealtimeSession:
        self._sessions += 1
        observed = self._settings.timeline.trace_audio
        return RealtimeSession(
            self._prepared,
            call=self._name,
            rng=self._random(f"session {self._sessions}"),
            session_number=self._sessions,
            observation=Observation(trace_audio=observed, keep_audio=observed),
        )

    def _impair(self) -> dict[str, Impairer]:
        """What makes the network bad, by direction; nothing if the scenario wants a clean one."""
        if self._scenario.network is None:
            return {}
        directions = self._scenario.network.directions()
        return {
            name: Impairer(direction, self._random(f"network {name}"))
            for name, direction in zip(_DIRECTIONS, directions, strict=True)
        }

    def _mark_the_recording(self) -> None:
        """The facts that the caller's process adds in the sip lane; virtual time is never late."""
        recorder = self._call.recorder
        over_ns = self._call.caller_marks[-1].at_ns
        if recorder.started_at_ns is not None:
            self._mark(recorder.started_at_ns, "recording_started", sample_rate_hz=recorder.rate_hz)
            self._mark(over_ns, "packets_buffered", **recorder.buffered())
        for direction, impairer in self._impairers.items():
            for struck in impairer.struck:
                self._mark(struck.first_ns, "impairment_applied", **struck.fields(direction))
        self._mark(over_ns, "scheduling_lag", worst_ms=0.0)

    def _mark(self, at_ns: int, name: str, **fields: object) -> None:
        mark = Mark(at_ns=at_ns, source="caller", call=self._name, name=name, fields=fields)
        self._call.caller_marks.append(mark)

    def _random(self, purpose: str) -> random.Random:
        """A generator of its own for each purpose, so that none disturbs another."""
        return random.Random(f"{self._seed}/{purpose}")


def _network(impairer: Impairer | None, packet_ns: int) -> Network | int:
    """The way of one packet: the line's own time, and what befalls it besides."""
    if impairer is None:
        return packet_ns
    arrivals = impairer.arrivals
    return lambda sent_ns: tuple(at_ns + packet_ns for at_ns in arrivals(sent_ns))
