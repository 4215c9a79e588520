"""What is seen while calls run: phases on a terminal, one line a call anywhere else."""

import io
import re

from rich.console import Console

from callerside.simulator.runner.progress import (
    LiveProgress,
    PlainProgress,
    make_progress,
    summary_table,
)

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def terminal() -> tuple[Console, io.StringIO]:
    screen = io.StringIO()
    return Console(file=screen, force_terminal=True, width=100, height=40), screen


def test_a_terminal_shows_the_phase_of_each_call_while_it_runs() -> None:
    console, screen = terminal()
    progress = make_progress(console, 2)
    assert isinstance(progress, LiveProgress)
    with progress:
        progress.phase("first_call", "expect greeting")
        progress.phase("barge_in", 'say "Stop."')
        progress.refresh()
        shown = ESCAPE.sub("", screen.getvalue())
        assert re.search(r"first_call +expect greeting", shown)
        assert re.search(r'barge_in +say "Stop."', shown)
        progress.finished("barge_in", "failed", "expected a reply", 3.14)
        progress.refresh()
        shown = ESCAPE.sub("", screen.getvalue())
        # The display is drawn anew by a thread of its own, at any time before this line, too.
        _, over, below = shown.partition("1/2  failed  barge_in  3.1 s  expected a reply")
        assert over
        assert re.search(r"first_call +expect greeting", below)
        assert not re.search(r'barge_in +say "Stop."', below)


def test_what_a_scenario_says_is_never_read_as_markup() -> None:
    console, screen = terminal()
    with make_progress(console, 1) as progress:
        progress.phase("codecs-PCMU", "say [bold]")
        progress.finished("codecs-PCMU", "error", "no [wav] there", 0.0)
    assert "codecs-PCMU" in ESCAPE.sub("", screen.getvalue())
    assert "no [wav] there" in ESCAPE.sub("", screen.getvalue())


def test_a_log_has_a_line_when_a_call_is_over_and_one_when_it_is_judged_and_no_escapes() -> None:
    log = io.StringIO()
    progress = make_progress(Console(file=log, soft_wrap=True), 10)
    assert isinstance(progress, PlainProgress)
    with progress:
        progress.phase("first_call", "expect greeting")
        progress.played("first_call", 1.26)
        progress.finished("first_call", "passed", "every step went as written", 1.26)
    assert log.getvalue().splitlines() == [
        " 1/10  played  first_call  1.3 s",
        " 1/10  passed  first_call  1.3 s  every step went as written",
    ]


def test_a_log_of_one_call_has_one_line() -> None:
    log = io.StringIO()
    with make_progress(Console(file=log, soft_wrap=True), 1) as progress:
        progress.played("first_call", 1.26)
        progress.finished("first_call", "failed", "no reply", 1.26)
    assert log.getvalue() == "1/1  failed  first_call  1.3 s  no reply\n"


def test_a_terminal_shows_how_many_calls_wait_to_be_judged() -> None:
    console, screen = terminal()
    with make_progress(console, 3) as progress:
        for name in "abc":
            progress.phase(name, "expect greeting")
        for name in "ab":
            progress.played(name, 1.0)
        assert isinstance(progress, LiveProgress)
        progress.refresh()
        shown = ESCAPE.sub("", screen.getvalue())
        assert "2 of 3 are over; judged when no call is up" in shown
        progress.finished("a", "passed", "", 1.0)
        progress.refresh()
        assert "1 of 3 are over" in ESCAPE.sub("", screen.getvalue())


def test_the_closing_table_keeps_names_whole() -> None:
    log = io.StringIO()
    name = "hang_up_anywhere-greeting-end-2300ms"
    table = summary_table(
        [(name, "passed", ["1", "2", "3", "4"])], ["a_ms", "b_ms", "c_ms", "d_ms"]
    )
    Console(file=log, width=80).print(table)
    assert name in log.getvalue()
