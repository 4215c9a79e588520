"""The DTMF digits of the caller: collected into numbers for the model, and kept for tools."""

from callerside.agent.call.context import CallContext
from callerside.agent.call.events import Timer
from callerside.agent.call.history import History
from callerside.agent.call.responses import Purpose, Responses
from callerside.agent.call.turn_taking import TurnTaking
from callerside.agent.config.settings import DtmfSettings
from callerside.agent.telephony.interface import DtmfReceived

_MAX_DIGITS = 64
_END = "#"


class DtmfCollector:
    """The caller's key presses."""

    def __init__(
        self,
        context: CallContext,
        history: History,
        turns: TurnTaking,
        responses: Responses,
        settings: DtmfSettings,
    ) -> None:
        self._context = context
        self._history = history
        self._turns = turns
        self._responses = responses
        self._settings = settings
        self._digits = ""
        self.pressed_so_far = ""
        """For tools: the last keys of the call, whether or not the model gets them."""

    def pressed(self, event: DtmfReceived) -> None:
        """One key. `#` ends a number at once, a pause ends it, too."""
        self._context.mark("dtmf_received", {"digit": event.digit, "method": event.method})
        self.pressed_so_far = (self.pressed_so_far + event.digit)[-_MAX_DIGITS:]
        if not self._settings.to_model:
            return
        if self._settings.interrupts:
            self._turns.interrupt()
        self._digits += event.digit
        if event.digit == _END or len(self._digits) >= _MAX_DIGITS:
            self.finished()
        else:
            self._context.set_timer(Timer.DTMF_GAP, self._settings.interdigit_timeout_ms)

    def finished(self) -> None:
        """The number is complete: give it to the model, and ask for a response."""
        self._context.cancel_timer(Timer.DTMF_GAP)
        digits, self._digits = self._digits, ""
        self._history.caller_did(f"I pressed {' '.join(digits)} on the telephone's keypad.")
        self._responses.request(Purpose.TURN)
