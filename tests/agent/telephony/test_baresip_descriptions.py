"""What baresip is given to read: as long as what came, and without what it would refuse."""

import pytest

from callerside.agent.telephony.baresip.descriptions import readable

PLAIN = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nb=AS:80\r\nt=0 0\r\n"
    "m=audio 40000 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
    "a=rtpmap:96 opus/48000/2\r\na=fmtp:101 0-16\r\na=rtcp:40001\r\na=rtcp-mux\r\n"
    "a=rtcp:40001 IN IP4 127.0.0.1\r\nb=TIAS:64000\r\nb=X-YZ:128\r\na=rtcp-fb:* nack\r\n"
)


def test_what_is_right_stays_as_it_is() -> None:
    assert readable(PLAIN) == PLAIN
    assert readable(PLAIN.replace("\r\n", "\n")) == PLAIN.replace("\r\n", "\n")
    assert readable("") == ""


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("a=rtpmap:0 PCMU/-8000", "a=-tpmap:0 PCMU/-8000"),
        ("a=rtpmap:0", "a=-tpmap:0"),
        ("a=rtpmap:", "a=-tpmap:"),
        ("a=rtpmap", "a=-tpmap"),
        ("a=fmtp:0", "a=-mtp:0"),
        ("a=fmtp", "a=-mtp"),
        ("a=rtcp:x", "a=-tcp:x"),
        ("a=rtcp", "a=-tcp"),
        ("b=AS:-1", "a=-S:-1"),
        ("b=x", "a=-"),
        ("b=", "a="),
    ],
)
@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_what_nobody_needs_is_an_attribute_that_nobody_knows(
    line: str, read: str, end: str
) -> None:
    plain = PLAIN.replace("\r\n", end)
    assert readable(f"{plain}{line}{end}a=ptime:20{end}") == f"{plain}{read}{end}a=ptime:20{end}"


def test_a_last_line_gets_its_end() -> None:
    came = PLAIN.rstrip()
    assert readable(came) == f"{came[: came.rindex('a=')].rstrip()}\n{came[came.rindex('a=') :]}\n"
    assert len(readable(came)) == len(came)


def test_of_a_description_without_carriage_returns_the_name_gives_a_character() -> None:
    came = PLAIN.replace("\r\n", "\n").rstrip()
    assert readable(came) == came.replace("s=-", "s=") + "\n"
