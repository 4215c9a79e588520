"""PJSUA2 as an engine: see `telephony.engine`."""

import re
from functools import cache
from importlib.metadata import version

from callerside.agent.telephony.engine import PROFILES, Engine
from callerside.agent.telephony.errors import SipError
from callerside.agent.telephony.pjsua.dialling import PjsuaDialler
from callerside.agent.telephony.pjsua.endpoint import AnsweringEndpoint
from callerside.agent.telephony.pjsua.native.media import functions, look_up_no_host_name
from callerside.agent.telephony.pjsua.native.self_test import check

_FROM, _BELOW = (2, 15, 1), (2, 16)
"""As in pyproject.toml: earlier ones throw a call's first packets away, and nothing tells it."""


@cache
def engine() -> Engine:
    """The engine, if it can be used: that is tried, once in a process.

    Raises:
        ImportError: the bindings cannot be loaded.
        SipError: they are not those that this was written for; says which are.
    """
    numbers = re.findall(r"\d+", version(PROFILES["pjsua2"].package))
    if not _FROM <= tuple(map(int, numbers[:3])) < _BELOW:
        raise SipError("its bindings are not of 2.15.1 to 2.15")
    library = functions()
    look_up_no_host_name(library)
    check(library)
    return Engine(profile=PROFILES["pjsua2"], answering=AnsweringEndpoint, dialling=PjsuaDialler)
