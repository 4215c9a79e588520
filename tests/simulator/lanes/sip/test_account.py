"""The caller's own account: what a file and the environment may say of it, and who is told."""

from pathlib import Path

import pytest

from callerside.agent.telephony.options import SipAccount
from callerside.simulator.lanes.sip.account import (
    PASSWORD,
    AccountError,
    load,
)
from callerside.simulator.lanes.sip.order import from_environment, to_environment

FILE = """\
version: 2
user: "2001"
registrar: pbx.example.org:5080
outbound_proxy: proxy.example.org
transport: tcp
caller_id: "+4930123456"
display_name: Müller, A.
headers: {X-Customer: "4711"}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "account.yaml"
    path.write_text(text)
    return path


def test_the_environment_stands_over_the_file_and_alone_has_the_password(tmp_path: Path) -> None:
    environment = {PASSWORD: "correct horse", "CALLERSIDE_CALLER__AUTH_USER": "login", "HOME": "/"}
    account = load(written(tmp_path, FILE), environment)
    assert account == SipAccount(
        user="2001",
        registrar="pbx.example.org:5080",
        outbound_proxy="proxy.example.org",
        transport="tcp",
        caller_id="+4930123456",
        display_name="Müller, A.",
        headers=(("X-Customer", "4711"),),
        auth_user="login",
        password="correct horse",
    )
    assert "correct horse" not in repr(account)
    assert account.home == "pbx.example.org"
    assert from_environment(to_environment(account)) == account


def test_without_file_and_environment_there_is_none() -> None:
    assert load(None, {"HOME": "/"}) is None
    assert to_environment(None) == {}
    assert from_environment({}) is None


def test_the_environment_alone_is_enough() -> None:
    account = load(None, {"CALLERSIDE_CALLER__USER": '"2001"'})
    assert account is not None
    assert account.user == "2001"


@pytest.mark.parametrize("text", ["2002", "+493012345", "on", "null", "1e5", "0x10", "@home: #1"])
def test_what_is_text_in_an_account_is_text_in_a_variable(tmp_path: Path, text: str) -> None:
    environment = {
        "CALLERSIDE_CALLER__AUTH_USER": text.replace(" ", "_"),
        "CALLERSIDE_CALLER__REALM": f" {text} ",
        "CALLERSIDE_CALLER__EXPIRES_S": "60",
        "CALLERSIDE_CALLER__DISPLAY_NAME": "null",
    }
    account = load(written(tmp_path, FILE), environment)
    assert account is not None
    if text != "null":  # which is nothing where there may be no value
        assert account.auth_user == text.replace(" ", "_")
    assert (account.realm, account.expires_s, account.display_name) == (text, 60, "")


def test_headers_of_the_environment_stand_over_those_of_the_file(tmp_path: Path) -> None:
    environment = {
        "CALLERSIDE_CALLER__HEADERS": '{"X-Customer": 99, "X-On": on, "X-Quoted": "007"}',
        "CALLERSIDE_CALLER__HEADERS__X-Foo": "1",
        "CALLERSIDE_CALLER__HEADERS__x-quoted": "0.70",
    }
    account = load(written(tmp_path, FILE), environment)
    assert account is not None
    assert dict(account.headers) == {
        "X-Customer": "99",
        "X-On": "on",
        "X-Quoted": "0.70",
        "X-Foo": "1",
    }
    alone = load(None, {"CALLERSIDE_CALLER__USER": "2", "CALLERSIDE_CALLER__HEADERS__X-Foo": "on"})
    assert alone is not None
    assert alone.headers == (("X-Foo", "on"),)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("user: 2001", "account.yaml:1:7: user: expected text"),
        ("usr: '1'\nuser: '1'", 'account.yaml:1:1: unknown key "usr"'),
        ("user: '1'\nregistrar: 'sip:pbx'", "account.yaml:2:12: registrar"),
        ("user: '1'\nheaders: {Via: x}", "'Via' is no header that can be added"),
        ('user: "1"\nheaders: {X-A: "1\\r\\nVia: x"}', "expected a value of one line for X-A"),
        (
            "user: '1'\npassword: secret",
            "account.yaml:2:1: a password stands in no file: set CALLERSIDE_CALLER_PASSWORD",
        ),
        ("- user", "expected"),
        (
            "user: '1'\noutbound_proxy: 127.0.0.1:99999",
            "account.yaml:2:17: outbound_proxy: '12",
        ),
        ("user: '1'\nregistrar: pbx:0", "expected host, or host:port with a port of 1 to 65535"),
        ("user: '1'\ndomain: pbx:65536", "account.yaml:2:9: domain: 'pbx:65536'"),
        ("user: '1'\nheaders: {X-A: b, x-a: c}", "x-a and X-A are one header"),
        ("user: '1'\ndisplay_name: 'a\"b'", "display_name"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(AccountError) as error:
        load(written(tmp_path, text), {})
    assert told in str(error.value)


def test_a_variable_that_is_wrong_is_named() -> None:
    with pytest.raises(AccountError, match="CALLERSIDE_CALLER__TRANSPORT"):
        load(None, {"CALLERSIDE_CALLER__USER": "a", "CALLERSIDE_CALLER__TRANSPORT": "carrier"})
    with pytest.raises(AccountError, match="nothing\\.yaml"):
        load(Path("nothing.yaml"), {})
    with pytest.raises(AccountError, match=r"^CALLERSIDE_CALLER__HEADERS__Via: headers: 'Via' is"):
        load(None, {"CALLERSIDE_CALLER__USER": "a", "CALLERSIDE_CALLER__HEADERS__Via": "1"})
    with pytest.raises(AccountError, match=r"^CALLERSIDE_CALLER__HEADERS: its value is not YAML"):
        load(None, {"CALLERSIDE_CALLER__USER": "a", "CALLERSIDE_CALLER__HEADERS": "{"})
    with pytest.raises(AccountError, match=r'^CALLERSIDE_CALLER__HEADER__X: unknown key "header"'):
        load(None, {"CALLERSIDE_CALLER__USER": "a", "CALLERSIDE_CALLER__HEADER__X": "1"})


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = "usr: '1'\npassword: secret\nregistrar: 'sip:pbx'\nexpires_s: 1"
    with pytest.raises(AccountError) as error:
        load(written(tmp_path, text), {})
    told = str(error.value).splitlines()
    assert [any(word in line for line in told) for word in (
        'account.yaml:1:1: unknown key "usr"', "account.yaml:2:1: a password stands in no file",
        "account.yaml:3:12: registrar", "account.yaml:4:12: expires_s",
    )] == [True] * 4, told  # fmt: skip
    assert "secret" not in str(error.value)
    with pytest.raises(AccountError, match=r"^[^\n]*a password stands in no file[^\n]*$"):
        load(written(tmp_path, "user: '1'\npassword: secret"), {})
