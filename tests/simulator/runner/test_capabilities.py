"""What an engine cannot do is said with the scenario's line, by `check` and before a run."""

from dataclasses import replace
from pathlib import Path

import pytest

from callerside.agent.telephony import engine, engines
from callerside.agent.telephony.engine import PROFILES, Capability, EngineName
from callerside.agent.telephony.engines import resolve
from callerside.simulator.cli.main import main
from callerside.simulator.runner.capabilities import missing
from callerside.simulator.runner.run import see_that_engines_can
from callerside.simulator.runner.selection import RunError
from callerside.simulator.scenario.loader import load

SCENARIO = """
about: a wide call that is left without a word
caller: {codec: G722}
realtime: {greeting: {say: Hello.}}
steps:
  - pause: 1s
  - press: "1"
    method: info
  - vanish
"""
CODECS = "  caller.codec: [PCMA, OPUS]\n"
LINES = {
    Capability.G722: 3,
    Capability.DTMF_BY_INFO: 7,
    Capability.VANISHES: 9,
}


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "wide.yaml"
    path.write_text(SCENARIO)
    return path


@pytest.mark.parametrize("capability", LINES)
def test_what_is_missing_is_told_where_it_is_asked_for(
    scenario: Path, capability: Capability, monkeypatch: pytest.MonkeyPatch
) -> None:
    less = replace(
        PROFILES["baresip"], capabilities=PROFILES["baresip"].capabilities - {capability}
    )
    monkeypatch.setitem(engine.PROFILES, "baresip", less)
    told = list(missing(load([scenario]), agent="pjsua2", caller="baresip"))
    assert len(told) == 1
    assert f"wide.yaml:{LINES[capability]}:" in told[0]
    assert f"baresip has no capability `{capability}`" in told[0]


def test_check_says_so_and_ends_with_two(
    scenario: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(scenario), "--engine", "baresip"]) == 0
    less = replace(PROFILES["baresip"], capabilities=frozenset[Capability]())
    monkeypatch.setitem(engine.PROFILES, "baresip", less)
    assert main(["check", str(scenario), "--engine", "baresip"]) == 2
    assert "`vanishes`" in "".join(capsys.readouterr())


@pytest.mark.parametrize("named", [[], ["--engine", "auto"], ["--caller-engine", "auto"]])
def test_check_takes_the_engines_that_a_run_takes(
    scenario: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    named: list[str],
) -> None:
    best = resolve("auto")
    assert main(["check", str(scenario), *named]) == 0
    less = replace(PROFILES[best], capabilities=frozenset[Capability]())
    monkeypatch.setitem(engine.PROFILES, best, less)
    assert main(["check", str(scenario), *named]) == 2
    assert f"{best} has no capability `vanishes`" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("agents", "callers", "code"), [("pjsua2", "baresip", 0), ("baresip", "pjsua2", 2)]
)
def test_check_judges_the_caller_by_its_own_engine(
    scenario: Path, monkeypatch: pytest.MonkeyPatch, agents: str, callers: str, code: int
) -> None:
    """A caller's vanishing is nothing to the agent's engine."""
    able = PROFILES["pjsua2"]
    less = replace(able, capabilities=able.capabilities - {Capability.VANISHES})
    monkeypatch.setitem(engine.PROFILES, "pjsua2", less)
    named = ["--engine", agents, "--caller-engine", callers]
    assert main(["check", str(scenario), *named]) == code


def test_check_without_an_engine_judges_by_none_that_it_was_not_told(
    scenario: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run in memory needs none."""
    for name, profile in PROFILES.items():
        less = replace(profile, package="callerside-no-such-package", capabilities=frozenset())
        monkeypatch.setitem(engine.PROFILES, name, less)
    engines._look.cache_clear()
    try:
        assert main(["check", str(scenario)]) == 0
        assert main(["check", str(scenario), "--engine", "auto"]) == 2
        assert main(["check", str(scenario), "--engine", "pjsua2"]) == 2
    finally:
        engines._look.cache_clear()


def test_check_refuses_what_a_run_refuses(tmp_path: Path) -> None:
    """Opus, with the engine that is taken where both are here."""
    path = tmp_path / "wide.yaml"
    path.write_text(SCENARIO.replace("G722", "OPUS"))
    best = resolve("auto")
    able = Capability.OPUS in PROFILES[best].capabilities
    assert main(["check", str(path)]) == (0 if able else 2)
    assert main(["check", str(path), "--engine", "baresip"]) == 0


def test_opus_is_asked_of_both_sides_but_not_of_an_agent_that_is_not_ours(tmp_path: Path) -> None:
    path = tmp_path / "lines.yaml"
    path.write_text(SCENARIO.replace("{codec: G722}", "{user: ann}") + "matrix:\n" + CODECS)
    scenarios = load([path])
    assert list(missing(scenarios, agent="baresip", caller="baresip")) == []
    pairs: list[tuple[EngineName, EngineName]] = [("pjsua2", "baresip"), ("baresip", "pjsua2")]
    for agent, caller in pairs:
        (told,) = missing(scenarios, agent=agent, caller=caller)
        assert "lines.yaml:11:24: lines-OPUS: pjsua2 has no capability `opus`" in told
        assert "baresip has it" in told
    see_that_engines_can(None, "baresip", scenarios)
    with pytest.raises(RunError, match="pjsua2"):
        see_that_engines_can("pjsua2", "baresip", scenarios)
