"""Connects the call machine to a leg, a Realtime connection, a clock and a prompt store.

The driver runs effects and feeds back what they lead to; it decides nothing. It knows no asyncio:
on an event loop's clock it serves production and the sip lane, on a virtual one the virtual lane.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from callerside.agent.call import events
from callerside.agent.call.events import (
    CallInput,
    ConsultReported,
    EndRequested,
    PromptLoaded,
    PromptStored,
    Timer,
    TimerFired,
    ToolFinished,
)
from callerside.agent.call.machine import CallMachine
from callerside.agent.prompts.cache import DamagedPromptError, Prompt, PromptStore
from callerside.agent.realtime.interface import RealtimeConnection
from callerside.agent.telephony.interface import CallLeg, HungUp, LegInput
from callerside.agent.tools.interface import Cancellation
from callerside.agent.tools.stub import OutOfReach, Stub
from callerside.agent.tools.toolboxes import Toolbox
from callerside.clock import Clock, ms_to_ns
from callerside.marks import Mark, MarkSink
from callerside.timers import TimerSet

_T = TypeVar("_T")

_SERVER_ERROR = 500
_FAILED_LIMIT_MS = 10_000
"""For the leg to report the end of a call that a bug has ended."""

Connect = Callable[[events.ConnectRealtime], RealtimeConnection]
Work = Callable[[], CallInput]
OnFailure = Callable[[CallInput, Exception], None]
RunInBackground = Callable[[Work, Callable[[CallInput], None]], None]
"""Runs work elsewhere, and hands what it returned to the callback on the call's own thread."""


def run_inline(work: Work, on_done: Callable[[CallInput], None]) -> None:
    """A `RunInBackground` for lanes where nothing takes time."""
    on_done(work())


