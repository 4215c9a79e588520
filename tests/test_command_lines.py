"""What every command refuses, and how it tells so."""

from collections.abc import Callable, Sequence

import pytest

from callerside.agent import cli as agent_cli
from callerside.fakes import cli as fake_cli
from callerside.simulator.cli import main as harness_cli

Main = Callable[[Sequence[str]], int]
HARNESS, AGENT, FAKE = harness_cli.main, agent_cli.main, fake_cli.main


@pytest.mark.parametrize(
    ("main", "given", "told"),
    [
        (HARNESS, ["fuzz", "--first-seed", "-1"], "callerside fuzz: error: argument --first-seed"),
        (
            HARNESS,
            ["fuzz", "--seeds", "200..400"],
            "200..400: expected 1 or more; it is how many calls, and --first-seed says where",
        ),
        (HARNESS, ["run", "--seed", "-1"], "-1: expected 0 to 4294967295"),
        (HARNESS, ["run", "--seed", "4294967296"], "expected 0 to 4294967295"),
        (HARNESS, ["run", "--repeat", "0"], "0: expected 1 or more"),
        (HARNESS, ["run", "--jobs", "-2"], "-2: expected 1 or more"),
        (HARNESS, ["run", "--keep", "-1"], "-1: expected 0 or more"),
        (HARNESS, ["calibrate", "--calls", "-3"], "-3: expected 1 or more"),
        (HARNESS, ["calibrate", "--jobs", "0"], "0: expected 1 or more"),
        (HARNESS, ["calibrate", "--speech", "--sample", "0"], "0: expected 1 or more"),
        (FAKE, ["serve", "--seed", "-1"], "-1: expected 0 to 4294967295"),
        (AGENT, ["serve", "--config", "a.yaml", "--workers", "-1"], "expected 1 to "),
    ],
)
def test_numbers_that_mean_nothing_are_refused_with_what_is_expected(
    main: Main, given: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(given)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("main", "given", "usage"),
    [
        (HARNESS, ["fuzz", "extra"], "callerside fuzz"),
        (HARNESS, ["calibrate", "--nonsense"], "callerside calibrate"),
        (HARNESS, ["baseline", "check", "a", "b", "c"], "callerside baseline check"),
        (HARNESS, ["demo", "now"], "callerside demo"),
        (FAKE, ["serve", "extra"], "fake-realtime serve"),
        (AGENT, ["serve", "--config", "a.yaml", "extra"], "callerside-agent serve"),
        (AGENT, ["settings", "extra"], "callerside-agent settings"),
    ],
)
def test_words_that_nobody_knows_are_told_with_the_usage_of_their_command(
    main: Main, given: list[str], usage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(given)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith(f"usage: {usage} ")
    assert f"{usage}: error: unrecognized arguments: {given[-1]}" in told
    assert told.count("usage:") == 1


@pytest.mark.parametrize(
    ("main", "given", "meant"),
    [
        (HARNESS, ["fuz"], "fuzz"),
        (FAKE, ["serv"], "serve"),
        (AGENT, ["settigns"], "settings"),
    ],
)
def test_a_command_that_there_is_not_is_told_with_the_nearest(
    main: Main, given: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(given)
    assert f'did you mean "{meant}"?' in capsys.readouterr().err
