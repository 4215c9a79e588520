"""The caller's own SIP account: `callerside run --agent --account`, by way of a real PBX.

Kamailio wants a digest for each REGISTER and INVITE, takes no call from who is not registered, and
sends the others on to an agent. Where the agent is a program of baresip's, nothing of it is ours.
"""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
import warm_processes
import yaml
from agent_rig import Agent, fake_realtime, free_port, until
from baresip_program import write_baresip_config

from callerside.agent.telephony.engine import PROFILES
from callerside.audio import to_samples
from callerside.audio_files import read_wav, write_wav
from callerside.simulator.cli.main import main

pytestmark = [pytest.mark.e2e, pytest.mark.peer]

SECRET = "correct horse"  # of a PBX that lives for one test

SCENARIO = """\
version: 2
about: A question to an agent behind a PBX.
steps:
  - expect: beep
  - expect: greeting
  - say: "What time do you open?"
  - expect: reply
  - hang_up
budget: {answer_ms: off, beep_ms: off, greeting_ms: off, turn_ms: off, gap_ms: off}
"""

KAMAILIO = """\
#!KAMAILIO
listen=udp:127.0.0.1:{port}
listen=tcp:127.0.0.1:{port}
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/"
children=1
log_stderror=yes
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "xlog.so"
modparam("usrloc", "db_mode", 0)
request_route {{
    if (is_method("REGISTER")) {{
        if (!pv_www_authenticate("pbx", "{secret}", "0")) {{
            www_challenge("pbx", "0");
            exit;
        }}
        if ($tu != "sip:2001@pbx.test" || $fu != $tu || $tn != $null || $fn != $null) {{
            sl_send_reply("403", "Forbidden");
            exit;
        }}
        $var(who) = $(ct{{nameaddr.uri}}{{uri.user}});
        xlog("L_ERR", "took REGISTER of $au as $var(who) route $hdr(Route)\\n");
        save("location");
        exit;
    }}
    if (is_method("INVITE") && !has_totag()) {{
        if (!pv_proxy_authenticate("pbx", "{secret}", "0")) {{
            proxy_challenge("pbx", "0");
            exit;
        }}
        if ($au != "2001-login" || !reg_fetch_contacts("location", "sip:2001@pbx.test", "us")) {{
            sl_send_reply("403", "Who are you");
            exit;
        }}
        $var(who) = $fn + " <" + $fu + "> over " + $proto + " customer " + $hdr(X-Customer);
        xlog("L_ERR", "took INVITE from $var(who) route $hdr(Route)\\n");
        consume_credentials();
        record_route();
        $ru = "sip:100@127.0.0.1:{agent}";
    }} else {{
        loose_route();
    }}
    t_relay();
}}
"""

ACCOUNT = {
    "version": 2,
    "user": "2001",
    "auth_user": "2001-login",
    "domain": "pbx.test",
    "realm": "pbx",
    "caller_id": "+493012345",
    "display_name": "A test of ours",
    "headers": {"X-Customer": "4711"},
}


class Pbx:
    """A Kamailio that asks everybody who they are."""

    def __init__(self, folder: Path, agent_port: int) -> None:
        program = shutil.which("kamailio", path="/usr/sbin:/usr/local/sbin:/usr/bin")
        if program is None:
            pytest.skip("kamailio is not installed (Debian: apt install kamailio)")
        self.port = free_port()
        config = folder / "kamailio.cfg"
        config.write_text(KAMAILIO.format(port=self.port, secret=SECRET, agent=agent_port))
        self._log = folder / "kamailio.log"
        self._seen = 0
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [program, "-f", str(config), "-DD", "-E", "-m", "16", "-M", "4", "-Y", str(folder)],
                stdout=log,
                stderr=log,
            )
        until(self._connects, "kamailio starts")

    def _connects(self) -> bool:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port)),
        ):
            return True
        return False

    def forget(self) -> None:
        """What is in its log so far is of another test."""
        self._seen = len(self._log.read_text())

    def log(self) -> str:
        """Of this test, so far."""
        return self._log.read_text()[self._seen :]

    def took(self) -> list[str]:
        """What it let pass."""
        return [line.partition("took ")[2] for line in self.log().splitlines() if "took " in line]

    def close(self) -> None:
        """For good."""
        self._process.terminate()
        self._process.wait(20)


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    folder = tmp_path_factory.mktemp("agent")
    with fake_realtime(folder) as url:
        agent = Agent(folder, {"realtime": {"url": url}})
        yield agent
        agent.close()


@pytest.fixture(scope="module")
def one_pbx(tmp_path_factory: pytest.TempPathFactory, agent: Agent) -> Iterator[Pbx]:
    pbx = Pbx(tmp_path_factory.mktemp("pbx"), int(agent.addresses[0].rpartition(":")[2]))
    yield pbx
    pbx.close()


@pytest.fixture
def pbx(one_pbx: Pbx) -> Pbx:
    """Nobody is registered there: whoever was has said goodbye."""
    one_pbx.forget()
    return one_pbx


