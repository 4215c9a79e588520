"""Functions that the model calls: run off the call, their results given to the model.

A response may call several. Each is started as soon as it is whole, while the model still speaks
(`tools.at_once`), and has a time limit; they run side by side. What they answer waits until the
response is done: how a model takes an item amid its own is not documented. When the last one has
answered, the model is asked to go on. Calls that cannot be made are answered with the reason; a
model that goes on making such calls is asked to do without. The three that are built in act on the
call itself: `hang_up`, `transfer`, `send_dtmf`; they begin when their response is done, and the
first two wait until what was said has been heard. A transfer that is attended begins with a call to
whoever is to take the caller (`agent.call.consultation`).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from callerside.agent.call.builtin_tools import (
    DTMF_DIGITS,
    HANG_UP,
    SEND_DTMF,
    TRANSFER,
    Declaration,
)
from callerside.agent.call.consultation import TOLD_WITHIN_MS, Consultation
from callerside.agent.call.context import CallContext
from callerside.agent.call.dtmf import DtmfCollector
from callerside.agent.call.event_bounds import MOST_ITEMS
from callerside.agent.call.events import (
    CancelTool,
    RunTool,
    SendDtmf,
    Timer,
    ToolFinished,
    Transfer,
)
from callerside.agent.call.history import History
from callerside.agent.call.playout import Playout
from callerside.agent.call.responses import Purpose, Responses
from callerside.agent.call.termination import TRANSFER_LIMIT_MS, Termination
from callerside.agent.call.turn_taking import TurnTaking
from callerside.agent.config.settings import CallSettings
from callerside.agent.realtime.events import FunctionCall
from callerside.clock import NS_PER_MS

_MOST_DIGITS = 32
"""As many as the telephone's stack keeps waiting."""
MAX_OUTPUT_CHARS = 20_000
"""Of one result: what is longer is cut, and says so."""


class _Running:
    """A call that has not answered yet."""

    def __init__(self, call: FunctionCall, started_ns: int) -> None:
        self.call = call
        self.started_ns = started_ns


