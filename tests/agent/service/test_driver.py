"""The driver does what the machine asks, in order, and tells it what came of it."""

import json
from collections.abc import Callable, Collection
from typing import cast

import pytest

from callerside.agent.call.events import (
    CallInput,
    CancelTimer,
    ConnectRealtime,
    Effect,
    SetTimer,
    TimerFired,
    ToolFinished,
)
from callerside.agent.call.events import Timer as MachineTimer
from callerside.agent.call.machine import CallMachine
from callerside.agent.call.prompts import prompt_key
from callerside.agent.config.settings import CallSettings
from callerside.agent.prompts.cache import DamagedPromptError, MemoryPrompts, Prompt, PromptStore
from callerside.agent.realtime.interface import (
    Event,
    RealtimeClosed,
    RealtimeConnected,
    RealtimeEvent,
    RealtimeInput,
)
from callerside.agent.realtime.requests import append
from callerside.agent.service.driver import CallDriver, Work, run_inline
from callerside.agent.telephony.interface import (
    CallAnswered,
    CallLeg,
    CallReceived,
    DtmfMethod,
    FramePlayed,
    HungUp,
    LegInput,
    MediaReady,
    PlayoutCleared,
    TransferProgressed,
)
from callerside.agent.tools.loader import PythonTool
from callerside.clock import NS_PER_MS
from callerside.marks import Mark
from callerside.simulator.lanes.virtual.clock import VirtualClock


class FakeLeg:
    sample_rate_hz = 24_000

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.consulted: FakeLeg | None = None
        self.tell: Callable[[LegInput], None] = lambda _event: None

    def start(self, on_input: Callable[[LegInput], None]) -> None:
        self.tell = on_input

    def answer(self, status: int = 200) -> None:
        self.asked.append(f"answer {status}")

    def play(self, pcm: bytes, tag: int = 0) -> None:
        self.asked.append(f"play {len(pcm)}")

    def clear(self, tags: Collection[int] | None = None) -> None:
        self.asked.append("clear")

    def hang_up(self, status: int = 200) -> None:
        self.asked.append(f"hang up {status}")

    def send_dtmf(self, digits: str, method: DtmfMethod = "rfc4733") -> None:
        self.asked.append(f"dtmf {digits}")

    def consult(self, uri: str) -> CallLeg:
        self.asked.append(f"consult {uri}")
        self.consulted = FakeLeg()
        return self.consulted

    def transfer(self, uri: str, consulted: CallLeg | None = None) -> None:
        behind = " to that call" if consulted is not None and consulted is self.consulted else ""
        self.asked.append(f"transfer {uri}{behind}")


class FakeConnection:
    def __init__(self) -> None:
        self.sent: list[Event] = []
        self.tell: Callable[[RealtimeInput], None] = lambda _event: None
        self.closed = False

    def start(self, on_input: Callable[[RealtimeInput], None]) -> None:
        self.tell = on_input

    def send(self, event: Event) -> None:
        self.sent.append(event)

    def append(self, audio: bytes) -> None:
        self.sent.append(append(audio))

    def close(self) -> None:
        self.closed = True

    def types(self) -> list[str]:
        return [str(event["type"]) for event in self.sent]


class Bench:
    def __init__(
        self,
        settings: dict[str, object] | None = None,
        *,
        prompts: PromptStore | None = None,
        tools: dict[str, PythonTool] | None = None,
        background: Callable[[Work, Callable[[CallInput], None]], None] | None = None,
        run_tools: Callable[[Work, Callable[[CallInput], None]], None] = run_inline,
    ) -> None:
        self.clock = VirtualClock(start_ns=NS_PER_MS)
        self.leg = FakeLeg()
        self.connections: list[FakeConnection] = []
        self.marks: list[Mark] = []
        self.ends = 0
        self.settings = CallSettings.model_validate(settings or {})
        tools = tools or {}
        declarations = [tool.declaration for tool in tools.values()]
        machine = CallMachine(
            self.settings, called="1", sample_rate_hz=24_000, tools=declarations, strict=True
        )
        self.driver = CallDriver(
            machine,
            self.leg,
            self._connect,
            self.clock,
            prompts or MemoryPrompts(),
            self.marks.append,
            call="c1",
            tools=tools,
            on_end=self._ended,
            background=background or run_inline,
            run_tools=run_tools,
        )
        self.driver.start()
        self.leg.tell(CallReceived(called="1", caller="2", sip_call_id="s"))

    def _connect(self, effect: ConnectRealtime) -> FakeConnection:
        self.connections.append(FakeConnection())
        return self.connections[-1]

    def _ended(self) -> None:
        self.ends += 1

    def up(self) -> "Bench":
        self.leg.tell(CallAnswered())
        self.leg.tell(MediaReady(codec="PCMU"))
        self.realtime(RealtimeConnected())
        self.event("session.created", session={"id": "s"})
        self.event("session.updated", session={})
        return self

    def realtime(self, event: RealtimeInput) -> None:
        self.connections[-1].tell(event)

    def event(self, event_type: str, **fields: object) -> None:
        self.realtime(RealtimeEvent(event={"type": event_type, **fields}))

    def names(self) -> list[str]:
        return [mark.name for mark in self.marks]


