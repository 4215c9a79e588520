"""Turns away what comes too often, before anything else looks at it (`telephony.request_gate`)."""

import time

from callerside.agent.telephony.pjsua.native.binding import (
    HEADER,
    POOL,
    READ,
    RELEASE,
    StackModule,
)
from callerside.agent.telephony.request_gate import RequestGate


class Gatekeeper(StackModule):
    """Behind PJSIP's parser: what that cannot read is dropped there."""

    name = b"callerside-gatekeeper"
    priority = 12
    """Ours for requests within calls has 14."""
    needs = (READ, POOL, HEADER, RELEASE)
    sees_responses = True

    def __init__(self, gate: RequestGate) -> None:
        self._gate = gate

    def deal_with(self, message: int) -> bool:
        """Any message at all."""
        read = self.read(message)
        answer = self._gate.turns_away(read.wholeMsg, read.srcAddress, time.monotonic_ns())
        if answer is not None and answer.status:
            self.answer(message, answer)
        return answer is not None