def run(
    folder: Path,
    uri: str,
    account: dict[str, object],
    *more: str,
    scenario: str = SCENARIO,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    (folder / "ask.yaml").write_text(scenario)
    (folder / "account.yaml").write_text(yaml.safe_dump(account))
    given = ["run", "ask.yaml", "--agent", uri, "--account", "account.yaml", *more]
    return warm_processes.run(
        "callerside.simulator.cli.main",
        *given,
        folder=folder,
        environment={**os.environ, "CALLERSIDE_CALLER_PASSWORD": SECRET, **environment},
        timeout=240,
    )


@pytest.mark.parametrize(("engine", "transport"), [*product(PROFILES, ["udp", "tcp"])])
def test_registers_and_calls_as_whom_the_account_says(
    tmp_path: Path, pbx: Pbx, engine: str, transport: str
) -> None:
    account = {
        **ACCOUNT,
        "registrar": f"127.0.0.1:{pbx.port}",
        "outbound_proxy": f"127.0.0.1:{pbx.port}",
        "transport": transport,
    }
    done = run(tmp_path, "sip:100@pbx.test", account, "--caller-engine", engine)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{pbx.log()}"
    took = pbx.took()
    suffix = ";transport=tcp" if transport == "tcp" else ""
    route = f"route <sip:127.0.0.1:{pbx.port}{suffix};lr>"
    assert took[0] == f"REGISTER of 2001-login as 2001 {route}"
    who = '"A test of ours" <sip:+493012345@pbx.test>'
    assert [line for line in took if line.startswith("INVITE")] == [
        f"INVITE from {who} over {transport} customer 4711 {route}"
    ]
    assert took[-1].startswith("REGISTER"), "it says goodbye"
    results = json.loads((tmp_path / "out" / "latest" / "results.json").read_text())
    measured = {one["name"] for one in results["scenarios"][0]["metrics"]}
    assert {"answer_ms", "greeting_ms", "turn_ms"} <= measured
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_symlink() or path.is_dir() or SECRET.encode() not in path.read_bytes()


def test_baresip_is_called_with_nothing_of_ours_at_the_other_end(tmp_path: Path) -> None:
    if shutil.which("baresip") is None:
        pytest.skip("baresip is not installed (Debian: apt install baresip-core)")
    port = free_port()
    write_baresip_config(tmp_path, "g711", port)
    said = ["say", "Good morning, this is the bakery.", "-o", str(tmp_path / "said.wav")]
    assert main(said) == 0
    speech = read_wav(tmp_path / "said.wav", 8_000)
    silence = b"\0\0" * 8_000
    write_wav(tmp_path / "tone.wav", to_samples(silence + speech + 10 * silence), 8_000)
    (tmp_path / "accounts").write_text("<sip:100@127.0.0.1>;answermode=auto;regint=0\n")
    with subprocess.Popen(
        ["baresip", "-f", str(tmp_path), "-t", "60"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as baresip:  # fmt: skip
        try:
            scenario = SCENARIO.replace("  - expect: beep\n", "")
            scenario = scenario.replace("greeting_ms: off", "greeting_ms: 60000")
            scenario = re.sub(r"  - say.*\n  - expect: reply\n", "", scenario)
            done = run(tmp_path, f"sip:100@127.0.0.1:{port}", {"user": "2001"}, scenario=scenario)
        finally:
            baresip.terminate()
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("engine", PROFILES)
def test_a_wrong_password_ends_the_run_with_what_to_do(
    tmp_path: Path, pbx: Pbx, engine: str
) -> None:
    account = {**ACCOUNT, "registrar": f"127.0.0.1:{pbx.port}"}
    uri = f"sip:100@127.0.0.1:{pbx.port}"
    done = run(
        tmp_path, uri, account, "--caller-engine", engine, CALLERSIDE_CALLER_PASSWORD="wrong horse"
    )
    assert done.returncode == 2
    assert f"127.0.0.1:{pbx.port} does not register 2001" in done.stdout + done.stderr
    assert "wrong horse" not in done.stdout + done.stderr
    assert "CALLERSIDE_CALLER_PASSWORD is not set" not in done.stdout


@pytest.mark.parametrize("engine", PROFILES)
def test_a_password_that_is_not_set_is_told_where_one_is_asked_for(
    tmp_path: Path, pbx: Pbx, engine: str
) -> None:
    account = {**ACCOUNT, "registrar": f"127.0.0.1:{pbx.port}"}
    uri = f"sip:100@127.0.0.1:{pbx.port}"
    done = run(tmp_path, uri, account, "--caller-engine", engine, CALLERSIDE_CALLER_PASSWORD="")
    assert done.returncode == 2
    assert "CALLERSIDE_CALLER_PASSWORD is not set in the environment" in done.stdout
    assert f"No call was answered: callerside doctor {uri} --account account.yaml" in done.stdout


@pytest.mark.parametrize("engine", PROFILES)
def test_a_digest_alone_is_for_the_realm_of_the_account(
    tmp_path: Path, pbx: Pbx, engine: str
) -> None:
    account = {**ACCOUNT, "realm": "elsewhere"}
    uri = f"sip:100@127.0.0.1:{pbx.port}"
    done = run(tmp_path, uri, account, "--caller-engine", engine)
    assert done.returncode in (1, 2)
    assert pbx.took() == []
