"""Answers that the caller cannot use: without sound, cut short by the server, or broken off by it.

To the caller each is silence, or half a sentence. An answer that was only written, or in whose
audio nothing sounds, is asked for again, to be spoken; one that was cut short is continued; each so
often as the settings say, and then the caller is told that it was lost. A response that fails is
`agent.call.fallback`'s.
"""

from callerside.agent.call.context import CallContext
from callerside.agent.call.fallback import ApiFallback
from callerside.agent.call.playout import Playout
from callerside.agent.call.responses import Purpose, Response, Responses
from callerside.agent.call.termination import Termination
from callerside.agent.call.turn_taking import TurnTaking
from callerside.agent.config.settings import CallSettings
from callerside.agent.realtime.events import ResponseDone

_FILTERED = "content_filter"
"""Why an answer was cut short that will be cut short again."""


class AnswerRepair:
    """Sees to it that a turn's answer is heard, or that the caller is told that it is lost."""

    def __init__(
        self,
        context: CallContext,
        responses: Responses,
        playout: Playout,
        turns: TurnTaking,
        termination: Termination,
        fallback: ApiFallback,
        settings: CallSettings,
    ) -> None:
        self._context = context
        self._responses = responses
        self._playout = playout
        self._turns = turns
        self._termination = termination
        self._fallback = fallback
        self._settings = settings
        self._spoken_retries = 0
        self._continuations = 0

    def response_done(self, response: Response, event: ResponseDone) -> None:
        """A response is done: is there something of it that the caller lacks?"""
        if event.status == "incomplete":
            fields = {"response": response.id, "reason": event.reason or ""}
            self._context.mark("response_incomplete", fields)
        if event.status == "failed" or not self._is_due(response):
            return
        has_calls = bool(event.runnable)
        if event.status == "completed" and (response.has_sound or has_calls):
            self._spoken_retries = self._continuations = 0
        elif has_calls:
            pass  # their results lead to the next answer
        elif response.has_sound:
            self._continue(response, event.reason)
        else:
            self._context.mark("response_silent", {"response": response.id})
            self._playout.retract(response.segments.values())
            self._speak(response)

    def _is_due(self, response: Response) -> bool:
        """Whether the caller waits for it, and has not taken the floor since."""
        turns = self._turns
        moved_on = turns.speaking or turns.committing or turns.answer_due
        others = response.purpose is not Purpose.TURN or response.interrupted
        return not (moved_on or others or self._termination.wanted or self._responses.expected)

    def _continue(self, response: Response, reason: str | None) -> None:
        answers = self._settings.answers
        if reason == _FILTERED or self._continuations >= answers.continuations:
            self._apologise(response)
            return
        self._continuations += 1
        self._ask(response, "continued", answers.continue_instructions)

    def _speak(self, response: Response) -> None:
        answers = self._settings.answers
        if self._spoken_retries >= answers.spoken_retries:
            self._apologise(response)
            return
        self._spoken_retries += 1
        self._ask(response, "asked_again", answers.speak_instructions)

    def _ask(self, response: Response, by: str, instructions: str) -> None:
        self._context.mark("answer_repaired", {"response": response.id, "by": by})
        whole = f"{self._settings.instructions}\n\n{instructions}"
        self._responses.request(Purpose.TURN, whole, stands_in=True)

    def _apologise(self, response: Response) -> None:
        self._spoken_retries = self._continuations = 0
        self._context.mark("answer_repaired", {"response": response.id, "by": "apology"})
        self._fallback.apologise()
