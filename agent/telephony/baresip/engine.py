"""baresip as an engine: see `telephony.engine`."""

from callerside.agent.telephony.baresip.dialling import BaresipDialler
from callerside.agent.telephony.baresip.endpoint import BaresipEndpoint
from callerside.agent.telephony.baresip.native import open_library
from callerside.agent.telephony.engine import PROFILES, Engine


def engine() -> Engine:
    """The engine, if it can be used.

    Raises:
        ImportError: the bindings cannot be loaded.
        SipError: they are not those that this was written for.
    """
    open_library()
    return Engine(profile=PROFILES["baresip"], answering=BaresipEndpoint, dialling=BaresipDialler)
