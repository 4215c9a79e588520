import functools
import json
from dataclasses import replace
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import callerside.simulator.cli.fuzz
import callerside.simulator.fuzz.play
import callerside.simulator.fuzz.runner
import callerside.simulator.runner.run
from callerside.agent.call import events
from callerside.agent.call.events import CallInput, Effect, Timer
from callerside.agent.call.states import TRANSITIONS, State, Trigger
from callerside.mark_registry import MARKS
from callerside.simulator.cli import main
from callerside.simulator.cli.fuzz import as_json, as_text, printed, try_over_sip
from callerside.simulator.fuzz.calls import generate
from callerside.simulator.fuzz.choices import SeededChoices
from callerside.simulator.fuzz.coverage import (
    UNREACHABLE,
    broken_pairs,
    everything,
    expected,
    possible_pairs,
)
from callerside.simulator.fuzz.play import Outcome, play_scenario, play_seed, shrink_outcome
from callerside.simulator.fuzz.runner import Finding, FuzzOptions, Summary, fuzz, write_up
from callerside.simulator.lanes.virtual.call import VirtualOptions, options_for
from callerside.simulator.lanes.virtual.invariants import Breach
from callerside.simulator.lanes.virtual.trace import TracedMachine
from callerside.simulator.runner.lint import problems
from callerside.simulator.runner.run import Run, RunOptions
from callerside.simulator.scenario import loader
from callerside.simulator.scenario.model import Scenario


class NoFlushAtBargeIn(TracedMachine):
    """An agent that speaks on when it is interrupted."""

    def handle(self, event: CallInput, now_ns: int) -> list[Effect]:
        asked = super().handle(event, now_ns)
        asked[:] = [effect for effect in asked if not isinstance(effect, events.ClearPlayout)]
        return asked


@functools.cache
def played_broken(seed: int) -> Outcome:
    """Of a seed there is one call: each test begins with the first seed, and would play it anew."""
    return play_seed(seed, NoFlushAtBargeIn)


@functools.cache
def shrunk_broken(seed: int) -> Outcome:
    return shrink_outcome(played_broken(seed), NoFlushAtBargeIn, max_plays=40)