def test_an_incoming_call_is_answered_and_the_api_connected() -> None:
    bench = Bench()
    assert bench.leg.asked == ["answer 200"]
    assert len(bench.connections) == 1
    assert {mark.call for mark in bench.marks} == {"c1"}
    assert {mark.source for mark in bench.marks} == {"agent"}


def test_timers_run_on_the_clock_that_was_given() -> None:
    bench = Bench().up()
    bench.clock.run_until(bench.clock.now_ns() + 499 * NS_PER_MS)
    assert "response.create" not in bench.connections[0].types()
    bench.clock.run_until(bench.clock.now_ns() + 2 * NS_PER_MS)
    assert "response.create" in bench.connections[0].types()


def test_marks_of_frames_bear_the_time_of_the_frame() -> None:
    bench = Bench().up()
    bench.leg.tell(FramePlayed(played=((1, 480),), at_ns=123))
    (mark,) = [mark for mark in bench.marks if mark.name == "beep_started"]
    assert mark.at_ns == 123


DESK = "sip:desk@example.org"


def consulting() -> Bench:
    """The model wants the caller handed over, and the desk is called first."""
    settings: dict[str, object] = {
        "greeting": {"enabled": False},
        "beep": {"enabled": False},
        "tools": {"transfer": [DESK], "transfer_kind": "attended"},
    }
    bench = Bench(settings).up()
    call = {"type": "function_call", "id": "i", "status": "completed", "call_id": "f"}
    call |= {"name": "transfer", "arguments": json.dumps({"uri": DESK, "reason": "A key."})}
    bench.event("response.created", response={"id": "r"})
    done = {"id": "r", "status": "completed", "output": [call]}
    bench.event("response.done", response=done)
    assert bench.leg.asked[-1] == f"consult {DESK}"
    return bench


def test_a_second_call_is_told_of_played_to_and_named_in_the_transfer() -> None:
    bench = consulting()
    desk = bench.leg.consulted
    assert desk is not None
    desk.tell(MediaReady(codec="PCMU"))
    bench.event("response.created", response={"id": "b", "metadata": {"purpose": "briefing"}})
    audio = {"response_id": "b", "item_id": "i", "delta": bytes(960)}
    bench.event("response.output_audio.delta", **audio)
    bench.event("response.done", response={"id": "b", "status": "completed", "output": []})
    assert desk.asked == ["play 960"]
    desk.tell(FramePlayed(played=((0, 480),), at_ns=1))
    assert bench.leg.asked[-1] == f"transfer {DESK} to that call"
    bench.leg.tell(TransferProgressed(status=200))
    assert desk.asked[-1] == "hang up 200"
    desk.tell(HungUp(by="network", status=200, reason="OK"))


def test_whatever_ends_a_call_leaves_the_second_one() -> None:
    bench = consulting()
    bench.leg.tell(HungUp(by="caller", status=200, reason="OK"))
    desk = bench.leg.consulted
    assert desk is not None
    assert desk.asked == ["hang up 200"]
    desk.tell(HungUp(by="agent", status=487, reason="x"))
    assert bench.ends == 1


def test_the_end_is_told_once_and_leaves_nothing_behind() -> None:
    bench = Bench().up()
    hung_up = HungUp(by="caller", status=200, reason="OK")
    bench.leg.tell(hung_up)
    bench.leg.tell(hung_up)
    assert bench.ends == 1
    assert bench.connections[0].closed
    sent = len(bench.connections[0].sent)
    bench.event("response.created", response={"id": "r"})
    bench.clock.run_until(bench.clock.now_ns() + 3600_000 * NS_PER_MS)
    assert len(bench.connections[0].sent) == sent
    assert bench.names()[-1] == "call_ended"


def test_a_new_connection_replaces_the_old_one() -> None:
    bench = Bench().up()
    bench.realtime(RealtimeClosed(reason="lost", code=1006))
    bench.clock.run_until(bench.clock.now_ns() + 300 * NS_PER_MS)
    assert len(bench.connections) == 2
    assert bench.connections[0].closed


