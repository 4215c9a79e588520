"""INVITEs that are longer than most, and INVITEs that are alike but for who sends them."""

from collections.abc import Iterator

import pytest
from raw_sip import RawPhone
from sip_rig import Phone, answer_at_once, open_phone, wait_until

from callerside.agent.telephony.engine import PROFILES, EngineName

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module", params=tuple(PROFILES))
def engine(request: pytest.FixtureRequest) -> EngineName:
    name: EngineName = request.param
    return name


@pytest.fixture(scope="module")
def agent(engine: EngineName) -> Iterator[Phone]:
    with open_phone("agent", reaction=answer_at_once, engine=engine) as phone:
        yield phone


@pytest.mark.parametrize("size", [1_500, 3_900, 4_100, 6_000, 20_000, 60_000])
def test_a_long_invite_over_udp_is_read_whole_or_refused(agent: Phone, size: int) -> None:
    """RFC 3261 §18.1.1 and §18.3: never as if it said something else, here: no offer."""
    with RawPhone(agent.port) as caller:
        offer = caller.sdp(codecs="8")
        filler = size - len(offer) - len("a=\r\n")
        answer = caller.call(f"{offer}a={'x' * filler}\r\n")
        if answer.status != 200:
            assert answer.status in (400, 413, 488, 513)
            return
        assert f"m=audio {answer.audio_port} RTP/AVP 8\r\n" in answer.message
        assert caller.request("BYE") == 200
    wait_until(lambda: agent.facts().active_calls == 0, "the place to be free")


@pytest.mark.parametrize("size", [100, 3_000, 5_000, 20_000])
def test_an_invite_with_a_long_header_is_read_whole_or_not_at_all(agent: Phone, size: int) -> None:
    """Cut within its headers it has no description, nor the length of one."""
    with RawPhone(agent.port) as caller:
        caller.send("INVITE", caller.sdp(codecs="8"), {"X-Long": "x" * size})
        answer = caller.final()
        caller.send("ACK", cseq=1)
        if answer.status != 200:
            assert answer.status in (400, 413, 513)
            return
        assert f"m=audio {answer.audio_port} RTP/AVP 8\r\n" in answer.message
        assert caller.request("BYE") == 200
    wait_until(lambda: agent.facts().active_calls == 0, "the place to be free")


def test_an_invite_that_does_not_say_its_length_is_one(agent: Phone) -> None:
    """Over UDP it ends where its packet ends (RFC 3261 §18.3)."""
    with RawPhone(agent.port) as caller:
        send, caller.send_bytes = caller.send_bytes, lambda _: None  # type: ignore[method-assign,assignment]
        caller.send("INVITE", caller.sdp(codecs="8"))
        caller.send_bytes = send  # type: ignore[method-assign]
        length = b"Content-Length: " + str(len(caller.sdp(codecs="8"))).encode() + b"\r\n"
        assert length in caller.last
        caller.last = caller.last.replace(length, b"")
        caller.send_bytes(caller.last)
        answer = caller.final()
        assert answer.status == 200
        caller.send("ACK", cseq=1)
        assert caller.request("BYE") == 200
    wait_until(lambda: agent.facts().active_calls == 0, "the place to be free")


def test_two_callers_with_one_branch_are_told_apart(agent: Phone, engine: EngineName) -> None:
    """RFC 3261 §17.2.3: by the sent-by, too. PJSIP looks at the branch alone, and says so."""
    with RawPhone(agent.port) as one, RawPhone(agent.port) as other:
        told = []
        for caller in (one, other):
            caller.send("INVITE", caller.sdp(), branch="the-same")
            told.append(caller.final().status)
            caller.send("ACK", cseq=1)
        assert told == ([200, 500] if engine == "pjsua2" else [200, 200])
        for caller, status in zip((one, other), told, strict=True):
            assert status != 200 or caller.request("BYE") == 200
    wait_until(lambda: agent.facts().active_calls == 0, "the places to be free")


def test_a_second_call_of_the_same_id_is_none(agent: Phone) -> None:
    """Whoever makes them one behind the other leaves nothing open."""
    wait_until(lambda: agent.facts().active_calls == 0, "the place to be free")
    before = agent.facts().open_files
    for _ in range(4):
        with RawPhone(agent.port) as caller:
            assert caller.call(caller.sdp()).status == 200
            tag = caller._to_tag
            for cseq in (2, 3, 4):
                caller._to_tag = ""
                caller.send("INVITE", caller.sdp(), cseq=cseq)
                assert caller.final().status == 482
                caller.acknowledge()
            caller._to_tag, caller._cseq = tag, 5
            assert caller.request("OPTIONS") == 200
            assert caller.request("BYE") == 200
        wait_until(lambda: agent.facts().active_calls == 0, "the place to be free")
    wait_until(lambda: agent.facts().open_files <= before, "what was opened to be closed")


@pytest.mark.parametrize(
    ("host", "port"),
    [("127.0.0.1", 65_536), ("127.0.0.1", 99_999_999_999_999), ("224.0.0.1", 4_000)],
)
def test_audio_for_no_port_or_for_many_hosts_is_refused(agent: Phone, host: str, port: int) -> None:
    with RawPhone(agent.port) as caller:
        offer = caller.sdp(port=port).replace("c=IN IP4 127.0.0.1", f"c=IN IP4 {host}")
        assert caller.call(offer).status == 488
    wait_until(lambda: agent.facts().active_calls == 0, "the place to be free")
