"""`callerside doctor sip:...` against telephones that fail in each way there is."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sip_rig import answer_at_once, open_phone

from callerside.agent.telephony.interface import CallLeg, LegInput, MediaReady
from callerside.agent.telephony.options import SipAccount, SipOptions
from callerside.audio import tone
from callerside.simulator.doctor.findings import Finding, State, lines
from callerside.simulator.doctor.reach import STAGES, reach

pytestmark = pytest.mark.e2e

Answer = Callable[[str], list[str]]
"""Of a request: whole responses, in their order."""


@contextmanager
def telephone(answer: Answer, host: str = "127.0.0.1") -> Iterator[int]:
    """Somebody's SIP over UDP, who answers what a test wants; its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sip:
        sip.bind((host, 0))

        def serve() -> None:
            """Until the bell: what was sent before it is answered, however late this runs."""
            while (got := sip.recvfrom(65_536))[0] != b"over":
                data, source = got
                for response in answer(data.decode()):
                    sip.sendto(response.encode(), source)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield sip.getsockname()[1]
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bell:
                bell.sendto(b"over", sip.getsockname())
            thread.join()


def reply(request: str, status: str, body: str = "", *more: str) -> str:
    kept = re.findall(r"^((?:Via|From|To|Call-ID|CSeq):.*?)\r$", request, re.MULTILINE)
    kept = [f"{line};tag=them" if line.startswith("To:") else line for line in kept]
    kind = ["Content-Type: application/sdp"] if body else []
    head = [f"SIP/2.0 {status}", *kept, *more, *kind, f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", body])


def answering(*statuses: str, body: str = "", more: tuple[str, ...] = ()) -> Answer:
    """OPTIONS and BYE with 200, INVITE with these."""

    def answer(request: str) -> list[str]:
        method = request.partition(" ")[0]
        if method == "INVITE":
            return [
                reply(request, each, body if each[0] == "2" else "", *more) for each in statuses
            ]
        return [reply(request, "200 OK")] if method in ("OPTIONS", "BYE", "CANCEL") else []

    return answer


def sdp(port: int, host: str = "127.0.0.1", media: str = "RTP/AVP 0") -> str:
    return (
        f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
        f"m=audio {port} {media}\r\n"
    )


def by_stage(findings: list[Finding]) -> dict[str, Finding]:
    abouts = [one.about for one in findings]
    assert abouts in ([*STAGES], [stage for stage in STAGES if stage != "register"])
    return {one.about: one for one in findings}


def sing(leg: CallLeg, item: LegInput) -> None:
    answer_at_once(leg, item)
    if isinstance(item, MediaReady):
        leg.play(tone(440, 8_000, leg.sample_rate_hz))


def test_an_agent_that_can_be_called_is_fine_from_end_to_end() -> None:
    with open_phone("agent", SipOptions(sample_rate_hz=8_000), sing) as agent:
        for over in ("udp", "tcp"):
            uri = f"sip:100@127.0.0.1:{agent.port};transport={over}"
            found = by_stage(reach(uri, listen_s=1.0))
            assert {one.state for one in found.values()} == {State.FINE}, lines([*found.values()])
            assert "PCMU" in found["codec"].told
            assert "packets came from 127.0.0.1:" in found["sound"].told
            assert "loudest -15 dBFS" in found["sound"].told


def test_a_name_that_is_none() -> None:
    found = by_stage(reach("sip:100@nobody.invalid"))
    assert found["name"].state is State.BAD
    assert found["name"].evidence[0] == "-> which address has nobody.invalid?"
    assert {found[stage].state for stage in found if stage != "name"} == {State.UNKNOWN}


@pytest.mark.parametrize("over", ["udp", "tcp"])
def test_a_port_where_nothing_listens(over: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    found = by_stage(reach(f"sip:100@127.0.0.1:{port};transport={over}"))
    assert found["transport"].state is State.BAD
    assert "refused" in found["transport"].told
    sent, got = found["transport"].evidence
    assert sent.startswith("-> SYN to" if over == "tcp" else "-> OPTIONS sip:100@")
    assert got.startswith("<- refused")
    other = "udp" if over == "tcp" else "tcp"
    advice = found["transport"].advice
    assert advice.startswith("nobody listens at that port")
    assert advice.endswith(f"Try the other transport: ;transport={other}")


@pytest.mark.parametrize(
    ("status", "advice"),
    [("486 Busy Here", "busy"), ("404 Not Found", "before the @"), ("499 Odd", "its own log")],
)
def test_a_refusal_is_explained_and_shown(status: str, advice: str) -> None:
    with telephone(answering("100 Trying", "180 Ringing", status)) as port:
        found = by_stage(reach(f"sip:100@127.0.0.1:{port}"))
    assert found["answer"].state is State.BAD
    assert found["answer"].told == f"{status} after 100 Trying, 180 Ringing"
    assert advice in found["answer"].advice
    assert f"SIP/2.0 {status}" in found["answer"].evidence


def registering(status: str, seen: list[str]) -> Answer:
    """Who asks for a digest, and answers the REGISTER that has one with this."""

    def answer(request: str) -> list[str]:
        if not request.startswith("REGISTER"):
            return answering("486 Busy Here")(request)
        if "\r\nAuthorization: " not in request:
            return [reply(request, "401 Who", "", 'WWW-Authenticate: Digest realm="r", nonce="n"')]
        seen.append(request)
        return [reply(request, status)]

    return answer


@pytest.mark.parametrize("beside", [False, True])
def test_an_account_is_registered_as_its_user_first_and_taken_back(beside: bool) -> None:
    seen: list[str] = []
    with (
        telephone(registering("200 OK", seen)) as pbx,
        telephone(answering("486 Busy Here")) as agent,
    ):
        account = SipAccount(
            user="2001",
            caller_id="+49301",
            display_name="Name",
            registrar=f"127.0.0.1:{pbx}",
            domain="pbx.test",
            password="secret",
            headers=(("X-Customer", "1"),),
        )
        found = by_stage(reach(f"sip:100@127.0.0.1:{agent if beside else pbx}", account))
    assert found["register"].state is State.FINE
    assert found["answer"].told.startswith("486")
    assert [re.findall(r"Expires: (\d+)", one) for one in seen] == [["300"], ["0"]]
    for one in seen:
        assert re.search(r"^From: <sip:2001@pbx\.test>", one, re.MULTILINE)
        assert re.search(r"^To: <sip:2001@pbx\.test>\r$", one, re.MULTILINE)
        assert "+49301" not in one
        assert "X-Customer" not in one


@pytest.mark.parametrize(
    ("least", "asked_for"),
    [
        ("Min-Expires: 900", ["300", "900", "0"]),
        ("Min-Expires: 100", ["300"]),
        ("Min-Expires: 100000", ["300"]),
        ("Min-Expires: x", ["300"]),
        ("X: 900", ["300"]),
    ],
)
def test_whoever_registers_for_longer_only_is_asked_for_that(
    least: str, asked_for: list[str]
) -> None:
    asked: list[str] = []

    def answer(request: str) -> list[str]:
        if not request.startswith("REGISTER"):
            return answering("486 Busy Here")(request)
        asked.extend(re.findall(r"^Expires: (\d+)\r$", request, re.MULTILINE))
        if asked[-1] in ("0", "900"):
            return [reply(request, "200 OK")]
        return [reply(request, "423 Interval Too Brief", "", least)]

    with telephone(answer) as port:
        account = SipAccount(user="2001", registrar=f"127.0.0.1:{port}")
        found = by_stage(reach(f"sip:100@127.0.0.1:{port}", account))["register"]
    assert asked == asked_for
    if "900" in asked:
        assert found.state is State.FINE
        assert "200 OK for 900 s: 300 s were too brief for it (423)" in found.told
    else:
        assert found.state is State.BAD
        assert "set expires_s" in found.advice


@pytest.mark.parametrize("registrar", ["", "pbx.test"])
def test_every_request_says_that_it_goes_by_the_proxy(registrar: str) -> None:
    seen: dict[str, list[str]] = {}

    def answer(request: str) -> list[str]:
        route = re.findall(r"^Route: (.*)\r$", request, re.MULTILINE)
        seen[request.partition(" ")[0]] = route
        if request.startswith("REGISTER"):
            return [reply(request, "200 OK")]
        return answering("180 Ringing", "486 Busy Here")(request)

    with telephone(answer) as port:
        proxy = f"127.0.0.1:{port}"
        account = SipAccount(
            user="2001", domain="pbx.test", registrar=registrar, outbound_proxy=proxy
        )
        reach("sip:100@pbx.test", account)
    by = [f"<sip:{proxy};lr>"]
    methods = ["OPTIONS", *(["REGISTER"] if registrar else []), "INVITE", "ACK"]
    assert seen == dict.fromkeys(methods, by)


def test_a_registrar_that_refuses_is_where_a_call_fails() -> None:
    with telephone(registering("403 Forbidden", [])) as port:
        uri, registrar = f"sip:100@127.0.0.1:{port}", f"127.0.0.1:{port}"
        account = SipAccount(user="2001", registrar=registrar, password="secret")
        refused = by_stage(reach(uri, account))
        without = by_stage(reach(uri, SipAccount(user="2001", registrar=registrar)))
    assert refused["register"].state is State.BAD
    assert "403 Forbidden" in refused["register"].told
    assert "SIP/2.0 403 Forbidden" in refused["register"].evidence
    assert "user" in refused["register"].advice
    assert refused["answer"].state is State.UNKNOWN
    assert "401 Who" in without["register"].told
    assert "set CALLERSIDE_CALLER_PASSWORD" in without["register"].advice


def test_whoever_asks_for_a_digest_gets_one_of_the_account() -> None:
    asked: list[str] = []

    def answer(request: str) -> list[str]:
        if not request.startswith("INVITE"):
            return answering()(request)
        asked.extend(re.findall(r"^Proxy-Authorization: (.*)\r$", request, re.MULTILINE))
        challenge = 'Proxy-Authenticate: Digest realm="pbx", nonce="n", qop="auth", opaque="o"'
        return [reply(request, "407 Who", "", challenge)]

    with telephone(answer) as port:
        uri = f"sip:100@127.0.0.1:{port}"
        without = by_stage(reach(uri))
        assert not asked
        wrong = by_stage(reach(uri, SipAccount(user="2001", password="secret")))
        other = by_stage(reach(uri, SipAccount(user="2001", password="secret", realm="elsewhere")))
    assert "--account" in without["answer"].advice
    assert "password is not" in wrong["answer"].advice
    assert "password is not" in other["answer"].advice
    assert len(asked) == 1
    assert 'username="2001", realm="pbx", nonce="n"' in asked[0]
    assert 'opaque="o"' in asked[0]
    assert "secret" not in "\n".join(lines([*wrong.values()]))


def test_an_answer_without_a_codec_of_ours() -> None:
    for media in ("RTP/SAVP 0", "RTP/AVP 18"):
        with telephone(answering("200 OK", body=sdp(9, media=media))) as port:
            found = by_stage(reach(f"sip:100@127.0.0.1:{port}"))
        assert found["codec"].state is State.BAD
        assert f"m=audio 9 {media}" in found["codec"].evidence
    with telephone(answering("200 OK")) as port:
        assert by_stage(reach(f"sip:100@127.0.0.1:{port}"))["codec"].state is State.BAD


@pytest.mark.parametrize(
    "body",
    [sdp(99_999), sdp(4_000).replace("c=IN IP4 127.0.0.1\r\n", "")],
    ids=["port", "address"],
)
def test_an_answer_that_says_not_where_to_send_sound(body: str) -> None:
    with telephone(answering("200 OK", body=body)) as port:
        found = by_stage(reach(f"sip:100@127.0.0.1:{port}"))
    assert found["codec"].state is State.BAD
    assert "says not where to send sound" in found["codec"].told
    assert "t=0 0" in found["codec"].evidence


def test_no_sound_comes_back() -> None:
    with telephone(answering("200 OK", body=sdp(9))) as port:
        found = by_stage(reach(f"sip:100@127.0.0.1:{port}", listen_s=0.3))
    assert found["codec"].state is State.FINE
    assert found["sound"].state is State.BAD
    assert "no RTP packet came" in found["sound"].told
    assert found["sound"].advice.startswith("it sends nothing: see its log (on loopback")
    offer, at, *theirs = found["sound"].evidence
    assert offer == "-> c=IN IP4 127.0.0.1"
    assert at.startswith("-> m=audio ")
    assert theirs == ["<- c=IN IP4 127.0.0.1", "<- m=audio 9 RTP/AVP 0"]


@pytest.mark.parametrize(
    ("report", "state", "told"),
    [
        ("81c8000c" + "00000007" + 20 * "00" + "00000009" + 20 * "00", State.BAD, "one-way: "),
        ("80c80006" + "00000007" + 20 * "00", State.DOUBTFUL, "perhaps one-way: "),
    ],
    ids=["of another", "of nobody"],
)
def test_sound_that_goes_one_way_alone(
    monkeypatch: pytest.MonkeyPatch, report: str, state: State, told: str
) -> None:
    """It is heard, and its own reports know of nothing that it should have got."""
    from callerside.simulator.doctor import sip_wire

    monkeypatch.setattr(sip_wire, "_SETTLED_S", 0.1)
    with talking(0, bytes.fromhex(report)) as port:
        found = by_stage(reach(f"sip:100@127.0.0.1:{port}", listen_s=0.5))
    assert found["sound"].state is state
    assert found["sound"].told.startswith(told)
    assert "says nothing of ours" in found["sound"].told
    assert ("it never reports what it gets" in found["sound"].advice) is (state is State.DOUBTFUL)
    assert found["sound"].evidence[-1].startswith("<- RTCP from 127.0.0.1:")
    assert bytes.fromhex(report)[:8].hex(" ") in found["sound"].evidence[-1]


@contextmanager
def telephone_of_calls() -> Iterator[tuple[int, list[str]]]:
    """One that takes every call; its port, and the INVITEs so far."""
    invites: list[str] = []

    def answer(request: str) -> list[str]:
        invites.extend([request] if request.startswith("INVITE") else [])
        return answering("200 OK", body=sdp(9))(request)

    with telephone(answer) as port:
        yield port, invites


@contextmanager
def talking(payload_type: int, report: bytes = b"") -> Iterator[int]:
    """One that takes every call as PCMU, and sends each 20 ms of this, and a report; its port."""
    packet = bytes([0x80, payload_type]) + bytes.fromhex("0001000000a000000007") + b"\x10" * 160
    over = threading.Event()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rtp,
        telephone_of_calls() as (port, invites),
    ):
        rtp.bind(("127.0.0.1", 0))

        def send() -> None:
            while not over.wait(0.02):
                for invite in invites:
                    to = int(re.findall(r"m=audio (\d+)", invite)[0])
                    rtp.sendto(packet, ("127.0.0.1", to))
                    if report:
                        rtp.sendto(report, ("127.0.0.1", to + 1))

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield port
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize(("payload_type", "named"), [(18, "18"), (8, "8 (PCMA)")])
def test_sound_that_was_not_agreed_on_is_none(payload_type: int, named: str) -> None:
    with talking(payload_type) as port:
        found = by_stage(reach(f"sip:100@127.0.0.1:{port}", listen_s=0.3))["sound"]
    assert found.state is State.BAD
    assert found.told.startswith("no sound that was agreed on: ")
    assert f"agreed to payload type 0 (PCMU), and it sends {named}: " in found.advice
    assert found.evidence[-1].startswith("<- RTP from 127.0.0.1:")


def test_sound_that_was_agreed_on_is_not_called_otherwise() -> None:
    with talking(0) as port:
        found = by_stage(reach(f"sip:100@127.0.0.1:{port}", listen_s=0.3))["sound"]
    assert found.state is State.FINE


def test_a_name_for_sound_is_looked_up_once_and_one_without_an_address_is_bad() -> None:
    with telephone(answering("200 OK", body=sdp(9, "localhost"))) as port:
        found = by_stage(reach(f"sip:100@127.0.0.1:{port}", listen_s=0.1))
    assert found["address"].state is State.FINE
    assert found["address"].told == "sound goes to 127.0.0.1 (localhost), SIP to 127.0.0.1"
    with telephone(answering("200 OK", body=sdp(9, "pbx.invalid"))) as port:
        found = by_stage(reach(f"sip:100@127.0.0.1:{port}", listen_s=0.1))
    assert found["address"].state is State.BAD
    assert "names pbx.invalid for sound, which has no address" in found["address"].told
    assert "c=IN IP4 pbx.invalid" in found["address"].evidence
    assert found["sound"].advice.startswith("likely the cause: it names pbx.invalid")


def test_sips_and_transport_tls_have_advice_of_their_own() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        at = f"100@127.0.0.1:{taken.getsockname()[1]}"
        sips = by_stage(reach(f"sips:{at}"))["transport"]
        over = by_stage(reach(f"sip:{at};transport=tls"))["transport"]
    assert sips.advice.endswith("Does it speak TLS there? Try sip: instead of sips:")
    assert over.advice.endswith("Try the other transport: ;transport=udp")


def test_whoever_goes_away_in_the_middle_is_reported_as_far_as_it_came() -> None:
    """Its BYE is refused, and what was seen before is told all the same."""
    answer = answering("200 OK", body=sdp(9))
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                for _ in range(3):  # OPTIONS, INVITE, ACK
                    for response in answer(peer.recv(65_536).decode()):
                        peer.sendall(response.encode())
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

        thread = threading.Thread(target=serve)
        thread.start()
        uri = f"sip:100@127.0.0.1:{server.getsockname()[1]};transport=tcp"
        found = by_stage(reach(uri, listen_s=0.3))
        thread.join()
    assert found["codec"].state is State.FINE
    assert found["sound"].state is State.BAD


def test_a_private_address_for_sound_behind_a_public_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback stands for the public side: what is private is asked of `ipaddress`."""
    from callerside.simulator.doctor import reach as module

    monkeypatch.setattr(module, "_is_private", lambda host: host.startswith("192.168."))
    with telephone(answering("200 OK", body=sdp(9, "192.168.1.5"))) as port:
        found = by_stage(reach(f"sip:100@127.0.0.1:{port}", listen_s=0.1))
    assert found["address"].state is State.BAD
    assert "192.168.1.5" in found["address"].told
    assert "c=IN IP4 192.168.1.5" in found["address"].evidence
    assert "public_host" in found["address"].advice


@pytest.mark.parametrize(
    ("host", "state", "told"),
    [
        ("0.0.0.0", State.BAD, "which is none: it holds the call"),
        ("192.0.2.7", State.BAD, "for examples"),
        ("203.0.113.9", State.BAD, "for examples"),
        ("10.1.2.3", State.DOUBTFUL, "another private network"),
        ("172.17.0.2", State.DOUBTFUL, "another private network"),
    ],
)
def test_an_address_for_sound_that_leads_elsewhere(host: str, state: State, told: str) -> None:
    """And sound that fails names it as the likely cause."""
    with telephone(answering("200 OK", body=sdp(9, host))) as port:
        found = by_stage(reach(f"sip:100@127.0.0.1:{port}", listen_s=0.1))
    assert found["address"].state is state
    assert told in found["address"].told
    assert host in found["address"].told
    assert found["sound"].advice.startswith("likely the cause: it ")
    assert host in found["sound"].advice


@pytest.mark.parametrize(
    ("host", "there", "nowhere", "beside"),
    [
        ("172.17.0.2", "192.168.1.5", False, False),
        ("192.168.1.6", "192.168.1.5", False, True),
        ("10.8.0.1", "10.8.3.1", False, True),
        ("127.0.1.1", "127.0.0.1", False, True),
        ("127.0.0.1", "192.168.1.5", True, False),
    ],
)
def test_which_addresses_are_of_one_network(
    host: str, there: str, nowhere: bool, beside: bool
) -> None:
    from callerside.simulator.doctor import reach as module

    assert bool(module._leads_nowhere(host, there)) is nowhere
    assert module._is_beside(host, there) is beside


@pytest.mark.parametrize("way", ["recvonly", "inactive", "sendonly"])
def test_sound_that_is_to_go_one_way(way: str) -> None:
    with telephone(answering("200 OK", body=sdp(9) + f"a={way}\r\n")) as port:
        found = by_stage(reach(f"sip:100@127.0.0.1:{port}", listen_s=0.1))
    assert found["codec"].state is State.DOUBTFUL
    assert f"with a={way}: it " in found["codec"].told
    assert f"likely the cause: its answer has a={way}" in found["sound"].advice


def test_audio_that_is_refused_is_told_as_what_it_is() -> None:
    with telephone(answering("200 OK", body=sdp(0))) as port:
        found = by_stage(reach(f"sip:100@127.0.0.1:{port}"))
    assert found["codec"].state is State.BAD
    assert "m=audio 0" in found["codec"].told


def test_a_redirect_says_where_to() -> None:
    moved = answering("302 Moved Temporarily", more=("Contact: <sip:200@192.0.2.9>",))
    with telephone(moved) as port:
        found = by_stage(reach(f"sip:100@127.0.0.1:{port}"))
    assert "not followed: it names <sip:200@192.0.2.9>" in found["answer"].advice


def test_an_account_shows_its_name_and_misses_its_password() -> None:
    invites: list[str] = []

    def answer(request: str) -> list[str]:
        if not request.startswith("INVITE"):
            return answering()(request)
        invites.append(request)
        return [reply(request, "407 Who", "", 'Proxy-Authenticate: Digest realm="pbx", nonce="n"')]

    with telephone(answer) as port:
        account = SipAccount(user="2001", display_name="Front Desk")
        found = by_stage(reach(f"sip:100@127.0.0.1:{port}", account))
    assert 'From: "Front Desk" <sip:2001@' in invites[0]
    assert len(invites) == 1, "a digest of no password is none"
    assert "set CALLERSIDE_CALLER_PASSWORD" in found["answer"].advice


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        ("180 Ringing", "it rings, and nobody answers"),
        ("183 Session Progress", "it rings, and nobody answers"),
        ("100 Trying", "the next hop has it, and nobody behind it has taken it: nothing rings"),
    ],
)
def test_a_telephone_that_says_nothing_is_given_up(
    monkeypatch: pytest.MonkeyPatch, status: str, advice: str
) -> None:
    from callerside.simulator.doctor import reach as module

    monkeypatch.setattr(module, "ASK_S", 0.2)
    monkeypatch.setattr(module, "RING_S", 0.5)
    cancelled: list[str] = []

    def answer(request: str) -> list[str]:
        cancelled.extend([request] if request.startswith("CANCEL") else [])
        return [reply(request, status)] if request.startswith("INVITE") else []

    with telephone(answer) as port:
        found = by_stage(reach(f"sip:100@127.0.0.1:{port}"))
    assert found["transport"].state is State.DOUBTFUL
    assert found["answer"].state is State.BAD
    assert advice in found["answer"].advice
    assert cancelled
