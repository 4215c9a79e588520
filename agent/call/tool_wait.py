"""What the caller hears while a function takes long: words or a tone, until the answer begins."""

from callerside.agent.call.context import CallContext
from callerside.agent.call.events import Timer
from callerside.agent.call.fallback import ApiFallback
from callerside.agent.config.settings import ToolSettings


class ToolWait:
    """Times the silence in which functions run."""

    def __init__(self, context: CallContext, fallback: ApiFallback, settings: ToolSettings) -> None:
        self._context = context
        self._fallback = fallback
        self._settings = settings
        self.watching = False
        """Functions ran when they were looked at last."""
        self._times = 0
        """How often the caller has been told of what runs now."""

    def watch(self, *, running: bool, silent: bool) -> None:
        """Functions run or not, and nobody says anything, or somebody does."""
        self.watching = running
        if not running:
            self._times = 0
        waiting = running and silent and self._settings.wait != "off"
        if waiting == self._context.is_running(Timer.TOOL_WAIT_DUE):
            return
        if waiting:
            settings = self._settings
            delay_ms = settings.wait_every_ms if self._times else settings.wait_after_ms
            self._context.set_timer(Timer.TOOL_WAIT_DUE, delay_ms)
        else:
            self._context.cancel_timer(Timer.TOOL_WAIT_DUE)

    def due(self) -> None:
        """It has been silent for long enough."""
        self._times += 1
        self._fallback.say_wait(in_words=self._settings.wait == "words")
