"""Programs that are not ours on the other end of calls over IPv6: SIPp, and Debian's baresip."""

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from baresip_program import write_baresip_config
from sip_rig import Phone, pitch_hz, wait_until

from callerside.agent.telephony.interface import (
    AudioReceived,
    CallAnswered,
    CallLeg,
    CallReceived,
    HungUp,
    LegInput,
    MediaReady,
)
from callerside.agent.telephony.options import SipOptions
from callerside.audio import tone
from callerside.audio_files import read_wav
from callerside.simulator.caller.recorder import CALLER_RATE_HZ
from callerside.simulator.cli.main import main

pytestmark = [pytest.mark.e2e, pytest.mark.peer]

HOST, RATE_HZ = "::1", 8_000
TONE_HZ = 440


def needs(program: str) -> pytest.MarkDecorator:
    missing = shutil.which(program) is None
    return pytest.mark.skipif(missing, reason=f"{program} is not installed")


def answer_and_sing(leg: CallLeg, item: LegInput) -> None:
    if isinstance(item, CallReceived):
        leg.answer()
    if isinstance(item, MediaReady):
        leg.play(tone(TONE_HZ, 10_000, leg.sample_rate_hz))


@pytest.fixture(scope="module")
def agent() -> Iterator[Phone]:
    options = SipOptions(listen_host=HOST, sample_rate_hz=RATE_HZ)
    phone = Phone("agent", options, engine="baresip")
    phone.behave(answer_and_sing)
    yield phone
    assert phone.close() == 0


@needs("sipp")
@pytest.mark.parametrize("transport", ["u1", "t1"], ids=["udp", "tcp"])
def test_sipp_places_ten_calls_over_ipv6(agent: Phone, tmp_path: Path, transport: str) -> None:
    begun = agent.calls()
    done = subprocess.run(
        (
            f"sipp -sn uac [{HOST}]:{agent.port} -i {HOST} -t {transport} -s 100"
            " -m 10 -l 3 -r 10 -d 200 -timeout 30s"
        ).split(),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2_000:]
    assert agent.calls() - begun == 10
    for call in range(begun, agent.calls()):
        assert agent.wait_for(call, HungUp).by == "caller"


def test_doctor_looks_at_an_agent_over_ipv6(
    agent: Phone, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", f"sip:100@[{HOST}]:{agent.port}"]) == 0
    told = capsys.readouterr().out
    assert f"[{HOST}]:{agent.port}/udp answers OPTIONS with 200" in told
    assert re.search(r"ok +sound +\d+ packets came from \[::1\]:\d+", told)
    assert "by its RTCP it gets ours" in told


@needs("baresip")
def test_baresip_talks_and_listens_over_ipv6(agent: Phone, tmp_path: Path) -> None:
    write_baresip_config(tmp_path, "g711", host=HOST)
    call = agent.calls()
    with (tmp_path / "baresip.log").open("w") as log:
        dial = f"/dial sip:100@[{HOST}]:{agent.port}"
        program = subprocess.Popen(
            ["baresip", "-f", str(tmp_path), "-e", dial, "-t", "12"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
        )
    try:
        agent.wait_for(call, AudioReceived, count=100)
        agent.do(call, "hang_up")
        agent.wait_for(call, HungUp)
    finally:
        program.terminate()
        program.communicate()
    heard = b"".join(t.input.pcm for t in agent.told(call) if isinstance(t.input, AudioReceived))
    assert pitch_hz(heard[len(heard) // 2 :], RATE_HZ) == pytest.approx(1_000, abs=5)
    (own,) = tmp_path.glob("dump-*-dec.wav")
    assert pitch_hz(read_wav(own, RATE_HZ), RATE_HZ) == pytest.approx(TONE_HZ, abs=5)


@needs("baresip")
def test_baresip_is_called_over_ipv6(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, 0))
        port = int(probe.getsockname()[1])
    write_baresip_config(
        tmp_path, "g711", port, host=HOST, account=f"<sip:bare@[{HOST}]>;regint=0;answermode=auto"
    )
    with (tmp_path / "baresip.log").open("w") as log:
        program = subprocess.Popen(
            ["baresip", "-f", str(tmp_path), "-v"], stdin=subprocess.PIPE, stdout=log, stderr=log
        )
    caller = Phone("caller", SipOptions(listen_host=HOST, sample_rate_hz=RATE_HZ), engine="baresip")
    try:
        wait_until(
            lambda: "ready" in (tmp_path / "baresip.log").read_text().lower(), "baresip to start"
        )
        call = caller.dial(f"sip:bare@[{HOST}]:{port}")
        caller.wait_for(call, CallAnswered)
        caller.wait_for(call, AudioReceived, count=100)
        caller.do(call, "hang_up")
        caller.wait_for(call, HungUp)
        told = [one.input for one in caller.told(call)]
    finally:
        program.terminate()
        program.communicate()
        assert caller.close() == 0
    heard = b"".join(one.pcm for one in told if isinstance(one, AudioReceived))
    assert pitch_hz(heard[len(heard) // 2 :], CALLER_RATE_HZ) == pytest.approx(1_000, abs=5)
