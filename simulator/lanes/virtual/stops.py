"""What of a response may be lost, by what the server and the telephone have told: not by marks.

A response is lost from where its caller, or a limit, has stopped it; where it is over, or another
has taken its place; with its session; and with the call.
"""

from collections.abc import Mapping
from typing import Any

from callerside.agent.call import events
from callerside.agent.call.consultation import PURPOSE
from callerside.agent.call.events import ConsultReported, EndRequested, TimerFired
from callerside.agent.config.settings import CallSettings
from callerside.agent.telephony.interface import DtmfReceived, HungUp, TransferProgressed
from callerside.simulator.lanes.virtual.answers_owed import is_told, loses_its_session, purpose_of
from callerside.simulator.lanes.virtual.invariants import client_events, server_event
from callerside.simulator.lanes.virtual.trace import Step

_LAST = frozenset({"goodbye"})
_TELL = ("response.created", "response.done")


class Stops:
    """Follows the steps of one call."""

    def __init__(self, settings: CallSettings) -> None:
        self._settings = settings
        self._purposes: dict[str, object] = {}
        """Of each response that was begun, or is over."""
        self._over: set[str] = set()
        self._running: str | None = None
        self._stopped: set[str] = set()
        self.is_speaking = False
        """The caller, as far as the agent was told."""
        self.may_clear = False
        """In this step something happened for which what waits to be heard may be dropped."""
        self.may_cut_off = False
        """The same, for which the call may end before the caller has heard it all."""
        self.is_over = False
        """The call is, or is about to be."""
        self.is_consulting = False
        """Who is to take the caller is in a call of its own."""

    def begin(self, step: Step) -> None:
        """Take in what a step was given."""
        given, event = step.given, server_event(step)
        kind, response = event.get("type"), event.get("response") or {}
        if is_told(step, "speech_started"):
            self.is_speaking = True
            self._stop_for_the_caller()
        gone = loses_its_session(step)
        self.may_clear = self.is_speaking or gone or isinstance(given, DtmfReceived)
        self.may_cut_off = isinstance(given, TimerFired | TransferProgressed) or (
            isinstance(given, EndRequested) and given.at_once
        )
        if is_told(step, "speech_stopped"):
            self.is_speaking = False
        if kind in _TELL:
            self._enter(str(response["id"]), response, is_done=kind == "response.done")
        if gone:
            self._running, self.is_speaking = None, False
        self.is_over = self.is_over or isinstance(given, HungUp)
        if isinstance(given, ConsultReported) and isinstance(given.event, HungUp):
            self.is_consulting = False

    def end(self, step: Step) -> list[str]:
        """Take in what the agent did; answers the responses that it stopped for nothing."""
        wrong = []
        for sent in client_events(step):
            if sent["type"] == "response.cancel" and (response := sent.get("response_id")):
                has_reason = self.may_clear or isinstance(step.given, TimerFired)
                if not has_reason and response not in self._stopped:
                    wrong.append(str(response))
                self._stopped.add(response)
        for effect in step.effects:
            self.is_over = self.is_over or isinstance(effect, _ENDS)
            if isinstance(effect, events.Consult | events.LeaveConsulted):
                self.is_consulting = isinstance(effect, events.Consult)
        return wrong

    def may_lose(self, response: str) -> bool:
        """Whether what comes of a response need not be heard."""
        return self.is_over or response != self._running or response in self._stopped

    def runs(self, response: str) -> bool:
        """Whether a response runs; one of which nothing was told yet does so with its end."""
        return response == self._running or response not in self._purposes

    def is_known_to_run(self, response: str) -> bool:
        """Whether a response runs of which that was told."""
        return response == self._running

    def is_news(self, step: Step) -> bool:
        """Whether a step that is to `begin` tells first of a response to the caller."""
        event = server_event(step)
        response = event.get("response") or {}
        tells = event.get("type") in _TELL and response["id"] not in self._purposes
        return tells and purpose_of(response) != PURPOSE

    def is_briefing(self, response: str) -> bool:
        """Whether it is for somebody else's ear."""
        return self._purposes.get(response) == PURPOSE

    def _enter(self, name: str, response: Mapping[str, Any], *, is_done: bool) -> None:
        is_new = name not in self._purposes
        self._purposes.setdefault(name, purpose_of(response))
        if self.is_briefing(name):
            return
        if is_new:
            self._running = name
        if is_done and self._running == name:
            self._running = None

    def _stop_for_the_caller(self) -> None:
        running = self._running
        if running is None or not self._settings.turns.barge_in:
            return
        purpose = self._purposes[running]
        is_greeting = purpose == "greeting" and not self._settings.greeting.interruptible
        if not is_greeting and purpose not in _LAST:
            self._stopped.add(running)


_ENDS = (events.HangUp, events.Finish)
