"""What the policy `local` saves over a server that waits for a second of silence: judged here.

The two cells of scenarios/turn_policies.yaml are the same call but for who ends the turn.
"""

import json
from pathlib import Path

from callerside.simulator.cli.main import main

SCENARIO = Path(__file__).parents[3] / "scenarios" / "turn_policies.yaml"
SERVER_SILENCE_MS, OWN_SILENCE_MS = 1000, 400
MIN_SAVED_MS = 400
"""Of the 600 between the two silences our ear takes up to 200 to be sure that the voice has died
away: it hears the last sound of a word longer than the server does."""


def test_our_own_ears_save_most_of_the_difference_between_the_silences(tmp_path: Path) -> None:
    assert main(["run", "--lane", "virtual", str(SCENARIO), "--out", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "latest" / "results.json").read_text())
    server, local = (
        [metric["value"] for metric in scenario["metrics"] if metric["name"] == "turn_ms"]
        for scenario in results["scenarios"]
    )
    assert [scenario["name"] for scenario in results["scenarios"]] == [
        "turn_policies-server",
        "turn_policies-local",
    ]
    assert len(server) == len(local) == 2
    for by_server, by_us in zip(server, local, strict=True):
        assert by_server > SERVER_SILENCE_MS
        saved_ms = by_server - by_us
        assert MIN_SAVED_MS <= saved_ms <= SERVER_SILENCE_MS - OWN_SILENCE_MS
