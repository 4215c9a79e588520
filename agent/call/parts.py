"""The parts of the call machine, made and introduced to each other.

Each part knows one thing and only the parts that it needs; this one place knows them all.
"""

from collections.abc import Sequence

from callerside.agent.call.api_session import Link
from callerside.agent.call.builtin_tools import Declaration, declarations
from callerside.agent.call.context import Outbox
from callerside.agent.call.dtmf import Keys
from callerside.agent.call.fallback import Trouble
from callerside.agent.call.history import History
from callerside.agent.call.opening import Opening
from callerside.agent.call.player import Player
from callerside.agent.call.responses import Responses
from callerside.agent.call.states import StateChart
from callerside.agent.call.termination import Closing
from callerside.agent.call.tool_calls import Functions
from callerside.agent.call.turn_taking import Turns
from callerside.agent.call.uplink import Uplink
from callerside.agent.config.settings import CallSettings, audio_format


class Parts:
    """Everything that a call is made of."""

    def __init__(
        self,
        settings: CallSettings,
        called: str,
        rate_hz: int,
        tools: Sequence[Declaration],
        *,
        strict: bool,
    ) -> None:
        """See `agent.call.machine.CallMachine`."""
        self.settings = settings
        self.rate_hz = rate_hz
        self.format = audio_format(rate_hz, None)
        self.out = out = Outbox()
        self.chart = chart = StateChart(out, strict=strict)
        offered = [*declarations(settings.tools), *tools]
        self.history = history = History(out, settings.realtime.dialect)
        self.player = player = Player(out, rate_hz, settings.playout.max_ms)
        self.uplink = Uplink(out, settings, rate_hz)
        self.link = Link(out, settings, called, offered)
        self.responses = responses = Responses(out, chart, player, history, settings)
        self.turns = Turns(out, chart, player, responses, self.uplink, settings)
        self.opening = Opening(out, chart, player, responses, history, settings, rate_hz)
        self.closing = Closing(out, chart, player, self.link, responses, settings.limits)
        self.keys = keys = Keys(out, history, self.turns, responses, settings.dtmf)
        self.functions = Functions(
            out, player, history, responses, self.closing, keys, settings, offered
        )
        self.trouble = Trouble(out, player, responses, self.closing, settings, rate_hz)
