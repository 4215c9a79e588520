"""What each SIP engine must do of SIP and RTP with a telephone that says exactly what a test wants.

Each test of a call runs with the engine as the agent's, which is called, and as the caller's,
which calls. What one cannot do is a named capability: it is then refused under that name.
"""

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import accumulate, pairwise, product
from typing import Any

import numpy as np
import pytest
from numbered_frames import encoded, level, numbers
from raw_sip import Flood, RawPhone, Response
from sip_rig import Phone, answer_at_once, open_phone, wait_until

from callerside.addresses import joined
from callerside.agent.telephony.engine import (
    PROFILES,
    Capability,
    CapabilityError,
    EngineName,
    extensions,
)
from callerside.agent.telephony.engines import choose
from callerside.agent.telephony.interface import (
    AudioReceived,
    CallAnswered,
    CallProgressed,
    CallReceived,
    DtmfReceived,
    FramePlayed,
    HungUp,
    LegInput,
    MediaHeld,
    MediaReady,
    RtpMeasured,
    TransferRequested,
)
from callerside.agent.telephony.media.jitter_buffer import PAUSE_NS
from callerside.agent.telephony.media.packet_reader import PacketReader
from callerside.agent.telephony.options import SipOptions
from callerside.audio import AudioFormat, Encoding, to_samples, tone
from callerside.clock import NS_PER_MS
from callerside.simulator.caller.recorder import CALLER_RATE_HZ

pytestmark = pytest.mark.e2e

FRAME = bytes([0x80]) * 160
"""20 ms of PCMU."""
KEYS = "a=rtpmap:101 telephone-event/8000"
PAUSE_S = 0.1
"""Between calls: PJSUA2 closes the sockets of each half a second late, and has places for few."""
HOLD_MS = 100.0
"""From an answer to the offer that holds: PJSUA2 takes 1 to 3 ms, baresip 21 to 42."""
STALL_S = 0.5
QUIET_S = 0.2
"""Ten packets' time."""
SETTLE_S = 0.1
"""For the packet that was on its way."""
STRANGERS = {"127.0.0.1": "127.0.0.9", "::1": "2001:db8::9"}
"""To whoever is at a host. The last is no address of this machine, but can be sent from."""
LOUD = 300
RATE_HZ = 8_000


class Line:
    """An engine's telephone and a raw one, and their one call."""

    def __init__(self, phone: Phone, raw: RawPhone, role: str) -> None:
        self.phone, self.raw, self.role = phone, raw, role
        self.peer = "caller" if role == "agent" else "agent"
        """As whom the engine's side knows the raw telephone."""
        self.call = phone.calls()
        self.port = 0
        """Where the engine's side takes RTP."""
        self.invite = ""
        """The engine's own, if it calls."""

    def up(self, **sdp: Any) -> "Line":
        """Bring the call up: what the raw telephone describes is made of `sdp`."""
        if self.role == "agent":
            answer = self.raw.call(self.raw.sdp(**sdp))
            assert answer.status == 200
            self.port = answer.audio_port
        else:
            if not self.invite:
                self.ring()
            self.raw.reply(self.invite, "200 OK", body=self.raw.sdp(**sdp))
            assert self.raw.asked("ACK")
        self.phone.wait_for(self.call, MediaReady)
        return self

    def ring(self, stall_s: float = 0.0) -> str:
        """Have the engine's side call, and return its INVITE; it is not answered yet."""
        self.phone.dial(f"sip:100@{joined(self.raw.host, self.raw.sip_port)}", stall_s=stall_s)
        self.invite = self.raw.asked("INVITE")
        self.port = self.raw.take(self.invite)
        return self.invite

    def abandon(self) -> None:
        """End what a test that failed has left: or its place would be taken for 32 seconds."""
        if self.phone.calls() > self.call and not any(
            isinstance(one, HungUp) for one in self.phone.signals(self.call)
        ):
            with suppress(TimeoutError):
                self.raw.request("BYE")

    def end(self) -> None:
        """Hang up, as a telephone does."""
        assert self.raw.request("BYE") == 200
        assert self.phone.wait_for(self.call, HungUp).by == self.peer

    def speak(self, frames: int, payload: bytes = FRAME, ms: int = 20) -> None:
        for _ in range(frames):
            self.raw.send_rtp(payload, self.port)
            time.sleep(ms / 1000)

    def frames(self) -> list[AudioReceived]:
        return [t.input for t in self.phone.told(self.call) if isinstance(t.input, AudioReceived)]

    @property
    def rate_hz(self) -> int:
        """Of what the engine's side plays."""
        return RATE_HZ if self.role == "agent" else CALLER_RATE_HZ

    def played(self) -> int:
        """Samples of it that have left, as is told."""
        told = (one.input for one in self.phone.told(self.call))
        return sum(one.samples for one in told if isinstance(one, FramePlayed))

    def heard_ms(self) -> int:
        """How much sound has been heard."""
        return 20 * sum(any(frame.pcm) for frame in self.frames())

    def is_heard(self, lost_ms: int = 20) -> None:
        """What is said now is heard, but for as much as may be lost at its beginning."""
        before = self.heard_ms()
        self.speak(10)
        wait_until(lambda: self.heard_ms() - before >= 200 - lost_ms, "what is said now")


def engines(request: pytest.FixtureRequest) -> tuple[EngineName, str]:
    engine, role = request.param
    return engine, role


@pytest.fixture(
    scope="module",
    params=list(product(PROFILES, ("agent", "caller"))),
    ids=lambda pair: "-".join(pair),
)
def side(request: pytest.FixtureRequest) -> Iterator[tuple[Phone, EngineName, str]]:
    """An engine's telephone, and whose it is."""
    engine, role = engines(request)
    reaction = answer_at_once if role == "agent" else None
    options = SipOptions(sample_rate_hz=RATE_HZ)
    with open_phone(role, options, reaction, engine=engine) as phone:
        yield phone, engine, role


@pytest.fixture
def line(side: tuple[Phone, EngineName, str]) -> Iterator[Line]:
    """A call that can come about; each test has one of its own."""
    phone, _, role = side
    with RawPhone(phone.port, phone.host) as raw:
        made = Line(phone, raw, role)
        yield made
        made.abandon()
    end_all(phone)


def end_all(phone: Phone) -> None:
    """End what a test that failed has left."""
    time.sleep(PAUSE_S)
    for call in range(phone.calls()):
        phone.do(call, "hang_up")
    wait_until(lambda: phone.facts().active_calls == 0, "the calls to end")


@pytest.fixture(scope="module", params=tuple(PROFILES))
def agent(request: pytest.FixtureRequest) -> Iterator[Phone]:
    """Of what concerns those who are called alone."""
    options = SipOptions(sample_rate_hz=RATE_HZ)
    with open_phone("agent", options, answer_at_once, engine=request.param) as it:
        yield it


@pytest.fixture
def caller(agent: Phone) -> Iterator[RawPhone]:
    agent.behave(answer_at_once)
    with RawPhone(agent.port, agent.host) as raw:
        yield raw
    end_all(agent)


@pytest.fixture(scope="module", params=tuple(PROFILES))
def dialler(request: pytest.FixtureRequest) -> Iterator[Phone]:
    """Of what concerns those who call alone."""
    with open_phone("caller", SipOptions(sample_rate_hz=RATE_HZ), engine=request.param) as it:
        yield it


@pytest.fixture
def called(dialler: Phone) -> Iterator[Line]:
    dialler.behave(None)
    with RawPhone(dialler.port, dialler.host) as raw:
        made = Line(dialler, raw, "caller")
        yield made
        made.abandon()
    end_all(dialler)


# ---- answers


@pytest.mark.parametrize(("codecs", "chosen"), [("0", "PCMU"), ("8", "PCMA"), ("9", "G722")])
def test_a_codec_that_is_named_alone_is_taken(line: Line, codecs: str, chosen: str) -> None:
    line.up(codecs=codecs)
    assert line.phone.wait_for(line.call, MediaReady).codec == chosen
    line.end()


@pytest.mark.parametrize("codec", ["iLBC/8000", "opus/48000/2"])
def test_a_codec_that_is_not_asked_for_is_refused(
    agent: Phone, caller: RawPhone, codec: str
) -> None:
    """Opus is one of them, unless the options name it: `test_sip_opus.py`."""
    assert caller.call(caller.sdp(codecs="96", attributes=f"a=rtpmap:96 {codec}")).status == 488


def test_what_is_said_to_be_supported_is_what_is_there(
    agent: Phone, caller: RawPhone, request: pytest.FixtureRequest
) -> None:
    """Outside of a call, in a refusal, and within a call (RFC 3261 §20.37)."""
    engine: EngineName = request.node.callspec.params["agent"]
    asked = caller.ask("OPTIONS").header("Supported")
    assert set(asked.split(", ")) == extensions(engine) | {"norefersub"}
    with RawPhone(agent.port, agent.host) as other:
        said = [other.call(other.sdp()).header("Supported")]
        said += [other.ask(method).header("Supported") for method in ("OPTIONS", "UPDATE", "BYE")]
        known = extensions(engine) | {"norefersub", ""}
        assert {one.strip() for each in said for one in each.split(",")} <= known