class CallDriver:
    """One call, running."""

    def __init__(
        self,
        machine: CallMachine,
        leg: CallLeg,
        connect: Connect,
        clock: Clock,
        prompts: PromptStore,
        marks: MarkSink,
        *,
        call: str,
        tools: Toolbox | None = None,
        background: RunInBackground = run_inline,
        run_tools: RunInBackground = run_inline,
        on_recording: Callable[[], None] = lambda: None,
        on_end: Callable[[], None] = lambda: None,
        on_failure: OnFailure | None = None,
    ) -> None:
        """One call, not started yet.

        Args:
            machine: decides everything.
            leg: the telephone.
            connect: makes a connection to the Realtime API, not started yet.
            clock: the call's time.
            prompts: the cache of spoken prompts.
            marks: where marks go.
            call: the call's id in its marks.
            tools: what the model may call, besides what is built in.
            background: runs work with prompt files.
            run_tools: runs them, but for stubs.
            on_recording: called when a recording that is announced may begin.
            on_end: called once, when the call is over, whatever has failed.
            on_failure: called for a bug that an input ran into. It costs this call, which is hung
            up,
                and no other. Without it, the bug is raised: in tests it must not be missed.
        """
        self._machine = machine
        self._leg = leg
        self._connect = connect
        self._clock = clock
        self._prompts = prompts
        self._marks = marks
        self._call = call
        self._tools = tools or {}
        self._background = background
        self._run_tools = run_tools
        self._on_recording = on_recording
        self._on_end = on_end
        self._on_failure = on_failure
        self._failed = False
        self._connection: RealtimeConnection | None = None
        self._consulted: CallLeg | None = None
        self._cancellations: dict[str, Cancellation] = {}
        """Of functions that run, by call id."""
        self._timers = TimerSet[Timer](clock, lambda timer: self.feed(TimerFired(timer=timer)))
        self._inputs: deque[CallInput] = deque()
        self._busy = False
        self._over = False
        self._effects = self._effect_handlers()

    def start(self) -> None:
        """Listen to the leg; its first input begins the call."""
        self._leg.start(self.feed)

    def end(self, reason: str, *, at_once: bool = False) -> None:
        """Ask for the call's end, after the last word unless told otherwise."""
        self.feed(EndRequested(reason=reason, at_once=at_once))

    def feed(self, event: CallInput) -> None:
        """Pass an input to the machine, and do what it asks for."""
        if self._busy or self._over:  # what comes of an input waits for the rest that comes of it
            self._inputs.append(event)
            return
        self._busy = True
        try:
            for effect in self._machine.handle(event, self._clock.now_ns()):
                if type(effect) is events.Play:  # what nearly every delta leads to
                    self._leg.play(effect.pcm, effect.tag)
                elif type(effect) is events.AppendAudio:  # and nearly every frame
                    if self._connection is not None:
                        self._connection.append(effect.audio)
                else:
                    self._effects[type(effect)](effect)
        except Exception as error:
            self._failed_at(event, error)
        finally:
            self._busy = False
            if isinstance(event, HungUp):  # the call's end outlives whatever comes of it
                self._finish()
        if self._inputs and not self._over:
            self.feed(self._inputs.popleft())

    def _failed_at(self, event: CallInput, error: Exception) -> None:
        if self._on_failure is None:
            raise error
        self._on_failure(event, error)
        self._fail()

    def _fail(self) -> None:
        """Hang up; where the leg does not report the end, the call is over without it."""
        if not self._failed and not self._over:
            self._failed = True
            limit_ns = self._clock.now_ns() + ms_to_ns(_FAILED_LIMIT_MS)
            self._clock.call_at(limit_ns, self._finish)
            self._leg.hang_up(_SERVER_ERROR)

    def _effect_handlers(self) -> Mapping[type, Callable[[Any], None]]:
        leg = self._leg
        return {
            events.Answer: lambda effect: leg.answer(effect.status),
            events.ClearPlayout: lambda effect: leg.clear(effect.tags),
            events.SendDtmf: lambda effect: leg.send_dtmf(effect.digits, effect.method),
            events.Transfer: lambda effect: leg.transfer(
                effect.uri, self._consulted if effect.attended else None
            ),
            events.Consult: self._consult,
            events.PlayToConsulted: self._play_to_consulted,
            events.LeaveConsulted: lambda _: self._leave_consulted(),
            events.HangUp: lambda effect: leg.hang_up(effect.status),
            events.ConnectRealtime: self._open,
            events.SendEvent: self._send,
            events.CloseRealtime: lambda _: self._close(),
            events.SetTimer: lambda effect: self._timers.set(effect.timer, effect.at_ns),
            events.CancelTimer: lambda effect: self._timers.cancel(effect.timer),
            events.LoadPrompt: self._load_prompt,
            events.StorePrompt: self._store_prompt,
            events.BeginRecording: lambda _: self._on_recording(),
            events.RunTool: self._run_tool,
            events.CancelTool: self._cancel_tool,
            events.EmitMark: self._mark,
            events.Finish: lambda _: self._finish(),
        }

    def _open(self, effect: events.ConnectRealtime) -> None:
        self._close()
        self._connection = self._connect(effect)
        self._connection.start(self.feed)

    def _send(self, effect: events.SendEvent) -> None:
        if self._connection is not None:
            self._connection.send(effect.event)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _consult(self, effect: events.Consult) -> None:
        self._leave_consulted()
        consulted = self._consulted = self._leg.consult(effect.uri)

        def report(event: LegInput) -> None:
            if self._consulted is consulted:
                self.feed(ConsultReported(event=event))

        consulted.start(report)

    def _play_to_consulted(self, effect: events.PlayToConsulted) -> None:
        if self._consulted is not None:
            self._consulted.play(effect.pcm)

    def _leave_consulted(self) -> None:
        consulted, self._consulted = self._consulted, None
        if consulted is not None:
            consulted.hang_up()

    def _load_prompt(self, effect: events.LoadPrompt) -> None:
        store, key, rate_hz = self._prompts, effect.key, effect.rate_hz

        def work() -> CallInput:
            try:
                prompt = store.load(key, rate_hz)
            except DamagedPromptError as error:
                return PromptLoaded(key=key, pcm=None, damage=str(error))
            if prompt is None:
                return PromptLoaded(key=key, pcm=None)
            return PromptLoaded(key=key, pcm=prompt.pcm, transcript=prompt.transcript)

        self._background(work, self.feed)

    def _store_prompt(self, effect: events.StorePrompt) -> None:
        store, key = self._prompts, effect.key
        prompt = Prompt(pcm=effect.pcm, transcript=effect.transcript)

        def work() -> CallInput:
            try:
                store.store(key, prompt, effect.rate_hz)
            except OSError as error:
                return PromptStored(key=key, error=str(error))
            return PromptStored(key=key)

        self._background(work, self.feed)

    def _run_tool(self, effect: events.RunTool) -> None:
        tool = self._tools[effect.name]
        if isinstance(tool, Stub | OutOfReach):
            self._answer_for(tool, effect)
            return

        cancellation = self._cancellations[effect.call_id] = Cancellation()

        def work() -> CallInput:
            ok, output = tool.run(effect.arguments, effect.keys, cancellation)
            return ToolFinished(call_id=effect.call_id, ok=ok, output=output)

        def done(finished: CallInput) -> None:
            self._cancellations.pop(effect.call_id, None)
            self.feed(finished)

        self._run_tools(work, done)

    def _cancel_tool(self, effect: events.CancelTool) -> None:
        cancellation = self._cancellations.pop(effect.call_id, None)
        if cancellation is not None:
            cancellation.cancel()

    def _answer_for(self, stub: Stub | OutOfReach, effect: events.RunTool) -> None:
        """Give a stub's answer, when its time has come."""
        answer = stub.answer(effect.arguments)
        if answer is None:
            return
        finished = ToolFinished(
            call_id=effect.call_id, ok=answer.ok, output=answer.output, refused=answer.refused
        )
        at_ns = self._clock.now_ns() + ms_to_ns(answer.after_ms)
        self._clock.call_at(at_ns, lambda: self.feed(finished))

    def _mark(self, effect: events.EmitMark) -> None:
        self._marks(
            Mark(
                at_ns=effect.at_ns,
                source="agent",
                call=self._call,
                name=effect.name,
                fields=effect.fields,
            )
        )

    def _finish(self) -> None:
        if self._over:
            return
        self._over = True
        try:
            self._timers.cancel_all()
            self._close()
            self._leave_consulted()
        finally:
            self._on_end()
