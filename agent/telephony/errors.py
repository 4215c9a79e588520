"""What goes wrong in telephony: errors."""


class SipError(Exception):
    """The SIP stack could not do what was asked; the text says what, and what to do about it."""


class PortTakenError(SipError):
    """The SIP address is in use by another program."""


class NoFreeCallError(SipError):
    """All the calls that one process can hold are up (PJSUA has room for four)."""

    def __init__(self, active: int) -> None:
        super().__init__(f"{active} calls are up, and a process holds no more")