@pytest.mark.parametrize(
    ("sdp", "headers", "answer"),
    [
        ({"codecs": "97", "attributes": "a=rtpmap:97 iLBC/8000"}, {}, (488, "media")),
        ({"codecs": "96", "attributes": "a=rtpmap:96 opus/48000/2"}, {}, (488, "media")),
        ({"codecs": "101", "attributes": KEYS}, {}, (488, "media")),
        ({"attributes": "a=sendrecv\r\nc=IN IP6 2001:db8::1"}, {}, (488, "media")),
        ({"attributes": "a=sendrecv\r\nc=nonsense"}, {}, (400, "malformed")),
        ({}, {"Require": "zork"}, (420, "extension")),
        ({}, {"Require": "timer"}, (420, "extension")),
        ({}, {"Require": "100rel"}, (420, "extension")),
        ({}, {"Supported": "timer", "Session-Expires": "20"}, (422, "interval")),
    ],
)
def test_a_call_that_cannot_be_had_is_refused_and_told_with_its_reason(
    agent: Phone,
    caller: RawPhone,
    request: pytest.FixtureRequest,
    sdp: Mapping[str, Any],
    headers: Mapping[str, str],
    answer: tuple[int, str],
) -> None:
    """The same on each engine, but for extensions that it has."""
    engine: EngineName = request.node.callspec.params["agent"]
    takes_it = headers.get("Require") in extensions(engine)
    if answer[1] == "interval":  # no extension, no limit of it
        takes_it = Capability.SESSION_TIMERS not in PROFILES[engine].capabilities
    before = len(agent.refused())
    caller.send("INVITE", caller.sdp(**sdp), {"Content-Type": "application/sdp", **headers})
    came = caller.final()
    if takes_it:
        assert came.status == 200
        caller.send("ACK", cseq=1)
        assert caller.request("BYE") == 200
        return
    caller.acknowledge()
    assert came.status == answer[0]
    if answer[1] == "extension":
        assert came.header("Unsupported") == headers["Require"]
    wait_until(lambda: len(agent.refused()) > before, "the refusal to be told")
    assert agent.refused()[before:] == [answer]


def test_what_is_agreed_is_agreed_once_and_for_all(line: Line) -> None:
    """No offer of the engine's own comes behind it, for the other side's could meet it."""
    codecs = "0 8 9 101" if line.role == "agent" else "0 101"
    line.up(codecs=codecs, attributes=KEYS)
    assert line.raw.asked("INVITE", within_s=0.5) == ""
    line.end()


def test_what_an_agent_says_that_it_does_is_what_it_does(agent: Phone, caller: RawPhone) -> None:
    """RFC 3261 §20.5, §20.1, §20.37: alike in and out of calls, and nothing that is refused."""
    outside = caller.ask("OPTIONS")
    with RawPhone(agent.port, agent.host) as raw:
        told = [outside, raw.call(raw.sdp()), raw.ask("OPTIONS")]
        assert raw.request("BYE") == 200
    methods = [set(re.split(r",\s*", one.header("Allow").strip())) for one in told]
    done = {"INVITE", "ACK", "BYE", "CANCEL", "UPDATE", "INFO", "OPTIONS", "NOTIFY"}
    has_prack = "100rel" in outside.header("Supported")
    assert methods == [done | ({"PRACK"} if has_prack else set())] * 3
    assert {one.header("Accept") for one in told[::2]} == {"application/sdp"}
    assert "replaces" not in " ".join(one.header("Supported") for one in told)


def test_it_rings_before_anybody_has_said_anything(agent: Phone, caller: RawPhone) -> None:
    """180 comes of itself: callers, and trunks that watch for it, need not wait for the answer."""
    agent.behave(None)
    call = agent.calls()
    caller.send("INVITE", caller.sdp())
    came = (caller._receive() for _ in range(10))
    assert any(response is not None and response.status == 180 for response in came)
    agent.wait_for_call(call)
    agent.do(call, "hang_up", 480)
    assert caller.final().status == 480
    caller.acknowledge()


def test_the_trace_that_an_invite_belongs_to_is_told(agent: Phone, caller: RawPhone) -> None:
    agent.behave(None)
    call = agent.calls()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    caller.send("INVITE", caller.sdp(), {"Content-Type": "application/sdp", "Traceparent": trace})
    agent.wait_for_call(call)
    assert agent.wait_for(call, CallReceived).traceparent == trace
    agent.do(call, "hang_up", 480)
    assert caller.final().status == 480
    caller.acknowledge()


TAKEN = 3
"""Exit code of a process whose port is another's meanwhile."""
STARTING = f"""
import asyncio, sys
from callerside.agent.telephony.engines import choose
from callerside.agent.telephony.errors import PortTakenError
from callerside.agent.telephony.options import SipOptions

async def main():
    options = SipOptions(port=int(sys.argv[2]))
    endpoint = choose(sys.argv[1]).answering(options, lambda leg: leg.hang_up(486))
    print("starts", flush=True)
    try:
        await endpoint.start()
    except PortTakenError:
        sys.exit({TAKEN})
    await asyncio.to_thread(sys.stdin.read)
    await endpoint.stop()

asyncio.run(main())
"""


@pytest.mark.parametrize("engine", PROFILES)
def test_nobody_is_told_while_it_starts_that_there_is_no_such_user(engine: EngineName) -> None:
    """A proxy would believe it; 503 has it try another, or later (RFC 3261 §21.5.4)."""
    code, answers = flooded_start(engine)
    while code == TAKEN:
        code, answers = flooded_start(engine)
    assert code == 0
    assert answers[486]  # it has started
    assert set(answers) <= {486, 503}


