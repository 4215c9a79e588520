"""A registrar that is Kamailio, over TLS alone: it knows us, passes calls on, and forgets us."""

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from agent_rig import free_port, until
from certificates import Authority, Signed
from sip_rig import Phone, answer_at_once, open_phone, wait_until

from callerside.agent.telephony.engine import PROFILES, EngineName
from callerside.agent.telephony.interface import HungUp, MediaReady
from callerside.agent.telephony.options import Registration, SipOptions, TlsOptions

pytestmark = [pytest.mark.e2e, pytest.mark.peer]

HOST = "127.0.0.1"
USER, SECRET = "200", "correct horse"
_CONFIG = """#!KAMAILIO
debug=2
log_stderror=yes
children=2
tcp_children=2
auto_aliases=no
enable_tls=yes
listen=tls:{host}:{tls}
listen=udp:{host}:{udp}
loadmodule "tls.so"
loadmodule "kex.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
modparam("tls", "config", "{folder}/tls.cfg")
request_route {{
    if (is_method("REGISTER")) {{
        if ($proto != "tls") {{
            sl_send_reply("403", "Not Here");
        }} else if (!pv_www_authenticate("pbx", "{secret}", "0")) {{
            www_challenge("pbx", "0");
        }} else {{
            save("location");
        }}
        exit;
    }}
    if (has_totag()) {{
        if (loose_route()) {{
            t_relay();
        }}
        exit;
    }}
    if (is_method("CANCEL")) {{
        t_relay();
        exit;
    }}
    record_route();
    if (!lookup("location")) {{
        sl_send_reply("404", "Not Registered");
        exit;
    }}
    t_relay();
}}
"""
_TLS = """[server:default]
method = TLSv1.2+
verify_certificate = yes
require_certificate = yes
private_key = {key}
certificate = {certificate}
ca_list = {ca}
[client:default]
method = TLSv1.2+
verify_certificate = yes
private_key = {key}
certificate = {certificate}
ca_list = {ca}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pbx:
    """Kamailio, and what is needed to be its subscriber."""

    tls_port: int
    udp_port: int
    authority: Authority
    agents: Signed

    def options(self, password: str = SECRET) -> SipOptions:
        """Of an agent that registers here, and takes calls by TLS."""
        return SipOptions(
            transports=("tls",),
            allowed_peers=(HOST,),
            tls=TlsOptions(
                port=free_port(),
                certificate=self.agents.certificate,
                key=self.agents.key,
                ca=self.authority.certificate,
            ),
            registration=Registration(
                registrar=f"{HOST}:{self.tls_port}",
                user=USER,
                password=password,
                transport="tls",
                retry_s=1,
            ),
        )


@pytest.fixture(scope="module")
def pbx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pbx]:
    program = shutil.which("kamailio", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if program is None:
        pytest.skip("needs kamailio (Debian: apt install kamailio kamailio-tls-modules)")
    folder = tmp_path_factory.mktemp("pbx")
    authority = Authority(folder / "certificates")
    own, agents = authority.sign("pbx"), authority.sign("agent")
    found = Pbx(tls_port=free_port(), udp_port=free_port(), authority=authority, agents=agents)
    config = folder / "kamailio.cfg"
    config.write_text(
        _CONFIG.format(
            host=HOST, tls=found.tls_port, udp=found.udp_port, folder=folder, secret=SECRET
        )
    )
    (folder / "tls.cfg").write_text(
        _TLS.format(key=own.key, certificate=own.certificate, ca=authority.certificate)
    )
    with (folder / "kamailio.log").open("w") as log:
        process = subprocess.Popen(
            [
                *(program, "-f", str(config), "-Y", str(folder), "-DD", "-E", "-m", "16"),
                *("-M", "4", "-P", str(folder / "kamailio.pid")),
            ],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        until(lambda: listens(found.tls_port), "kamailio listens")
        yield found
    finally:
        process.terminate()
        process.wait(20)


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


@pytest.mark.parametrize("engine", PROFILES)
def test_registered_by_tls_called_and_gone(pbx: Pbx, engine: EngineName) -> None:
    uri = f"sip:{USER}@{HOST}:{pbx.udp_port}"
    with open_phone("caller", SipOptions()) as caller:
        assert refused(caller, uri) == 404, "nobody has registered yet"
        with open_phone("agent", pbx.options(), answer_at_once, engine=engine) as agent:
            wait_until(lambda: agent.registered() is True, "the registration")
            call = caller.dial(uri)
            caller.wait_for(call, MediaReady)
            agent.wait_for(0, MediaReady)
            caller.do(call, "hang_up")
            assert agent.wait_for(0, HungUp).by == "caller"
            call = caller.dial(uri)
            caller.wait_for(call, MediaReady)
            agent.wait_for(1, MediaReady)
            agent.do(1, "hang_up")
            assert caller.wait_for(call, HungUp).by == "agent"
        assert refused(caller, uri) == 404, "it has said goodbye"


@pytest.mark.parametrize("engine", PROFILES)
def test_a_wrong_password_is_not_taken_by_tls_either(pbx: Pbx, engine: EngineName) -> None:
    with open_phone("agent", pbx.options("wrong horse"), engine=engine) as agent:
        wait_until(lambda: agent.registered() is False, "the refusal")


def refused(caller: Phone, uri: str) -> int:
    """What a call is answered that is not taken."""
    return caller.wait_for(caller.dial(uri), HungUp).status
