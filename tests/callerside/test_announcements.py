"""Lines into a real pipe, whose reader is gone or asleep."""

import contextlib
import os
import select
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from callerside.announcements import Announcements

pytestmark = pytest.mark.timeout(20)  # a write that waits would wait for ever

LINE = b"closed out/hotel.jsonl\n"


class Pipe:
    """Standard output, and its other end."""

    def __init__(self) -> None:
        self.reader, writer = os.pipe()
        self.output = os.fdopen(writer, "w")
        self.lost: list[str] = []
        self.announcements = Announcements(self.lost.append)

    def announce(self, timeline: Path = Path("out/hotel.jsonl")) -> None:
        with contextlib.redirect_stdout(self.output):
            self.announcements.closed(timeline)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.output.close()
    if pipe.reader >= 0:
        os.close(pipe.reader)


def test_a_line_is_there_at_once(pipe: Pipe) -> None:
    pipe.announce()
    assert os.read(pipe.reader, 1000) == LINE
    assert pipe.lost == []


def test_without_a_reader_nothing_happens_but_one_word_about_it(pipe: Pipe) -> None:
    os.close(pipe.reader)
    pipe.reader = -1
    pipe.announce()
    pipe.announce()
    assert pipe.lost == ["Broken pipe"]


def test_a_full_pipe_holds_nobody_up_and_whole_lines(pipe: Pipe) -> None:
    """What comes after the reader has woken up is written again."""
    while not pipe.lost:
        pipe.announce()
    pipe.announce()
    (why,) = pipe.lost
    assert "no more fits" in why
    os.set_blocking(pipe.reader, False)
    taken = os.read(pipe.reader, 1 << 20)
    assert set(taken.splitlines(keepends=True)) == {LINE}
    pipe.announce()
    assert os.read(pipe.reader, 1 << 20) == LINE


def test_a_line_that_could_be_torn_is_lost(pipe: Pipe) -> None:
    pipe.announce(Path("x" * 5000))
    assert pipe.lost == [f"a line of more than {select.PIPE_BUF} bytes"]


def test_without_standard_output_nothing_is_written_elsewhere(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    pipe.announcements.closed(Path("out/hotel.jsonl"))
    assert pipe.lost == ["standard output is closed"]
