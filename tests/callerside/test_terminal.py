"""What is printed does nothing to whoever looks at it."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from callerside.terminal import GuardedStream, drawing, one_line, shown

HOSTILE = "a\x1b[2Jb\x9bc\u202ed\x7f\u2066e\u2028f\rg\x00h"
ESCAPED = r"a\x1b[2Jb\x9bc\u202ed\x7f\u2066e\u2028f\rg\x00h"


def test_what_is_a_command_to_a_terminal_is_shown_as_an_escape() -> None:
    assert shown(HOSTILE) == ESCAPED
    assert shown("two\nlines,\ta tab, ü, 中, 🙂") == "two\nlines,\ta tab, ü, 中, 🙂"


def test_a_line_stays_one() -> None:
    assert one_line("a\nb\tc") == r"a\nb\tc"


def test_half_of_a_pair_can_be_printed() -> None:
    assert shown("x\ud800y") == r"x\ud800y"


def test_a_guarded_stream_is_the_stream_in_all_else() -> None:
    inner = io.StringIO()
    guarded = GuardedStream(inner)
    assert guarded.write(HOSTILE) == len(HOSTILE)
    guarded.writelines(["\x1b", "\n"])
    print("x\x07", file=guarded)
    assert inner.getvalue() == ESCAPED + r"\x1b" + "\n" + r"x\x07" + "\n"
    assert not guarded.isatty()
    assert drawing(guarded) is inner  # type: ignore[arg-type]
    assert drawing(inner) is inner


@pytest.mark.parametrize("command", ["list", "check"])
def test_a_scenario_that_somebody_has_sent_clears_no_screen(command: str, tmp_path: Path) -> None:
    file = tmp_path / "call.yaml"
    file.write_text('about: "x\\e[2Jy\\u202Ez"\nsays: "x\\e[2J"\nvoise: "\\e[31m"\n')
    done = subprocess.run(
        [sys.executable, "-m", "callerside.simulator.cli.main", command, str(file)],
        capture_output=True,
        env={**os.environ, "COLUMNS": "200"},
        timeout=60,
        check=False,
    )
    told = (done.stdout + done.stderr).decode()
    assert "call.yaml" in told or "call" in told
    assert not [c for c in told if c in "\x1b\u202e"]