@pytest.fixture
def broken_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call is played with an agent that does not stop when it is interrupted."""
    seeds: dict[str, int] = {}

    def play(seed: int) -> Outcome:
        outcome = played_broken(seed)
        seeds[outcome.name] = seed
        return outcome

    def shrink(outcome: Outcome, **_: int) -> Outcome:
        return shrunk_broken(seeds[outcome.name])

    monkeypatch.setattr(callerside.simulator.fuzz.runner, "play_seed", play)
    monkeypatch.setattr(callerside.simulator.fuzz.runner, "shrink_outcome", shrink)


def test_plays_the_seeds_it_is_given_and_says_what_it_reached(tmp_path: Path) -> None:
    progress: list[int] = []
    options = FuzzOptions(seeds=4, first_seed=100, found=tmp_path)
    summary = fuzz(options, lambda so_far: progress.append(so_far.calls))
    assert (summary.calls, summary.first_seed, summary.failed.total()) == (4, 100, 0)
    assert progress == [4]
    assert summary.virtual_s > 20
    assert "PROCESSING to STREAMING_RESPONSE" in summary.reached
    assert set(summary.never_reached) == expected() - summary.reached
    assert list(tmp_path.iterdir()) == []


def test_every_mark_and_timer_of_the_agent_is_a_point_to_reach() -> None:
    points = {point.split(" ")[0] for point in everything()}
    assert points >= MARKS["agent"].keys() - {"state_changed"}
    assert {f"timer {timer}" for timer in Timer} <= everything()
    assert UNREACHABLE.keys() < everything()


def test_what_came_together_is_told_and_what_could_have(tmp_path: Path) -> None:
    summary = fuzz(FuzzOptions(seeds=16, found=tmp_path), lambda _: None)
    assert summary.pairs <= possible_pairs() | broken_pairs()
    assert summary.against_the_table == []
    assert set(summary.never_together) == possible_pairs() - summary.pairs
    assert {
        "event session.updated in CONNECTING_OPENAI",
        "event timer greeting_due in MEDIA_READY",
    } <= (summary.pairs)
    told = as_text(summary).splitlines()
    for kind, what in (
        ("event", "states and events"),
        ("step", "states and the caller's steps"),
        ("fault", "faults and places"),
    ):
        found, most = summary.share_of_pairs(kind)
        place = told.index(f"  {what}: {found} of {most}")
        missing = list(takewhile(lambda line: line.startswith("    not "), told[place + 1 :]))
        assert 1 <= len(missing) <= 13
        assert 0 < found < most
    listed = as_json(summary)
    assert listed["never_together"] == summary.never_together
    assert listed["against_the_table"] == []


def test_what_can_be_is_what_the_table_of_states_knows() -> None:
    possible, broken = possible_pairs(), broken_pairs()
    assert not possible & broken
    for state, row in TRANSITIONS.items():
        created = f"event response.created in {state}"
        if state in (State.ENDED, State.CALL_RECEIVED):
            assert not [pair for pair in possible | broken if pair == created]
        else:
            assert (created in possible) is (Trigger.RESPONSE_CREATED in row)
            assert (created in broken) is (Trigger.RESPONSE_CREATED not in row)
    assert "event input_audio_buffer.speech_stopped in STREAMING_RESPONSE" in broken
    assert "event session.updated in PROCESSING" in broken  # one that comes twice
    assert "event RealtimeConnected in PROCESSING" not in possible | broken
    assert not [pair for pair in possible if pair.endswith(" in ENDED")]
    unreachable = {f"event {one} in " for one in UNREACHABLE if one.startswith("timer ")}
    assert not [pair for pair in possible if pair.startswith(tuple(unreachable))]


def test_every_timer_and_every_event_that_tells_the_agent_something_has_its_states() -> None:
    named = {pair.rpartition(" in ")[0] for pair in possible_pairs()}
    timers = {f"event timer {timer}" for timer in Timer}
    assert timers - named == {f"event {one}" for one in UNREACHABLE if one.startswith("timer ")}


def test_what_cannot_be_and_came_is_told() -> None:
    summary = Summary(first_seed=0, pairs={"event RealtimeConnected in PROCESSING"})
    assert summary.against_the_table == ["event RealtimeConnected in PROCESSING"]
    assert "cannot be, as it seemed: event RealtimeConnected in PROCESSING" in as_text(summary)
    lost = Summary(first_seed=0, pairs={"event response.created in CONNECTING_OPENAI"})
    assert "1 that only lost, doubled or misplaced events bring" in as_text(lost)


def test_a_pair_is_a_thing_and_the_state_that_it_met(tmp_path: Path) -> None:
    steps = [{"pause": 4000}, {"press": "1"}, {"pause": 500}, "vanish"]
    data = {"about": "A key.", "agent": {"turns": {"policy": "server"}}, "steps": steps}
    outcome = play_scenario(Scenario.model_validate(data).named("key"), data)
    assert {pair for pair in outcome.pairs if pair.startswith("step ")} == {
        "step press in LISTENING",
        "step vanish in LISTENING",
    }
    assert "event DtmfReceived in LISTENING" in outcome.pairs
    assert not [pair for pair in outcome.pairs if pair.startswith("fault ")]


def test_several_processes_find_the_same_as_one(tmp_path: Path) -> None:
    def summary(jobs: int) -> Summary:
        return fuzz(FuzzOptions(seeds=12, jobs=jobs, found=tmp_path), lambda _: None)

    one, two = summary(1), summary(2)
    assert (one.calls, one.reached, one.virtual_s) == (two.calls, two.reached, two.virtual_s)


def test_a_seed_is_enough_to_play_a_call_again() -> None:
    assert play_seed(11) == play_seed(11)


def test_what_is_true_of_every_call_is_true_of_g711_sessions_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def straight_through(*given: Any) -> VirtualOptions:
        options = options_for(*given)
        return replace(options, line=replace(options.line, sample_rate_hz=8_000))

    monkeypatch.setattr(callerside.simulator.fuzz.play, "options_for", straight_through)
    outcomes = [play_seed(seed) for seed in range(40)]
    assert {one.name: one.breaches for one in outcomes if one.breaches} == {}
    assert {one.data.get("caller", {}).get("codec") for one in outcomes} >= {"PCMA", "G722"}


@pytest.mark.usefixtures("broken_agent")
def test_stops_at_the_first_failure_and_writes_it_as_a_small_scenario(tmp_path: Path) -> None:
    summary = fuzz(FuzzOptions(seeds=500, found=tmp_path), lambda _: None)
    assert summary.calls < 500
    (finding,) = summary.findings
    assert finding.invariant == "interrupted_audio_stops"
    (scenario,) = loader.load([finding.path])
    assert scenario.network is None
    assert scenario.realtime.faults == ()
    assert len(scenario.steps) < 12
    again = play_scenario(scenario, {}, make_machine=NoFlushAtBargeIn)
    assert finding.invariant in {breach.invariant for breach in again.breaches}
    text = finding.path.read_text(encoding="utf-8")
    assert text.startswith(f"# Found by the fuzzer, seed {finding.seed}: interrupted_audio_stops:")


@pytest.mark.usefixtures("broken_agent")
def test_who_goes_on_finds_a_scenario_of_every_failure(tmp_path: Path) -> None:
    summary = fuzz(FuzzOptions(seeds=20, keep_going=True, found=tmp_path), lambda _: None)
    assert summary.calls == 20
    assert summary.failed.total() == len(summary.findings) > 1
    for finding in summary.findings:
        *_, scenario = loader.load(finding.paths)
        assert finding.for_sip is ("sip" in scenario.lanes)
        again = play_scenario(scenario, {}, make_machine=NoFlushAtBargeIn)
        assert finding.invariant in {breach.invariant for breach in again.breaches}


def test_every_generated_call_can_be_checked_and_run() -> None:
    for seed in range(300):
        scenario = Scenario.model_validate(generate(SeededChoices(seed))).named(f"fuzz-{seed}")
        # What is said after a pause is meant to fall into the answer: an author is warned of that.
        assert [line for line in problems(scenario) if "ends the caller's turn" not in line] == []


def test_events_are_lost_at_a_place_not_some_time_after_it() -> None:
    """The calm's question would be lost, where nothing is sent between the two."""
    calls = [generate(SeededChoices(seed)) for seed in range(500)]
    faults = [fault for call in calls for fault in call.get("realtime", {}).get("faults", ())]
    lost = [fault["at"] for fault in faults if fault["fault"] == "lose"]
    assert lost
    assert not [at for at in lost if "+" in at]
    assert any("+" in fault["at"] for fault in faults if fault["fault"] == "duplicate")


