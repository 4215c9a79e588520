"""The codec that a call will have is read from its INVITE."""

import re

import pytest

from callerside.agent.telephony.invite import (
    described,
    expected_codec,
    has_long_address,
    held_somewhere,
    is_description,
    names_a_host,
    quiet,
    unmet,
    with_one_audio,
)

OURS = ("PCMU", "PCMA", "G722")
OPUS = "a=rtpmap:96 opus/48000/2"


def invite(*media: str) -> str:
    lines = ["INVITE sip:100@h SIP/2.0", "From: <sip:a@b>", "", "v=0", "s=-", "t=0 0", *media, ""]
    return "\r\n".join(lines)


@pytest.mark.parametrize(
    ("media", "codec"),
    [
        (["m=audio 4000 RTP/AVP 0 8 9"], "PCMU"),
        (["m=audio 4000 RTP/AVP 9 0 101", "a=rtpmap:101 telephone-event/8000"], "G722"),
        (["m=audio 4000 RTP/AVP 8"], "PCMA"),
        (["m=audio 4000/2 RTP/AVPF 8 0"], "PCMA"),
        (["m=audio 4000 RTP/AVP 96 97 8", OPUS, "a=rtpmap:97 g722/8000"], "G722"),
        (["m=audio 4000 RTP/AVP 3 18 0"], "PCMU"),
        (["m=video 4000 RTP/AVP 9", "m=audio 4002 RTP/AVP 8"], "PCMA"),
        (["m=audio 0 RTP/AVP 9", "m=audio 4002 RTP/AVP 8"], "PCMA"),
        (["m=audio 4000 RTP/SAVP 9", "m=audio 4002 RTP/AVP 8"], "PCMA"),
        (["m=audio 4000 RTP/AVP 96", OPUS, "m=audio 4002 RTP/AVP 8"], "PCMA"),
        (["m=audio 4000 RTP/AVP 96", "a=rtpmap:96 PCMA/8000", "m=audio 2 RTP/AVP 96"], "PCMA"),
        (["m=audio 4000 RTP/AVP 96", OPUS, "m=x 4 y 96", "a=rtpmap:96 G722/8000"], "PCMU"),
        (["m=audio 4000 RTP/AVP 3"], "PCMU"),
        (["m=audio nonsense"], "PCMU"),
        (["m=audio 4000 RTP/AVP " + " " * 3_000 + "x 8"], "PCMA"),
        ([], "PCMU"),
    ],
)
def test_the_first_of_the_callers_codecs_that_we_know(media: list[str], codec: str) -> None:
    assert expected_codec(invite(*media), OURS) == codec


def test_only_codecs_that_we_offer_count() -> None:
    assert expected_codec(invite("m=audio 4000 RTP/AVP 0 9 8"), ("G722",)) == "G722"


def test_without_an_offer_ours_decides() -> None:
    assert expected_codec(invite(), ("G722", "PCMU")) == "G722"


@pytest.mark.parametrize(
    ("media", "ports"),
    [
        (["m=audio 4000 RTP/AVP 0"], [4000]),
        (["m=audio 4000/2 RTP/AVP 96", OPUS, "m=audio 4002 RTP/AVP 8 0"], [0, 4002]),
        (["m=video 4000 RTP/AVP 0", "m=audio 4002 RTP/AVP 0"], [4000, 4002]),
        (["m=audio 4000 RTP/AVP 0", "m=audio 4002 RTP/AVP 0", "m=video 9 x 0"], [4000, 0, 9]),
        (["m=audio 4000 RTP/AVP 0", "a=recvonly", "m=audio 4002 RTP/AVP 0"], [0, 4002]),
        (["a=inactive", "m=audio 4000 RTP/AVP 0", "m=audio 2 RTP/AVP 0", "a=sendrecv"], [0, 2]),
        (["c=IN IP4 0.0.0.0", "m=audio 4000 RTP/AVP 0", "m=audio 4002 RTP/AVP 0"], [4000, 0]),
        (["m=audio 4000 RTP/AVP 96", "a=rtpmap:96 PCMU/16000", "m=audio 2 RTP/AVP 0"], [0, 2]),
        (["m=audio 4000 RTP/SAVP 0", "m=audio 4002 RTP/AVP 96", OPUS], [0, 0]),
        ([], []),
    ],
)
def test_all_audio_but_the_line_of_the_call_is_refused(media: list[str], ports: list[int]) -> None:
    offer = invite(*media).partition("\n\r\n")[2]
    shown = with_one_audio(offer, OURS)
    assert [int(port) for port in re.findall(r"^m=\S+ (\d+)", shown, re.MULTILINE)] == ports
    assert len(shown.splitlines()) == len(offer.splitlines()), "nothing else is touched"


