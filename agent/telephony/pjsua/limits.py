"""What PJSUA, as its wheel was compiled, holds in one process."""

from callerside.agent.telephony.engine import PROFILES

CALLS_PER_PROCESS = PROFILES["pjsua2"].calls_a_process
"""`PJSUA_MAX_CALLS`: a fifth call needs another process."""
