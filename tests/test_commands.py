"""The programs that an installation has."""

from importlib.metadata import EntryPoint, entry_points, version

import pytest

from callerside.agent.telephony.engines import sentence

OURS = [
    point
    for point in entry_points(group="console_scripts")
    if point.dist and point.dist.name == "callerside"
]


@pytest.mark.parametrize("program", OURS, ids=lambda program: program.name)
def test_each_tells_its_version(
    program: EntryPoint, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", [program.name, "--version"])
    with pytest.raises(SystemExit) as ended:
        program.load()()
    told, *more = capsys.readouterr().out.splitlines()
    assert (ended.value.code, told) == (0, f"{program.name} {version('callerside')}")
    assert more == ([] if program.name == "fake-realtime" else [sentence()])


def test_there_are_three() -> None:
    assert {program.name for program in OURS} == {"callerside", "callerside-agent", "fake-realtime"}
