"""The page of the engines says of each what the code knows."""

from pathlib import Path

from callerside.agent.telephony.engine import MEANING, PROFILES, Capability

PAGE = Path(__file__).resolve().parents[3] / "docs" / "engines.md"


def cells(first: str) -> list[str]:
    rows = [line.split("|")[1:-1] for line in PAGE.read_text().splitlines() if line[:1] == "|"]
    found = [[cell.strip() for cell in row] for row in rows if row[0].strip() == first]
    assert len(found) == 1, first
    return found[0][1:]


def test_each_capability_is_told_of_each_engine() -> None:
    for capability in Capability:
        told = ["yes" if capability in one.capabilities else "no" for one in PROFILES.values()]
        assert cells(f"`{capability}`: {MEANING[capability]}") == told


def test_limits_licences_and_platforms_are_those_of_the_profiles() -> None:
    every = PROFILES.values()
    assert cells("calls a process") == [str(one.calls_a_process) for one in every]
    assert cells("licence") == [one.licence for one in every]
    assert cells("wheels for") == [one.platforms for one in every]
    assert cells("newest Python") == ["{}.{}".format(*one.newest_python) for one in every]
