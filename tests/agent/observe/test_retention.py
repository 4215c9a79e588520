"""What is kept of calls, and for how long."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from callerside.agent.cli import main
from callerside.agent.config.settings import Settings
from callerside.agent.observe.call_records import RecordFile
from callerside.agent.observe.retention import expire, forget

ONE, OTHER = "0123456789ab", "ba9876543210"
NOW = datetime(2026, 11, 30, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings.model_validate(
        {
            "timeline": {"dir": str(tmp_path / "timelines")},
            "recordings": {"dir": str(tmp_path / "recordings")},
            "records": {"file": str(tmp_path / "records.jsonl")},
            "retention": {"days": 30},
            "routes": [{"called": "2", "recordings": {"dir": str(tmp_path / "elsewhere")}}],
        }
    )
    record = RecordFile(tmp_path / "records.jsonl")
    for call, days in ((ONE, 40), (OTHER, 10)):
        ended = NOW - timedelta(days=days)
        record({"call": call, "ended_at": ended.isoformat().replace("+00:00", "Z")})
        for name in (
            f"timelines/+49-{call}.jsonl",
            f"recordings/100-{call}.wav",
            f"recordings/100-{call}.realtime",
            f"recordings/100-{call}-2.realtime",
            f"elsewhere/2-{call}.wav.part",
        ):
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text("x")
            os.utime(path, (ended.timestamp(), ended.timestamp()))
    for name in ("timelines/notes.jsonl", f"recordings/{ONE}.txt", "recordings/x-short.wav"):
        (tmp_path / name).write_text("somebody's own")
        os.utime(tmp_path / name, (0, 0))
    return made


def kept(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def records(folder: Path) -> list[str]:
    lines = (folder / "records.jsonl").read_text().splitlines()
    return [json.loads(line)["call"] for line in lines]


OWN = {"timelines/notes.jsonl", f"recordings/{ONE}.txt", "recordings/x-short.wav"}


def test_one_call_is_forgotten_everywhere_and_nothing_else(
    settings: Settings, tmp_path: Path
) -> None:
    assert len(forget(settings, ONE)) == 6
    assert records(tmp_path) == [OTHER]
    left = kept(tmp_path) - {"records.jsonl"}
    assert left > OWN
    assert all(OTHER in name for name in left - OWN)
    assert len(left - OWN) == 5
    assert forget(settings, ONE) == []


def test_what_is_too_old_is_deleted_and_nobody_elses(settings: Settings, tmp_path: Path) -> None:
    assert expire(settings, NOW) == 6
    assert records(tmp_path) == [OTHER]
    assert kept(tmp_path) > OWN
    assert expire(settings, NOW) == 0


def test_by_default_nothing_is_deleted(settings: Settings, tmp_path: Path) -> None:
    before = kept(tmp_path)
    assert expire(settings.model_copy(update={"retention": Settings().retention}), NOW) == 0
    assert kept(tmp_path) == before


def test_a_link_is_not_followed_and_a_line_that_is_none_stays(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "precious").write_text("x")
    link = tmp_path / "recordings" / f"1-{ONE}.wav"
    link.symlink_to(tmp_path / "precious")
    with (tmp_path / "records.jsonl").open("a") as file:
        file.write("not JSON\n[]\n")
    forget(settings, ONE)
    assert (tmp_path / "precious").exists()
    assert (tmp_path / "records.jsonl").read_text().endswith("not JSON\n[]\n")


@pytest.mark.parametrize("call", ["..", "../x", "0123456789abc", "*", ""])
def test_what_is_no_id_is_refused(call: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("")
    with pytest.raises(SystemExit) as ended:
        main(["forget", "--config", str(tmp_path / "a.yaml"), call])
    assert ended.value.code == 2


def test_the_command_says_what_it_has_deleted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, folder = tmp_path / "a.yaml", tmp_path / "timelines"
    folder.mkdir()
    (folder / f"1-{ONE}.jsonl").touch()
    config.write_text(f"timeline: {{dir: {folder}}}")
    assert main(["forget", "--config", str(config), ONE]) == 0
    assert f"{ONE}: {folder}" in capsys.readouterr().out
    assert main(["forget", "--config", str(config), ONE]) == 1
    assert "nothing is kept" in capsys.readouterr().err
