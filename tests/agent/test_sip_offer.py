"""The codec that a call will have is read from its INVITE."""

import pytest

from agent.sip.offer import expected_codec

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
        (["m=audio 4000/2 RTP/SAVP 8 0"], "PCMA"),
        (["m=audio 4000 RTP/AVP 96 97 8", OPUS, "a=rtpmap:97 g722/8000"], "G722"),
        (["m=audio 4000 RTP/AVP 3 18 0"], "PCMU"),
        (["m=video 4000 RTP/AVP 9", "m=audio 4002 RTP/AVP 8"], "PCMA"),
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
