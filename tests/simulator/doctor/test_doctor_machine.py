"""`callerside doctor`: what a machine has and lacks."""

import pytest

from callerside.agent.telephony.engines import Found
from callerside.simulator.cli.main import main
from callerside.simulator.doctor import machine
from callerside.simulator.doctor.findings import Finding, State, lines


def test_this_machine_is_looked_at_from_all_sides() -> None:
    found = machine.examine(watch_s=0.1)
    seen = {one.about for one in found}
    assert seen == {
        "python", "engine", "harness", "voice", "languages", "ports", "cores", "priority", "stalls",
        "disk",
    }  # fmt: skip
    assert all(one.advice for one in found if one.state in (State.BAD, State.DOUBTFUL))


def test_without_an_engine_calls_cannot_be_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = [Found(name="pjsua2", problem="pjsua2 is not installed")]
    monkeypatch.setattr(machine, "survey", lambda: absent)
    monkeypatch.setattr(machine, "WATCH_S", 0.1)
    assert main(["doctor"]) == 1
    shown = capsys.readouterr().out
    assert "FAIL  engine" in shown
    assert "-> pip install 'callerside[pjsua2]'" in shown


def test_without_espeak_ng_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callerside.speech.voices._version", lambda _name: "")
    (found,) = (one for one in machine.examine(watch_s=0.01) if one.about == "languages")
    assert found.state is State.UNKNOWN
    assert found.told.endswith("pip install 'callerside[languages]'")


def test_one_engine_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Found(name="pjsua2", problem="none"), Found(name="baresip", version="1")]
    monkeypatch.setattr(machine, "survey", lambda: found)
    engines = [one for one in machine.examine(watch_s=0.01) if one.about == "engine"]
    assert [one.state for one in engines] == [State.UNKNOWN, State.FINE]
    assert "`auto` takes" in engines[1].told


def test_what_is_fine_is_one_line_and_the_rest_has_its_evidence() -> None:
    fine = Finding(about="a", state=State.FINE, told="well", advice="not shown")
    bad = Finding(about="long", state=State.BAD, told="ill", advice="mend it", evidence=("seen",))
    assert lines([fine, bad]) == [
        "  ok  a     well",
        "FAIL  long  ill",
        "            -> mend it",
        "               | seen",
    ]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["doctor", "100@host"], "expected sip:number@host"),
        (["doctor", "sip:100@host:66000"], "with a port of 1 to 65535"),
        (["doctor", "sip:100@host:port"], "with a port of 1 to 65535"),
        (["doctor", "sip:100@[::1:5060"], "expected sip:number@host"),
        (["doctor", "sip:100@[127.0.0.1]:5060"], "in brackets stands an address of IPv6"),
        (["doctor", "sip:100@[::1]:66000"], "with a port of 1 to 65535"),
        (["doctor", "sip:100@host;transport=ws"], "transport=ws: expected udp, tcp or tls"),
        (["doctor", "--account", "nothing.yaml"], "expected the address"),
        (["doctor", "sip:1@127.0.0.1", "--account", "nothing.yaml"], "nothing.yaml"),
    ],
)
def test_what_cannot_be_looked_at_is_2(
    given: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(given)
    except SystemExit as error:
        code = int(str(error.code))
    assert code == 2
    assert told in capsys.readouterr().err
