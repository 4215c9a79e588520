"""What is asked of baresip's stack is done between two messages: see `Stack.run`."""

import pytest

from callerside.agent.telephony.options import SipOptions
from callerside.agent.telephony.sip_message import SipMessage

pytest.importorskip("baresip")

from baresip._native import lib

from callerside.agent.telephony.baresip.stack import Stack

A_CALL = 7


class Nobody:
    """Refuses nothing."""

    def turns_away(self, _message: str, _source: str) -> tuple[int, str, str] | None:
        return None

    def refusal_of(self, _message: SipMessage, _source: str) -> tuple[int, str, str] | None:
        return None

    def answer_unread(self, _message: str, _source: str) -> None:
        """Nor answers what nobody can read."""

    def on_leaving(self, _message: SipMessage) -> None:
        """Nor has any calls."""


def test_nothing_is_done_in_the_midst_of_what_the_stack_tells() -> None:
    """It tells of an answer while it reads it: a call that is ended there is read on behind it."""
    done: list[str] = []
    stack = Stack(SipOptions(), Nobody(), lambda _sent, _message: None)
    stack._jobs.append(lambda: done.append("ended"))
    stack._on_native(lib.BP_EV_BASE, A_CALL, None)
    assert not done
    stack._on_native(lib.BP_EV_BASE - 1, 0, None)
    assert done == ["ended"]
