"""agent/deploy/Dockerfile, built as its first lines say, on an image of Debian's own Python.

A registry's `python` image is not asked for: the tests reach Debian's packages and PyPI alone.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_rig import Agent, fake_realtime

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = ROOT / "scenarios" / "first_call.yaml"
DEBIAN = "bookworm"  # its Python is one that pjsua2 has a wheel for
PACKAGES = "python3,python3-venv,ca-certificates"
PYTHON = ("ln", "--symbolic", "python3", "/usr/bin/python")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CERTIFICATES = "/etc/ssl/certs:/etc/ssl/certs:ro"  # this machine's: a mirror may have its own

pytestmark = [pytest.mark.e2e, pytest.mark.peer, pytest.mark.timeout(600)]


class Builder:
    """Buildah, which needs no daemon, with its store in a folder of ours."""

    def __init__(self, folder: Path) -> None:
        store = ["--root", str(folder / "store"), "--runroot", str(folder / "run")]
        self.command = ["buildah", *store]

    def do(self, *arguments: str) -> str:
        """One command; the last word that it prints, where that is a name."""
        return "".join(run(*self.command, *arguments).split()[-1:])


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Builder, str, str]]:
    """The builder, the image that it has built, and a container of it."""
    for program in ("buildah", "mmdebstrap"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (Debian: apt install {program})")
    if os.geteuid() != 0:
        pytest.skip("only root may make a Debian from nothing (mmdebstrap)")
    folder = tmp_path_factory.mktemp("image")
    builder = Builder(folder)
    try:
        debian = str(folder / "debian.tar")
        run("mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", DEBIAN, debian)
        base = builder.do("from", "scratch")
        builder.do("add", base, debian, "/")
        builder.do("run", "--isolation=chroot", base, "--", *PYTHON)
        builder.do("config", "--env", f"PATH={PATH}", base)
        python = builder.do("commit", "--quiet", base)
        dockerfile = str(ROOT / "agent" / "deploy" / "Dockerfile")
        options = ["--isolation=chroot", "--network=host", f"--volume={CERTIFICATES}"]
        options += ["--pull-never", f"--build-arg=PYTHON_IMAGE={python}", f"--file={dockerfile}"]
        built = builder.do("bud", "--quiet", *options, str(ROOT))
        yield builder, built, builder.do("from", "--pull-never", built)
    finally:
        run(*builder.command, "rm", "--all")
        shutil.rmtree(folder)


def test_the_image_answers_a_call(image: tuple[Builder, str, str], tmp_path: Path) -> None:
    builder, _, container = image
    tmp_path.chmod(0o777)  # the container's user is not ours
    within = [*builder.command, "run", "--isolation=chroot", f"--volume={tmp_path}:{tmp_path}"]
    with fake_realtime(tmp_path) as url:
        settings = {"realtime": {"url": url}}
        agent = Agent(tmp_path, settings, runner=[*within, container, "--", "python", "-m"])
        try:
            uri = f"sip:100@{agent.addresses[0].removeprefix('sip:')}"
            done = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "callerside.simulator.cli.main",
                    "run",
                    str(SCENARIO),
                    "--agent",
                    uri,
                ],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            agent.close()
    assert done.returncode == 0, done.stdout + done.stderr
    (record,) = agent.records()
    assert record["ended"]["by"] == "caller"


def test_the_image_starts_the_agent_as_its_own_user(image: tuple[Builder, str, str]) -> None:
    builder, name, container = image
    told = json.loads(run(*builder.command, "inspect", "--type", "image", name))
    config = told["OCIv1"]["config"]
    (entry,) = config["Entrypoint"]
    within = [*builder.command, "run", "--isolation=chroot", container, "--"]
    assert "agent" in run(*within, entry, "--help")
    assert run(*within, "id", "--user", "--name").strip() == config["User"] == "callerside"
