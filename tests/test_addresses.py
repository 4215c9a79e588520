"""Hosts and ports, of either family, as people and SIP write them."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from callerside.addresses import (
    Host,
    HostPort,
    as_compared,
    check_sip_port,
    host_of,
    in_uri,
    is_ipv6,
    joined,
    owner_of,
    port_of,
)


@pytest.mark.parametrize(
    ("place", "host", "port"),
    [
        ("pbx", "pbx", None),
        ("pbx:5070", "pbx", 5070),
        ("192.0.2.1", "192.0.2.1", None),
        ("192.0.2.1:5070", "192.0.2.1", 5070),
        ("[2001:db8::1]", "2001:db8::1", None),
        ("[2001:db8::1]:5070", "2001:db8::1", 5070),
        ("2001:db8::1", "2001:db8::1", None),
        ("::1", "::1", None),
    ],
)
def test_a_place_has_a_host_and_perhaps_a_port(place: str, host: str, port: int | None) -> None:
    assert (host_of(place), port_of(place)) == (host, port)
    assert is_ipv6(host) == (":" in host)
    if port is not None:
        assert joined(host, port) == place
    assert in_uri(host) == (f"[{host}]" if ":" in host else host)


@pytest.mark.parametrize(
    ("one", "other", "is_one"),
    [
        ("192.0.2.1:5060", "192.0.2.1:5061", True),
        ("192.0.2.1:5060", "192.0.2.2:5060", False),
        ("[2001:db8::1]:5060", "[2001:db8::2:3:4:5]:5061", True),
        ("[2001:db8::1]:5060", "2001:db8:0:0:ffff::", True),
        ("[2001:db8::1]:5060", "[2001:db8:0:1::1]:5060", False),
        ("pbx:5060", "pbx:5061", True),
    ],
)
def test_who_has_one_address_of_ipv6_has_all_of_its_64(
    one: str, other: str, *, is_one: bool
) -> None:
    assert (owner_of(one) == owner_of(other)) is is_one


def test_an_address_is_compared_however_it_is_written() -> None:
    assert as_compared("2001:DB8:0::0:1") == "2001:db8::1"
    assert as_compared("192.0.2.1") == "192.0.2.1"
    assert as_compared("PBX") == "PBX"


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("::1", True), ("2001:db8::1", True), ("192.0.2.1", True), ("pbx.example", True),
        ("[::1]", False), ("::ffff:192.0.2.1", False), ("fe80::1", False), ("fe80::1%eth0", False),
        ("2001:db8::1%eth0", False), ("1:2", False), ("pbx:5060", False), ("", False), (":", False),
    ],
)  # fmt: skip
def test_a_host_has_no_port_and_no_zone(text: str, *, is_one: bool) -> None:
    assert taken(Host, text) is is_one


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("pbx", True), ("pbx:5060", True), ("[2001:db8::1]", True), ("[2001:db8::1]:5060", True),
        ("2001:db8::1", False), ("[2001:db8::1]:0", False), ("[2001:db8::1]:", False),
        ("[192.0.2.1]:5060", False), ("[fe80::1]:5060", False), ("[::1", False), ("pbx:0", False),
    ],
)  # fmt: skip
def test_with_a_port_an_address_of_ipv6_is_in_brackets(text: str, *, is_one: bool) -> None:
    assert taken(HostPort, text) is is_one


@pytest.mark.parametrize(
    ("uri", "is_right"),
    [
        ("sip:100@[2001:db8::1]", True), ("sip:100@[2001:db8::1]:5060", True),
        ("sip:100@[2001:db8::1]:66000", False), ("sip:[2001:db8::1]:0", False),
        ("sip:100@pbx:66000", False), ("sip:100@pbx", True),
    ],
)  # fmt: skip
def test_a_uris_port_is_seen_behind_brackets(uri: str, *, is_right: bool) -> None:
    if is_right:
        check_sip_port(uri)
        return
    with pytest.raises(ValueError, match="a port of 1 to 65535"):
        check_sip_port(uri)


def taken(kind: Any, text: str) -> bool:
    try:
        TypeAdapter(kind).validate_python(text)
    except ValidationError:
        return False
    return True
