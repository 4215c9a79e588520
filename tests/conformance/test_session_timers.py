"""A session timer is refreshed by whom it was agreed, and ends a call that nobody refreshes.

RFC 4028 lets no session be shorter than 90 s, so that this takes more than a minute for each role:
`nox -s soak` waits so long (`CALLERSIDE_SESSION_TIMERS`). Otherwise it is seen what is agreed, that
a refresh is taken, and that nothing comes too soon.
"""

import os
import time
from collections.abc import Mapping

import pytest
from raw_sip import RawPhone, Response
from sip_rig import answer_at_once, open_phone

from callerside.agent.telephony.engine import PROFILES, Capability, EngineName
from callerside.agent.telephony.interface import HungUp, MediaReady
from callerside.agent.telephony.options import SipOptions

pytestmark = pytest.mark.e2e

WAITS = bool(os.environ.get("CALLERSIDE_SESSION_TIMERS"))
SESSION_S = 90
REFRESH_S = SESSION_S / 2
"""When who refreshes does so (RFC 4028 §7.2)."""
GIVEN_UP_S = SESSION_S - min(32, SESSION_S / 3)
"""When who waits for it in vain hangs up (§10)."""
SLACK_S = 3.0
ENGINES = [name for name, one in PROFILES.items() if Capability.SESSION_TIMERS in one.capabilities]
OPTIONS = SipOptions(sample_rate_hz=8_000, rtp_timeout_ms=0)


def timer(refresher: str) -> dict[str, str]:
    return {"Supported": "timer", "Session-Expires": f"{SESSION_S};refresher={refresher}"}


def asked_at_s(phones: Mapping[str, RawPhone], until_s: float) -> dict[str, tuple[str, float]]:
    """The last request that each is sent, and when; each is answered with 200.

    But a refresh of who is `refusing`: it does not know of such a call any more.
    """
    found: dict[str, tuple[str, float]] = {}
    until_s = until_s if WAITS else 0.2
    began_s = time.monotonic()
    while (now_s := time.monotonic() - began_s) < until_s:
        for name, raw in phones.items():
            request = raw.asked(within_s=0.05)
            if not request or request.startswith("ACK"):
                continue
            method = request.partition(" ")[0]
            found[name] = (method, now_s)
            if method != "BYE" and name == "refusing":
                raw.reply(request, "481 Call/Transaction Does Not Exist")
            elif method == "BYE":
                raw.reply(request, "200 OK")
            else:
                agreed = f"Session-Expires: {Response(request).header('Session-Expires')}"
                body = raw.sdp() if method == "INVITE" else ""
                raw.reply(request, "200 OK", agreed, "Require: timer", body=body)
    return found


def is_refresh(asked: tuple[str, float]) -> bool:
    method, at_s = asked
    return method in ("INVITE", "UPDATE") and abs(at_s - REFRESH_S) < SLACK_S


def is_the_end(asked: tuple[str, float], when_s: float = GIVEN_UP_S) -> bool:
    method, at_s = asked
    return method == "BYE" and abs(at_s - when_s) < SLACK_S


@pytest.mark.parametrize("engine", ENGINES)
def test_who_is_called_refreshes_is_refreshed_and_ends_what_nobody_refreshes(
    engine: EngineName,
) -> None:
    with (
        open_phone("agent", OPTIONS, answer_at_once, engine=engine) as phone,
        RawPhone(phone.port) as idle,
        RawPhone(phone.port) as refreshing,
        RawPhone(phone.port) as silent,
        RawPhone(phone.port) as refusing,
    ):
        for raw, who in (
            (idle, "uas"), (refreshing, "uac"), (silent, "uac"), (refusing, "uas"),
        ):  # fmt: skip
            raw.send("INVITE", raw.sdp(), timer(who))
            answer = raw.final()
            assert answer.header("Session-Expires") == f"{SESSION_S};refresher={who}"
            raw.send("ACK", cseq=1)
        waiting = {"idle": idle, "silent": silent, "refusing": refusing}
        found = asked_at_s(waiting, REFRESH_S + SLACK_S)
        sdp = {"Content-Type": "application/sdp", **timer("uac")}
        answer = refreshing.ask("INVITE", refreshing.sdp(), sdp)
        assert answer.status == 200
        assert answer.header("Session-Expires") == f"{SESSION_S};refresher=uac"
        waiting = {"silent": silent, "refreshing": refreshing}
        later = asked_at_s(waiting, GIVEN_UP_S - REFRESH_S)
        if WAITS:
            assert is_refresh(found.pop("idle"))
            assert later.pop("silent")[0] == "BYE"
            assert phone.wait_for(2, HungUp).by == "network"
            assert is_the_end(found.pop("refusing"), REFRESH_S)
            assert phone.wait_for(3, HungUp).by == "network"
        else:
            assert silent.request("BYE") == refusing.request("BYE") == 200
        assert (found, later) == ({}, {})
        for raw in (idle, refreshing):
            assert raw.request("BYE") == 200


@pytest.mark.parametrize("engine", ENGINES)
def test_who_calls_refreshes_and_ends_what_nobody_refreshes(engine: EngineName) -> None:
    with (
        open_phone("caller", OPTIONS, engine=engine) as phone,
        RawPhone(phone.port) as idle,
        RawPhone(phone.port) as silent,
        RawPhone(phone.port) as refusing,
    ):
        agreed_with = ((idle, "uac"), (silent, "uas"), (refusing, "uac"))
        for number, (raw, who) in enumerate(agreed_with):
            phone.dial(f"sip:100@127.0.0.1:{raw.sip_port}")
            invite = raw.asked("INVITE")
            assert "timer" in Response(invite).header("Supported")
            raw.take(invite)
            agreed = f"Session-Expires: {SESSION_S};refresher={who}"
            raw.reply(invite, "200 OK", agreed, "Require: timer", body=raw.sdp())
            assert raw.asked("ACK")
            phone.wait_for(number, MediaReady)
        waiting = {"idle": idle, "silent": silent, "refusing": refusing}
        found = asked_at_s(waiting, GIVEN_UP_S + SLACK_S)
        if WAITS:
            assert is_refresh(found.pop("idle"))
            assert is_the_end(found.pop("silent"))
            assert phone.wait_for(1, HungUp).by == "network"
            assert is_the_end(found.pop("refusing"), REFRESH_S)
            assert phone.wait_for(2, HungUp).by == "network"
        else:
            assert silent.request("BYE") == refusing.request("BYE") == 200
        assert found == {}
        assert idle.request("BYE") == 200
