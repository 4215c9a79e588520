"""A timeline on the disk: who may read it."""

from pathlib import Path

from callerside.timelines import TimelineWriter


def test_keys_and_numbers_are_for_their_owner_alone(tmp_path: Path) -> None:
    timeline = TimelineWriter(tmp_path / "made" / "100-0123456789ab.jsonl")
    timeline.close()
    assert timeline.path.stat().st_mode & 0o777 == 0o600
    assert timeline.path.parent.stat().st_mode & 0o777 == 0o700
