"""docs/deploy.md, as it is written: valid settings, and a softphone that is answered."""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from agent_rig import Agent, fake_realtime, free_port, until

from callerside.agent.config.loader import load
from callerside.audio import level_dbfs, resample, to_samples
from callerside.audio_files import read_wav, write_wav
from callerside.speech.synthesis import synthesise

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "deploy.md").read_text()
PHONE_HZ = 8000


def blocks(language: str) -> list[str]:
    """The page's blocks of a language, without the indentation that they have within a list."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", PAGE, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


@pytest.mark.parametrize("number", range(len(blocks("yaml"))))
def test_the_settings_shown_are_valid(tmp_path: Path, number: int) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text(blocks("yaml")[number])
    load(file, env={})


def test_what_the_page_names_exists() -> None:
    root = Path(__file__).resolve().parents[2]
    named = set(re.findall(r"agent/deploy/[\w.-]+", PAGE))
    assert named
    assert [name for name in named if not (root / name).exists()] == []


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    (shown,) = (text for text in blocks("yaml") if "Miller's bakery" in text)
    with fake_realtime(tmp_path) as url:
        settings = yaml.safe_load(shown)
        del settings["http"]  # the page's port may be taken here
        agent = Agent(tmp_path, {**settings, "realtime": {"url": url}})
        yield agent
        agent.close()


def phone_folder(folder: Path) -> Path:
    """The page's softphone, which speaks from a file and listens into one."""
    (config,) = blocks("conf")
    config = config.replace("alsa.so", "aufile.so\nmodule sndfile.so\nsnd_path heard")
    config = config.replace("audio_player    alsa,default\n", "")
    config = config.replace("audio_source    alsa,default", "audio_source aufile,said.wav")
    assert "alsa" not in config
    folder.mkdir()
    (folder / "config").write_text(config.replace("127.0.0.1:5070", f"127.0.0.1:{free_port()}"))
    (account,) = re.findall(r"echo '(.*)' > phone/accounts", PAGE)
    (folder / "accounts").write_text(account + "\n")
    return folder


@pytest.mark.e2e
@pytest.mark.peer
def test_the_softphone_of_the_page_gets_its_answer(agent: Agent, tmp_path: Path) -> None:
    baresip = shutil.which("baresip")
    if baresip is None:
        pytest.skip("baresip is not installed (Debian: apt install baresip-core)")
    (tmp_path / "heard").mkdir()
    question = to_samples(resample(synthesise("When do you open today?"), 24_000, PHONE_HZ))
    said = [np.zeros(4 * PHONE_HZ, "<i2"), question, np.zeros(60 * PHONE_HZ, "<i2")]
    write_wav(tmp_path / "said.wav", np.concatenate(said), PHONE_HZ)
    (dial,) = re.findall(r"-e '(/dial .*)'", PAGE)
    command = dial.replace("127.0.0.1:5060", agent.addresses[0].removeprefix("sip:"))
    with (tmp_path / "phone.log").open("w") as log:
        phone = subprocess.Popen(
            [baresip, "-f", str(phone_folder(tmp_path / "phone")), "-e", command],
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
        )
    assert phone.stdin is not None
    try:
        until(lambda: agent.metric("callerside_turn_seconds_count") == 1, "the question's answer")
        time.sleep(1)  # of the answer, to be heard
        phone.stdin.write(b"bq")
        phone.stdin.flush()
        phone.wait(10)
    finally:
        phone.kill()
        phone.wait()
        phone.stdin.close()
    until(agent.records, "the record")
    (record,) = agent.records()
    assert (record["called"], record["ended"]["by"]) == ("bakery", "caller")
    (path,) = (tmp_path / "heard").glob("*-dec.wav")
    heard = to_samples(read_wav(path, PHONE_HZ))
    assert level_dbfs(heard) > -45
