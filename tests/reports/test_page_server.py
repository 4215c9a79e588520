"""A report over HTTP: what is served, what is made at a click, and what is refused."""

import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from synthetic_call import SyntheticCall, TurnTruth

from callerside.child_processes import command
from callerside.reports import page_server
from callerside.reports.evidence import load_evidence
from callerside.reports.formats.rebuild import write_page_of
from callerside.reports.formats.write import write_judged
from callerside.reports.page_server import HOST, PageServer
from callerside.reports.verdict.call_result import judge_call, judge_together
from callerside.reports.verdict.results import RunInfo

SLUGS = ("talk", "talk-2", "talk-3")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of three calls, of which the first alone has a page."""
    calls = [
        SyntheticCall(
            name="talk",
            seed=number,
            turns=[TurnTruth(downlink_ms=15)],
            info={"repeat": number, "limits": {"turn_ms": {"p95": 5000}}},
        ).build()
        for number in (1, 2, 3)
    ]
    judged = judge_together([judge_call(one) for one in calls])
    folder = tmp_path / "run"
    write_judged(folder, RunInfo(started_at="2026-08-01T12:00:00+00:00"), judged, pages={"talk"})
    return folder


@contextmanager
def serving(directory: Path) -> Iterator[PageServer]:
    with PageServer(directory) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(
    server: PageServer, path: str, method: str = "GET", **headers: str
) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection(HOST, server.server_address[1], timeout=20)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def test_a_page_is_made_at_a_click_and_stays(run: Path) -> None:
    page = run / "calls/talk-2/call.html"
    assert not page.exists()
    with serving(run) as server:
        status, index, _ = ask(server, "/")
        assert status == 200
        assert b'<body data-served="yes">' in index
        assert b'href="calls/talk-2/call.html"' in index
        status, made, headers = ask(server, "/calls/talk-2/call.html")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert made == page.read_bytes()
    assert b'<body data-served="no">' in (run / "index.html").read_bytes(), (
        "on disk it is as it was"
    )


def test_a_page_made_later_is_the_one_that_the_run_would_have_written(
    run: Path, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    judged = judge_together([judge_call(load_evidence(run / "calls" / one)) for one in SLUGS])
    write_judged(whole, RunInfo(started_at="2026-08-01T12:00:00+00:00"), judged)
    for slug in SLUGS[1:]:
        write_page_of(run, slug)
        made, wanted = ((one / f"calls/{slug}/call.html").read_text() for one in (run, whole))
        assert made == wanted
    assert "p95" in (run / "calls/talk-3/call.html").read_text(), "of all three, with the last"


def test_nothing_but_the_report_is_served(run: Path) -> None:
    (run.parent / "secret.txt").write_text("secret")
    (run / "link.txt").symlink_to(run.parent / "secret.txt")
    (run / ".hidden").write_text("secret")
    paths = [
        "/../secret.txt", "/%2e%2e/secret.txt", "//etc/passwd", "/link.txt", "/.hidden", "/nothing",
        "/calls/none/call.html", "/calls/call.html", "/calls/talk/attempt-1/call.html", "/a%00b",
        "/" + "x" * 5000, "/calls/", "/calls/%2e%2e/%2e%2e/secret.txt",
    ]  # fmt: skip
    with serving(run) as server:
        assert {path: ask(server, path)[0] for path in paths} == dict.fromkeys(paths, 404)
        assert ask(server, "/", Host="evil.example")[0] == 403
        assert ask(server, "/", Host=f"localhost:{server.server_address[1]}")[0] == 200
        assert ask(server, "/", "POST")[0] == 501
    assert server.server_address[0] == "127.0.0.1"


def test_sound_is_served_from_where_it_is_wanted(run: Path) -> None:
    sound = (run / "calls/talk/call.flac").read_bytes()
    path = "/calls/talk/call.flac"
    with serving(run) as server:
        assert ask(server, path)[1] == sound
        for asked, part in (
            ("bytes=100-", sound[100:]),
            ("bytes=0-9", sound[:10]),
            ("bytes=-7", sound[-7:]),
        ):
            status, body, headers = ask(server, path, Range=asked)
            assert (status, body) == (206, part)
            assert headers["Content-Range"].endswith(f"/{len(sound)}")
        for odd in ("bytes=9-1", "bytes=-", "lines=1-2", f"bytes={len(sound)}-"):
            assert ask(server, path, Range=odd)[:2] == (200, sound)
        status, body, headers = ask(server, path, "HEAD")
        assert (status, body, headers["Content-Length"]) == (200, b"", str(len(sound)))


def test_evidence_that_is_damaged_is_told_and_the_others_are_served(run: Path) -> None:
    (run / "calls/talk-2/timeline.jsonl").write_text("no mark\n")
    with serving(run) as server:
        status, said, _ = ask(server, "/calls/talk-2/call.html")
        assert status == 500
        assert b"timeline.jsonl" in said
        assert ask(server, "/calls/talk/call.html")[0] == 200


def test_who_comes_beyond_the_bound_is_told_to_come_again(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_server, "MOST_CONNECTIONS", 2)
    with serving(run) as server:
        held = [socket.create_connection((HOST, server.server_address[1])) for _ in range(2)]
        time.sleep(0.2)
        assert ask(server, "/")[0] == 503
        for one in held:
            one.close()
        deadline = time.monotonic() + 10
        while (status := ask(server, "/")[0]) != 200 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert status == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_where_it_is_and_ends_with_ctrl_c(run: Path, number: int) -> None:
    before = (run / "results.json").stat().st_mtime_ns
    line = command("callerside.simulator.cli.main", "report", str(run), "--serve")
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as it:
        assert it.stdout is not None
        port = int(it.stdout.readline().split("/")[2].rpartition(":")[2])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/results.json")
        assert json.loads(connection.getresponse().read())["run"]["verdict"] == "passed"
        connection.close()
        os.kill(it.pid, number)
        assert it.wait(timeout=20) == 130
    assert (run / "results.json").stat().st_mtime_ns == before, "nothing was measured anew"


def test_a_port_in_use_is_told(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = command(
            "callerside.simulator.cli.main", "report", str(run), "--serve", "--port", str(port)
        )
        assert subprocess.run(line, check=False).returncode == 2
    assert f"port {port}: Address already in use" in capfd.readouterr().err


def test_a_file_that_cannot_be_read_is_told(run: Path) -> None:
    (run / "odd.txt").mkdir()
    (run / "odd.txt" / "index.html").mkdir()
    with serving(run) as server:
        status, said, _ = ask(server, "/odd.txt/")
        assert (status, said.startswith(b"this file cannot be read: ")) == (500, True)
        assert ask(server, "/index.html/page.html")[0] == 404


def test_a_fault_of_ours_is_no_secret_and_a_browser_that_leaves_is(
    run: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    raised: list[Exception] = [ZeroDivisionError("ours"), BrokenPipeError("theirs")]

    def fails(*_: object, **__: object) -> None:
        raise raised.pop(0)

    monkeypatch.setattr(page_server._Handler, "_send_text", fails)
    with serving(run) as server:
        for _ in range(2):
            with pytest.raises(http.client.HTTPException):
                ask(server, "/")
    told = capfd.readouterr().err
    assert "ZeroDivisionError: ours" in told
    assert "theirs" not in told
