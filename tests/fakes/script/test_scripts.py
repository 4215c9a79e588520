import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from callerside.audio import AudioFormat, silence, tone
from callerside.audio import to_samples as samples_of
from callerside.audio_files import AudioFileError, write_wav
from callerside.fakes.script.loader import ScriptError, load_script, script_of
from callerside.fakes.script.model import Script
from callerside.fakes.script.prepare import prepare
from callerside.fakes.script.reply import Reply
from callerside.fakes.session.faults import TriggerPoint, parse_trigger_point
from callerside.speech.voices import VoiceError


def written(folder: Path, text: str) -> Path:
    path = folder / "script.yaml"
    path.write_text(text)
    return path


def test_the_empty_script_is_a_script(tmp_path: Path) -> None:
    assert load_script(written(tmp_path, "# nothing\n")) == Script()


def test_a_script_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "sounds").mkdir()
    (tmp_path / "sounds" / "laugh.wav").touch()
    path = written(
        tmp_path,
        """
greeting: {say: "Hello, this is the Hotel Bellevue.", voice: en-gb, speed_wpm: 150}
replies:
  - say: We open at nine.
    think_ms: 300
    heard: What time do you open?
  - function_call: {name: book_table, arguments: {people: 4}}
  - wav: sounds/laugh.wav
    transcript: (laughs)
timing: {think_ms: 400, pace: 8}
vad: silero
seed: 7
faults:
  - {fault: stall, at: reply 1 + 800ms, for_ms: 3000}
""",
    )
    script = load_script(path)
    assert script.vad.engine == "silero"
    assert script.replies[2].wav == tmp_path / "sounds" / "laugh.wav"
    assert script.faults[0].point == TriggerPoint("reply", 1, 800)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("greeting: {sya: Hello.}\n", '1:12: unknown key "sya"; did you mean "say"?'),
        ("replies:\n  - say: One.\n  - {}\n", "3:5: reply 2: a reply has exactly one of say, wav"),
        ("replies:\n  - {say: One., wav: x.wav}\n", "here is say and wav"),
        ("timing:\n  pace: fast\n", "2:9: pace: expected a number"),
        ("timing:\n  think_ms: -1\n", "greater than or equal to 0"),
        ("vad: ears\n", '1:6: vad: "ears" (expected energy, silero)'),
        ("seed: one\n", "1:7: seed: expected a whole number"),
        ("faults:\n  - {at: turn 1}\n", "2:5: fault is missing (expected error, fail"),
        (
            "faults:\n  - {fault: nap, at: turn 1}\n",
            '2:5: fault: "nap" (expected error, ',
        ),
        ("faults:\n  - fault: drop\n    at: noon\n", "3:9: at: 'noon' is no point"),
        ("replies: [\n", "not YAML"),
        ("[" * 3000, "1:1: something in it is within itself"),
        ("replies:\n  - say: One.\n  - wav: x.wav\n", "3:10: wav: "),
        ("greeting:\n  recording:\n    file: y.realtime\n", "3:11: file: "),
        ("default_reply: {wav: x.wav}\n", "x.wav: no such file"),
        ("- say: Hello.\n", "1:1: the file: expected a mapping"),
    ],
)
def test_errors_say_where_and_what(tmp_path: Path, text: str, expected: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ScriptError) as error:
        load_script(path)
    assert str(error.value).startswith(f"{path}:")
    assert expected in str(error.value)


def test_a_key_that_stands_twice_is_told_and_not_dropped(tmp_path: Path) -> None:
    path = written(tmp_path, "replies: [{say: a}]\nseed: 1\nreplies: [{say: b}]\n")
    with pytest.raises(ScriptError, match=r"script\.yaml:3:1: replies stands here and in line 1"):
        load_script(path)


def test_every_error_is_told_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "sede: 1\nvad: ears\n")
    with pytest.raises(ScriptError) as error:
        load_script(path)
    assert len(str(error.value).splitlines()) == 2


def test_a_script_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match="cannot be read"):
        load_script(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ScriptError, match=r"binary\.yaml:1:1: not a text file"):
        load_script(tmp_path / "binary.yaml")
    (tmp_path / "huge.yaml").write_text("# " + "x" * 2**20)
    with pytest.raises(ScriptError, match="larger than 1000000 bytes"):
        load_script(tmp_path / "huge.yaml")


@pytest.mark.parametrize(
    "reply", [{"wav": "x.wav", "voice": "de"}, {"say": ""}, {"say": "Hello.", "think_ms": "soon"}]
)
def test_a_reply_that_makes_no_sense(reply: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Reply.model_validate(reply)


def test_the_schema_describes_every_field() -> None:
    schema = Script.model_json_schema()
    for definition in (schema, *schema["$defs"].values()):
        for name, field in definition.get("properties", {}).items():
            described = "description" in field or "const" in field or "$ref" in json.dumps(field)
            assert described, f"{definition['title']}.{name}"


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("connect", TriggerPoint("connect")),
        ("greeting + 200ms", TriggerPoint("greeting", 0, 200)),
        ("turn 2", TriggerPoint("turn", 2)),
        ("reply 1 + 800ms", TriggerPoint("reply", 1, 800)),
        ("reply 12+1.5s", TriggerPoint("reply", 12, 1500)),
        ("  event 12 ", TriggerPoint("event", 12)),
    ],
)
def test_points(text: str, point: TriggerPoint) -> None:
    assert parse_trigger_point(text) == point
    assert parse_trigger_point(str(point)) == point


def test_lines_are_ready_to_be_sent(tmp_path: Path) -> None:
    sound = tone(440, 500, 16_000)
    write_wav(tmp_path / "beep.wav", samples_of(sound), 16_000)
    script = Script.model_validate({"replies": [{"wav": "beep.wav"}, {"say": "Nine."}]})
    prepared = prepare(script, tmp_path)
    (beep,) = prepared.reply(1).items
    assert len(beep.wire(AudioFormat())) == 500 * 48
    assert len(beep.wire(AudioFormat("pcmu"))) == 500 * 8
    assert beep.transcript == ""
    assert prepared.reply(2).transcript == "Nine."
    assert prepared.reply(3) is prepared.default


def test_what_cannot_be_performed_is_found_before_the_call(tmp_path: Path) -> None:
    with pytest.raises(AudioFileError, match=r"none\.wav"):
        prepare(Script.model_validate({"replies": [{"wav": "none.wav"}]}), tmp_path)
    with pytest.raises(VoiceError, match="no voice 'martian'"):
        prepare(Script.model_validate({"replies": [{"say": "Hi.", "voice": "martian"}]}))
    write_wav(tmp_path / "empty.wav", samples_of(silence(0, 8000)), 8000)
    with pytest.raises(AudioFileError, match="holds no sound"):
        prepare(Script.model_validate({"replies": [{"wav": "empty.wav"}]}), tmp_path)


def test_a_script_that_python_says_is_told_its_mistakes_as_a_file_is() -> None:
    assert script_of({"replies": [{"say": "At nine."}]}).replies[0].say == "At nine."
    with pytest.raises(ScriptError) as told:
        script_of({"replys": [], "replies": [{"sya": "At nine."}, {"say": 9}]})
    lines = str(told.value).splitlines()
    assert [line.partition("(")[0].strip() for line in lines] == [
        'say: expected text; put quotes around it: "9"',
        'unknown key "replys"; did you mean "replies"?',
        'unknown key "sya"; did you mean "say"?',
    ]
