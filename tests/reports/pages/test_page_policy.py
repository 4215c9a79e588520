"""What a page may do, where something in it should ever not be escaped: nothing but its own."""

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pytest
from synthetic_call import SyntheticCall

from callerside.reports.formats.write import write_run
from callerside.reports.verdict.results import RunInfo


@pytest.mark.parametrize("page", ["index.html", "calls/talk/call.html"])
def test_it_runs_its_own_scripts_and_loads_nothing(tmp_path: Path, page: str) -> None:
    call = SyntheticCall(name="talk", info={"detail": "<script>alert(1)</script>"}).build()
    write_run(tmp_path, RunInfo(started_at="2026-08-01T12:00:00+00:00"), [call])
    html = (tmp_path / page).read_text()
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', html)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    hashes = [b64encode(sha256(one.encode()).digest()).decode() for one in scripts]
    assert rules["script-src"].split() == [f"'sha256-{one}'" for one in hashes]
    assert html.index("Content-Security-Policy") < html.index("<script")