def test_a_seed_that_does_not_fail_is_not_written_up(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="seed 5 does not fail"):
        write_up(5, tmp_path)


@pytest.mark.usefixtures("broken_agent")
def test_the_command_tells_what_it_found_and_exits_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["fuzz", "--seeds", "40", "--jobs", "1", "--found", str(tmp_path)]
    assert main.main(given) == 1
    told = capsys.readouterr().out
    assert "broke interrupted_audio_stops" in told
    assert f"callerside run --lane virtual {tmp_path}" in told
    assert told.index("never reached:") < told.index("broke interrupted"), "it stands at the end"


@pytest.mark.usefixtures("broken_agent")
def test_what_is_found_is_told_though_it_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    options = FuzzOptions(seeds=40, jobs=1, found=tmp_path / "file/found")
    (finding,) = fuzz(options, lambda _: None).findings
    seed = finding.seed
    told = as_text(Summary(first_seed=0, findings=[finding]))
    assert f"seed {seed} broke {finding.invariant}: {finding.detail}" in told
    assert f"play it again: callerside fuzz --first-seed {seed} --seeds 1\n" in told
    assert f"not written:   {tmp_path}/file" in told
    assert "callerside run" not in told


@pytest.mark.parametrize("found", ["file", "file/found"])
def test_where_nothing_can_be_written_nothing_is_looked_for(
    found: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    given = ["fuzz", "--seeds", "1", "--jobs", "1", "--found", str(tmp_path / found)]
    assert main.main(given) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert f"--found {tmp_path / found}: no scenario can be written there: " in told.err
    assert "name a folder" in told.err


def test_a_folder_in_which_nothing_was_found_is_not_left(tmp_path: Path) -> None:
    for found, stays in ((tmp_path / "new", False), (tmp_path, True)):
        assert main.main(["fuzz", "--seeds", "1", "--jobs", "1", "--found", str(found)]) == 0
        assert found.is_dir() == stays


def test_a_file_that_no_run_shows_is_told_as_what_it_is(tmp_path: Path) -> None:
    shown = {
        game: Finding(
            seed=7, invariant="any", detail="x", path=tmp_path / f"{game}.yaml", after=None,
            for_sip=False, game=game,
        )
        for game in ("call", "wrong", "client")
    }  # fmt: skip
    told = {game: "\n".join(printed(finding)) for game, finding in shown.items()}
    assert f"play it again: callerside run --lane virtual {tmp_path}/call.yaml" in told["call"]
    for game, what in (("wrong", "passed, and should not have:"), ("client", "the client asked")):
        assert "play it again: callerside fuzz --first-seed 7 --seeds 1\n" in told[game]
        assert what in told[game]
        assert f"{tmp_path}/{game}.yaml" in told[game]


def test_the_command_is_content_and_speaks_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["fuzz", "--seeds", "2", "--jobs", "1", "--json", "--found", str(tmp_path)]
    assert main.main(given) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["calls"], told["failed"], told["findings"]) == (2, {}, [])
    assert told["never_reached"]


