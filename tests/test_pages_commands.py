"""Every command of README and docs runs as it is written, in order, in a fresh directory.

What cannot is in `NOT_RUN` with its reason, and printed; the list may get shorter, never longer.
What begins with sudo changes a machine: it is not run either, and needs no reason of its own.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml
from pages import PAGES, ROOT, Block, blocks
from synthetic_call import SyntheticCall

from callerside.audio_files import write_wav
from callerside.fakes.recording.format import FORMAT
from callerside.reports.evidence import EAR, MOUTH

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

CI = "`.ci/run` runs this line"
INSTALLS = "installs; tests/test_distribution.py does it from a wheel"
KEY = "needs a key"
AS_ROOT = "sudo "
"""What begins so needs root, and a machine that may be changed."""
AGENT = "needs an agent of yours; tests/e2e/test_own_account.py runs it against a PBX and baresip"
SOUND = "needs a sound card; tests/e2e/test_sip_peers.py calls with baresip from files"

NOT_RUN = {
    "README.md": {
        "python3 -m venv .venv && .venv/bin/pip install -q nox && .venv/bin/nox -s scenarios": CI,
        "python3 -m venv .venv && .venv/bin/pip install -q nox && .venv/bin/nox -s tests": CI,
        'pip install -e ".[sim]"': INSTALLS,
        "callerside run my_call --agent sip:100@192.0.2.20 --account account.yaml": AGENT,
        "callerside-agent serve --config agent.yaml": KEY,
    },
    "deploy.md": {
        "python3 -m venv callerside-env": INSTALLS,
        "callerside-env/bin/pip install .": INSTALLS,
        "callerside-env/bin/pip install '.[sim]'": INSTALLS,
        "callerside-env/bin/callerside-agent serve --config agent.yaml": KEY,
        "baresip -f phone -e '/dial sip:bakery@127.0.0.1:5060'": SOUND,
        'echo "OPENAI_API_KEY=$OPENAI_API_KEY" | sudo tee /etc/callerside/environment >/dev/null': (
            "needs root, as what begins with sudo"
        ),
    },
    "fake-realtime.md": {
        "pip install '.[sim]'": INSTALLS,
        "fake-realtime record --upstream wss://api.openai.com/v1/realtime --to call.realtime": KEY,
    },
    "your-agent.md": {
        "CALLERSIDE_CALLER_PASSWORD=... callerside run my_call "
        "--agent sip:+4930555@pbx.example.org --account account.yaml": AGENT,
    },
    "virtual-lane.md": {
        "callerside fuzz --seeds 10000 --jobs 2": "takes minutes; `nox -s tests` plays fewer seeds",
    },
}
MOST_NOT_RUN = 15
"""Not to be raised: make the line one that runs."""

TYPED = ("sh", "bash", "console")
SHOWN = [page for page in PAGES if any(one.language in TYPED for one in blocks(page))]
IDS = [page.name for page in SHOWN]


def without_comment(command: str) -> str:
    """What stands behind the command is for who reads it."""
    return command.partition("  #")[0].strip()


def stays(command: str) -> bool:
    """Whether it is a server's, which goes on until somebody ends it."""
    return " serve" in f" {command} "


@contextmanager
def serving(command: str, folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """A server that has said that it is ready."""
    process = subprocess.Popen(
        ["bash", "-c", f"exec {command}" if "=" not in command.split()[0] else command],
        cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith("ready"), command
        drain = threading.Thread(target=process.stdout.read, daemon=True)
        drain.start()
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        process.wait(30)
        drain.join(10)
        process.stdout.close()


def record(folder: Path) -> None:
    """Recordings of calls, as somebody has them."""
    (folder / "recordings").mkdir()
    for number in (1, 2):
        call = SyntheticCall(server=False, noise_dbfs=-60, seed=number).build()
        write_wav(folder / "recordings" / f"{number}.wav", call.recording, call.rate_hz)
    write_wav(folder / "call.wav", call.recording, call.rate_hz)
    write_wav(folder / "caller.wav", call.channel(MOUTH), call.rate_hz)
    write_wav(folder / "agent.wav", call.channel(EAR), call.rate_hz)


def prepared(page: Path, folder: Path) -> dict[str, str]:
    """What somebody who comes so far has: the programs, and what earlier pages made."""
    bin_folder = Path(sys.executable).parent
    (folder / "callerside-env").symlink_to(bin_folder.parent)
    (folder / "phone").mkdir()
    shutil.copytree(ROOT / "scenarios", folder / "scenarios")
    if page.name == "fake-realtime.md":
        header = f'{{"format": "{FORMAT}", "version": 1, "dialect": "ga"}}'
        entry = '{"at": 1.0, "from": "client", "event": {"type": "response.create"}}'
        for name in ("call", "before", "after"):
            (folder / f"{name}.realtime").write_text(f"{header}\n{entry}\n")
        cassette = {"interactions": [{"direction": "sent", "data": {"type": "response.create"}}]}
        (folder / "cassette.yaml").write_text(yaml.safe_dump(cassette))
    if page.name == "recordings.md":
        record(folder)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CALLERSIDE_")}
    return {
        **kept,
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "HOME": str(folder),
        "BROWSER": "true",
        "OPENAI_API_KEY": "none",
    }


def free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return True
    return False


@pytest.mark.parametrize("page", SHOWN, ids=IDS)
def test_what_a_page_says_to_type_works(page: Path, tmp_path: Path) -> None:
    if not (free(9000) and free(5060)):
        pytest.skip("something of this machine's has taken port 9000 or 5060, which the pages name")
    not_run = NOT_RUN.get(page.name, {})
    environment = prepared(page, tmp_path)
    with ExitStack() as servers:
        for block in blocks(page):
            if block.file:
                (tmp_path / block.file).parent.mkdir(exist_ok=True)
                (tmp_path / block.file).write_text(block.text + "\n")
            elif block.language == "python" and "asyncio.run(main())" in block.text:
                run_one(
                    f"{block.name}: python",
                    [sys.executable, "-c", block.text],
                    tmp_path,
                    environment,
                )
            elif block.language in TYPED:
                type_in(block, not_run, tmp_path, environment, servers)


def type_in(
    block: Block,
    not_run: dict[str, str],
    folder: Path,
    environment: dict[str, str],
    servers: ExitStack,
) -> None:
    commands = [without_comment(one) for one in block.commands]
    for number, command in enumerate(commands):
        if command in not_run or command.startswith(AS_ROOT):
            continue
        if stays(command):
            assert number == len(commands) - 1, f"{block.name}: {command} stays in the foreground"
            servers.enter_context(serving(command, folder, environment))
        else:
            run_one(f"{block.name}: {command}", ["bash", "-ec", command], folder, environment)


def run_one(name: str, command: list[str], folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        command, cwd=folder, env=environment, text=True, capture_output=True, check=False,
        stdin=subprocess.DEVNULL, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, f"{name}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def test_the_list_of_what_is_not_run_grows_no_longer(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        for page, commands in NOT_RUN.items():
            for command, reason in commands.items():
                sys.stdout.write(f"\n{page}: not run, {reason}: {command}")
    typed = {
        (page.name, without_comment(command))
        for page in SHOWN
        for block in blocks(page)
        if block.language in TYPED
        for command in block.commands
    }
    listed = {(page, command) for page, commands in NOT_RUN.items() for command in commands}
    assert listed - typed == set(), "these stand in no page any more"
    assert len(listed) <= MOST_NOT_RUN