def test_an_input_that_comes_while_effects_run_waits_for_its_turn() -> None:
    bench = Bench({"greeting": {"enabled": False}, "beep": {"enabled": False}}).up()
    order: list[str] = []

    def clear(tags: Collection[int] | None = None) -> None:
        assert tags == {1}
        order.append("clear")
        bench.leg.tell(PlayoutCleared(dropped=((1, 4_320),)))
        order.append("cleared returned")

    bench.leg.clear = clear  # type: ignore[method-assign]
    bench.clock.run_until(bench.clock.now_ns() + NS_PER_MS)
    bench.event("response.created", response={"id": "r1"})
    delta = {"response_id": "r1", "item_id": "a", "delta": b"\1\0" * 4800}
    bench.event("response.output_audio.delta", **delta)
    bench.leg.tell(FramePlayed(played=((1, 480),), at_ns=bench.clock.now_ns()))
    bench.event("input_audio_buffer.speech_started", item_id="u", audio_start_ms=0)
    assert order == ["clear", "cleared returned"]
    assert "conversation.item.truncate" in bench.connections[0].types()


def test_prompts_are_loaded_and_stored_in_the_background() -> None:
    waiting: list[tuple[Work, Callable[[CallInput], None]]] = []
    settings = CallSettings()
    key = prompt_key(settings, settings.greeting.instructions)
    prompts = MemoryPrompts()
    prompts.store(key, Prompt(pcm=b"\1\0" * 480, transcript="Hi"), 24_000)
    bench = Bench(prompts=prompts, background=lambda work, done: waiting.append((work, done)))
    bench.up()
    bench.clock.run_until(bench.clock.now_ns() + 600 * NS_PER_MS)
    assert "play 960" not in bench.leg.asked
    for work, done in waiting:
        done(work())
    assert "play 960" in bench.leg.asked


class BrokenStore:
    """A disk that is full, with a damaged file on it."""

    def load(self, key: str, rate_hz: int) -> Prompt | None:
        raise DamagedPromptError("cut short")

    def store(self, key: str, prompt: Prompt, rate_hz: int) -> None:
        raise OSError("no space left")


def test_a_broken_prompt_store_does_not_hurt_the_call() -> None:
    bench = Bench(prompts=BrokenStore()).up()
    bench.clock.run_until(bench.clock.now_ns() + 600 * NS_PER_MS)
    assert "greeting_damaged" in bench.names()
    bench.event("response.created", response={"id": "g", "metadata": {"purpose": "greeting"}})
    delta = {"response_id": "g", "item_id": "a", "delta": b"\1\0" * 480}
    bench.event("response.output_audio.delta", **delta)
    bench.event("response.done", response={"id": "g", "status": "completed"})
    assert "play 960" in bench.leg.asked
    assert "greeting_cached" not in bench.names()


def test_a_tool_that_outlives_the_call_is_told_that_nobody_waits() -> None:
    """One that has not begun yet does not begin, and what runs is stopped."""

    async def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    held: list[Work] = []
    quiet: dict[str, object] = {"greeting": {"enabled": False}, "beep": {"enabled": False}}
    bench = Bench(
        quiet,
        tools={"add": PythonTool(add)},
        run_tools=lambda work, _on_done: held.append(work),
    ).up()
    item = {"type": "function_call", "call_id": "c", "name": "add", "arguments": '{"a": 1, "b": 2}'}
    bench.event("response.created", response={"id": "r"})
    bench.event("response.done", response={"id": "r", "status": "completed", "output": [item]})
    (work,) = held
    bench.leg.tell(HungUp(by="caller", status=200, reason="OK"))
    finished = work()
    assert isinstance(finished, ToolFinished)
    assert not finished.ok
    assert "nobody waits" in finished.output


def test_a_tool_runs_and_its_result_is_sent() -> None:
    def add(left: int, right: int) -> int:
        """Add."""
        return left + right

    quiet: dict[str, object] = {"greeting": {"enabled": False}}
    bench = Bench(quiet, tools={"add": PythonTool(add)}).up()
    bench.clock.run_until(bench.clock.now_ns() + NS_PER_MS)
    call = {
        "type": "function_call",
        "call_id": "c",
        "name": "add",
        "arguments": '{"left":1,"right":2}',
    }
    bench.event("response.created", response={"id": "r1"})
    bench.event("response.done", response={"id": "r1", "status": "completed", "output": [call]})
    (item,) = [
        e["item"] for e in bench.connections[0].sent if e["type"] == "conversation.item.create"
    ]
    assert item == {"type": "function_call_output", "call_id": "c", "output": "3"}