@pytest.mark.parametrize("line", ["c=IN IP4 {}", "a=rtcp:40001 IN IP4 {}", "A=RTCP:1 IN IP6 {}/1"])
def test_an_address_longer_than_any_is_known(line: str) -> None:
    sdp = f"v=0\r\n{line}\r\nt=0 0\r\n"
    assert has_long_address(sdp.format("a" * 254))
    assert not has_long_address(sdp.format("a" * 100))
    assert not has_long_address(f"v=0\r\na=fmtp:96 sprop-parameter-sets={'a' * 300}\r\n")


@pytest.mark.parametrize("line", ["c=IN IP4 {}", "c=IN IP4 {}/127", "a=rtcp:40001 IN IP4 {}"])
@pytest.mark.parametrize("newline", ["\r\n", "\n"])
def test_media_go_to_addresses_and_to_no_names(line: str, newline: str) -> None:
    """Names are looked up, in the time of all calls, by the resolver of whoever made them."""

    def named(host: str) -> bool:
        return names_a_host(newline.join(("v=0", line.format(host), "t=0 0", "")))

    for host in ("192.0.2.7", "0.0.0.0"):
        assert not named(host)
    for host in ("a.example", "localhost", "999.1.1.1", "1", "192.0.2.7.example", "2001:db8::x"):
        assert named(host)


def test_what_names_no_address_names_no_host() -> None:
    sdp = (
        "v=0\r\nc=IN IP6 2001:db8::7\r\na=rtcp:4001\r\na=rtcp-mux\r\na=tool:c=IN IP4 a.example\r\n"
    )
    assert not names_a_host(sdp)


@pytest.mark.parametrize(
    ("host", "port", "status"),
    [
        ("192.0.2.1", "4000", 0),
        ("192.0.2.1", "65535", 0),
        ("192.0.2.1", "65536", 488),
        ("192.0.2.1", "99999999999999", 488),
        ("192.0.2.1", "9" * 5_000, 488),
        ("224.0.0.1", "4000", 488),
        ("239.255.255.255/16", "4000", 488),
        ("255.255.255.255", "4000", 488),
        ("0.0.0.0", "4000", 0),
    ],
)
def test_audio_goes_to_one_port_of_one_host(host: str, port: str, status: int) -> None:
    """Not to a group of them, at whose cost anybody could have us send."""
    offer = (
        f"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP 0\r\n"
    )
    assert unmet(offer, OURS) == status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("2001:db8::1", 0),
        ("::1", 0),
        ("::", 0),
        ("ff02::1", 488),
        ("fe80::1", 488),
        ("fe80::1%eth0", 488),
        ("2001:db8::1%a.example", 488),
        ("::ffff:192.0.2.1", 488),
        ("192.0.2.1", 488),
        ("a.example", 488),
    ],
)
def test_audio_goes_to_one_host_of_ipv6(host: str, status: int) -> None:
    """That is to be reached by it: without a zone, and not by IPv4."""
    offer = (
        f"v=0\r\no=- 1 1 IN IP6 2001:db8::1\r\ns=-\r\nc=IN IP6 {host}\r\nt=0 0\r\n"
        "m=audio 4000 RTP/AVP 0\r\n"
    )
    assert unmet(offer, OURS, "IP6") == status
    assert unmet(offer, OURS) == 488
    assert unmet(offer.replace("IP6", "IP4"), OURS, "IP6") == 488


def test_an_answer_becomes_quiet_and_stays_as_long() -> None:
    said = {"sendrecv": "recvonly", "sendonly": "inactive", "recvonly": "recvonly"}
    for direction, shown in {**said, "inactive": "inactive"}.items():
        answer = f"v=0\r\nm=audio 9 RTP/AVP 0\r\na={direction}\r\na=ptime:20\r\n"
        assert quiet(answer) == answer.replace(direction, shown)


