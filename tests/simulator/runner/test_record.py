"""What `callerside record` refuses, and how it writes a scenario's file."""

from pathlib import Path

import pytest

from callerside.fakes.recording.format import Entry, Header, Recording, write_recording
from callerside.simulator.cli.main import main
from callerside.simulator.runner import record
from callerside.simulator.runner.record import replace_section
from callerside.simulator.scenario import loader

FILE = """\
version: 2
about: It opens.
realtime:   # made up
  replies: [{say: "At nine."}]

# The caller.
steps: [expect: beep, hang_up]
"""
REAL = "wss://api.openai.com/v1/realtime"


def test_one_section_is_replaced_and_all_else_stays() -> None:
    assert replace_section(FILE, "realtime", "realtime: {}\n") == FILE.replace(
        'realtime:   # made up\n  replies: [{say: "At nine."}]\n', "realtime: {}\n"
    )
    without = "about: It opens.\nsteps: [hang_up]"
    assert replace_section(without, "realtime", "realtime: {}\n") == f"{without}\nrealtime: {{}}\n"
    last = "about: It opens.\nrealtime:\n  seed: 1\n"
    assert replace_section(last, "realtime", "realtime: {}\n") == (
        "about: It opens.\nrealtime: {}\n"
    )


@pytest.mark.parametrize(
    ("more", "upstream", "complaint"),
    [
        ("", REAL, f"{REAL}: OPENAI_API_KEY is not set"),
        ("", "https://api.openai.com", "expected a URL of ws:// or wss://"),
        ("callers: 2\n", REAL, "a recording is of one call: expected one caller"),
        ("matrix: {caller.gain_db: [0, 3]}\n", REAL, "a recording is of one call, and this is 2"),
        ("lanes: [virtual]\n", REAL, "expected sip in it"),
    ],
)
def test_what_cannot_be_recorded_is_refused_before_any_call(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: str,
    upstream: str,
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (tmp_path / "opening.yaml").write_text(more + FILE)
    assert main(["record", "opening.yaml", "--upstream", upstream]) == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_key_goes_over_tls_alone_and_nothing_dear_is_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none-of-anybodys")
    (tmp_path / "opening.yaml").write_text(FILE)
    assert main(["record", "opening.yaml", "--upstream", "ws://example.org/v1/realtime"]) == 2
    assert "expected wss://, as it gets a key" in capsys.readouterr().err
    assert main(["record", "opening.yaml", "--upstream", REAL, "--refresh"]) == 2
    assert "opening.realtime: cannot be read" in capsys.readouterr().err
    (tmp_path / "opening-recorded.yaml").write_text("dear\n")
    assert main(["record", "opening.yaml", "--upstream", REAL]) == 2
    assert "opening-recorded.yaml: is there already" in capsys.readouterr().err


@pytest.mark.parametrize(("recorded", "code"), [(True, 1), (False, 2)])
def test_a_call_that_goes_wrong_changes_nothing_beside_the_scenario(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    recorded: bool,
    code: int,
) -> None:
    async def goes_wrong(_planned: object, _options: object, raw: Path, _told: object) -> str:
        if recorded:
            write_recording(raw, Recording(Header()))
        return "no reply came"

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(record, "_play", goes_wrong)
    monkeypatch.setattr(record, "prepare_all", lambda *_what: None)
    (tmp_path / "opening.yaml").write_text(FILE)
    assert main(["record", "opening.yaml", "--upstream", "ws://127.0.0.1:1/v1/realtime"]) == code
    assert "no reply came" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"opening.yaml", "out"}


SAID = Recording(
    Header(source="wss://example.org"),
    (
        Entry(1.0, "client", {"type": "response.create"}),
        Entry(1.1, "server", {"type": "response.created", "response": {"id": "a"}}),
        Entry(
            1.2,
            "server",
            {"type": "response.output_text.done", "response_id": "a", "text": "Hello."},
        ),
    ),
)


async def _goes_well(_planned: object, _options: object, raw: Path, _told: object) -> str:
    write_recording(raw, SAID)
    return ""


def test_what_cannot_be_written_leaves_all_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(record, "_play", _goes_well)
    monkeypatch.setattr(record, "prepare_all", lambda *_what: None)
    (tmp_path / "opening.yaml").write_text(FILE)
    (tmp_path / "opening-recorded.yaml").mkdir()
    write_recording(tmp_path / "opening.realtime", Recording(Header()))
    before = (tmp_path / "opening.realtime").read_bytes()
    again = ["record", "opening.yaml", "--upstream", "ws://127.0.0.1:1/v1/realtime", "--refresh"]
    assert main(again) == 2
    assert "opening-recorded.yaml: cannot be written: it is a folder" in capsys.readouterr().err
    assert (tmp_path / "opening.realtime").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {
        "opening.yaml",
        "opening.realtime",
        "opening-recorded.yaml",
        "out",
    }


SUITE = """\
version: 2
realtime:
  greeting: {say: "Not this.", pauses: [{at_ms: 0, for_ms: 100}], incomplete: {after_ms: 10}}
  default_reply: {say: "Nor this.", think_ms: 5}
  replies: [{say: "Nor that.", unfinished: true}]
  timing: {think_ms: 5, pace: 9}
  path: {delay: 90}
  vad: silero
  dialect: beta
  commits: client
  context_tokens: 99
  seed: 3
  faults: [{fault: drop, at: turn 1}]
  chaos: 0.5
  prompts: {pmpt_1: "Be kind."}
"""


def test_nothing_that_a_suite_lends_is_mixed_into_what_was_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(record, "_play", _goes_well)
    monkeypatch.setattr(record, "prepare_all", lambda *_what: None)
    (tmp_path / "opening.yaml").write_text(FILE)
    upstream = ["--upstream", "ws://127.0.0.1:1/v1/realtime"]
    assert main(["record", "opening.yaml", *upstream]) == 0
    (alone,) = loader.load_file(tmp_path / "opening-recorded.yaml")
    (tmp_path / "suite.yaml").write_text(SUITE)
    assert main(["record", "opening.yaml", *upstream, "--refresh"]) == 0
    (under,) = loader.load_file(tmp_path / "opening-recorded.yaml")
    assert under.realtime.prompts == {"pmpt_1": "Be kind."}
    assert under.realtime.model_copy(update={"prompts": {}}) == alone.realtime
