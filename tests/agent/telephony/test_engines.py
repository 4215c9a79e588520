"""Which SIP engines are here, in words; one that is not here says what to do."""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import engines_table
import pytest

from callerside.agent.telephony import engines
from callerside.agent.telephony.engine import (
    MEANING,
    PROFILES,
    Capability,
    EngineName,
    lack,
)
from callerside.agent.telephony.engines import EngineUnavailableError, choose, resolve, sentence
from callerside.agent.telephony.errors import SipError
from callerside.agent.telephony.options import SipOptions


@pytest.fixture(autouse=True)
def _looked_at_anew() -> Iterator[None]:
    engines._look.cache_clear()
    yield
    engines._look.cache_clear()


def pretend_installed(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    def version(package: str) -> str:
        name = package.removesuffix("-python")
        if name not in versions:
            raise PackageNotFoundError(package)
        return versions[name]

    monkeypatch.setattr(engines, "version", version)


def test_auto_loads_no_engine_behind_the_one_that_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend_installed(monkeypatch, pjsua2="1.0", baresip="2.0")
    loaded: list[str] = []
    monkeypatch.setattr(engines, "_load", loaded.append)
    assert resolve("auto") == "pjsua2"
    assert loaded == ["pjsua2"]


def test_every_capability_has_words() -> None:
    assert set(MEANING) == set(Capability)


def test_an_engine_holds_as_many_calls_as_its_profile_says() -> None:
    name = resolve("auto")
    most = PROFILES[name].calls_a_process
    with pytest.raises(SipError, match=rf"{name} holds {most} calls, not {most + 1}") as raised:
        choose(name).answering(SipOptions(max_calls=most + 1), lambda _leg: None)
    for other, profile in PROFILES.items():
        names_it = f"set sip.engine: {other}, which holds {profile.calls_a_process}"
        assert (names_it in str(raised.value)) == (profile.calls_a_process > most)


def test_a_capability_that_is_lacking_is_said_with_an_engine_that_has_it() -> None:
    told = lack("baresip", Capability.PUBLIC_CONTACT)
    assert "`public_contact` (naming another host in SIP" in told
    assert "pjsua2 has it" in told
    assert "baresip has it" in lack("pjsua2", Capability.OPUS)
    assert "baresip has it" in lack("pjsua2", Capability.IPV6)


def test_an_engine_that_is_not_installed_is_unavailable_and_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend_installed(monkeypatch)
    monkeypatch.setattr(sys, "version_info", (3, 12))
    for name in PROFILES:
        with pytest.raises(EngineUnavailableError, match=rf"pip install 'callerside\[{name}\]'"):
            resolve(name)
    with pytest.raises(EngineUnavailableError, match=r"pjsua2 is not .*; baresip is not "):
        resolve("auto")
    assert sentence().startswith("SIP engines: none; ")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ImportError("no such symbol"), "no such symbol"),
        (SipError("no such function"), "no such function"),
        (AttributeError("no Call"), "AttributeError: no Call"),
        (RuntimeError("a bad build"), "RuntimeError: a bad build"),
        (OSError("no library"), "OSError: no library"),
    ],
)
def test_one_that_cannot_be_loaded_says_why_and_auto_takes_another(
    monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    pretend_installed(monkeypatch, pjsua2="1.0", baresip="2.0")

    def load(name: str) -> object:
        if name == "pjsua2":
            raise error
        return object()

    monkeypatch.setattr(engines, "_load", load)
    assert resolve("auto") == "baresip"
    assert sentence() == (
        f"SIP engines: baresip 2.0; pjsua2 cannot be used: pjsua2-python 1.0: {told}; "
        f"pjsua2-python {PROFILES['pjsua2'].works} works"
    )


@pytest.mark.parametrize("name", PROFILES)
def test_a_package_of_another_layout_is_no_more_than_unavailable(
    name: EngineName, tmp_path: Path
) -> None:
    """It is another one of that name: everything that ours takes of it is missing."""
    (tmp_path / f"{name}.py").touch()
    package = PROFILES[name].package
    about = tmp_path / f"{package.replace('-', '_')}-0.1.dist-info" / "METADATA"
    about.parent.mkdir()  # it is installed, also where there is no wheel of the real one
    about.write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1\n")
    look = "from callerside.agent.telephony.engines import sentence; print(sentence())"
    ways = os.pathsep.join([str(tmp_path), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    told = subprocess.run(
        [sys.executable, "-c", look],
        env={**os.environ, "PYTHONPATH": ways},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"; {name} cannot be used: {package} 0.1: " in told
    assert told.endswith(f"; {package} {PROFILES[name].works} works\n")


def test_one_without_a_wheel_for_this_python_does_not_ask_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend_installed(monkeypatch, baresip="1")
    monkeypatch.setattr(sys, "version_info", (3, 13))
    with pytest.raises(EngineUnavailableError, match=r"no wheel above Python 3\.12"):
        resolve("pjsua2")


def test_auto_tries_the_engines_in_the_order_of_the_measured_table() -> None:
    shown = engines_table.shown(engines_table.PAGE.read_text())
    assert list(shown) == engines_table.in_order(shown) == list(PROFILES)


def test_the_better_engine_keeps_the_pace_and_costs_less_with_few_calls_and_many() -> None:
    few, many = engines_table.CPU

    def figures(few_calls: float, many_calls: float, pace_ms: float) -> dict[str, float]:
        return {few: few_calls, many: many_calls, engines_table.PACE: pace_ms}

    rank = engines_table.in_order
    assert rank({"pjsua2": figures(1.0, 1.6, 20), "baresip": figures(1.2, 1.0, 20)})[0] == "baresip"
    assert rank({"pjsua2": figures(1.0, 1.1, 20), "baresip": figures(1.2, 1.0, 20)})[0] == "pjsua2"
    assert rank({"pjsua2": figures(1.0, 1.1, 26), "baresip": figures(3.0, 3.0, 20)})[0] == "baresip"