ORIGIN = "v=0\r\no=a 1 1 IN IP4 192.0.2.7\r\ns=-\r\n"
SOMEWHERE, NOWHERE = "c=IN IP4 192.0.2.7\r\n", "c=IN IP4 0.0.0.0\r\n"
LINE = "t=0 0\r\nm=audio 9 RTP/AVP 0\r\n"


@pytest.mark.parametrize(
    ("offer", "shown"),
    [
        (NOWHERE + LINE, SOMEWHERE + LINE + "a=sendonly\r\n"),
        (NOWHERE + LINE + "a=sendrecv\r\n", SOMEWHERE + LINE + "a=sendonly\r\n"),
        (NOWHERE + LINE + "a=inactive\r\n", SOMEWHERE + LINE + "a=inactive\r\n"),
        (SOMEWHERE + LINE + NOWHERE, SOMEWHERE + LINE + SOMEWHERE + "a=sendonly\r\n"),
        (NOWHERE + LINE + SOMEWHERE, SOMEWHERE + LINE + SOMEWHERE),
        (SOMEWHERE + LINE + "a=sendonly\r\n", SOMEWHERE + LINE + "a=sendonly\r\n"),
    ],
)
def test_who_names_no_address_is_shown_to_hold(offer: str, shown: str) -> None:
    assert held_somewhere(ORIGIN + offer) == ORIGIN + shown


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (ORIGIN + SOMEWHERE + LINE, True),
        (ORIGIN.replace("IP4", "IP6") + LINE, True),
        (ORIGIN.replace("IP4", "IP\4") + SOMEWHERE + LINE, False),
        (ORIGIN + "c=IN IP\4 192.0.2.7\r\n" + LINE, False),
        ("v=0\r\na=x\r\n", False),
        ("this is no SDP at all\r\n", False),
    ],
)
def test_what_is_no_description_is_known(text: str, *, is_one: bool) -> None:
    assert is_description(text) is is_one


@pytest.mark.parametrize(
    ("line", "codec"),
    [
        ("a=rtpmap:96 opus/48000/2", "OPUS"),
        ("a=rtpmap:96 OPUS/48000/2 ", "OPUS"),
        ("a=rtpmap:96 opus/48000", "PCMU"),
        ("a=rtpmap:96 opus/8000", "PCMU"),
        ("a=rtpmap:96 PCMA/48000/2", "PCMU"),
        ("a=rtpmap:96 PCMA/8000/2", "PCMU"),
        ("a=rtpmap:96 PCMA/8000/1", "PCMA"),
    ],
)
def test_a_codec_is_known_by_its_clock_and_channels_too(line: str, codec: str) -> None:
    """RFC 7587 §4.1 knows Opus by two channels at 48 kHz alone; ours have one at 8 kHz."""
    offer = invite("m=audio 4000 RTP/AVP 96 0", line)
    assert expected_codec(offer, (*OURS, "OPUS")) == codec


@pytest.mark.parametrize(
    ("parameters", "most"),
    [
        ("useinbandfec=1;maxaveragebitrate=20000;stereo=0", 20_000),
        ("useinbandfec=1; maxaveragebitrate=20000", 20_000),
        ("maxaveragebitrate=6000", 6_000),
        ("stereo=1", 0),
        ("maxaveragebitrate=many", 0),
        ("maxaveragebitrate=12345678901", 0),
        ("sprop-maxaveragebitrate=20000", 0),
    ],
)
def test_what_the_other_side_wants_to_be_sent_at_most_is_read(parameters: str, most: int) -> None:
    media = ["c=IN IP4 h", "m=audio 4000 RTP/AVP 97 96 102 101", OPUS, f"a=fmtp:96 {parameters}"]
    keys = ["a=rtpmap:102 telephone-event/48000", "a=rtpmap:101 telephone-event/8000"]
    other = ["a=rtpmap:97 iLBC/8000", "a=fmtp:97 maxaveragebitrate=1"]
    found = described(invite(*media, *keys, *other), (*OURS, "OPUS"))
    assert found is not None
    assert (found.codec, found.payload_type, found.most_bits_per_s) == ("OPUS", 96, most)
    assert found.keys_type == 101, "which are those of 8 kHz"
