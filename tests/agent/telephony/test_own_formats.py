"""Our descriptions are in our order, and a number means what it has meant before in the call."""

import pytest

from callerside.agent.telephony.baresip.own_formats import OwnFormats

CODECS = ("PCMU", "PCMA", "G722", "OPUS")
OPUS, KEYS, STATIC = "opus/48000/2", "telephone-event/8000", {"0": "PCMU", "8": "PCMA", "9": "G722"}


def description(formats: str, *, profile: str = "RTP/AVP", **named: str) -> str:
    """Of one line of audio; `named` are what numbers mean, as `n96="opus/48000/2"`."""
    names = {number.removeprefix("n"): name for number, name in named.items()}
    lines = [f"a=rtpmap:{number} {name}" for number, name in names.items()]
    lines += [f"a=fmtp:{number} 0-15" for number, name in names.items() if name == KEYS]
    head = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0"]
    audio = [f"m=audio 4000 {profile} {formats}", *lines, "a=sendrecv"]
    return "\r\n".join([*head, *audio, ""])


@pytest.mark.parametrize("profile", ["RTP/AVP", "RTP/SAVP"])
def test_ours_are_in_our_order_and_keys_come_last(profile: str) -> None:
    said = OwnFormats(CODECS).written(
        description("101 9 102 8 0 18", profile=profile, n102=OPUS, n101=KEYS)
    )
    assert said == description("0 8 9 102 18 101", profile=profile, n102=OPUS, n101=KEYS)


def test_static_formats_need_no_names() -> None:
    assert "RTP/AVP 0 8 9\r\n" in OwnFormats(CODECS).written(description("9 8 0"))


def test_a_codec_that_was_left_out_has_its_number_again() -> None:
    formats = OwnFormats(CODECS)
    formats.note(description("111 0 101", n111=OPUS, n101=KEYS))
    formats.note(description("0 101", n101=KEYS))
    said = formats.written(description("0 8 9 102 101", n102=OPUS, n101=KEYS))
    assert said == description("0 8 9 111 101", n111=OPUS, n101=KEYS)


def test_the_number_of_keys_does_not_become_one_of_a_codec() -> None:
    formats = OwnFormats(CODECS)
    formats.note(description("0 102", n102=KEYS))
    formats.note(description("0 101", n101=KEYS))
    said = formats.written(description("0 8 9 102 101", n102=OPUS, n101=KEYS))
    assert said == description("0 8 9 96 101", n96=OPUS, n101=KEYS)
    again = formats.written(description("0 97 9 8 98", n97=OPUS, n98=KEYS))
    assert again == description("0 8 9 96 101", n96=OPUS, n101=KEYS)


def test_two_that_change_their_numbers_do_not_meet() -> None:
    formats = OwnFormats(CODECS)
    formats.note(description("97 96", n97=OPUS, n96=KEYS))
    said = formats.written(description("96 97", n96=OPUS, n97=KEYS))
    assert said == description("97 96", n97=OPUS, n96=KEYS)


def test_what_the_other_side_calls_otherwise_is_called_so() -> None:
    """And of two numbers of one format it is the first, which we take."""
    formats = OwnFormats(CODECS)
    formats.written(description("96 101", n96=OPUS, n101=KEYS))
    theirs = description("120 121 101", n120="OPUS/48000/2", n121=OPUS, n101=KEYS)
    formats.note(theirs)
    assert formats.written(description("120 101", n120=OPUS, n101=KEYS)) == description(
        "120 101", n120=OPUS, n101=KEYS
    )


def test_other_media_have_numbers_of_their_own() -> None:
    formats = OwnFormats(CODECS)
    video = "m=video 4002 RTP/AVP 96 97\r\na=rtpmap:96 H264/90000\r\na=rtpmap:97 VP8/90000\r\n"
    formats.note(description("0 101", n101=KEYS) + video)
    ours = description("0 96 101", n96=OPUS, n101=KEYS) + video
    assert formats.written(ours) == ours


def test_a_call_may_use_up_all_numbers() -> None:
    formats = OwnFormats(CODECS)
    for number in range(96, 128):
        formats.note(description(f"0 {number}", **{f"n{number}": f"x{number}/8000"}))
    ours = description("0 102 101", n102=OPUS, n101=KEYS)
    assert formats.written(ours) == ours