def test_a_log_is_told_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(callerside.simulator.cli.fuzz, "_LOG_EVERY_S", 0)
    given = ["fuzz", "--seeds", "12", "--jobs", "1", "--found", str(tmp_path)]
    assert main.main(given) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == ["10 of 12 calls", "12 of 12 calls"]
    assert "a second" in lines[0]


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (["--seeds", "0"], "expected 1 or more"),
        (["--seeds", "many"], "expected 1 or more"),
        (["--jobs", "1000000"], "expected at most 256"),
        (["--first-seed", "-1"], "-1: expected 0 to 4294967295: any other number would draw"),
        (["--first-seed", "4294967296"], "expected 0 to 4294967295"),
        (["extra"], "usage: callerside fuzz "),
        (["extra"], "callerside fuzz: error: unrecognized arguments: extra"),
    ],
)
def test_refuses_nonsense(
    capsys: pytest.CaptureFixture[str], given: list[str], complaint: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(["fuzz", *given])
    assert caught.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.usefixtures("broken_agent")
def test_what_was_found_is_tried_over_sip_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    played: list[RunOptions] = []

    async def play(options: RunOptions, console: Console) -> Run:
        played.append(options)
        return Run(directory=tmp_path, started_at=datetime.now(UTC), failure="no telephone here")

    monkeypatch.setattr(callerside.simulator.runner.run, "run", play)
    assert main.main(["fuzz", "--jobs", "1", "--sip", "--found", str(tmp_path)]) == 1
    (options,) = played
    (scenario,) = loader.load(options.paths)
    assert options.lane == "sip"
    assert "sip" in scenario.lanes
    told = "over SIP: could not be played: no telephone here"
    assert told in capsys.readouterr().out
    assert main.main(["fuzz", "--jobs", "1", "--sip", "--json", "--found", str(tmp_path)]) == 1
    (over_sip,) = json.loads(capsys.readouterr().out)["over_sip"]
    assert over_sip.endswith(told)


def test_what_only_memory_can_play_is_not_tried_over_sip(tmp_path: Path) -> None:
    finding = Finding(seed=1, invariant="x", detail="y", path=tmp_path, after=None, for_sip=False)
    assert "in memory only" in try_over_sip(finding)


def test_a_call_after_another_is_greeted_from_the_cache_and_written_with_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = next(seed for seed in range(100) if "after" in generate(SeededChoices(seed)))
    outcome = play_seed(seed)
    assert "greeting_started cache" in outcome.reached
    breach = Breach(invariant="none", detail="to see it written")
    monkeypatch.setattr(
        callerside.simulator.fuzz.runner, "play_seed", lambda _: replace(outcome, breaches=[breach])
    )
    finding = write_up(seed, tmp_path, small=False)
    first, second = loader.load(finding.paths)
    assert (first.name, second.after) == ("greeted", "greeted")
    assert f"{finding.after} {finding.path}" in as_text(Summary(first_seed=0, findings=[finding]))
