"""Programs that begin as copies: as if each had been started by itself, and none is left behind."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from callerside.simulator.lanes.sip.nursery import Nursery

PROGRAM = """
import json, os, signal, sys, threading

def main():
    print("ready", json.dumps({
        "arguments": sys.argv[1:],
        "environment": dict(os.environ),
        "name": open("/proc/self/comm").read(),
        "threads": threading.active_count(),
        "leads a group": os.getpgid(0) == os.getpid(),
        "handled": [n for n in (1, 15) if callable(signal.getsignal(n))],
        "blocked": [int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
        "held": os.environ["HELD"] in [
            os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
            if os.path.lexists(f"/proc/self/fd/{n}")],
    }))
    for line in sys.stdin:
        print("heard", line.strip(), file=sys.stderr)
        if line == "end\\n":
            return 3
        if line == "fail\\n":
            raise ValueError("as asked")
"""
BEGIN = """
import asyncio, json, os, signal, sys
from callerside.simulator.lanes.sip.nursery import Nursery

held = open("held", "w")
environment = {{"A": "1", "HELD": os.path.abspath("held")}}

async def begin(nursery, *arguments):
    one = await nursery.begin("a name", "program", arguments, environment, 1 << 16)
    return one, await one.stdout.readline()

async def play(nursery):
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, print)
{body}
sys.path.insert(0, "")
nursery = Nursery.made()
asyncio.run(play(nursery))
"""
"""In a process with one thread, as that of a run is: this one has those of its plugins."""


def begun(tmp_path: Path, body: str) -> subprocess.Popen[str]:
    (tmp_path / "program.py").write_text(PROGRAM)
    text = "".join(f"    {line}\n" for line in body.strip().splitlines())
    return subprocess.Popen(
        [sys.executable, "-c", BEGIN.format(body=text)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told(tmp_path: Path, body: str) -> Any:
    """The last line that is printed, as JSON."""
    process = begun(tmp_path, body)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


def test_it_begins_as_if_it_had_been_started_by_itself(tmp_path: Path) -> None:
    body = """
one, ready = await begin(nursery, "--of", "it")
one.stdin.write(b"end\\n")
code = await one.wait()
nursery.close()
logged = (await one.stderr.read()).decode()
print(json.dumps([json.loads(ready.removeprefix(b"ready")), code, logged]))
"""
    ready, code, logged = told(tmp_path, body)
    assert ready == {
        "arguments": ["--of", "it"],
        "environment": {"A": "1", "HELD": str(tmp_path / "held")},
        "name": "a name\n",
        "threads": 1,
        "leads a group": True,
        "handled": [],
        "blocked": [],
        "held": False,
    }
    assert (code, logged) == (3, "heard end\n")


def test_several_at_once_end_each_in_its_way(tmp_path: Path) -> None:
    body = """
three = [one for one, _ in [await begin(nursery) for _ in range(3)]]
three[0].stdin.write(b"fail\\n")
three[1].send_signal(signal.SIGTERM)
three[2].kill()
codes = [await one.wait() for one in three]
nursery.close()
print(json.dumps([codes, (await three[0].stderr.read()).decode()]))
"""
    codes, logged = told(tmp_path, body)
    assert codes == [1, -15, -9]
    assert logged.endswith("ValueError: as asked\n")


def test_one_that_does_not_end_is_killed(tmp_path: Path) -> None:
    body = """
sys.modules[Nursery.__module__]._END_S = 0.2
os.kill(nursery._pid, signal.SIGSTOP)
nursery.close()
try:
    os.kill(nursery._pid, 0)
except ProcessLookupError:
    print(json.dumps("gone"))
"""
    assert told(tmp_path, body) == "gone"


def test_what_a_nursery_has_begun_is_over_for_us_where_that_is_gone(tmp_path: Path) -> None:
    body = """
one, _ = await begin(nursery)
os.kill(nursery._pid, signal.SIGKILL)
code = await one.wait()
try:
    await begin(nursery)
except OSError as error:
    print(json.dumps([code, str(error)]))
"""
    code, error = told(tmp_path, body)
    assert code == -9
    assert error


def test_none_is_left_behind_by_a_run_that_was_killed(tmp_path: Path) -> None:
    body = """
one, _ = await begin(nursery)
print(nursery._pid, one.pid, flush=True)
await asyncio.sleep(60)
"""
    process = begun(tmp_path, body)
    assert process.stdout is not None
    pids = [int(one) for one in process.stdout.readline().split()]
    process.kill()
    process.communicate()
    until = time.monotonic() + 10
    while left := [pid for pid in pids if _is_there(pid)]:
        assert time.monotonic() < until, left
        time.sleep(0.01)


def _is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="there is none elsewhere")
def test_a_process_with_another_thread_has_none() -> None:
    over = threading.Event()
    other = threading.Thread(target=over.wait)
    other.start()
    try:
        assert Nursery.made() is None
    finally:
        over.set()
        other.join()
