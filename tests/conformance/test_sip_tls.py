"""SIP over TLS, with each engine at each end: who is taken, who is not, and what is told of it."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from certificates import Authority, Signed
from sip_rig import Phone, answer_at_once, open_phone

from callerside.agent.telephony.engine import EngineName
from callerside.agent.telephony.interface import (
    AudioReceived,
    CallAnswered,
    HungUp,
    MediaReady,
    TransferProgressed,
    TransferRequested,
)
from callerside.agent.telephony.options import SipAccount, SipOptions, TlsOptions, Verify
from callerside.simulator.cli.main import main

pytestmark = pytest.mark.e2e

ENGINES: tuple[EngineName, ...] = ("pjsua2", "baresip")
HOST = "127.0.0.1"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def agents(authority: Authority) -> Signed:
    return authority.sign("agent")


@pytest.fixture(scope="module")
def callers(authority: Authority) -> Signed:
    return authority.sign("caller")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def tls(
    signed: Signed | None, authority: Authority, port: int = 0, verify: Verify = "everybody"
) -> TlsOptions:
    return TlsOptions(
        port=port,
        certificate=signed.certificate if signed else None,
        key=signed.key if signed else None,
        ca=authority.certificate,
        verify=verify,
    )


class Answering:
    """An agent that takes calls by TLS alone, of this host alone."""

    def __init__(self, phone: Phone, port: int) -> None:
        self.phone, self.port = phone, port


@pytest.fixture(scope="module", params=ENGINES)
def agent(
    request: pytest.FixtureRequest, authority: Authority, agents: Signed
) -> Iterator[Answering]:
    port = free_port()
    options = SipOptions(
        transports=("tls",), allowed_peers=(HOST,), tls=tls(agents, authority, port)
    )
    with open_phone("agent", options, answer_at_once, engine=request.param) as phone:
        yield Answering(phone, port)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("scheme", ["sips", "sip"])
def test_a_call_goes_over_tls(
    agent: Answering, engine: EngineName, scheme: str, authority: Authority, callers: Signed
) -> None:
    account = SipAccount(user="caller", transport="tls", tls=tls(callers, authority))
    with open_phone("caller", SipOptions(account=account), engine=engine) as phone:
        calls = agent.phone.calls()
        call = phone.dial(f"{scheme}:100@{HOST}:{agent.port}")
        phone.wait_for(call, CallAnswered)
        phone.wait_for(call, MediaReady)
        agent.phone.wait_for(calls, MediaReady)
        phone.do(call, "hang_up")
        assert agent.phone.wait_for(calls, HungUp).by == "caller"
        assert phone.wait_for(call, HungUp).by == "caller"
        call = phone.dial(f"{scheme}:100@{HOST}:{agent.port}")
        phone.wait_for(call, MediaReady)
        agent.phone.wait_for(calls + 1, MediaReady)
        agent.phone.do(calls + 1, "hang_up")
        assert phone.wait_for(call, HungUp).by == "agent"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_caller_is_transferred_over_tls_or_the_call_is_refused_before_it_begins(
    agent: Answering, engine: EngineName, authority: Authority, callers: Signed
) -> None:
    """PJSUA2's sees a REFER on the wire alone: whoever wants to be transferred is told so."""
    account = SipAccount(user="caller", transport="tls", tls=tls(callers, authority))
    with open_phone("caller", SipOptions(account=account), engine=engine) as phone:
        calls = agent.phone.calls()
        uri = f"sips:100@{HOST}:{agent.port}"
        call = phone.dial(uri, lets_itself_be_transferred=True)
        if engine == "pjsua2":
            refused = phone.wait_for(call, HungUp)
            assert refused.status == 400
            assert "cannot be transferred over TLS" in refused.reason
            assert agent.phone.calls() == calls
            return
        agent.phone.wait_for(calls, AudioReceived, count=5)
        agent.phone.do(calls, "transfer", "sip:desk@127.0.0.1")
        assert "desk" in phone.wait_for(call, TransferRequested).uri
        assert agent.phone.wait_for(calls, TransferProgressed).status == 200
        phone.do(call, "hang_up")
        agent.phone.wait_for(calls, HungUp)


@pytest.mark.parametrize("engine", ENGINES)
def test_who_has_no_certificate_of_the_trunks_is_not_taken(
    agent: Answering, engine: EngineName, authority: Authority
) -> None:
    account = SipAccount(user="caller", tls=tls(None, authority))
    calls = agent.phone.calls()
    with open_phone("caller", SipOptions(account=account), engine=engine) as phone:
        call = phone.dial(f"sips:100@{HOST}:{agent.port}")
        phone.wait_for(call, HungUp, within_s=40)
    assert agent.phone.calls() == calls


@pytest.mark.parametrize("engine", ENGINES)
def test_an_agent_whose_certificate_is_anothers_is_not_called(
    agent: Answering, engine: EngineName, callers: Signed, tmp_path: Path
) -> None:
    others = Authority(tmp_path, "others")
    account = SipAccount(user="caller", tls=tls(callers, others))
    calls = agent.phone.calls()
    with open_phone("caller", SipOptions(account=account), engine=engine) as phone:
        call = phone.dial(f"sips:100@{HOST}:{agent.port}")
        phone.wait_for(call, HungUp, within_s=40)
    assert agent.phone.calls() == calls


@pytest.mark.parametrize("host", [HOST, "localhost"])
def test_doctor_calls_by_tls(
    agent: Answering,
    authority: Authority,
    callers: Signed,
    host: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = {"ca": authority.certificate, "certificate": callers.certificate, "key": callers.key}
    account = tmp_path / "account.yaml"
    told = {"user": "caller", "tls": {name: str(path) for name, path in files.items()}}
    account.write_text(yaml.dump(told))
    main(["doctor", f"sips:100@{host}:{agent.port}", "--account", str(account)])
    said = "".join(capsys.readouterr())
    is_its_name = host == HOST  # as its certificate has it
    assert (f"{HOST}:{agent.port}/tls answers OPTIONS with 200" in said) == is_its_name
    assert ("certificate verify failed" in said) != is_its_name


def test_strangers_get_no_connection_at_all(agent: Answering) -> None:
    with socket.socket() as stranger:
        stranger.settimeout(0.5)
        stranger.bind(("127.0.0.9", 0))
        with pytest.raises(TimeoutError):
            stranger.connect((HOST, agent.port))


def test_old_tls_is_not_spoken(agent: Answering, callers: Signed) -> None:
    def handshake(version: str) -> str:
        return subprocess.run(
            [
                *("openssl", "s_client", "-connect", f"{HOST}:{agent.port}", version),
                *("-cipher", "DEFAULT:@SECLEVEL=0"),
                *("-cert", str(callers.certificate), "-key", str(callers.key)),
            ],
            input="", capture_output=True, text=True, timeout=20,
        ).stdout  # fmt: skip

    assert "Cipher is ECDHE" in handshake("-tls1_2")
    for old in ("-tls1", "-tls1_1"):
        assert "Cipher is (NONE)" in handshake(old)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["agent", "caller"])
def test_certificates_that_cannot_be_used_are_told_at_the_start(
    engine: EngineName, kind: str, authority: Authority, agents: Signed, callers: Signed
) -> None:
    mixed = Signed(agents.certificate, callers.key)
    options = SipOptions(
        transports=("tls",), allowed_peers=(HOST,), tls=tls(mixed, authority, free_port())
    )
    with pytest.raises(
        RuntimeError, match=r"sip\.tls\.certificate: .*agent\.pem and .*caller\.key"
    ):
        Phone(kind, options, engine=engine)
