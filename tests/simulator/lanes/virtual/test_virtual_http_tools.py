"""Requests over HTTP in a call: their keys are seen by nobody but the server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from shop_server import Shop

from callerside.simulator.cli.main import main

SCENARIO = """
version: 2
about: A table is asked for, over HTTP.
realtime:
  replies: [{function_call: {name: ask, arguments: {table: "7"}}}, {say: "Well then."}]
agent:
  tools:
    real: REAL
    http:
      ask:
        description: Whether a table is free.
        parameters: {type: object, properties: {table: {type: string}}, required: [table]}
        url: http://127.0.0.1:PORT/tables/{table}
        headers: {Authorization: "Bearer ${SHOP_KEY}"}
        allow_private: true
steps:
- {expect: greeting}
- {say: Hello}
- {expect: {mark: tool_finished, fields: {name: ask, ok: true}}}
- {expect: reply}
- hang_up
budget: {turn_ms: off, agent_overhead_ms: off}
"""
KEY = "s3cret-of-the-shop"


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    made.close()


def play(shop: Shop, real: str) -> int:
    text = SCENARIO.replace("PORT", str(shop.port)).replace("REAL", real)
    Path("one.yaml").write_text(text)
    return main(["run", "one.yaml", "--lane", "virtual", "--json"])


def test_a_request_is_made_and_its_key_is_nowhere(
    shop: Shop,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOP_KEY", KEY)
    shop.answers = [(200, {"Content-Type": "application/json"}, f'["{KEY}"]'.encode())]
    assert play(shop, "true") == 0
    ((_, path, headers, _),) = shop.asked
    assert (path, headers["Authorization"]) == ("/tables/7", f"Bearer {KEY}")
    written = [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert any(file.name == "timeline.jsonl" for file in written)
    assert not [file for file in written if KEY.encode() in file.read_bytes()]
    assert KEY not in "".join(capfd.readouterr())


def test_a_key_that_is_missing_is_an_error_of_the_call_that_needs_it(
    shop: Shop,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SHOP_KEY", raising=False)
    assert play(shop, "true") == 2
    assert "tools.http.ask: SHOP_KEY is not set in the environment" in capsys.readouterr().out
    assert play(shop, "false") == 1  # nothing is asked, and no key needed
    assert not shop.asked
