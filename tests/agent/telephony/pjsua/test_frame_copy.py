"""Both ways of copying a frame say the same, and the fast one is used only where it works."""

import pjsua2
import pytest

from callerside.agent.telephony.pjsua import frame_copy
from callerside.agent.telephony.pjsua.frame_copy import (
    PointerCopier,
    PortableCopier,
    fastest_copier,
)

FRAME = bytes(range(256)) * 2


@pytest.mark.parametrize("copier", [PortableCopier, PointerCopier])
def test_what_is_written_can_be_read(copier: type[PointerCopier]) -> None:
    frame = pjsua2.MediaFrame()
    copier(len(FRAME)).write(frame, FRAME)
    assert frame.size == len(FRAME)
    assert frame.type == pjsua2.PJMEDIA_FRAME_TYPE_AUDIO
    assert copier(len(FRAME)).read(frame) == FRAME == bytes(frame.buf)


@pytest.mark.parametrize("copier", [PortableCopier, PointerCopier])
def test_a_frame_without_audio_is_empty(copier: type[PointerCopier]) -> None:
    assert copier(len(FRAME)).read(pjsua2.MediaFrame()) == b""


@pytest.mark.parametrize("length", [0, len(FRAME) - 1, len(FRAME) + 1])
def test_the_pointer_never_reaches_beyond_its_frame(length: int) -> None:
    with pytest.raises(ValueError, match="a frame is 512 bytes"):
        PointerCopier(len(FRAME)).write(pjsua2.MediaFrame(), bytes(length))


def test_the_fast_way_works_with_these_bindings() -> None:
    assert isinstance(fastest_copier(len(FRAME)), PointerCopier)


def test_another_layout_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_copy, "_words", lambda _: (0, 0, 0))
    assert isinstance(fastest_copier(len(FRAME)), PortableCopier)


def test_a_copier_that_lies_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PointerCopier, "read", lambda *_: b"something else")
    assert isinstance(fastest_copier(len(FRAME)), PortableCopier)