class ToolCalls:
    """The model's function calls in one call."""

    def __init__(
        self,
        context: CallContext,
        playout: Playout,
        history: History,
        turns: TurnTaking,
        responses: Responses,
        termination: Termination,
        consultation: Consultation,
        dtmf: DtmfCollector,
        settings: CallSettings,
        offered: Sequence[Declaration],
    ) -> None:
        """`offered`: declarations of everything that the model may call."""
        self._context = context
        self._playout = playout
        self._history = history
        self._turns = turns
        self._responses = responses
        self._termination = termination
        self._consultation = consultation
        consultation.on_told = self._told
        consultation.on_failed = self._not_taken
        self._dtmf = dtmf
        self._settings = settings
        self._offered = {str(tool["name"]): tool for tool in offered}
        self._is_broken = False
        """Of the calls that run now one could not be made."""
        self._calling: str | None = None
        """The response whose calls were started before it was done, while it is not."""
        self._started: set[str] = set()
        """Which they are, by id."""
        self._unsaid: list[tuple[str, str]] = []
        """Calls and their answers that the model has not been given yet."""
        self._broken_in_a_row = 0
        self._calls_in_a_row = 0
        """Responses with calls since one without."""
        self.running: dict[str, _Running] = {}
        """Calls that have not answered yet, by id; looked at with every delta."""
        self._transferring: FunctionCall | None = None
        self._transfer_to: str | None = None
        """Where to, until the REFER is sent; while somebody is called first, not."""
        self._transfer_reason: str | None = None
        """What whoever is to take the caller has to be told first."""
        self._is_handed_over = False
        """The caller is in another call now."""
        self._ask_when_done = False
        self._caller_first = False
        """The caller spoke when the last one answered: what comes next answers that, too."""
        termination.on_over = self._cancel_all
        self._built_in: Mapping[str, Callable[[FunctionCall, Mapping[str, Any]], None]] = {
            HANG_UP: self._hang_up,
            TRANSFER: self._transfer,
            SEND_DTMF: self._send_dtmf,
        }

    @property
    def transfers(self) -> bool:
        """The caller is on the way to somebody else, and is told so."""
        return self._transferring is not None

    @property
    def pending(self) -> bool:
        """Something runs, or is answered and the model has not been asked to go on."""
        return bool(self.running or self._ask_when_done)

    def called(self, call: FunctionCall) -> None:
        """The response that runs has made a call, and goes on."""
        response = self._responses.active
        if not self._settings.tools.at_once or call.name in self._built_in or response is None:
            return
        if self._calling is None:
            self._calling = response.id
            self._started.clear()
            self._is_broken = False
        if call.call_id not in self._started and len(self._started) < MOST_ITEMS:
            self._started.add(call.call_id)
            self._note(call)
            self._start(call)

    def response_created(self) -> None:
        """The model speaks: what it has been given before it need not be asked about any more."""
        if self._caller_first:
            self._caller_first = self._ask_when_done = False

    def run(self, calls: tuple[FunctionCall, ...]) -> None:
        """A response is done, and these are the calls in it: some of them may run already."""
        if self._calling is None:
            self._started.clear()
            self._is_broken = False
        self._calling = None
        self._calls_in_a_row = self._calls_in_a_row + 1 if calls else 0
        new = [call for call in calls if call.call_id not in self._started][:MOST_ITEMS]
        self._started.clear()
        for call in new:
            self._note(call)
        for call in new:
            self._start(call)
        self._hand_over()

    def _note(self, call: FunctionCall) -> None:
        self._history.agent_called(call.call_id, call.name, call.arguments)
        self._context.mark("tool_called", {"name": call.name, "call_id": call.call_id})
        self.running[call.call_id] = _Running(call, self._context.now_ns)

    def finished(self, event: ToolFinished) -> None:
        """A function has answered; one that was given up has no say any more."""
        running = self.running.pop(event.call_id, None)
        if running is None:
            return
        took_ms = (self._context.now_ns - running.started_ns) / NS_PER_MS
        fields = {"name": running.call.name, "call_id": event.call_id, "ok": event.ok}
        self._context.mark("tool_finished", {**fields, "took_ms": took_ms})
        if event.refused:
            why = {"name": running.call.name, "call_id": event.call_id, "reason": event.refused}
            self._context.mark("stub_refused", why)
        self._unsaid.append((event.call_id, _bounded(event.output)))
        if running.call.name != HANG_UP and not self._is_handed_over:
            self._ask_when_done = True
        if not self.running:
            self._context.cancel_timer(Timer.TOOL_LIMIT)
        self._hand_over()

    def _hand_over(self) -> None:
        """Give the model what it waits for, if it has done speaking."""
        if self._calling is not None:
            return
        for call_id, output in self._unsaid:
            self._history.function_said(call_id, output)
        self._unsaid.clear()
        if not self.running:
            self._all_finished()

    def proceed(self) -> None:
        """Do what has waited for others.

        Transfer, if the model wants it and the caller has heard what there is to be heard. And give
        results to the model, if its response has ended some other way than by being done.
        """
        if self._calling is not None:
            active = self._responses.active
            if active is None or active.id != self._calling:
                self._calling = None
                self._started.clear()
                self._hand_over()
        elif self._caller_first and not self.running:
            self._all_finished()
        uri = self._transfer_to
        if uri is None or not self._playout.idle:
            return
        if self._termination.hanging_up or self._termination.transferring:
            return  # the call ends some other way
        self._transfer_to = None
        if self._transfer_reason is not None:
            reason, self._transfer_reason = self._transfer_reason, None
            self._consultation.begin(uri, reason)
        else:
            self._context.add(Transfer(uri=uri, attended=self._consultation.told))
            self._context.mark("transfer_sent", {"uri": uri})
        self._limit()

    def _told(self, uri: str) -> None:
        """Whoever is to take the caller knows why: hand the caller over."""
        self._transfer_to = uri

    def _not_taken(self, why: str) -> None:
        """The caller stays with us."""
        call, self._transferring, self._transfer_to = self._transferring, None, None
        if call is not None:
            self._fail(call.call_id, f"not transferred: {why}")

    def time_limit(self) -> None:
        """The time of the functions that run is over."""
        unsent, self._transfer_to = self._transfer_to, None
        call, self._transferring = self._transferring, None
        self._context.mark("watchdog_fired", {"what": Timer.TOOL_LIMIT.value})
        self._consultation.end("it took too long")
        if call is not None:
            why = "the caller could not hear your last words" if unsent else "nobody answered there"
            self._fail(call.call_id, f"not transferred: {why}")
        limit_s = self._settings.limits.tool_ms / 1000
        for call_id in list(self.running):
            self._context.add(CancelTool(call_id=call_id))
            self._fail(call_id, f"no answer within {limit_s:g} s")

    def transfer_ended(self, status: int) -> None:
        """What became of a transfer that the model wanted."""
        call, self._transferring = self._transferring, None
        self._is_handed_over = 200 <= status < 300
        self._consultation.end(f"the transfer ended with SIP status {status}")
        if self._is_handed_over:  # and speaks to them: there is nobody here to take leave of
            if call is not None:
                self._succeed(call.call_id, "The caller has been transferred.")
            self._termination.now("transferred")
        elif call is not None:
            self._fail(call.call_id, f"the transfer failed with SIP status {status}")

    def _start(self, call: FunctionCall) -> None:
        try:
            arguments = self._arguments(call)
        except ValueError as error:
            self._is_broken = True
            self._fail(call.call_id, str(error))
            return
        self._limit()
        built_in = self._built_in.get(call.name)
        if built_in is not None:
            built_in(call, arguments)
        else:
            self._context.add(
                RunTool(
                    call_id=call.call_id,
                    name=call.name,
                    arguments=arguments,
                    keys=self._dtmf.pressed_so_far,
                )
            )

    def _arguments(self, call: FunctionCall) -> dict[str, Any]:
        """The arguments of a call that can be made.

        Raises:
            ValueError: it cannot; says what the model should know.
        """
        tool = self._offered.get(call.name)
        if tool is None:
            known = ", ".join(sorted(self._offered)) or "none"
            raise ValueError(f"there is no function {call.name!r}; known: {known}")
        try:
            arguments = json.loads(call.arguments or "{}")
        except (ValueError, RecursionError) as error:  # the latter of what is nested too deep
            raise ValueError(f"the arguments are not JSON: {error}") from None
        if not isinstance(arguments, dict):
            raise ValueError("the arguments are not a JSON object")  # noqa: TRY004 - the model's
        needed = tool.get("parameters", {}).get("required", ())
        missing = [name for name in needed if name not in arguments]
        if missing:
            raise ValueError(f"arguments are missing: {', '.join(missing)}")
        return arguments

    def _cancel_all(self) -> None:
        """The call is over: nobody waits for what still runs, and its results are dropped."""
        self._consultation.end("the call is over")
        for call_id, running in self.running.items():
            ran_ms = (self._context.now_ns - running.started_ns) / NS_PER_MS
            fields = {"name": running.call.name, "call_id": call_id, "ran_ms": ran_ms}
            self._context.mark("tool_cancelled", fields)
            self._context.add(CancelTool(call_id=call_id))
        self.running.clear()

    def _hang_up(self, call: FunctionCall, _arguments: Mapping[str, Any]) -> None:
        self._succeed(call.call_id, "The call ends when the caller has heard your last word.")
        self._termination.after_last_word("the model hung up")

    def _transfer(self, call: FunctionCall, arguments: Mapping[str, Any]) -> None:
        uri = arguments.get("uri")
        allowed = self._settings.tools.transfer
        if uri not in allowed:
            self._fail(call.call_id, f"uri must be one of {', '.join(allowed)}")
        elif self._transferring is not None:
            self._fail(call.call_id, "another transfer is under way")
        else:
            self._transferring, self._transfer_to = call, uri
            if self._settings.tools.transfer_kind == "attended":
                self._transfer_reason = str(arguments["reason"])
            self._limit()

    def _send_dtmf(self, call: FunctionCall, arguments: Mapping[str, Any]) -> None:
        digits = str(arguments.get("digits", ""))
        if not 0 < len(digits) <= _MOST_DIGITS or not set(digits) <= DTMF_DIGITS:
            reason = f"digits must be some of 0-9 * # A-D, at most {_MOST_DIGITS} at a time"
            self._fail(call.call_id, reason)
            return
        self._context.add(SendDtmf(digits=digits))
        for digit in digits:
            self._context.mark("dtmf_sent", {"digit": digit, "method": "rfc4733"})
        self._succeed(call.call_id, "The keys have been pressed.")

    def _limit(self) -> None:
        """The time of what runs begins anew; what is to be heard before a transfer has its own."""
        limit_ms: float = self._settings.limits.tool_ms
        if self._transfer_to is not None:
            limit_ms += self._playout.waiting_ms
        if self._transferring is not None and self._settings.tools.transfer_kind == "attended":
            limit_ms += self._settings.tools.transfer_answer_ms + TOLD_WITHIN_MS
        elif self._transferring is not None and self._transfer_to is None:  # it rings there
            limit_ms = max(limit_ms, TRANSFER_LIMIT_MS)
        self._context.set_timer(Timer.TOOL_LIMIT, limit_ms)

    def _succeed(self, call_id: str, output: str) -> None:
        self.finished(ToolFinished(call_id=call_id, ok=True, output=output))

    def _fail(self, call_id: str, reason: str) -> None:
        output = json.dumps({"error": reason})
        self.finished(ToolFinished(call_id=call_id, ok=False, output=output))

    def _all_finished(self) -> None:
        if not self._ask_when_done:
            return
        turns = self._turns
        self._caller_first = self._caller_first or turns.speaking
        in_turn = turns.speaking or turns.committing or turns.answer_due
        if self._caller_first and (in_turn or self._responses.expected):
            return
        self._caller_first = False
        self._broken_in_a_row = self._broken_in_a_row + 1 if self._is_broken else 0
        self._ask_when_done = False
        tools = self._settings.tools
        is_stuck = self._broken_in_a_row > tools.argument_retries
        may_call = not is_stuck and self._calls_in_a_row < tools.calls_in_a_row
        if not may_call:
            tries = self._broken_in_a_row if is_stuck else self._calls_in_a_row
            self._context.mark("tools_withheld", {"tries": tries})
            self._broken_in_a_row = self._calls_in_a_row = 0
        self._responses.request(Purpose.TURN, may_call=may_call)


def _bounded(output: str) -> str:
    if len(output) <= MAX_OUTPUT_CHARS:
        return output
    return output[:MAX_OUTPUT_CHARS] + f" [cut: {len(output)} characters]"
