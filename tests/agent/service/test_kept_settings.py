"""What a worker starts with, whatever has become of the file since."""

from pathlib import Path

import pytest

from callerside.agent.config.loader import ConfigError, load
from callerside.agent.config.settings import Settings
from callerside.agent.service.kept_settings import KeptSettings, with_start_of


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "agent.yaml"
    path.write_text("voice: ash\nsip: {port: 5061}\n")
    return path


@pytest.fixture
def kept(config: Path, tmp_path: Path) -> KeptSettings:
    return KeptSettings(config, tmp_path)


def started(kept: KeptSettings) -> Settings:
    """The settings of a worker that is started now."""
    return with_start_of(load(kept.current, {}), load(kept.at_start, {}))


@pytest.mark.parametrize("text", ["", "voice: [", "voise: cedar", "voice: cedar\nsip: {port: x}"])
def test_a_file_that_is_wrong_is_none_of_theirs(
    kept: KeptSettings, config: Path, text: str
) -> None:
    config.write_text(text)
    with pytest.raises(ConfigError):
        kept.renew(lambda: load(config, {}, may_be_empty=False))
    assert started(kept).voice == "ash"


def test_a_file_that_changes_without_a_reload_is_not_taken(
    kept: KeptSettings, config: Path
) -> None:
    config.write_text("voice: cedar")
    assert started(kept).voice == "ash"


def test_a_reload_is_taken_but_for_what_all_would_have_to_be_restarted_for(
    kept: KeptSettings, config: Path
) -> None:
    config.write_text("voice: cedar\nsip: {port: 6000}\n")
    kept.renew(lambda: load(config, {}))
    assert (started(kept).voice, started(kept).sip.port) == ("cedar", 5061)


def test_a_file_that_is_being_written_is_not_taken(kept: KeptSettings, config: Path) -> None:
    def read_and_write() -> Settings:
        config.write_text("voice: cedar\n# there is more to come")
        return load(config, {})

    with pytest.raises(ConfigError, match="is being written"):
        kept.renew(read_and_write)
    assert started(kept).voice == "ash"


def test_copies_are_private(kept: KeptSettings) -> None:
    assert {one.stat().st_mode & 0o777 for one in (kept.current, kept.at_start)} == {0o600}
