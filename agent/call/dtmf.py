"""Keys that the caller presses: gathered into numbers, told to the model, kept for tools."""

from callerside.agent.call.context import Outbox
from callerside.agent.call.events import Timer
from callerside.agent.call.history import History
from callerside.agent.call.responses import Purpose, Responses
from callerside.agent.call.turn_taking import Turns
from callerside.agent.config.settings import DtmfSettings
from callerside.agent.telephony.interface import DtmfReceived

_MAX_DIGITS = 64
_END = "#"


class Keys:
    """The caller's key presses."""

    def __init__(
        self,
        out: Outbox,
        history: History,
        turns: Turns,
        responses: Responses,
        settings: DtmfSettings,
    ) -> None:
        self._out = out
        self._history = history
        self._turns = turns
        self._responses = responses
        self._settings = settings
        self._digits = ""
        self.pressed_so_far = ""
        """For tools: the last keys of the call, whether or not the model is told."""

    def pressed(self, event: DtmfReceived) -> None:
        """One key. `#` ends a number at once, a pause ends it, too."""
        self._out.mark("dtmf_received", {"digit": event.digit, "method": event.method})
        self.pressed_so_far = (self.pressed_so_far + event.digit)[-_MAX_DIGITS:]
        if not self._settings.to_model:
            return
        if self._settings.interrupts:
            self._turns.interrupt()
        self._digits += event.digit
        if event.digit == _END or len(self._digits) >= _MAX_DIGITS:
            self.finished()
        else:
            self._out.set_timer(Timer.DTMF_GAP, self._settings.interdigit_timeout_ms)

    def finished(self) -> None:
        """The number is complete: tell the model, and ask it to answer."""
        self._out.cancel_timer(Timer.DTMF_GAP)
        digits, self._digits = self._digits, ""
        self._history.caller_did(f"I pressed {' '.join(digits)} on the telephone's keypad.")
        self._responses.request(Purpose.TURN)
