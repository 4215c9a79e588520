"""baresip as an engine: see `telephony.engine`."""

from collections.abc import Callable

from callerside.agent.telephony.baresip.dialling import BaresipDialler
from callerside.agent.telephony.baresip.endpoint import BaresipEndpoint
from callerside.agent.telephony.baresip.native import open_library
from callerside.agent.telephony.engine import PROFILES, Engine, OnRefused, OnRegistration
from callerside.agent.telephony.interface import CallLeg
from callerside.agent.telephony.options import SipOptions


class BaresipEngine:
    """See `telephony.engine.Engine`."""

    profile = PROFILES["baresip"]

    def answering(
        self,
        options: SipOptions,
        on_call: Callable[[CallLeg], None],
        *,
        on_registration: OnRegistration | None = None,
        on_refused: OnRefused | None = None,
    ) -> BaresipEndpoint:
        """See `Engine.answering`."""
        return BaresipEndpoint(
            options, on_call, on_registration=on_registration, on_refused=on_refused
        )

    def dialling(self, options: SipOptions) -> BaresipDialler:
        """See `Engine.dialling`."""
        return BaresipDialler(options)


def engine() -> Engine:
    """The engine, if it can be used.

    Raises:
        ImportError: the bindings cannot be loaded.
        SipError: they are not those that this was written for.
    """
    open_library()
    return BaresipEngine()