def flooded_start(engine: EngineName) -> tuple[int, Counter[int]]:
    """Of an endpoint at a port at which calls come in all the while: its end, and their answers."""
    with RawPhone(0) as raw:
        port, body = raw.sip_port, raw.sdp()
    flood = Flood(port, "127.0.0.1", bodies=[body])
    with subprocess.Popen(
        [sys.executable, "-c", STARTING, engine, str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as starting:
        assert starting.stdout is not None
        assert starting.stdout.readline() == b"starts\n"
        flood.run(600, per_s=600)
    flood.close()
    return starting.returncode, flood.answers


def test_a_call_is_cancelled_before_its_answer(agent: Phone, caller: RawPhone) -> None:
    agent.behave(None)
    call = agent.calls()
    caller.send("INVITE", caller.sdp())
    agent.wait_for_call(call)
    caller.send("CANCEL", branch=caller._branch)
    assert caller.final().status == 487
    caller.acknowledge()
    ended = agent.wait_for(call, HungUp)
    assert (ended.by, ended.status) == ("caller", 487)


@pytest.mark.parametrize("status", [404, 480, 486, 603])
def test_a_call_is_refused_with_the_status_that_is_said(
    agent: Phone, caller: RawPhone, status: int
) -> None:
    agent.behave(None)
    call = agent.calls()
    caller.send("INVITE", caller.sdp())
    agent.wait_for_call(call)
    agent.do(call, "hang_up", status)
    assert caller.final().status == status
    caller.acknowledge()
    assert agent.wait_for(call, HungUp).by == "agent"


def test_a_call_that_is_given_up_early_is_cancelled(called: Line) -> None:
    called.ring()
    called.raw.reply(called.invite, "180 Ringing")
    assert called.phone.wait_for(called.call, CallProgressed).status == 180
    called.phone.do(called.call, "hang_up")
    cancel = called.raw.asked("CANCEL")
    called.raw.reply(cancel, "200 OK")
    called.raw.reply(called.invite, "487 Request Terminated")
    assert called.raw.asked("ACK")
    ended = called.phone.wait_for(called.call, HungUp)
    assert (ended.by, ended.status) == ("caller", 487)


@pytest.mark.parametrize("response", ["100 Trying", "180 Ringing"])
def test_a_call_that_is_given_up_before_any_response_is_cancelled_behind_it(
    called: Line, response: str
) -> None:
    """RFC 3261 §9.1: there is nothing to cancel before."""
    called.ring()
    called.phone.do(called.call, "hang_up")
    time.sleep(0.1)
    called.raw.reply(called.invite, response)
    cancel = called.raw.asked("CANCEL")
    assert cancel, "the other side rings on"
    called.raw.reply(cancel, "200 OK")
    called.raw.reply(called.invite, "487 Request Terminated")
    assert called.raw.asked("ACK")
    ended = called.phone.wait_for(called.call, HungUp)
    assert (ended.by, ended.status) == ("caller", 487)


def test_an_answer_that_meets_a_cancel_is_ended(called: Line) -> None:
    """RFC 3261 §15: whoever gets a 200 all the same has a call, and hangs up."""
    called.ring()
    called.raw.reply(called.invite, "180 Ringing")
    called.phone.wait_for(called.call, CallProgressed)
    called.phone.do(called.call, "hang_up")
    cancel = called.raw.asked("CANCEL")
    called.raw.reply(cancel, "200 OK")
    called.raw.reply(called.invite, "200 OK", body=called.raw.sdp())
    bye = called.raw.asked("BYE")
    assert bye
    called.raw.reply(bye, "200 OK")
    assert called.phone.wait_for(called.call, HungUp).by == "caller"


@pytest.mark.parametrize("status", ["404 Not Found", "486 Busy Here", "503 Unavailable"])
def test_a_refusal_is_told_with_its_status(called: Line, status: str) -> None:
    called.ring()
    called.raw.reply(called.invite, status)
    assert called.raw.asked("ACK")
    ended = called.phone.wait_for(called.call, HungUp)
    assert (ended.by, ended.status) == ("agent", int(status[:3]))


@pytest.mark.parametrize(
    ("status", "header"),
    [("401 Unauthorized", "WWW-Authenticate"), ("407 Proxy Auth", "Proxy-Authenticate")],
)
def test_who_has_no_account_is_told_that_one_was_asked_for(
    called: Line, status: str, header: str
) -> None:
    called.ring()
    challenge = f'{header}: Digest realm="pbx", nonce="abc", algorithm=MD5'
    called.raw.reply(called.invite, status, challenge)
    assert called.raw.asked("ACK")
    ended = called.phone.wait_for(called.call, HungUp)
    assert (ended.by, ended.status) == ("agent", int(status[:3]))


def test_an_answer_without_a_description_is_none(called: Line) -> None:
    """RFC 3261 §13.2.1: our offer has to be answered by then; there is nobody to be heard."""
    called.ring()
    called.raw.reply(called.invite, "200 OK", f"Contact: <{called.raw.contact}>")
    assert called.raw.asked("ACK")
    bye = called.raw.asked("BYE")
    assert bye
    called.raw.reply(bye, "200 OK")
    ended = called.phone.wait_for(called.call, HungUp)
    assert (ended.by, ended.status) == ("network", 488)


def test_an_answer_with_nothing_of_our_offer_is_none(called: Line) -> None:
    """RFC 3264 §6.1: it has to be made of what was offered."""
    called.ring()
    called.raw.reply(called.invite, "200 OK", body=called.raw.sdp(codecs="18"))
    assert called.raw.asked("ACK")
    bye = called.raw.asked("BYE")
    assert bye
    called.raw.reply(bye, "200 OK")
    ended = called.phone.wait_for(called.call, HungUp)
    assert (ended.by, ended.status) == ("network", 488)
    assert "no audio that we have" in ended.reason


# ---- new offers


HOLDS = pytest.mark.parametrize(
    ("attributes", "host"),
    [
        ("a=sendonly", ""),
        ("a=inactive", ""),
        ("a=ptime:20", "0.0.0.0"),
        ("a=sendrecv", "0.0.0.0"),
        ("a=sendonly", "0.0.0.0"),
        ("a=recvonly", "0.0.0.0"),
        ("a=inactive", "0.0.0.0"),
    ],
)


def holding(raw: RawPhone, attributes: str, host: str) -> str:
    offer = raw.sdp(attributes=attributes)
    return offer.replace(f"c={raw.place}", f"c={raw.nowhere}") if host else offer


def is_sent_sound(raw: RawPhone) -> None:
    raw.forget_rtp()
    assert raw.rtp.recv(2048)


def is_quiet(answer: Response, raw: RawPhone) -> None:
    """RFC 3264 §8.4: it names our address all the same, and nothing is sent back."""
    assert answer.status == 200
    assert f"c={raw.place}" in answer.message
    assert f"c={raw.nowhere}\r\n" not in answer.message
    assert re.search(r"^a=(recvonly|inactive)\r?$", answer.message, re.MULTILINE)
    time.sleep(SETTLE_S)
    assert raw.packets(QUIET_S) == 0


@HOLDS
def test_a_hold_in_each_of_its_forms_is_one_and_ends(
    line: Line, attributes: str, host: str
) -> None:
    line.up()
    is_sent_sound(line.raw)
    answer = line.raw.ask("INVITE", holding(line.raw, attributes, host))
    line.phone.wait_for(line.call, MediaHeld)
    is_quiet(answer, line.raw)
    answer = line.raw.ask("INVITE", line.raw.sdp())
    assert answer.status == 200
    assert not re.search(r"^a=(sendonly|recvonly|inactive)", answer.message, re.MULTILINE)
    line.phone.wait_for(line.call, MediaReady, count=2)
    is_sent_sound(line.raw)
    line.end()


@HOLDS
def test_a_call_that_begins_on_hold_is_sent_nothing_until_that_ends(
    agent: Phone, caller: RawPhone, attributes: str, host: str
) -> None:
    call = agent.calls()
    is_quiet(caller.call(holding(caller, attributes, host)), caller)
    assert caller.request("INVITE", caller.sdp()) == 200
    agent.wait_for(call, MediaReady)
    is_sent_sound(caller)
    assert caller.request("BYE") == 200


def test_who_holds_says_so_and_resumes(called: Line) -> None:
    called.up()
    for method, direction in (("hold", "sendonly"), ("resume", "sendrecv")):
        called.phone.do(called.call, method)
        offer = called.raw.asked("INVITE")
        assert offer
        said = re.findall(r"^a=(sendrecv|sendonly|inactive)", offer, re.MULTILINE)
        assert said == ([direction] if direction == "sendonly" or said else [])
        called.raw.reply(offer, "200 OK", body=called.raw.sdp())
        assert called.raw.asked("ACK")
    called.is_heard()
    called.end()


def test_who_holds_can_press_keys(called: Line) -> None:
    """The other side hears those who hold it (`sendonly`): silence, and what is pressed."""
    called.ring()
    named = re.search(r"^a=rtpmap:(\d+) telephone-event", called.invite, re.MULTILINE)
    assert named is not None
    codecs, attributes = f"0 {named[1]}", KEYS.replace("101", named[1])
    called.up(codecs=codecs, attributes=attributes)
    called.phone.do(called.call, "hold")
    offer = called.raw.asked("INVITE")
    answer = called.raw.sdp(codecs=codecs, attributes=f"{attributes}\r\na=recvonly")
    called.raw.reply(offer, "200 OK", body=answer)
    assert called.raw.asked("ACK")
    time.sleep(SETTLE_S)
    called.phone.do(called.call, "send_dtmf", "5")
    wait_until(
        lambda: any(one[1] & 0x7F == int(named[1]) and one[12] == 5 for one in taken(called.raw)),
        "the key",
    )
    called.end()


def taken(raw: RawPhone) -> list[bytes]:
    """Packets that have come."""
    came: list[bytes] = []
    raw.rtp.settimeout(0)
    with suppress(BlockingIOError):
        while True:
            came.append(raw.rtp.recv(2048))
    raw.rtp.settimeout(2)
    return came


def hold_and_resume(leg: Any, item: LegInput) -> None:
    if isinstance(item, MediaReady):
        leg.hold()
        leg.resume()


def test_who_resumes_right_behind_a_hold_is_not_left_on_hold(called: Line) -> None:
    """The hold is still on its way when the resumption is asked for."""
    called.phone.behave(hold_and_resume)
    called.up()
    offers: list[str] = []
    while not offers or "a=sendonly" in offers[-1]:
        offers.append(called.raw.asked("INVITE"))
        assert offers[-1], "it is left on hold"
        called.phone.behave(None)
        called.raw.reply(offers[-1], "200 OK", body=called.raw.sdp())
        assert called.raw.asked("ACK")
        assert len(offers) <= 3
    called.is_heard()
    called.end()


def test_who_is_answered_at_once_can_hold(called: Line) -> None:
    """The answer is there before the caller's process knows that it has placed the call."""
    called.up()  # whatever the first call of a process has to make is there then
    called.end()
    called.call = called.phone.calls()
    called.ring(stall_s=STALL_S)
    called.up()
    called.phone.do(called.call, "hold")
    assert "a=sendonly" in called.raw.asked("INVITE")
    called.abandon()


def hold_when_answered(leg: Any, item: LegInput) -> None:
    if isinstance(item, CallAnswered):
        leg.hold()


def test_who_holds_right_behind_the_answer_does_not_wait(called: Line) -> None:
    """The stack cannot offer before its ACK is sent: it is asked again soon, as nobody is met."""
    called.phone.behave(hold_when_answered)
    waited_ms = []
    for _ in range(5):
        called.call = called.phone.calls()
        called.raw.reply(called.ring(), "200 OK", body=called.raw.sdp())
        answered_s = time.monotonic()
        assert called.raw.asked("ACK")
        offer = called.raw.asked("INVITE")
        waited_ms.append(1000 * (time.monotonic() - answered_s))
        assert "a=sendonly" in offer
        called.raw.reply(offer, "200 OK", body=called.raw.sdp(attributes="a=recvonly"))
        assert called.raw.asked("ACK")
        called.end()
    called.phone.behave(None)
    assert sorted(waited_ms)[2] < HOLD_MS, waited_ms


def test_an_offer_that_meets_another_is_made_again(called: Line) -> None:
    """RFC 3261 §14.1: 491, and after a while once more."""
    called.up()
    called.phone.do(called.call, "hold")
    called.raw.reply(called.raw.asked("INVITE"), "491 Request Pending")
    assert called.raw.asked("ACK")
    again = called.raw.asked("INVITE")
    assert "a=sendonly" in again
    called.raw.reply(again, "200 OK", body=called.raw.sdp(attributes="a=recvonly"))
    assert called.raw.asked("ACK")
    called.end()


def test_a_call_that_the_other_side_does_not_know_any_more_is_ended(called: Line) -> None:
    """RFC 3261 §12.2.1.2; as with a session that nobody refreshes, nobody has hung up."""
    called.up()
    called.phone.do(called.call, "hold")
    offer = called.raw.asked("INVITE")
    called.raw.reply(offer, "481 Call/Transaction Does Not Exist")
    assert called.raw.asked("ACK")
    bye = called.raw.asked("BYE")
    assert bye
    called.raw.reply(bye, "200 OK")
    assert called.phone.wait_for(called.call, HungUp).by == "network"


def test_ten_offers_one_after_the_other_change_nothing(line: Line) -> None:
    line.up()
    answers = [line.raw.ask("INVITE", line.raw.sdp()) for _ in range(10)]
    assert {answer.status for answer in answers} == {200}
    line.port = answers[-1].audio_port
    line.is_heard()
    line.end()


def test_ten_offers_at_once_are_each_answered_and_the_call_goes_on(line: Line) -> None:
    """RFC 3261 §14.2: the one that is met, and those that come while it is: 500 or 491."""
    line.up()
    raw = line.raw
    for _ in range(10):
        raw._cseq += 1
        raw.send("INVITE", raw.sdp())
    answers: dict[str, Response] = {}

    def answered() -> bool:
        response = raw._receive()
        if response is not None and response.status >= 200 and response.method == "INVITE":
            number = response.header("CSeq").split()[0]
            raw.send("ACK", cseq=int(number))
            answers[number] = response
        return len(answers) == 10

    wait_until(answered, "ten answers")
    assert {answer.status for answer in answers.values()} <= {200, 491, 500}
    assert 200 in {answer.status for answer in answers.values()}
    assert raw.request("INVITE", raw.sdp()) == 200, "and the next one, when all is calm"
    line.is_heard()
    line.end()


def test_a_call_whose_offer_is_ours_comes_up(agent: Phone, caller: RawPhone) -> None:
    call = agent.calls()
    caller.send("INVITE")
    ours = caller.final()
    assert ours.status == 200
    assert names_keys_last(ours)
    caller.send("ACK", caller.sdp(codecs="8"), cseq=1)
    agent.wait_for(call, CallAnswered)
    assert agent.wait_for(call, MediaReady).codec == "PCMA"
    line = Line(agent, caller, "agent")
    line.call, line.port = call, ours.audio_port
    for _ in range(10):
        caller.send_rtp(bytes([0x2A]) * 160, line.port, payload_type=8)
        time.sleep(0.02)
    wait_until(lambda: line.heard_ms() >= 180, "what is said")
    line.end()


def names_keys_last(offer: Response) -> bool:
    """Behind all codecs: whoever takes the first format that it has takes none of keys."""
    formats = re.findall(r"^m=audio \d+ RTP/AVP ([^\r\n]*)", offer.message, re.MULTILINE)
    keys = re.findall(r"^a=rtpmap:(\d+) telephone-event", offer.message, re.MULTILINE)
    return len(formats) == len(keys) == 1 and formats[0].split()[-1] == keys[0]


@pytest.mark.usefixtures("caller")
def test_an_answer_to_our_offer_that_names_nothing_of_it_ends_the_call(agent: Phone) -> None:
    """RFC 3261 §13.2.2.4: the ACK cannot be refused, so that it is a BYE that says so.

    More than once: a stack that is told to hang up too early stands still from then on.
    """
    call = agent.calls()
    for n in range(5):
        with RawPhone(agent.port, agent.host) as caller:
            caller.send("INVITE")
            assert caller.final().status == 200
            caller.send("ACK", caller.sdp(codecs="97", attributes="a=rtpmap:97 iLBC/8000"), cseq=1)
            asked = caller.asked("BYE")
            assert asked
            caller.reply(asked, "200 OK")
            ended = agent.wait_for(call + n, HungUp)
            assert ended.by == "network"
            assert ended.status in (415, 488)


@pytest.mark.usefixtures("caller")
def test_a_call_whose_ack_has_no_answer_to_our_offer_is_ended(agent: Phone) -> None:
    """RFC 3261 §13.2.1: it has to have one; without a session it is a BYE that says so."""
    call = agent.calls()
    for n in range(5):
        with RawPhone(agent.port, agent.host) as caller:
            caller.send("INVITE")
            assert caller.final().status == 200
            caller.send("ACK", cseq=1)
            asked = caller.asked("BYE")
            assert asked
            caller.reply(asked, "200 OK")
            ended = agent.wait_for(call + n, HungUp)
            assert (ended.by, ended.status) == ("network", 488)


def test_within_a_call_our_offer_that_is_not_answered_changes_nothing(line: Line) -> None:
    """As one that is refused (RFC 3261 §14.1): the call goes on, and so does a hold."""
    line.up()
    for holds in (False, True):
        if holds:
            assert line.raw.request("INVITE", line.raw.sdp(attributes="a=sendonly")) == 200
            line.phone.wait_for(line.call, MediaHeld)
        line.raw._cseq += 1
        line.raw.send("INVITE")
        ours = line.raw.final()
        assert ours.status == 200
        line.raw.send("ACK", cseq=line.raw._cseq)
        assert not line.raw.asked(within_s=0.8)
        line.port = ours.audio_port
        if holds:
            assert line.raw.packets(QUIET_S) == 0
        else:
            line.is_heard()
            is_sent_sound(line.raw)
    assert line.raw.request("INVITE", line.raw.sdp()) == 200
    line.phone.wait_for(line.call, MediaReady, count=2)
    line.is_heard()
    is_sent_sound(line.raw)
    line.end()


def test_within_a_call_the_offer_can_be_ours_too(line: Line) -> None:
    line.up()
    raw = line.raw
    raw._cseq += 1
    raw.send("INVITE")
    ours = raw.final()
    assert ours.status == 200
    assert names_keys_last(ours)
    raw.send("ACK", raw.sdp(), cseq=raw._cseq)
    line.port = ours.audio_port
    line.is_heard()
    line.end()


def test_our_offers_within_a_call_are_in_our_order(line: Line) -> None:
    """Not in the other side's, which prefers another codec; and numbers mean what they meant."""
    number = 101
    if line.role == "caller":
        line.ring()
        number = int(re.findall(r"a=rtpmap:(\d+) telephone-event", line.invite)[0])
    keys = KEYS.replace("101", str(number))
    line.up(codecs=f"8 {number}", attributes=keys)
    for codecs in ("9", f"8 {number}", "8"):
        line.raw._cseq += 1
        line.raw.send("INVITE")
        ours = line.raw.final()
        line.raw.send("ACK", line.raw.sdp(codecs=codecs, attributes=keys), cseq=line.raw._cseq)
        assert f"RTP/AVP 0 8 9 {number}\r\n" in ours.message
        assert f"a=rtpmap:{number} telephone-event/8000\r\n" in ours.message
        assert len(ours.message.partition("\r\n\r\n")[2]) == int(ours.header("Content-Length"))
    line.end()


def test_an_update_holds_as_an_invite_does(line: Line) -> None:
    line.up()
    answer = line.raw.ask("UPDATE", line.raw.sdp(attributes="a=sendonly"))
    line.phone.wait_for(line.call, MediaHeld)
    is_quiet(answer, line.raw)
    assert line.raw.request("UPDATE", line.raw.sdp()) == 200
    line.phone.wait_for(line.call, MediaReady, count=2)
    is_sent_sound(line.raw)
    line.end()


# ---- requests within a call


def test_a_refer_is_declined_by_who_expects_none(line: Line) -> None:
    line.up()
    assert line.raw.request("REFER", headers={"Refer-To": "<sip:elsewhere@127.0.0.1>"}) == 603
    line.end()


RELAY, PLAIN = "application/dtmf-relay", "application/dtmf"
OUR_KEYS = f"Accept: {RELAY}, {PLAIN}"


@dataclass(frozen=True)
class Row:
    """A request within a call, and what is right."""

    method: str
    what: str
    status: int
    rule: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    key: str = ""
    """That is told of it."""
    says: str = ""
    """A line of the answer, as a regular expression."""


def info(
    content_type: str, body: str, status: int, rule: str, *, key: str = "", says: str = ""
) -> Row:
    headers = {"Content-Type": content_type} if content_type else {}
    return Row("INFO", f"{content_type} {body!r}", status, rule, headers, body, key, says)


NOT_OURS = "RFC 3261 §8.2.3: what cannot be read is refused with what could be"
WITHOUT_PACKAGE = "RFC 2976 §2.2: an INFO is of its body's kind"
REQUESTS = [
    info(RELAY, "Signal=5\r\nDuration=160\r\n", 200, WITHOUT_PACKAGE, key="5"),
    info(RELAY, "Signal= 6\r\nDuration= 160\r\n", 200, WITHOUT_PACKAGE, key="6"),
    info(RELAY, "Signal=8", 200, WITHOUT_PACKAGE, key="8"),
    info("Application/DTMF-Relay", "signal=1\r\n", 200, "RFC 3261 §7.3.1: in any case", key="1"),
    info(RELAY, "Signal=10\r\nDuration=160\r\n", 200, "RFC 4733 §3.2: event 10", key="*"),
    info(RELAY, "Signal=11\r\nDuration=160\r\n", 200, "RFC 4733 §3.2: event 11", key="#"),
    info(PLAIN, "2", 200, WITHOUT_PACKAGE, key="2"),
    info(PLAIN, "11", 200, "RFC 4733 §3.2: event 11", key="#"),
    info("", "", 200, "RFC 6086 §4.2.2: without a body it asks whether the call lives"),
    info(RELAY, "Signal", 400, "RFC 3261 §21.4.1"),
    info(RELAY, "Signal=x\r\n", 400, "RFC 3261 §21.4.1"),
    info(RELAY, "Signal=5\0\r\n", 400, "RFC 3261 §21.4.1"),
    info(RELAY, "", 400, "RFC 3261 §21.4.1"),
    info("audio/telephone-event", "2", 415, NOT_OURS, says=OUR_KEYS),
    info("application/media_control+xml", "<media_control/>", 415, NOT_OURS, says=OUR_KEYS),
    Row(
        "INFO", "of an unknown package", 469, "RFC 6086 §4.2.2",
        {"Content-Type": "text/plain", "Info-Package": "unknown"}, "x", says="Recv-Info:.*",
    ),
    Row(
        "NOTIFY", "of an unknown event", 489, "RFC 6665 §4.1.3",
        {"Event": "nonsense", "Subscription-State": "active"},
    ),
    Row("OPTIONS", "whether the call lives", 200, "RFC 3261 §11.2"),
    Row(
        "SUBSCRIBE", "to an event", 489, "RFC 6665 §4.2.1.1",
        {"Event": "presence"}, says="Allow-Events: refer",
    ),
    Row(
        "MESSAGE", "that nobody would read", 405, "RFC 3261 §8.2.1: and says what is done",
        {"Content-Type": "text/plain"}, "hello", says="Allow: INVITE, ACK, BYE, .*",
    ),
    Row("PUBLISH", "of nothing here", 405, "RFC 3261 §8.2.1", says="Allow: INVITE, ACK, BYE, .*"),
    Row("REGISTER", "of nothing here", 405, "RFC 3261 §8.2.1", says="Allow: INVITE, ACK, BYE, .*"),
    Row("FROBNICATE", "unheard of", 501, "RFC 3261 §8.2.1", says="Allow: INVITE, ACK, BYE, .*"),
    Row(
        "INVITE", "that offers iLBC alone", 488, "RFC 3261 §14.2: and the call goes on",
        body="m=audio {port} RTP/AVP 96\r\na=rtpmap:96 iLBC/8000",
    ),
    Row(
        "INVITE", "that offers Opus alone", 488, "RFC 3261 §14.2: and the call goes on",
        body="m=audio {port} RTP/AVP 96\r\na=rtpmap:96 opus/48000/2",
    ),
    Row(
        "INVITE", "with media for many", 488, "RFC 3264 §5: they go to us, and to one",
        body="m=audio {port} RTP/AVP 0\r\nc={many}",
    ),
    Row(
        "INVITE", "with c= of nothing", 400, "RFC 4566 §5.7",
        body="m=audio {port} RTP/AVP 0\r\nc=x",
    ),
    Row(
        "UPDATE", "with c= of nothing", 400, "RFC 4566 §5.7",
        body="m=audio {port} RTP/AVP 0\r\nc=x",
    ),
    Row(
        "INVITE", "with c=0.0.0.0", 200, "RFC 3264 §8.4: on hold, our address in the answer",
        body="m=audio {port} RTP/AVP 0\r\nc={nowhere}", says="c={place}",
    ),
    Row("INVITE", "that resumes", 200, "RFC 3264 §8.4", body="m=audio {port} RTP/AVP 0"),
]  # fmt: skip


MANY = {"127.0.0.1": "IN IP4 224.2.1.1/127", "::1": "IN IP6 ff15::101"}


def answered(line: Line, row: Row) -> tuple[str, str, int, str]:
    """What the request is, by which rule, and its answer: status, and the line that is looked for.

    What it does not say is in its place.
    """
    body, says = row.body, row.says
    if row.method in ("INVITE", "UPDATE"):
        body = body.replace("{nowhere}", line.raw.nowhere).replace("{many}", MANY[line.raw.host])
        body = line.raw.offer(*body.split("\r\n"))
        says = says.replace("{place}", line.raw.place)
    answer = line.raw.ask(row.method, body, row.headers)
    said = re.search(rf"^{says}\r?$", answer.message, re.MULTILINE | re.IGNORECASE)
    return f"{row.method} {row.what}", row.rule, answer.status, row.says if said else answer.message


def test_each_request_within_a_call_gets_the_right_answer(line: Line) -> None:
    line.up()
    told = [answered(line, row) for row in REQUESTS]
    assert told == [(f"{r.method} {r.what}", r.rule, r.status, r.says) for r in REQUESTS]
    expected = "".join(row.key for row in REQUESTS)
    assert keys_of(line, len(expected)) == expected
    keys = [one for one in line.phone.signals(line.call) if isinstance(one, DtmfReceived)]
    assert {one.method for one in keys} == {"info"}
    line.phone.wait_for(line.call, MediaHeld)
    line.phone.wait_for(line.call, MediaReady, count=2)
    line.is_heard()
    line.end()


@pytest.mark.parametrize("method", ["OPTIONS", "INFO", "INVITE", "BYE"])
def test_who_names_another_call_of_the_same_id_gets_nothing_of_this_one(
    line: Line, method: str
) -> None:
    """RFC 3261 §12.2.2."""
    line.up()
    ours, line.raw._to_tag = line.raw._to_tag, "another"
    body = line.raw.sdp() if method == "INVITE" else ""
    answer = line.raw.ask(method, body)
    assert answer.status == 481
    line.raw._to_tag = ours
    line.is_heard()
    line.end()


def test_an_info_that_is_sent_again_is_one_key(line: Line) -> None:
    """Its answer was lost (RFC 3261 §17.1.2.2)."""
    line.up()
    assert line.raw.request("INFO", "Signal=5\r\n", {"Content-Type": RELAY}) == 200
    again = line.raw.last
    for _ in range(3):
        line.raw.send_bytes(again)
        assert line.raw.final("INFO").status == 200
    assert line.raw.request("INFO", "Signal=6\r\n", {"Content-Type": RELAY}) == 200
    line.raw.send_bytes(again)  # behind what came next, too
    assert line.raw.final("INFO").status == 200
    assert keys_of(line, 2) == "56"
    line.end()


def keys_of(line: Line, count: int) -> str:
    """That were told, once so many are."""
    line.phone.wait_for(line.call, DtmfReceived, count=count)
    keys = [one for one in line.phone.signals(line.call) if isinstance(one, DtmfReceived)]
    return "".join(one.digit for one in keys)


def test_a_request_that_was_overtaken_is_refused_and_does_nothing(line: Line) -> None:
    """RFC 3261 §12.2.2: its number is lower than that of one that came before it."""
    line.up()
    line.raw._cseq = 10
    assert line.raw.request("INFO", "Signal=1\r\n", {"Content-Type": RELAY}) == 200
    hold = line.raw.sdp(attributes="a=sendonly")
    for number, (method, body, headers) in enumerate(
        [
            ("INFO", "Signal=2\r\n", {"Content-Type": RELAY}),
            ("OPTIONS", "", {}),
            ("UPDATE", hold, {}),
            ("INVITE", hold, {}),
            ("REFER", "", {"Refer-To": "<sip:elsewhere@127.0.0.1>"}),
            ("BYE", "", {}),
        ],
        start=4,
    ):
        line.raw.send(method, body, headers, cseq=number)
        assert line.raw.final(method).status == 500, method
        if method == "INVITE":
            line.raw.send("ACK", cseq=number, branch=line.raw._branch)
    assert line.raw.request("INFO", "Signal=3\r\n", {"Content-Type": RELAY}) == 200
    assert keys_of(line, 2) == "13"
    told = line.phone.signals(line.call)
    assert not any(isinstance(one, MediaHeld | TransferRequested | HungUp) for one in told)
    line.is_heard()
    line.end()


def test_numbers_begin_where_the_caller_begins(line: Line) -> None:
    """RFC 3261 §8.1.1.5: with any below 2**31, 0 among them; behind another it was overtaken."""
    line.raw._cseq = 0
    line.up()
    if line.role == "agent":
        line.raw.send("INFO", "Signal=1\r\n", {"Content-Type": RELAY}, cseq=0)
        assert line.raw.final("INFO").status == 200
    else:
        line.raw._cseq = -1  # its own first request
        assert line.raw.request("INFO", "Signal=1\r\n", {"Content-Type": RELAY}) == 200
    assert line.raw.request("INFO", "Signal=2\r\n", {"Content-Type": RELAY}) == 200
    for method in ("INFO", "OPTIONS"):
        line.raw.send(method, "Signal=3\r\n", {"Content-Type": RELAY}, cseq=0)
        assert line.raw.final(method).status == 500
    assert keys_of(line, 2) == "12"
    line.end()


def test_what_belongs_to_no_invite_is_answered_by_none_and_changes_nothing(line: Line) -> None:
    line.up()
    line.raw._cseq = 10
    assert line.raw.request("INFO", "Signal=1\r\n", {"Content-Type": RELAY}) == 200
    for number in (9_999, 2**31 - 1):
        line.raw.send("ACK", cseq=number)
    line.raw.send("INFO", "Signal=9\r\n", {"Content-Type": RELAY}, cseq=9_998)
    strange = line.raw.last.replace(b"9998 INFO", b"9998 FOO")
    assert line.raw.final("INFO").status == 200
    line.raw.send_bytes(strange.replace(b"branch=z9hG4bK", b"branch=z9hG4bKx"))
    line.raw._cseq = 9_998
    assert line.raw.request("INFO", "Signal=2\r\n", {"Content-Type": RELAY}) == 200
    assert keys_of(line, 3) == "192"
    line.end()


NO_ADDRESSES = ("sip:raw@127.0.0.1:99999", "sip:raw@127.0.0.1:-1", "sip:raw@::1", "sip:raw@[::zz]")
BEYOND_REACH = ("sip:raw@[::2]:5060", "sips:raw@127.0.0.1", "sip:raw@127.0.0.1;transport=ws")


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_call_does_not_move_to_where_nothing_of_ours_gets(line: Line, method: str) -> None:
    """RFC 3261 §12.2.2, RFC 3311 §5.2: refused, the request has changed nothing."""
    line.up()
    expected = dict.fromkeys(NO_ADDRESSES, 400)
    if line.role == "agent":  # of a call that is placed nobody knows whether a proxy is on the way
        expected |= dict.fromkeys(BEYOND_REACH, 488)
    for contact, status in expected.items():
        line.raw._cseq += 1
        line.raw.send(method, line.raw.sdp(), {"Contact": f"<{contact}>"})
        answer = line.raw.final(method)
        assert answer.status == status, contact
        assert (status == 488) == bool(answer.header("Warning"))
        if method == "INVITE":
            line.raw.send("ACK", branch=line.raw._branch)
    line.is_heard()
    line.phone.do(line.call, "hang_up")
    goodbye = line.raw.asked("BYE")
    assert goodbye, "it goes to where it went"
    line.raw.reply(goodbye, "200 OK")
    assert line.phone.wait_for(line.call, HungUp).status == 200


def test_who_is_no_party_to_a_call_presses_no_key(line: Line) -> None:
    """Who has heard of its Call-ID alone names its tags wrong, or leaves ours out (§12.2.2)."""
    line.up()
    assert line.raw.request("INFO", "Signal=1\r\n", {"Content-Type": RELAY}) == 200
    ours = f";tag={line.raw._to_tag}".encode()
    strange = line.raw.last.replace(b"Signal=1", b"Signal=9").replace(b"z9hG4bK", b"z9hG4bKx")
    strange = re.sub(rb"CSeq: \d+", b"CSeq: 500", strange)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", 0))
        at = f"127.0.0.1:{line.raw.sip_port}".encode(), f"127.0.0.1:{port_of(stranger)}".encode()
        strange = strange.replace(b"UDP " + at[0], b"UDP " + at[1])
        for number, (theirs, to) in enumerate(
            [(b"evil", ours), (b"evil", b";tag=evil"), (b"evil", b""), (b"raw", b";tag=evil")]
        ):
            one = strange.replace(b"tag=raw", b"tag=" + theirs).replace(ours, to)
            one = one.replace(b"z9hG4bKx", b"z9hG4bK%d" % number)
            stranger.sendto(one, ("127.0.0.1", line.phone.port))
        stranger.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            while True:
                assert not stranger.recv(65_536).startswith(b"SIP/2.0 2")
    assert line.raw.request("INFO", "Signal=2\r\n", {"Content-Type": RELAY}) == 200
    assert keys_of(line, 2) == "12"
    line.is_heard()
    line.end()


def port_of(own: socket.socket) -> int:
    port: int = own.getsockname()[1]
    return port


def test_a_key_comes_by_rtp_once(line: Line) -> None:
    number_of_keys = 101
    if line.role == "caller":
        line.ring()
        named = re.search(r"^a=rtpmap:(\d+) telephone-event", line.invite, re.MULTILINE)
        assert named is not None
        number_of_keys = int(named[1])
    keys = KEYS.replace("101", str(number_of_keys))
    line.up(codecs=f"0 {number_of_keys}", attributes=keys)
    line.speak(5)
    for number in range(8):
        ended = 0x80 if number > 4 else 0
        event = bytes([5, ended | 10]) + (160 * (number + 1)).to_bytes(2, "big")
        send(line, 100 + number, 0, event, payload_type=number_of_keys)
        time.sleep(0.02)
    key = line.phone.wait_for(line.call, DtmfReceived)
    assert key == DtmfReceived(digit="5", method="rfc4733")
    time.sleep(0.2)
    assert sum(isinstance(one, DtmfReceived) for one in line.phone.signals(line.call)) == 1
    line.end()


def test_keys_go_out_by_info(line: Line) -> None:
    line.up()
    line.phone.do(line.call, "send_dtmf", "5#", "info")
    for key in "5#":
        sent = line.raw.asked("INFO")
        assert re.search(rf"^Signal={key}\r?$", sent, re.MULTILINE)
        line.raw.reply(sent, "200 OK")
    line.end()


def test_a_session_timer_is_agreed_to_or_refused_by_its_name(
    agent: Phone, caller: RawPhone, request: pytest.FixtureRequest
) -> None:
    """RFC 4028 §9; who has no such capability says so where it is required, and else goes on."""
    engine: EngineName = request.node.callspec.params["agent"]
    timer = {"Session-Expires": "1800;refresher=uac", "Content-Type": "application/sdp"}
    if Capability.SESSION_TIMERS in PROFILES[engine].capabilities:
        caller.send("INVITE", caller.sdp(), {"Supported": "timer", **timer})
        answer = caller.final()
        assert answer.status == 200
        assert answer.header("Session-Expires") == "1800;refresher=uac"
        assert answer.header("Require") == "timer"
        caller.send("ACK", cseq=1)
        assert caller.request("BYE") == 200
        with RawPhone(agent.port, agent.host) as hasty:
            short = {**timer, "Session-Expires": "10", "Supported": "timer"}
            hasty.send("INVITE", hasty.sdp(), short)
            refused = hasty.final()
            assert refused.status == 422
            assert int(refused.header("Min-SE")) >= 90
            hasty.acknowledge()
    else:
        caller.send("INVITE", caller.sdp(), {"Require": "timer", **timer})
        refused = caller.final()
        assert refused.status == 420
        assert refused.header("Unsupported") == "timer"
        caller.acknowledge()
        with RawPhone(agent.port, agent.host) as other:
            other.send("INVITE", other.sdp(), {"Supported": "timer", **timer})
            answer = other.final()
            assert answer.status == 200
            assert answer.header("Session-Expires") == ""
            other.send("ACK", cseq=1)
            assert other.request("BYE") == 200


# ---- audio


def send(
    line: Line,
    number: int,
    timestamp: int,
    payload: bytes,
    *,
    payload_type: int = 0,
    source: int = 24_301,
) -> None:
    """One packet with just these numbers (RFC 3550 §5.1)."""
    header = (
        bytes([0x80, payload_type])
        + number.to_bytes(2, "big")
        + timestamp.to_bytes(4, "big")
        + source.to_bytes(4, "big")
    )
    line.raw.rtp.sendto(header + payload, (line.raw.host, line.port))


RTP_TIMEOUT_MS = 800


@pytest.mark.parametrize(
    ("engine", "role"), list(product(PROFILES, ("agent", "caller"))), ids=lambda value: str(value)
)
def test_a_peer_who_sends_nothing_any_more_is_given_up_unless_it_holds(
    engine: EngineName, role: str
) -> None:
    options = SipOptions(sample_rate_hz=RATE_HZ, rtp_timeout_ms=RTP_TIMEOUT_MS)
    reaction = answer_at_once if role == "agent" else None
    with (
        open_phone(role, options, reaction, engine=engine) as phone,
        RawPhone(phone.port, phone.host) as raw,
    ):
        line = Line(phone, raw, role).up()
        line.speak(10)
        assert raw.request("INVITE", raw.sdp(attributes="a=sendonly")) == 200
        phone.wait_for(line.call, MediaHeld)
        assert not raw.asked("BYE", within_s=2 * RTP_TIMEOUT_MS / 1000)
        assert raw.request("INVITE", raw.sdp()) == 200
        phone.wait_for(line.call, MediaReady, count=2)
        line.speak(10)
        quiet_s = time.monotonic()
        asked = raw.asked("BYE")
        assert asked
        assert time.monotonic() - quiet_s > RTP_TIMEOUT_MS / 1000 - 0.1
        raw.reply(asked, "200 OK")
        ended = phone.wait_for(line.call, HungUp)
        assert (ended.by, ended.status) == ("network", 408)
        assert "no RTP" in ended.reason


@pytest.mark.parametrize("engine", PROFILES)
def test_a_caller_who_only_listens_is_spoken_to_and_stays(engine: EngineName) -> None:
    """RFC 3264 §5.1: it must not send anything; what the call costs is limited elsewhere."""
    options = SipOptions(sample_rate_hz=RATE_HZ, rtp_timeout_ms=RTP_TIMEOUT_MS)
    with open_phone("agent", options, answer_at_once, engine=engine) as phone:
        with RawPhone(phone.port, phone.host) as raw:
            answer = raw.call(raw.sdp(attributes="a=recvonly"))
            assert "a=sendonly" in answer.message
            phone.wait_for(0, MediaReady)
            assert raw.packets(2 * RTP_TIMEOUT_MS / 1000), "it is spoken to"
            assert not [one for one in phone.signals(0) if isinstance(one, HungUp)]
            assert raw.request("BYE") == 200
        phone.wait_for(0, HungUp)


@pytest.mark.parametrize("engine", PROFILES)
@pytest.mark.parametrize(("odd", "count"), [(0, 4), (0, 5), (1, 5)])
def test_media_stay_within_their_block_of_ports(engine: EngineName, odd: int, count: int) -> None:
    """The next ports may be another worker's."""
    first = free_block(8) + odd
    options = SipOptions(rtp_port=first, rtp_port_count=count, max_calls=1)
    taken = set()
    with open_phone("agent", options, answer_at_once, engine=engine) as phone:
        for call in range(4):
            with RawPhone(phone.port, phone.host) as raw:
                answer = raw.call(raw.sdp())
                assert answer.status == 200
                taken.add(answer.audio_port)
                assert raw.request("BYE") == 200
            phone.wait_for(call, HungUp)
            wait_until(lambda: phone.facts().active_calls == 0, "the place to be free")
            time.sleep(2 * PAUSE_S)
    assert taken <= set(range(first + odd, first + count - 1, 2))


def free_block(count: int) -> int:
    """An even port with so many free ones behind it, now."""
    for first in random.sample(range(10_000, 32_000, 2), 200):
        with ExitStack() as bound, suppress(OSError):
            for port in range(first, first + count):
                one = bound.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                one.bind(("127.0.0.1", port))
            return first
    raise AssertionError("no block of ports is free")


@pytest.mark.parametrize("ptime", [10, 20, 30, 40, 60])
@pytest.mark.parametrize("announced", [True, False], ids=["announced", "unannounced"])
def test_packets_of_any_length_are_heard_whole(line: Line, ptime: int, *, announced: bool) -> None:
    length_ms = 240
    line.up(attributes=f"a=ptime:{ptime}" if announced else "a=sendrecv")
    for number in range(length_ms // ptime):
        send(line, number + 1, number * ptime * 8, bytes([0x80]) * (ptime * 8))
        time.sleep(ptime / 1000)
    wait_until(lambda: line.heard_ms() >= length_ms, "all of it")
    time.sleep(0.1)
    assert line.heard_ms() == length_ms
    line.end()


@pytest.mark.parametrize(
    ("payload_type", "encoding", "ptime"), [(0, "pcmu", 20), (8, "pcma", 20), (0, None, 30)]
)
def test_g711_is_told_as_it_came_where_that_was_in_one_piece(
    line: Line, payload_type: int, encoding: Encoding | None, ptime: int
) -> None:
    line.up(codecs=str(payload_type), attributes=f"a=ptime:{ptime}")
    rng = random.Random(5)
    for _ in range(10):
        line.raw.send_rtp(rng.randbytes(8 * ptime), line.port, payload_type)
        time.sleep(ptime / 1000)
    wait_until(lambda: line.heard_ms() >= 200, "all of it")
    line.end()
    told = [frame for frame in line.frames() if frame.encoding is not None]
    is_of_its_rate = line.role == "agent"  # a caller's leg has one of its own
    assert {f.encoding for f in told} == ({encoding} if encoding and is_of_its_rate else set())
    for frame in told:
        assert frame.encoding is not None
        assert AudioFormat(frame.encoding).decode(frame.encoded) == frame.pcm


def test_a_silent_peer_is_heard_as_silence_and_spoken_to(line: Line) -> None:
    line.up()
    line.phone.wait_for(line.call, AudioReceived, count=20)
    line.phone.wait_for(line.call, FramePlayed, count=20)
    line.raw.rtp.settimeout(2)
    assert len(line.raw.rtp.recv(2048)) == 12 + 160
    line.end()


@pytest.mark.parametrize("sequence", [(1, 3, 2, 4, 6, 5, 7), (1, 2, 2, 3, 4, 4, 5)])
def test_packets_out_of_order_or_twice_are_heard_in_order_and_once(
    line: Line, sequence: tuple[int, ...]
) -> None:
    line.up()
    for number in sequence:
        send(line, number, number * 160, bytes([0x80 + number]) * 160)
        time.sleep(0.01)
    count = len(set(sequence))
    wait_until(lambda: line.heard_ms() >= 20 * count, "all of them")
    levels = [round(level(frame.pcm), -2) for frame in line.frames()]
    heard = [one for one in levels if abs(one) > 5_000]
    assert heard == sorted(set(heard), reverse=True)
    assert len(heard) == count
    line.end()


FRAMES = 120


def lossy(rng: random.Random) -> list[tuple[float, int]]:
    """When which packet comes: one in twenty never does."""
    return [(20.0 * n, n) for n in range(FRAMES) if n < 3 or rng.random() >= 0.05]


def reordered(rng: random.Random) -> list[tuple[float, int]]:
    """Up to 30 ms late, one overtaking the other."""
    return sorted((20.0 * n + rng.uniform(0, 30), n) for n in range(FRAMES))


def jittery(rng: random.Random) -> list[tuple[float, int]]:
    """Up to 30 ms late, and in order."""
    late = [20.0 * n + rng.uniform(0, 30) for n in range(FRAMES)]
    return list(zip(accumulate(late, max), range(FRAMES), strict=True))


def stalled(rng: random.Random) -> list[tuple[float, int]]:
    """Nothing for 240 ms, and then all of it at once; later for 500 ms, which might be a pause."""
    short, long = rng.randrange(10, 25), rng.randrange(45, 70)
    ends = dict.fromkeys(range(short, short + 12), short + 12)
    ends |= dict.fromkeys(range(long, long + 25), long + 25)
    return [(20.0 * ends.get(n, n), n) for n in range(FRAMES)]


def unevenness_ms(arrivals: Sequence[tuple[float, int]]) -> float:
    """RFC 3550 §6.4.1: jitter, by the order in which packets come."""
    jitter_ms = 0.0
    for (at_ms, number), (next_ms, next_number) in pairwise(arrivals):
        jitter_ms += (abs(next_ms - at_ms - 20 * (next_number - number)) - jitter_ms) / 16
    return jitter_ms


NETWORKS = {"loss": lossy, "reordering": reordered, "jitter": jittery, "stall": stalled}
MAY_BE_LATE = {"reordering": 3}
"""Packets that came when their time had been filled: of a line that is not known yet."""


def test_what_a_network_does_to_packets_is_made_good(side: tuple[Phone, EngineName, str]) -> None:
    """Nothing is invented, and no more is lost than the line has lost; then the delay is as before.

    A call for each network, all at once.
    """
    phone, _, role = side
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - shown by pytest when the test fails
    arrivals = {name: plan(random.Random(f"{seed} {name}")) for name, plan in NETWORKS.items()}
    with ExitStack() as stack:
        lines = {}
        for name in NETWORKS:
            line = Line(phone, stack.enter_context(RawPhone(phone.port, phone.host)), role)
            lines[name] = line.up()
        senders = [
            threading.Thread(target=send_at, args=(lines[name], arrivals[name]))
            for name in NETWORKS
        ]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        for name, line in lines.items():
            sent = sorted(number for _, number in arrivals[name])
            heard = numbers_until(line, sent[-1])
            assert set(heard) <= set(sent), f"{name}: nothing is invented"
            assert heard == sorted(set(heard)), f"{name}: in order, and once"
            missing = len(sent) - len(heard)
            assert missing <= MAY_BE_LATE.get(name, 0), f"{name}: {missing} were thrown away"
            assert heard[-20:] == sent[-20:], f"{name}: at the end all is calm"
            line.end()
            if name in ("jitter", "reordering"):
                told = line.phone.wait_for(line.call, RtpMeasured).jitter_ms
                assert told == pytest.approx(unevenness_ms(arrivals[name]), abs=2.5), name
    end_all(phone)


def test_whoever_begins_anew_is_heard_from_the_first_packet(line: Line) -> None:
    """A new source, as behind a transfer or of music; or the same one with other numbers.

    A packet of the call that had this port before may be the first of a call.
    """
    line.up()
    played = iter(range(40))
    for source, first, packets in ((7, 30_000, 2), (8, 500, 12), (8, 40_000, 12), (9, 39_990, 12)):
        for number in range(packets):
            stamp = 160 * (first + number)
            send(line, first + number, stamp, encoded(next(played)), source=source)
            time.sleep(0.02)
    assert numbers_until(line, 37) == [*range(38)]
    line.end()


@pytest.mark.parametrize("lost", [{1}, {2}, {1, 3}, {1, 2, 4}], ids=str)
def test_a_packet_lost_at_the_beginning_takes_no_other_with_it(line: Line, lost: set[int]) -> None:
    """Where a source is believed only once two of its packets came one after the other."""
    line.up()
    sent = [number for number in range(20) if number not in lost]
    send_at(line, [(20.0 * number, number) for number in sent])
    assert numbers_until(line, sent[-1]) == sent
    line.end()


def test_what_comes_while_the_loop_stands_still_is_heard_as_it_came(line: Line) -> None:
    """Packets wait in the socket then: nothing was silent."""
    line.up()
    sender = threading.Thread(target=send_at, args=(line, [(20.0 * n, n) for n in range(60)]))
    sender.start()
    time.sleep(0.4)
    line.phone.stall(line.call, 0.5)
    sender.join()
    assert numbers_until(line, 59) == [*range(60)]
    heard = [one for one in enumerate(line.frames()) if abs(level(one[1].pcm)) > 1_000]
    for (index, frame), (next_index, next_frame) in pairwise(heard):
        if next_index - index > 1:
            paused_ns = next_frame.at_ns - frame.at_ns  # of a sender that could not run
            assert paused_ns >= PAUSE_NS, "silence was made up"
    line.end()


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside_another_call"])
def test_what_is_said_right_behind_the_answer_is_heard_from_its_beginning(
    called: Line, *, beside: bool
) -> None:
    """Both wait for a process that could not run, as may what comes of another call."""
    with RawPhone(called.phone.port, called.raw.host) as raw:
        other = Line(called.phone, raw, "caller")
        if beside:
            other.up()
            called.call = called.phone.calls()
        called.ring()
        called.phone.stall(called.call, STALL_S)
        if beside:
            raw.rtp.sendto(REPORT, (raw.host, other.port + 1))
        called.raw.reply(called.invite, "200 OK", body=called.raw.sdp())
        send_at(called, [(20.0 * n, n) for n in range(15)])
        assert called.raw.asked("ACK")
        assert numbers_until(called, 14) == [*range(15)]
        if beside:
            other.abandon()
    called.end()


REPORT = bytes([0x80, 201, 0, 1, 0, 0, 0, 1])
"""RTCP's, of a receiver that has nothing to report (RFC 3550 §6.4.2)."""


def test_what_waits_beside_a_report_came_when_it_came(line: Line) -> None:
    """The loop stood still, and finds packets of sound and one of RTCP's, in whatever order."""
    line.up()
    line.speak(3)
    line.phone.stall(line.call, STALL_S)
    time.sleep(0.1)
    line.raw.rtp.sendto(REPORT, (line.raw.host, line.port + 1))
    sent_ns = []
    for _ in range(15):
        sent_ns.append(time.monotonic_ns())
        line.speak(1)
    wait_until(lambda: line.heard_ms() >= 20 * 18, "what waited")
    came_ns = [frame.at_ns for frame in line.frames() if any(frame.pcm)][3:18]
    late_ms = [(at_ns - one) / NS_PER_MS for at_ns, one in zip(came_ns, sent_ns, strict=True)]
    assert min(late_ms) >= 0
    assert max(late_ms) < 20, "it is said to have come when it was read"
    line.end()


@pytest.mark.parametrize("stood_s", [0.17, 0.6])
def test_a_process_that_stood_still_is_on_the_clock_again(line: Line, stood_s: float) -> None:
    """It makes up for a little; of the rest the other side hears silence, not sound that is late.

    What is told to have been played is what has left, all the same.
    """
    line.up()
    came: list[tuple[float, int, int, bytes]] = []

    def note(packet: bytes, _source: object, at_ns: int) -> None:
        number, timestamp = (int.from_bytes(packet[a:b], "big") for a, b in ((2, 4), (4, 8)))
        came.append((at_ns / NS_PER_MS, number, timestamp, packet[12:]))

    line.raw.rtp.setblocking(False)
    reader = PacketReader(line.raw.rtp, note)
    sound = tone(440, 1_200, line.rate_hz)
    line.phone.do(line.call, "play", sound)
    time.sleep(0.4)
    for signal_to, then_s in ((signal.SIGSTOP, stood_s), (signal.SIGCONT, 0.4)):
        os.kill(line.phone.process.pid or 0, signal_to)
        time.sleep(then_s)
    wait_until(lambda: line.played() >= len(sound) // 2, "all of it to be played")
    time.sleep(SETTLE_S)
    reader.read_all()
    line.end()
    stood_still = max(range(1, len(came)), key=lambda n: came[n][0] - came[n - 1][0])
    late_ms = [at_ms - timestamp / 8 for at_ms, _, timestamp, _ in came]
    before, after = min(late_ms[:stood_still]), min(late_ms[stood_still:])
    assert abs(after - before) < 20
    # One that was made, and about to be sent, as the process was stopped, is sent when it goes on.
    late = sorted(at_ms - before for at_ms in late_ms[stood_still:])[:-1]
    assert late[-1] < 150, "a flood of what nobody can use any more"
    sequence = [number for _, number, _, _ in came]
    assert sequence == [(sequence[0] + n) & 0xFFFF for n in range(len(came))]
    assert line.played() == len(sound) // 2
    is_loud = [payload != bytes([0xFF]) * 160 for *_, payload in came]
    assert sum(is_loud) in (60, 61)  # a change of rate has a tail
    if line.role == "caller":  # whose recording is on that clock, too
        recorded = line.phone.recorded(line.call)
        mouth = np.flatnonzero(np.abs(to_samples(recorded.mouth).astype(int)) > LOUD)
        loud = [came[n][2] for n in np.flatnonzero(is_loud)]
        spoken_ms = (mouth[-1] - mouth[0]) / recorded.rate_hz * 1_000
        assert spoken_ms == pytest.approx((loud[-1] - loud[0]) / 8, abs=25)


def numbers_until(line: Line, last: int) -> list[int]:
    """Which packets have been heard, once the last one is there; a busy machine takes its time."""
    for _ in range(100):
        heard = numbers(frame.pcm for frame in line.frames())
        found = [number for number in heard if number is not None]
        if found[-1:] == [last]:
            break
        time.sleep(0.1)
    return found


def send_at(line: Line, arrivals: Sequence[tuple[float, int]]) -> None:
    began_s = time.monotonic()
    for at_ms, number in arrivals:
        time.sleep(max(0.0, began_s + at_ms / 1000 - time.monotonic()))
        send(line, 1_000 + number, 160 * number, encoded(number))


def test_audio_goes_to_where_it_comes_from(line: Line) -> None:
    """Behind NAT a description names a port that nobody can reach."""
    with socket.socket(line.raw.rtp.family, socket.SOCK_DGRAM) as nowhere:
        nowhere.bind((line.raw.host, 0))
        line.up(port=nowhere.getsockname()[1])
        nowhere.settimeout(2)
        assert nowhere.recv(2048), "at first where the description says"
        line.speak(15)
        line.raw.forget_rtp()
        line.raw.rtp.settimeout(2)
        assert len(line.raw.rtp.recv(2048)) == 12 + 160
    line.end()


def test_a_stranger_does_not_get_the_voice(line: Line) -> None:
    """Nor whoever comes later: audio goes to where the other side's has come from."""
    line.up()
    with RawPhone(line.phone.port, STRANGERS[line.raw.host]) as stranger:
        stranger._rtp_sequence = 20_000
        for _ in range(25):
            stranger.send_rtp(FRAME, line.port)
            time.sleep(0.01)
        assert is_silent(stranger)
        line.is_heard(lost_ms=60)  # PJMEDIA wants two packets in a row from somebody new
        for _ in range(25):
            stranger.send_rtp(FRAME, line.port)
            time.sleep(0.01)
        assert is_silent(stranger)
    line.raw.forget_rtp()
    assert len(line.raw.rtp.recv(2048)) == 12 + 160
    line.end()


def is_silent(phone: RawPhone) -> bool:
    """Whether no audio has come there."""
    phone.rtp.settimeout(0.1)
    try:
        return not phone.rtp.recv(2048)
    except TimeoutError:
        return True


# ---- ends


@pytest.mark.parametrize("who", ["own", "foreign"])
def test_a_call_ends_in_the_midst_of_its_frames(line: Line, who: str) -> None:
    """Whatever is on its way: the end is told once, and last."""
    line.up()
    line.phone.do(line.call, "play", bytes(2 * RATE_HZ))
    quiet = threading.Event()

    def talk() -> None:
        while not quiet.wait(0.002):
            line.raw.send_rtp(FRAME, line.port)

    talking = threading.Thread(target=talk)
    talking.start()
    try:
        time.sleep(random.uniform(0.05, 0.15))
        if who == "own":
            line.phone.do(line.call, "hang_up")
            bye = line.raw.asked("BYE")
            assert bye
            line.raw.reply(bye, "200 OK")
        else:
            assert line.raw.request("BYE") == 200
        ended = line.phone.wait_for(line.call, HungUp)
        time.sleep(0.1)
    finally:
        quiet.set()
        talking.join()
    assert ended.by == (line.role if who == "own" else line.peer)
    told = [one.input for one in line.phone.told(line.call)]
    assert [n for n, one in enumerate(told) if isinstance(one, HungUp)] == [len(told) - 1]


@pytest.mark.parametrize("who", ["own", "foreign"])
def test_no_sound_follows_a_goodbye(line: Line, who: str) -> None:
    """RFC 3261 §15.1: neither a BYE nor its answer, though the loop may hear of that much later."""
    line.up()
    line.phone.do(line.call, "play", bytes(4 * RATE_HZ))
    if who == "own":
        line.phone.do(line.call, "hang_up")
        bye = line.raw.asked("BYE")
        assert bye
        quiet_from_ns = time.monotonic_ns()
        line.raw.reply(bye, "200 OK")
    else:
        line.phone.stall(line.call, STALL_S)
        assert line.raw.request("BYE") == 200
        quiet_from_ns = time.monotonic_ns()
    line.phone.wait_for(line.call, HungUp)
    came: list[int] = []
    line.raw.rtp.setblocking(False)
    PacketReader(line.raw.rtp, lambda _data, _source, at_ns: came.append(at_ns)).read_all()
    late_ms = [(at_ns - quiet_from_ns) / NS_PER_MS for at_ns in came if at_ns > quiet_from_ns]
    assert not late_ms


def test_what_an_engine_cannot_do_is_refused_by_its_name() -> None:
    assert Capability.PUBLIC_CONTACT not in PROFILES["baresip"].capabilities
    with pytest.raises(CapabilityError, match="baresip has no capability `public_contact`"):
        choose("baresip").answering(SipOptions(public_host="192.0.2.1"), lambda _leg: None)
