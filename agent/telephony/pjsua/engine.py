"""PJSUA2 as an engine: see `telephony.engine`."""

from collections.abc import Callable
from functools import cache

from callerside.agent.telephony.engine import (
    PROFILES,
    Engine,
    OnRefused,
    OnRegistration,
)
from callerside.agent.telephony.interface import CallLeg
from callerside.agent.telephony.options import SipOptions
from callerside.agent.telephony.pjsua.dialling import PjsuaDialler
from callerside.agent.telephony.pjsua.endpoint import AnsweringEndpoint
from callerside.agent.telephony.pjsua.native.media import functions
from callerside.agent.telephony.pjsua.native.self_test import check


class PjsuaEngine:
    """See `telephony.engine.Engine`."""

    profile = PROFILES["pjsua2"]

    def answering(
        self,
        options: SipOptions,
        on_call: Callable[[CallLeg], None],
        *,
        on_registration: OnRegistration | None = None,
        on_refused: OnRefused | None = None,
    ) -> AnsweringEndpoint:
        """See `Engine.answering`."""
        return AnsweringEndpoint(
            options, on_call, on_registration=on_registration, on_refused=on_refused
        )

    def dialling(self, options: SipOptions) -> PjsuaDialler:
        """See `Engine.dialling`."""
        return PjsuaDialler(options)


@cache
def engine() -> Engine:
    """The engine, if it can be used: that is tried, once in a process.

    Raises:
        ImportError: the bindings cannot be loaded.
        SipError: they are not those that this was written for; says which are.
    """
    check(functions())
    return PjsuaEngine()
