"""PJSUA2 as an engine: see `telephony.engine`."""

from functools import cache

from callerside.agent.telephony.engine import PROFILES, Engine
from callerside.agent.telephony.pjsua.dialling import PjsuaDialler
from callerside.agent.telephony.pjsua.endpoint import AnsweringEndpoint
from callerside.agent.telephony.pjsua.native.media import functions
from callerside.agent.telephony.pjsua.native.self_test import check


@cache
def engine() -> Engine:
    """The engine, if it can be used: that is tried, once in a process.

    Raises:
        ImportError: the bindings cannot be loaded.
        SipError: they are not those that this was written for; says which are.
    """
    check(functions())
    return Engine(profile=PROFILES["pjsua2"], answering=AnsweringEndpoint, dialling=PjsuaDialler)
