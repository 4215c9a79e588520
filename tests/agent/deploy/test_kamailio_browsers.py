import re
from pathlib import Path

import pytest

from callerside.agent.cli import main
from callerside.agent.deploy.kamailio import Proxy, render
from callerside.agent.deploy.kamailio_browsers import Browsers
from callerside.agent.deploy.kamailio_media import Rtpengine

CERTIFICATE, KEY = Path("/etc/callerside/proxy.pem"), Path("/etc/callerside/proxy.key")


def rendered(folder: Path, rtpengine: Rtpengine | None = None, **options: object) -> dict[str, str]:
    browsers = Browsers(
        **{  # type: ignore[arg-type]
            "host": "192.0.2.1",
            "port": 443,
            "certificate": CERTIFICATE,
            "key": KEY,
            **options,
        }
    )
    proxy = Proxy(
        host="192.0.2.1",
        public_host="sip.example",
        workers=["127.0.0.1:5061"],
        browsers=browsers,
        rtpengine=rtpengine or Rtpengine(),
    )
    return {path.name: text for path, text in render(proxy, folder).items()}


def test_there_is_a_file_for_each_program(tmp_path: Path) -> None:
    files = rendered(tmp_path, Rtpengine(at="127.0.0.1:2224", ports=(40_000, 40_099)))
    config = files["kamailio.cfg"]
    assert "listen=tls:192.0.2.1:443 advertise sip.example:443" in config
    assert '"rtpengine_sock", "udp:127.0.0.1:2224"' in config
    assert f'("tls", "config", "{tmp_path / "tls.cfg"}")' in config
    assert re.findall(r"@?\{[a-z_]+\}", config) == [], "a name was left unfilled"
    assert f"certificate = {CERTIFICATE}\nprivate_key = {KEY}" in files["tls.cfg"]
    assert "method = TLSv1.2+" in files["tls.cfg"]
    assert "table = -1\ninterface = 192.0.2.1!sip.example\n" in files["rtpengine.conf"]
    assert "listen-ng = 127.0.0.1:2224" in files["rtpengine.conf"]
    assert "port-min = 40000\nport-max = 40099" in files["rtpengine.conf"]


def test_only_the_pages_that_are_named_may_call(tmp_path: Path) -> None:
    assert "Origin" not in rendered(tmp_path)["kamailio.cfg"]
    config = rendered(tmp_path, origins=["https://a.example", "https://b.example"])["kamailio.cfg"]
    either = '$hdr(Origin) != "https://a.example" && $hdr(Origin) != "https://b.example"'
    assert either in config


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--browsers", "192.0.2.1:443"], "--browsers needs --certificate and --key"),
        (
            ["--browsers", "sip.example:443", "--certificate", "c.pem", "--key", "c.key"],
            "cannot listen on 'sip.example:443'",
        ),
        (["--translate"], "--translate: expected --listen twice"),
        (["--listen", "192.0.2.2"], "expected one address, or one of IPv4 and one of IPv6"),
        (["--listen", "[2001:db8::1]"], "the workers have no address of its family"),
        (
            ["--listen", "[::]", "--translate"],
            "--listen [::]: expected an address of this machine",
        ),
        (["--media-ports", "40000"], "expected two ports, such as 30000-39999"),
        (
            [
                *("--browsers", "192.0.2.1:443", "--certificate", "c.pem", "--key", "c.key"),
                *("--origin", 'https://a.example"'),
            ],
            "is no origin of a page",
        ),
    ],
)
def test_what_cannot_be_right_is_told(
    options: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "agent.yaml"
    config.write_text("version: 1\nsip: {port: 5061}\n")
    asked = ["kamailio", "--config", str(config), "--listen", "192.0.2.1", "--out", str(tmp_path)]
    try:
        code = main([*asked, *options])
    except SystemExit as error:
        code = int(str(error.code))
    assert code == 2
    assert told in capsys.readouterr().err
