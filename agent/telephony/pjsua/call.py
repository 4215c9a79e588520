"""PJSUA2's call object, and what it reports.

Kept apart from the leg because an exception that leaves a callback ends the process: here is the
one place where that is seen to.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol

import pjsua2
import structlog

_log = structlog.get_logger(__name__)

_OVERLOADED = (486, 503)
_NOT_ACCEPTABLE = 488


class CallListener(Protocol):
    """Who is notified. Every method runs on the loop's thread."""

    def on_state(self, info: Any, event: Any) -> None:
        """The INVITE session has moved (RFC 3261 §13): `CallInfo` and `SipEvent`."""

    def on_invite(self, transaction: int) -> None:
        """The transaction (`pjsip_transaction *`) of an INVITE to us has moved."""

    def on_own_request(self, transaction: int, *, is_pending: bool) -> None:
        """The transaction of an INVITE or UPDATE of ours has moved; whether it may be answered."""

    def on_offer_refused(self, status: int) -> None:
        """An offer of ours, within the call, has a final answer that is none."""

    def on_media(self, info: Any) -> None:
        """Media came up, changed, was held or resumed (RFC 3264)."""

    def on_offer(self, sdp: str) -> bool:
        """A new offer came, within the call; returns whether it may be met."""

    def on_local_sdp(self, sdp: str) -> None:
        """What we are about to offer or answer."""

    def on_stream_created(self, parameters: Any) -> None:
        """A stream begins: `OnStreamCreatedParam`, in which its port can be replaced."""

    def on_stream_destroyed(self, parameters: Any) -> None:
        """A stream ends; its statistics can be read for the last time."""

    def on_dtmf(self, digit: str) -> None:
        """A key press, by RFC 4733: what comes by INFO the stack does not see."""

    def on_transfer_request(self, uri: str) -> int:
        """A REFER came; returns the status to answer it with."""

    def on_transfer_status(self, status: int, final: bool) -> None:
        """What became of our REFER so far."""


class Call(pjsua2.Call):  # type: ignore[misc] # the bindings have no types
    """A call whose callbacks go to a listener."""

    def __init__(self, listener: CallListener, account: Any, *call_id: int) -> None:
        super().__init__(account, *call_id)
        self._listener = listener

    def onCallState(self, prm: Any) -> None:  # noqa: N802 - PJSUA2's name
        """See `CallListener.on_state`."""
        with reported("onCallState"):
            self._listener.on_state(self.getInfo(), prm.e)

    def onCallTsxState(self, prm: Any) -> None:  # noqa: N802 - PJSUA2's name
        """See `CallListener.on_invite`, `on_own_request` and `on_offer_refused`."""
        with reported("onCallTsxState"):
            self._on_transaction(prm.e.body.tsxState.tsx)

    def _on_transaction(self, transaction: Any) -> None:
        method, native = transaction.method, int(transaction.pjTransaction)
        if method not in ("INVITE", "UPDATE"):
            return
        if transaction.role == pjsua2.PJSIP_ROLE_UAC:
            is_pending = transaction.state < pjsua2.PJSIP_TSX_STATE_COMPLETED
            self._listener.on_own_request(native, is_pending=is_pending)
            if method == "INVITE" and transaction.state == pjsua2.PJSIP_TSX_STATE_COMPLETED:
                self._listener.on_offer_refused(transaction.statusCode)
        elif method == "INVITE":
            self._listener.on_invite(native)

    def onCallMediaState(self, prm: Any) -> None:  # noqa: ARG002, N802 - PJSUA2's name
        """See `CallListener.on_media`."""
        with reported("onCallMediaState"):
            self._listener.on_media(self.getInfo())

    def onCallRxOffer(self, prm: Any) -> None:  # noqa: N802 - PJSUA2's name
        """See `CallListener.on_offer`; nothing is made for it yet. Refused, it gets 488."""
        is_met = False
        with reported("onCallRxOffer"):
            is_met = self._listener.on_offer(prm.offer.wholeSdp)
        if not is_met:
            prm.statusCode = _NOT_ACCEPTABLE

    def onCallSdpCreated(self, prm: Any) -> None:  # noqa: N802 - PJSUA2's name
        """See `CallListener.on_local_sdp`."""
        with reported("onCallSdpCreated"):
            self._listener.on_local_sdp(prm.sdp.wholeSdp)

    def onStreamCreated(self, prm: Any) -> None:  # noqa: N802 - PJSUA2's name
        """See `CallListener.on_stream_created`."""
        with reported("onStreamCreated"):
            self._listener.on_stream_created(prm)

    def onStreamDestroyed(self, prm: Any) -> None:  # noqa: N802 - PJSUA2's name
        """See `CallListener.on_stream_destroyed`."""
        with reported("onStreamDestroyed"):
            self._listener.on_stream_destroyed(prm)

    def onDtmfDigit(self, prm: Any) -> None:  # noqa: N802 - PJSUA2's name
        """See `CallListener.on_dtmf`."""
        with reported("onDtmfDigit"):
            self._listener.on_dtmf(prm.digit)

    def onCallTransferRequest(self, prm: Any) -> None:  # noqa: N802 - PJSUA2's name
        """See `CallListener.on_transfer_request`."""
        with reported("onCallTransferRequest"):
            prm.statusCode = self._listener.on_transfer_request(prm.dstUri)

    def onCallTransferStatus(self, prm: Any) -> None:  # noqa: N802 - PJSUA2's name
        """See `CallListener.on_transfer_status`."""
        with reported("onCallTransferStatus"):
            self._listener.on_transfer_status(prm.statusCode, prm.finalNotify)
            prm.cont = not prm.finalNotify


def response(status: int, retry_after_s: int = 0) -> Any:
    """The parameters of an answer or a refusal (RFC 3261 §20.33: 486 and 503 say `Retry-After`)."""
    parameters = pjsua2.CallOpParam(True)
    parameters.opt.audioCount = 1
    parameters.opt.videoCount = 0
    parameters.statusCode = status
    if retry_after_s and status in _OVERLOADED:
        header = pjsua2.SipHeader()
        header.hName = "Retry-After"
        header.hValue = str(retry_after_s)
        parameters.txOption.headers.append(header)
    return parameters


@contextlib.contextmanager
def reported(callback: str) -> Iterator[None]:
    """Log an exception instead of letting it into the SIP stack, which would abort."""
    try:
        yield
    except Exception:  # whatever it is, the other calls of this process must live
        log_failure(callback)


def log_failure(callback: str) -> None:
    """The same for a callback that is too frequent for a context: to be called where it failed."""
    _log.exception("sip_callback_failed", callback=callback)
