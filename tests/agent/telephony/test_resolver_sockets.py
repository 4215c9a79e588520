"""Where the stack that looks up names listens: at one address, whatever resolv.conf says."""

import socket
from pathlib import Path

import pytest

from callerside.agent.telephony.baresip.resolver_sockets import (
    bind_resolvers,
    open_datagram_sockets,
)


@pytest.mark.parametrize(
    "text",
    ["", "nameserver 127.0.0.53\n", "nameserver of-no-address\nnameserver\n", "nameserver 1.2\n"],
)
def test_nothing_listens_everywhere_whoever_the_name_servers_are(tmp_path: Path, text: str) -> None:
    resolvers = tmp_path / "resolv.conf"
    resolvers.write_text(text)
    others = open_datagram_sockets()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(("0.0.0.0", 0))
        bind_resolvers(others, "127.0.0.1", resolvers)
        host, port = own.getsockname()
    assert host == "127.0.0.1"
    assert port
