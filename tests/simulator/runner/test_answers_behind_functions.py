"""An answer behind a function that the agent makes up for is judged as one without a function."""

import json
from pathlib import Path

import pytest

from callerside.simulator.cli.main import main

CALL = """
about: The answer behind the function is of no use, and the agent asks for another.
version: 2
agent: {{tools: {{stub: {{opening_hours: {{returns: nine}}}}}}}}
realtime:
  greeting: {{say: "Hello."}}
  replies:
  - {{function_call: {{name: opening_hours}}}}
  - {shape}
  - {{say: "We open at nine."}}
steps:
- {{expect: greeting}}
- {{say: "When do you open?"}}
- {{expect: reply, within: 20s}}
- {{pause: 5s}}
- hang_up
"""


@pytest.mark.parametrize(
    "shape",
    [
        '{text: "nine"}',
        "{failed: {code: server_error}}",
        "{failed: {code: inference_rate_limit_exceeded}}",
        "{sends_only: nothing}",
        "{function_call: {name: opening_hours, raw_arguments: '{'}}",
        '{say: "Yes, we open at nine.", incomplete: {after_ms: 300, reason: max_output_tokens}}',
    ],
)
def test_what_the_server_owed_is_not_the_agents(tmp_path: Path, shape: str) -> None:
    """It has to ask again, and to wait as long as it was told."""
    (tmp_path / "a.yaml").write_text(CALL.format(shape=shape))
    main(["run", "--lane", "virtual", str(tmp_path / "a.yaml"), "--out", str(tmp_path / "out")])
    (row,) = json.loads((tmp_path / "out/latest/results.json").read_text())["scenarios"]
    assert (row["verdict"], row["detail"]) == ("passed", "every step went as written")
