"""What callers press and say is kept as the settings ask for it, and nowhere otherwise."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from call_rig import NO_GREETING, CallRig

from callerside.agent.call.events import SendEvent
from callerside.agent.config.settings import CallSettings
from callerside.agent.observe.masking import KEY, MASKED, Masking
from callerside.agent.telephony.interface import DtmfReceived
from callerside.marks import Mark

CARD = r"\b(?:\d[ -]?){13,19}\b"
NUMBER = "4111 1111 1111 1111"


def kept(masking: Masking, name: str, **fields: Any) -> Mapping[str, Any]:
    got: list[Mark] = []
    mark = Mark(at_ns=0, call="c", source="agent", name=name, fields=fields)
    masking.sink(got.append)(mark)
    return got[0].fields


def test_without_settings_all_is_kept_as_it_is() -> None:
    privacy = CallSettings().privacy
    masking = Masking(privacy.mask, keys=privacy.mask_keys)
    assert masking.does_nothing
    assert kept(masking, "dtmf_received", digit="4") == {"digit": "4"}
    event = {"type": "response.done", "text": NUMBER}
    assert masking.event(event) is event


def test_patterns_are_masked_wherever_words_are() -> None:
    masking = Masking([CARD])
    text = f"My card is {NUMBER}, thanks"
    assert kept(masking, "user_transcript", text=text) == {"text": f"My card is {MASKED}, thanks"}
    arguments = json.dumps({"card": NUMBER, "nights": 2})
    assert NUMBER not in str(kept(masking, "tool_called", arguments=arguments))
    deep = {"item": {"content": [{"type": "input_text", "text": text}, {"transcript": text}]}}
    assert NUMBER not in str(masking.event(deep))
    ids = {"call_id": "4111111111111111", "type": "4111111111111111"}
    assert masking.event(ids) == ids


def test_pieces_of_a_text_are_left_out_and_sound_is_kept() -> None:
    masking = Masking([CARD])
    piece = {"type": "response.output_audio_transcript.delta", "delta": "4111 11"}
    assert masking.event(piece)["delta"] == ""
    sound = {"type": "response.output_audio.delta", "delta": bytes(4)}
    assert masking.event(sound) == sound


def test_keys_are_masked_in_marks_and_in_what_the_model_is_told_of_them() -> None:
    masking = Masking(keys=True)
    assert kept(masking, "dtmf_received", digit="4", method="info")["digit"] == KEY
    rig = CallRig(NO_GREETING).listening()
    rig.effects.clear()
    for digit in "41#":
        rig.tell(DtmfReceived(digit=digit, method="rfc4733"))
    sent = [one.event for one in rig.effects if isinstance(one, SendEvent)]
    assert any("4 1 #" in str(event) for event in sent), "the model gets them"
    written = [str(masking.event(event)) for event in sent]
    assert not any("4 1 #" in text for text in written)
    assert any("I pressed x x x on" in text for text in written)


def test_what_is_no_pattern_is_refused() -> None:
    with pytest.raises(ValueError, match="is no regular expression"):
        CallSettings.model_validate({"privacy": {"mask": ["("]}})
