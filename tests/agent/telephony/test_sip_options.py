"""Options that cannot be right are refused by name; peers are matched by address and network."""

from typing import Any

import pytest

from callerside.agent.telephony.options import PeerList, Registration, SipOptions


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"port": 70_000}, "port"),
        ({"rtp_port": -2}, "rtp_port"),
        ({"codecs": ("PCMU", "opus")}, "codecs"),
        ({"codecs": ()}, "codecs"),
        ({"transports": ()}, "transports"),
        ({"max_calls": 0}, "max_calls"),
        ({"sample_rate_hz": 44_100}, "sample_rate_hz"),
        ({"allowed_peers": ("10.0.0.0/33",)}, "10.0.0.0/33"),
    ],
)
def test_what_cannot_be_is_refused_by_name(options: dict[str, Any], names: str) -> None:
    with pytest.raises(ValueError, match=names):
        SipOptions(**options)


def test_a_password_is_not_shown() -> None:
    options = SipOptions(
        registration=Registration(registrar="pbx", user="agent", password="hunter2")
    )
    assert "hunter2" not in repr(options)


@pytest.mark.parametrize(
    ("source", "allowed"),
    [
        ("10.1.2.3:5060", True),
        ("192.0.2.7:40000", True),
        ("192.0.2.8:5060", False),
        ("[2001:db8::1]:5060", True),
        ("[2001:db9::1]:5060", False),
        ("not an address", False),
        ("", False),
    ],
)
def test_a_peer_is_allowed_by_address_or_network(source: str, allowed: bool) -> None:
    peers = PeerList(("10.0.0.0/8", "192.0.2.7", "2001:db8::/32"))
    assert peers.allows(source) is allowed


def test_no_list_allows_everybody() -> None:
    assert PeerList(()).allows("203.0.113.9:5060")
