"""What stands before PJSUA, where PJSIP's functions are not exported: that is said, or fails."""

import pytest
from structlog.testing import capture_logs

from callerside.agent.telephony.errors import SipError
from callerside.agent.telephony.options import SipOptions
from callerside.agent.telephony.pjsua.admission import Admission
from callerside.agent.telephony.pjsua.native.audio_line import OneLine
from callerside.agent.telephony.pjsua.native.message_filter import (
    MalformedMessageFilter,
    breaks_off,
)
from callerside.agent.telephony.pjsua.native.refuser import InviteRefuser


def test_without_pjsips_functions_no_call_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be refused cannot be taken either: PJSUA would take it from anybody."""
    monkeypatch.setattr("ctypes.CDLL", lambda _path: object())
    options = SipOptions()
    gate = InviteRefuser(Admission(options, list), 5, lambda _status, _reason, _source: None)
    with pytest.raises(SipError, match=r"pjsua_get_pjsip_endpt.*pjsua2-python"):
        gate.open()


def test_without_them_nothing_is_guarded_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _path: object())
    with capture_logs() as logs:
        MalformedMessageFilter().open()
    assert [(line["event"], line["module"]) for line in logs] == [
        ("sip_module_missing", "callerside-message-filter")
    ]


def test_without_them_no_offer_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is let in is counted as it is shown to PJSUA: as it came it may open more sockets."""
    monkeypatch.setattr("ctypes.CDLL", lambda _path: object())
    with pytest.raises(SipError, match=r"pjsua_get_pjsip_endpt.*pjsua2-python"):
        OneLine(("PCMU",), SipOptions().srtp_with).open()


HEAD = "INFO sip:100@192.0.2.1 SIP/2.0\r\nContent-Type: Application/DTMF-Relay"


@pytest.mark.parametrize("gap", ["\r\n\r\n", "\n\n", "\r\r"])
@pytest.mark.parametrize(
    ("body", "breaks"),
    [
        ("Signal=5\r\nDuration=160\r\n", False),
        ("Signal= 5\r\nDuration= 160", False),
        ("Signal=5\r\n", False),
        ("Signal=5\n\n", False),
        ("Signal=5", True),
        ("Signal", True),
        ("Signal=5\n", True),
        ("Signal=5\r", True),
        ("Signal=5\0\r\n", True),
        ("5", False),
        ("", False),
    ],
)
def test_a_key_press_that_breaks_off_is_known(gap: str, body: str, *, breaks: bool) -> None:
    assert breaks_off(HEAD + gap + body) is breaks
    assert not breaks_off(HEAD.replace("DTMF", "x") + gap + body)
