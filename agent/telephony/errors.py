"""What can go wrong with the telephone side before a call is up; each in words fit for a user."""


class SipError(Exception):
    """The SIP stack could not do what was asked; the text says what, and what to do about it."""


class PortTakenError(SipError):
    """The SIP address is in use by another program."""


class NoFreeCallError(SipError):
    """All the calls that one process can hold are up (PJSUA has room for four)."""
