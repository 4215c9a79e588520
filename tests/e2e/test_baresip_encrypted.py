"""Debian's baresip calls by TLS, with SRTP that it insists on: another's stack and OpenSSL."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from agent_rig import free_port
from baresip_program import write_baresip_config
from certificates import Authority
from sip_rig import Phone, open_phone

from callerside.agent.telephony.engine import EngineName
from callerside.agent.telephony.interface import (
    AudioReceived,
    CallLeg,
    CallReceived,
    HungUp,
    LegInput,
    MediaReady,
)
from callerside.agent.telephony.options import SipOptions, TlsOptions
from callerside.audio import level_dbfs, to_samples, tone
from callerside.audio_files import read_wav

pytestmark = [pytest.mark.e2e, pytest.mark.peer]

ENGINES: tuple[EngineName, ...] = ("pjsua2", "baresip")
HOST, RATE_HZ = "127.0.0.1", 8_000
ITS_TONE_HZ, OUR_TONE_HZ = 1_000, 440


def answer_and_sing(leg: CallLeg, item: LegInput) -> None:
    if isinstance(item, CallReceived):
        leg.answer()
    if isinstance(item, MediaReady):
        leg.play(tone(OUR_TONE_HZ, 10_000, leg.sample_rate_hz))


def loudest_hz(pcm: bytes) -> float:
    samples = to_samples(pcm).astype(float)
    assert level_dbfs(samples) > -40
    return float(np.abs(np.fft.rfft(samples)).argmax() * RATE_HZ / len(samples))


@contextmanager
def calling(folder: Path, uri: str) -> Iterator["subprocess.Popen[bytes]"]:
    program = shutil.which("baresip")
    if program is None:
        pytest.skip("baresip is not installed (Debian: apt install baresip-core)")
    command = [program, "-f", str(folder), "-e", f"/dial {uri}", "-t", "20"]
    with (folder / "baresip.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize("encryption", ["srtp-mand", "srtp"])
@pytest.mark.parametrize("engine", ENGINES)
def test_it_talks_and_listens(engine: EngineName, encryption: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "certificates")
    ours, its = authority.sign("agent"), authority.sign("baresip")
    whole = tmp_path / "baresip.pem"
    whole.write_bytes(its.certificate.read_bytes() + its.key.read_bytes())
    port = free_port()
    tls = TlsOptions(
        port=port, certificate=ours.certificate, key=ours.key, ca=authority.certificate
    )
    options = SipOptions(
        transports=("tls",),
        allowed_peers=(HOST,),
        tls=tls,
        srtp="required",
        sample_rate_hz=RATE_HZ,
    )
    write_baresip_config(
        tmp_path,
        "g711",
        more=f"module srtp.so\nsip_certificate {whole}\nsip_cafile {authority.certificate}\n"
        "sip_verify_server yes\n",
        account=f"<sip:bare@{HOST};transport=tls>;regint=0;mediaenc={encryption}",
    )
    with open_phone("agent", options, answer_and_sing, engine=engine) as agent:
        with calling(tmp_path, f"sip:100@{HOST}:{port};transport=tls"):
            wait_for_audio(agent, tmp_path)
            agent.do(0, "hang_up")
            agent.wait_for(0, HungUp)
        told = (one.input for one in agent.told(0) if isinstance(one.input, AudioReceived))
        assert loudest_hz(b"".join(one.pcm for one in told)) == pytest.approx(ITS_TONE_HZ, abs=10)
    (heard,) = tmp_path.glob("dump-*-dec.wav")
    assert loudest_hz(read_wav(heard, RATE_HZ)) == pytest.approx(OUR_TONE_HZ, abs=10)


def wait_for_audio(agent: Phone, folder: Path) -> None:
    try:
        agent.wait_for(0, AudioReceived, count=100)
    except TimeoutError as error:
        raise AssertionError((folder / "baresip.log").read_text()[-3_000:]) from error
