import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from callerside.agent.deploy.kamailio import KamailioError, Proxy, Side, render, worker_addresses

BOTH = Side(host="::1", port=5060, workers=["[::1]:5061", "[::1]:5062", "[::1]:5063"])
WORKERS = ["127.0.0.1:5061", "127.0.0.1:5062", "127.0.0.1:5063"]


def files(folder: Path, **options: object) -> tuple[str, str]:
    proxy = Proxy(**{"host": "127.0.0.1", "workers": WORKERS, **options})  # type: ignore[arg-type]
    made = {path.name: text for path, text in render(proxy, folder).items()}
    return made["kamailio.cfg"], made["dispatcher.list"]


def test_the_list_has_every_worker(tmp_path: Path) -> None:
    config, worker_list = files(tmp_path)
    assert [line for line in worker_list.splitlines() if not line.startswith("#")] == [
        f"1 sip:{worker};transport=udp" for worker in WORKERS
    ]
    assert '"ds_ping_from", "sip:health@127.0.0.1"' in config
    assert re.findall(r"@?\{[a-z_]+\}", config) == [], "a name was left unfilled"
    assert f'"list_file", "{tmp_path / "dispatcher.list"}"' in config


def test_workers_that_take_tcp_alone_are_reached_by_it(tmp_path: Path) -> None:
    config, worker_list = files(tmp_path, transports=["tcp"])
    assert worker_list.count(";transport=tcp") == len(WORKERS)
    assert "transport=udp" not in worker_list + config


def test_the_addresses_are_the_workers_own() -> None:
    assert worker_addresses("127.0.0.1", 5061, 3) == WORKERS
    assert worker_addresses("::1", 5061, 1) == ["[::1]:5061"]


@pytest.mark.parametrize(
    ("host", "port", "hint"), [("127.0.0.1", 0, "sip.port is 0"), ("0.0.0.0", 5061, "sip.host is")]
)
def test_workers_that_a_proxy_could_not_find(host: str, port: int, hint: str) -> None:
    with pytest.raises(KamailioError, match=hint):
        worker_addresses(host, port, 3)


def test_calls_of_each_family_go_to_workers_of_it(tmp_path: Path) -> None:
    config, worker_list = files(tmp_path, second=BOTH)
    assert "listen=udp:127.0.0.1:5060" in config
    assert "listen=udp:[::1]:5060" in config
    listed = [line for line in worker_list.splitlines() if not line.startswith("#")]
    assert listed == [
        *(f"1 sip:{worker};transport=udp" for worker in WORKERS),
        *(f"2 sip:{worker};transport=udp" for worker in BOTH.workers),
    ]
    assert "rtpengine" not in config


def test_where_rtpengine_translates_there_is_one_set_of_workers(tmp_path: Path) -> None:
    second = replace(BOTH, workers=WORKERS)
    config, worker_list = files(tmp_path, second=second, translates=True)
    assert worker_list.count("\n1 sip:127.0.0.1:") == len(WORKERS)
    assert "\n2 " not in worker_list
    assert "if (af == INET6) {" in config
    made = {path.name: text for path, text in render(_translating(second), tmp_path).items()}
    assert "interface = 127.0.0.1;::1\n" in made["rtpengine.conf"]


def _translating(second: Side) -> Proxy:
    return Proxy(host="127.0.0.1", workers=WORKERS, second=second, translates=True)


def test_a_proxy_on_a_workers_own_address(tmp_path: Path) -> None:
    with pytest.raises(KamailioError, match="it is a worker's"):
        files(tmp_path, port=5062)


def test_a_proxy_that_the_workers_would_refuse(tmp_path: Path) -> None:
    with pytest.raises(KamailioError, match=r"not in sip\.allowed_peers"):
        files(tmp_path, allowed_peers=["10.0.0.0/8"])


@pytest.mark.peer
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"allowed_peers": ["127.0.0.0/8", "2001:db8::/32"]},
        {"host": "0.0.0.0", "public_host": "phone.example", "workers_known_as": "192.0.2.1"},
        {"transports": ["tcp"], "retry_after_s": 30},
        {"host": "::1", "workers": ["[::1]:5061"]},
        {"second": BOTH},
        {"second": replace(BOTH, workers=WORKERS), "translates": True},
        {"host": "0.0.0.0", "public_host": "phone.example", "second": BOTH},
        {"requests_per_source_per_s": 150, "requests_per_s": 600},
        {"requests_per_source_per_s": 150, "requests_per_s": 600, "drops_over_limit": True},
        {"allowed_peers": ["127.0.0.0/8"], "drops_strangers": True},
    ],
    ids=[
        "plain",
        "peers",
        "public",
        "tcp",
        "ipv6",
        "both",
        "translated",
        "both_public",
        "limits",
        "dropped",
        "strangers",
    ],
)
def test_kamailio_itself_accepts_it(tmp_path: Path, options: dict[str, object]) -> None:
    kamailio = shutil.which("kamailio", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if kamailio is None:
        pytest.skip("kamailio is not installed (Debian: apt install kamailio)")
    config, worker_list = files(tmp_path, **options)
    (tmp_path / "kamailio.cfg").write_text(config)
    (tmp_path / "dispatcher.list").write_text(worker_list)
    checked = subprocess.run(
        [kamailio, "-c", "-f", str(tmp_path / "kamailio.cfg")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    assert "config file ok" in checked.stderr