@pytest.mark.parametrize(("at_once", "expected"), [(True, True), (False, False)])
def test_a_call_can_be_ended_from_outside(*, at_once: bool, expected: bool) -> None:
    bench = Bench().up()
    bench.driver.end("draining", at_once=at_once)
    assert ("hang up 200" in bench.leg.asked) is expected  # else: the beep is heard first


class ScriptedMachine:
    """Asks for what it was given, one list for each input."""

    def __init__(self, *answers: list[Effect]) -> None:
        self.answers = list(answers)
        self.told: list[CallInput] = []

    def handle(self, event: CallInput, now_ns: int) -> list[Effect]:
        self.told.append(event)
        return self.answers.pop(0) if self.answers else []


def test_a_timer_that_is_set_again_moves_and_one_that_is_cancelled_does_not_fire() -> None:
    machine = ScriptedMachine(
        [
            SetTimer(timer=MachineTimer.COMMIT_LIMIT, at_ns=100),
            SetTimer(timer=MachineTimer.COMMIT_LIMIT, at_ns=200),
            SetTimer(timer=MachineTimer.RESPONSE_LIMIT, at_ns=100),
            CancelTimer(timer=MachineTimer.RESPONSE_LIMIT),
            CancelTimer(timer=MachineTimer.CALL_LIMIT),
        ]
    )
    clock, leg = VirtualClock(start_ns=0), FakeLeg()
    driver = CallDriver(
        cast("CallMachine", machine),
        leg,
        lambda _effect: FakeConnection(),
        clock,
        MemoryPrompts(),
        lambda _mark: None,
        call="c1",
    )
    driver.start()
    leg.tell(CallAnswered())
    clock.run_until(199)
    assert machine.told == [CallAnswered()]
    clock.run_until(1000)
    assert machine.told == [CallAnswered(), TimerFired(timer=MachineTimer.COMMIT_LIMIT)]


class BrokenMachine:
    """Runs into a bug at every input of a kind; asks for nothing else."""

    def __init__(self, kind: type) -> None:
        self.kind = kind

    def handle(self, event: CallInput, now_ns: int) -> list[Effect]:
        if isinstance(event, self.kind):
            raise KeyError("a bug")
        return []


class FailingCall:
    """A call whose bugs are told."""

    def __init__(self, machine: object) -> None:
        self.clock, self.leg = VirtualClock(start_ns=0), FakeLeg()
        self.ends = 0
        self.failures: list[str] = []
        self.driver = CallDriver(
            cast("CallMachine", machine),
            self.leg,
            lambda _effect: FakeConnection(),
            self.clock,
            MemoryPrompts(),
            lambda _mark: None,
            call="c1",
            on_end=self._end,
            on_failure=lambda event, _error: self.failures.append(type(event).__name__),
        )
        self.driver.start()

    def _end(self) -> None:
        self.ends += 1


def test_a_call_whose_end_runs_into_a_bug_has_ended() -> None:
    call = FailingCall(BrokenMachine(HungUp))
    call.leg.tell(HungUp(by="caller", status=200, reason="caf\udce9"))
    assert call.failures == ["HungUp"]
    assert call.ends == 1
    call.leg.tell(HungUp(by="caller", status=200, reason="again"))
    assert call.ends == 1


@pytest.mark.parametrize("leg_reports", [True, False])
def test_a_bug_that_any_input_runs_into_ends_the_call_in_bounded_time(*, leg_reports: bool) -> None:
    machine = ScriptedMachine([SetTimer(timer=MachineTimer.CALL_LIMIT, at_ns=100)])
    call = FailingCall(machine)
    call.leg.tell(CallAnswered())
    machine.handle = BrokenMachine(TimerFired).handle  # type: ignore[method-assign]
    call.clock.run_until(200)
    assert call.failures == ["TimerFired"]
    assert call.leg.asked == ["hang up 500"]
    if leg_reports:
        call.leg.tell(HungUp(by="agent", status=500, reason="bye"))
    else:
        call.clock.run_until(20_000 * NS_PER_MS)
    assert call.ends == 1


def test_in_a_test_a_bug_is_raised() -> None:
    bench = Bench()
    bench.driver._machine = cast("CallMachine", BrokenMachine(CallReceived))
    bench.driver.start()
    with pytest.raises(KeyError):
        bench.leg.tell(CallReceived(called="1", caller="2", sip_call_id="s"))
