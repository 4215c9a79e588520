"""While other work wants the processors, a good agent passes, and what is wrong is still found.

`nox -s disturbed` plays it: it measures, and takes a minute and a half.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import planted_bugs
import pytest
from disturbed import disturbance, with_bug

BARGE_IN = """
version: 2
about: A caller asks, and interrupts the answer.
realtime:
  replies:
  - {say: "Yes, we open at nine, and close at six.", think_ms: 200}
  - say: "We are here on every day of the week, from nine in the morning until late at night."
    think_ms: 200
  - {say: "Yes.", think_ms: 200}
steps:
- {expect: greeting}
- {say: "Are you open?"}
- {expect: reply}
- {say: "And on Sunday?"}
- {say: "Stop, please.", when: reply start + 1200ms}
- {expect: reply}
- hang_up
"""
CALLS = 5
RUN_LIMIT_S = 600
"""Half a minute where nothing else goes on. A call of which something could not be measured waits
for up to half a minute of calm and is placed again, alone: of five calls that is four minutes more,
and a machine that others use as well takes twice that."""

LIBRARY = Path(__file__).parents[2] / "scenarios"

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.alone,
    pytest.mark.timeout(3 * RUN_LIMIT_S),
]


def of_the_library(name: str) -> str:
    """A scenario as it is shipped."""
    return (LIBRARY / f"{name}.yaml").read_text()


NOTHING_IS_REFUSED = "never: [{mark: error_sent, source: realtime}]\n"
"""What some do the server refuses, and no call is the worse for it."""
BREAKS_OFF_A_GREETING = of_the_library("barge_in_greeting").replace(
    "realtime:\n", "realtime:\n  timing: {pace: 1}\n"
)
"""While it comes: what has come whole is kept, and rightly, whoever interrupts it."""
GREETED_AFTER_HALF_A_GREETING = """
version: 2
about: Whoever calls after a caller who interrupted the greeting hears a whole one.
after: one
steps:
- {expect: greeting}
- {expect: {mark: greeting_started, fields: {origin: generated}}}
- hang_up
"""
SHOWS = {
    "NoFlushAtBargeIn": [BARGE_IN],
    "TruncatesByReceived": [BARGE_IN],
    "CommitsTwice": [of_the_library("local_turns") + NOTHING_IS_REFUSED],
    "CachesACancelledGreeting": [
        BREAKS_OFF_A_GREETING,
        GREETED_AFTER_HALF_A_GREETING,
    ],
    "AsksForAResponseTooEarly": [BARGE_IN + NOTHING_IS_REFUSED],
    "LosesWhatWasSaidBeforeTheSession": [of_the_library("slow_connect")],
    "StaysStuckAfterAFailure": [of_the_library("server_error")],
}
"""All bugs of `planted_bugs`, each with scenarios that show it, but for one: what an agent says
after it has hung up nobody hears over SIP, where an invariant finds it in memory."""


def played(
    folder: Path,
    calls: int,
    environment: Mapping[str, str] = os.environ,
    scenarios: Sequence[str] = (BARGE_IN,),
) -> str:
    """A few calls; the verdict of the run that was written down, whatever ended the process."""
    (folder / "scenarios").mkdir(parents=True)
    for name, scenario in zip(("one", "two"), scenarios, strict=False):
        (folder / "scenarios" / f"{name}.yaml").write_text(scenario)
    (folder / "scenarios" / "suite.yaml").write_text((LIBRARY / "suite.yaml").read_text())
    run = [sys.executable, "-P", "-m", "callerside.simulator.cli", "run", "--jobs", "5"]
    subprocess.run(
        [*run, "--repeat", str(calls)],
        cwd=folder,
        env=environment,
        check=False,
        timeout=RUN_LIMIT_S,
    )
    results = json.loads((folder / "out" / "latest" / "results.json").read_text())
    verdict: str = results["run"]["verdict"]
    return verdict


def test_a_good_agent_passes_and_one_that_is_15_ms_late_is_told_from_it(tmp_path: Path) -> None:
    with disturbance():
        assert played(tmp_path / "good", CALLS) == "passed"
        played(tmp_path / "late", CALLS, with_bug("AnswersLate"))
    compare = [sys.executable, "-P", "-m", "callerside.simulator.cli", "compare", "--json"]
    compare += ["--tolerance", "5"]  # a third of what there is to be found
    runs = [str(tmp_path / which / "out/latest") for which in ("good", "late")]
    told = subprocess.run([*compare, *runs], capture_output=True, text=True, check=False)
    assert told.returncode == 1, told.stdout
    worse = [one["name"] for one in json.loads(told.stdout)["changes"] if one["verdict"] == "worse"]
    assert "agent_overhead_ms" in worse


def test_each_planted_bug_has_its_scenario() -> None:
    planted = {
        name
        for name, one in vars(planted_bugs).items()
        if isinstance(one, type) and issubclass(one, planted_bugs.BrokenMachine)
    }
    elsewhere = {"BrokenMachine", "AnswersLate", "SpeaksAfterHangingUp"}
    assert planted - elsewhere == SHOWS.keys()


@pytest.mark.parametrize("bug", SHOWS)
def test_what_is_wrong_is_found(tmp_path: Path, bug: str) -> None:
    with disturbance():
        assert played(tmp_path / "good", 1, scenarios=SHOWS[bug]) == "passed"
        assert played(tmp_path / bug, 1, with_bug(bug), SHOWS[bug]) == "failed"
