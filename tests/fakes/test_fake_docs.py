"""What docs/fake-realtime.md says is so."""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from callerside.fakes.recording.format import read_recording
from callerside.fakes.script.loader import load_script
from callerside.fakes.script.model import Timing, Vad
from callerside.fakes.script.reply import Reply
from callerside.fakes.server.server import FakeRealtime

PAGE = (Path(__file__).parents[2] / "docs" / "fake-realtime.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


async def test_the_example_for_the_official_client_runs() -> None:
    async with FakeRealtime() as server:
        example = blocks("python")[0].replace("ws://127.0.0.1:9000/v1", server.base_url)
        run = await asyncio.create_subprocess_exec(
            sys.executable, "-c", example, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        output, errors = await asyncio.wait_for(run.communicate(), 60)
    lines = output.decode().split()
    assert run.returncode == 0, errors.decode()
    assert lines[0] == "session.created"
    assert lines[-1] == "response.done"


def test_the_script_is_a_script(tmp_path: Path) -> None:
    example, shapes, mcp = blocks("yaml")
    (tmp_path / "script.yaml").write_text(example)
    (tmp_path / "sounds").mkdir()
    (tmp_path / "sounds" / "laugh.wav").touch()
    script = load_script(tmp_path / "script.yaml")
    assert script.timing == Timing()
    assert len(script.replies) == 3
    (tmp_path / "script.yaml").write_text(shapes)
    assert [len(reply.parts) for reply in load_script(tmp_path / "script.yaml").replies] == [
        *(3, 1, 1, 0, 0, 1, 1, 3)
    ]
    (tmp_path / "script.yaml").write_text(mcp)
    assert [tool.name for tool in load_script(tmp_path / "script.yaml").mcp["shop"].tools] == [
        "find_order",
        "cancel_order",
    ]


def rows(header: str) -> dict[str, list[str]]:
    """A table's rows by the names in their first column."""
    table = PAGE.split(header)[1].split("\n\n")[0]
    cells = [line.strip("|").split("|") for line in table.splitlines()[2:]]
    return {
        name: [cell.strip() for cell in row[1:]]
        for row in cells
        for name in re.findall(r"`(\w+)`", row[0])
    }


def test_all_keys_of_a_reply_are_listed() -> None:
    assert set(rows("| key of a reply | meaning |")) == set(Reply.model_fields)


def test_all_timings_are_listed_with_their_defaults() -> None:
    listed = rows("| key of `timing` | default | meaning |")
    assert set(listed) == set(Timing.model_fields)
    for name, field in Timing.model_fields.items():
        assert f"{field.default:g}" in listed[name][0].split(", "), name


def test_all_keys_of_the_ear_are_listed() -> None:
    listed = rows("| key of `vad` | default | meaning |")
    assert set(listed) == set(Vad.model_fields)


def test_the_recording_is_a_recording(tmp_path: Path) -> None:
    header, entry, _reference = blocks("json")
    path = tmp_path / "example.realtime"
    path.write_text(json.dumps(json.loads(header)) + "\n" + entry)
    assert read_recording(path).entries[0].type == "response.create"


@pytest.mark.parametrize("block", blocks("python")[1:])
def test_python_compiles(block: str) -> None:
    compile("async def example():\n" + re.sub("^", "    ", block, flags=re.MULTILINE), "x", "exec")
