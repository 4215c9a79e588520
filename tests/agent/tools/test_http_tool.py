"""Functions that are requests over HTTP, against a server of this process's."""

import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from shop_server import JSON, Shop

from callerside.agent.config.settings import HttpToolSettings
from callerside.agent.tools import http_client, http_tool
from callerside.agent.tools.http_client import (
    Request,
    RequestError,
    Response,
    UnansweredError,
    is_public,
    send,
)
from callerside.agent.tools.http_tool import HttpTool
from callerside.agent.tools.interface import Cancellation, ToolError

TABLE = {"type": "object", "properties": {"table": {"type": "string"}}, "required": ["table"]}


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    made.close()


Make = Callable[..., HttpTool]


@pytest.fixture
def tool(shop: Shop) -> Make:
    def make(
        path: str = "/tables/{table}",
        env: dict[str, str] | None = None,
        limit_ms: float = 10_000,
        **more: Any,
    ) -> HttpTool:
        settings = {
            "description": "A table.",
            "parameters": TABLE,
            "url": f"http://127.0.0.1:{shop.port}{path}",
            "retry_delay_ms": 1,
            "allow_private": True,
            **more,
        }
        checked = HttpToolSettings.model_validate(settings)
        return HttpTool("table", checked, env or {}, limit_ms=limit_ms)

    return make


def ask(tool: HttpTool, table: str = "7") -> tuple[bool, str]:
    return tool.run({"table": table})


def test_an_answer_is_the_output(shop: Shop, tool: Make) -> None:
    assert ask(tool()) == (True, '{"free": true}')
    ((method, path, headers, body),) = shop.asked
    assert (method, path, body) == ("GET", "/tables/7", b"")
    assert headers["Host"] == f"127.0.0.1:{shop.port}"


def test_what_is_not_in_the_url_is_query_or_body(shop: Shop, tool: Make) -> None:
    schema = {
        "type": "object",
        "properties": {"table": {"type": "string"}, "guests": {"type": "integer"}},
        "required": ["table"],
    }
    arguments = {"table": "7", "guests": 4}
    tool(parameters=schema).run(arguments)
    tool("/tables?t={table}", parameters=schema).run(arguments)
    tool(parameters=schema, method="POST").run(arguments)
    assert [path for _, path, _, _ in shop.asked] == [
        "/tables/7?guests=4",
        "/tables?t=7&guests=4",
        "/tables/7",
    ]
    assert json.loads(shop.asked[2][3]) == {"guests": 4}
    assert shop.asked[2][2]["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("table", "path"),
    [
        ("../admin?x=1#y", "/tables/..%2Fadmin%3Fx%3D1%23y"),
        ("a b&c=d", "/tables/a%20b%26c%3Dd"),
        ("\r\nX-Other: 1", "/tables/%0D%0AX-Other%3A%201"),
        ("é@evil.example", "/tables/%C3%A9%40evil.example"),
    ],
)
def test_arguments_are_escaped(shop: Shop, tool: Make, table: str, path: str) -> None:
    assert ask(tool(), table)[0]
    assert [one[1] for one in shop.asked] == [path]


@pytest.mark.parametrize("table", ["..", ".", "", "\ud800", "x" * 9000])
def test_arguments_that_lead_elsewhere_are_not_sent(shop: Shop, tool: Make, table: str) -> None:
    ok, output = ask(tool(), table)
    assert not ok
    assert "wrong arguments" in json.loads(output)["error"]
    assert not shop.asked


def test_arguments_that_do_not_fit_the_schema_are_not_sent(shop: Shop, tool: Make) -> None:
    ok, output = tool().run({"table": 7})
    assert (ok, json.loads(output)["error"]) == (
        False,
        "wrong arguments: table: 7 is not of type 'string'",
    )
    assert not shop.asked


@pytest.mark.parametrize("first", [500, 503, 429])
def test_a_request_that_may_be_repeated_is(shop: Shop, tool: Make, first: int) -> None:
    shop.answers = [(first, {}, b""), (first, {}, b""), (200, JSON, b"1")]
    assert ask(tool(retries=2)) == (True, "1")
    assert len(shop.asked) == 3


@pytest.mark.parametrize(
    ("method", "status", "attempts"), [("POST", 500, 1), ("DELETE", 500, 3), ("GET", 404, 1)]
)
def test_others_are_not_and_there_is_an_end(
    shop: Shop, tool: Make, method: str, status: int, attempts: int
) -> None:
    shop.answers = [(status, {}, b"no such table")]
    ok, output = ask(tool(method=method, retries=2))
    assert (ok, json.loads(output)) == (
        False,
        {"error": f"the server answered {status}", "body": "no such table"},
    )
    assert len(shop.asked) == attempts


def test_who_asks_for_more_time_than_there_is_gets_no_other_attempt(shop: Shop, tool: Make) -> None:
    shop.answers = [(429, {"Retry-After": "60"}, b"")]
    assert "answered 429" in ask(tool())[1]
    assert len(shop.asked) == 1


def test_a_server_that_does_not_answer(shop: Shop, tool: Make) -> None:
    shop.answers = [(0, {}, b"")]
    ok, output = ask(tool(timeout_ms=100, retries=1))
    assert (ok, json.loads(output)["error"]) == (False, "127.0.0.1: no answer within 0.1 s")
    assert len(shop.asked) == 2


class Clock(Cancellation):
    """Stands for `time`, and for who waits: nothing passes but what is slept."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0

    def monotonic(self) -> float:
        return self._now_s

    def sleep(self, length_s: float) -> None:
        self._now_s += length_s


def test_all_attempts_end_with_the_limit_of_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has what is left of it; the first delay takes more than half."""
    clock = Clock()
    monkeypatch.setattr(http_tool, "time", clock)
    limits_ms: list[float] = []

    def never(asked: Request) -> Response:
        limits_ms.append(asked.timeout_ms)
        raise UnansweredError("not yet")

    settings = HttpToolSettings.model_validate(
        {"description": "x", "url": "https://api.example/", "retries": 5, "retry_delay_ms": 60}
    )
    late = HttpTool("late", settings, {}, limit_ms=100, send=never)
    assert late.run({}, "", clock) == (False, '{"error": "not yet"}')
    assert limits_ms == pytest.approx([100, 40])


def test_a_server_that_is_not_there(tool: Make) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        gone = tool(url=f"http://127.0.0.1:{free.getsockname()[1]}/{{table}}")
        ok, output = ask(gone)
    assert not ok
    assert "refused" in output


def test_redirects_are_followed_on_the_same_host_only(shop: Shop, tool: Make) -> None:
    shop.answers = [(302, {"Location": "/other?a=b"}, b""), (200, JSON, b"1")]
    assert ask(tool()) == (True, "1")
    assert shop.asked[1][1] == "/other?a=b"
    for location in ("http://localhost/x", "//evil.example/", "https://127.0.0.1/", "http://[x"):
        shop.asked.clear()
        shop.answers = [(302, {"Location": location}, b"")]
        ok, output = ask(tool())
        assert not ok
        assert "redirects to another host" in output
        assert len(shop.asked) == 1


def test_redirects_have_an_end_and_are_of_get(shop: Shop, tool: Make) -> None:
    shop.answers = [(302, {"Location": "/again"}, b"")]
    assert "more than 3 redirects" in ask(tool())[1]
    assert len(shop.asked) == 4
    assert "redirects POST" in ask(tool(method="POST"))[1]
    assert len(shop.asked) == 5


def test_a_private_address_is_refused_unless_allowed(shop: Shop, tool: Make) -> None:
    ok, output = ask(tool(allow_private=False))
    assert not ok
    assert "private address" in output
    assert not shop.asked


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%1", False),
        ("fd00::1", False),
        ("fec0::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("::7f00:1", False),
        ("2002:7f00:1::", False),
        ("64:ff9b::7f00:1", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


def request(url: str) -> Request:
    return Request(method="GET", url=url, headers={}, timeout_ms=2000, max_response_bytes=100)


def test_the_name_is_looked_up_once_and_its_checked_address_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name whose address changes after the check leads nowhere else."""
    looked_up: list[str] = []
    connected: list[str] = []

    def resolve(host: str, _port: int) -> Sequence[str]:
        looked_up.append(host)
        return ["10.0.0.1", "93.184.216.34"] if len(looked_up) == 1 else ["127.0.0.1"]

    async def connect(host: str, port: int, **_: Any) -> Any:
        connected.append(host)
        raise ConnectionRefusedError

    monkeypatch.setattr("asyncio.open_connection", connect)
    with pytest.raises(RequestError):
        send(request("http://rebinding.example/"), resolve)
    assert looked_up == ["rebinding.example"]
    assert connected == ["93.184.216.34"]


def test_a_name_without_an_address_is_told() -> None:
    def resolve(_host: str, _port: int) -> Sequence[str]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(RequestError, match=r"nowhere\.example: no address"):
        send(request("http://nowhere.example/"), resolve)


def test_keys_are_of_the_environment_and_go_to_the_server_alone(shop: Shop, tool: Make) -> None:
    shop.answers = [(200, JSON, b'{"you sent": "Bearer s3cret-of-the-shop"}')]
    with_key = tool(
        headers={"Authorization": "Bearer ${SHOP_KEY}"}, env={"SHOP_KEY": "s3cret-of-the-shop"}
    )
    assert ask(with_key) == (True, '{"you sent": "Bearer [SHOP_KEY]"}')
    assert shop.asked[0][2]["Authorization"] == "Bearer s3cret-of-the-shop"


@pytest.mark.parametrize("value", ["", "two\r\nlines", " padded", "ü"])
def test_a_key_that_is_none_is_told_at_start_by_its_name(tool: Make, value: str) -> None:
    with pytest.raises(ToolError, match=r"tools\.http\.table: SHOP_KEY") as error:
        tool(headers={"X-Key": "${SHOP_KEY}"}, env={"SHOP_KEY": value})
    assert not value or value not in str(error.value)


def test_bounds_of_both_bodies(shop: Shop, tool: Make) -> None:
    shop.answers = [(200, JSON, b"x" * 2000)]
    assert "more than 1000 bytes" in ask(tool(max_response_bytes=1000))[1]
    ok, output = ask(tool("/", method="POST", max_request_bytes=100), "x" * 200)
    assert not ok
    assert "too large" in output
    assert len(shop.asked) == 1


@pytest.mark.parametrize(
    ("headers", "body", "output"),
    [
        ({"Content-Type": "text/plain; charset=utf-8"}, "süß".encode(), "süß"),
        ({}, b"plain", "plain"),
        (JSON, b"", '{"status": 200}'),
    ],
)
def test_text_is_the_output(
    shop: Shop, tool: Make, headers: dict[str, str], body: bytes, output: str
) -> None:
    shop.answers = [(200, headers, body)]
    assert ask(tool()) == (True, output)


@pytest.mark.parametrize(
    "headers", [{"Content-Type": "image/png"}, {**JSON, "Content-Encoding": "gzip"}]
)
def test_what_is_no_text_is_not(shop: Shop, tool: Make, headers: dict[str, str]) -> None:
    shop.answers = [(200, headers, b"\x89PNG")]
    assert ask(tool())[0] is False


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"url": "ftp://x/"}, "is no URL"),
        ({"url": "https://{table}.example/"}, "does not choose the host"),
        ({"url": "https://me:pass@api.example/"}, "a password in it"),
        ({"url": "https://api.example/{other}"}, "none of the parameters"),
        ({"url": "https://api.example/a b"}, "no spaces"),
        ({"url": "https://api.example:99999/"}, "is no URL"),
        ({"headers": {"X-Api-Key": "abc"}}, "a key belongs in the environment"),
        ({"headers": {"X-Shop": "${1}"}}, "a name of the environment"),
        ({"headers": {"Host": "x"}}, "is no name of a header"),
        ({"headers": {"X Y": "x"}}, "is no name of a header"),
        ({"headers": {"X-Y": "a\nb"}}, "one line of ASCII"),
        ({"url": "http://api.example/", "headers": {"X": "${A}"}}, "need https"),
        ({"parameters": {"type": "array"}}, "JSON Schema of an object"),
        (
            {"url": "https://x.example/{table}", "parameters": {**TABLE, "required": []}},
            "must be among",
        ),
    ],
)
def test_settings_that_are_wrong(change: dict[str, Any], told: str) -> None:
    right = {"description": "x", "url": "https://api.example/", "parameters": TABLE}
    HttpToolSettings.model_validate(right)
    with pytest.raises(ValidationError, match=told):
        HttpToolSettings.model_validate({**right, **change})


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Of shop.example, signed by itself; with its key."""
    made = tmp_path / "shop.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    names = ["-subj", "/CN=shop.example", "-addext", "subjectAltName=DNS:shop.example"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    made.write_text((tmp_path / "key.pem").read_text() + (tmp_path / "cert.pem").read_text())
    return made


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_the_certificate_is_that_of_the_name_and_not_of_the_address(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secure = Shop(certificate)
    try:
        trusting = ssl.create_default_context(cafile=str(certificate))
        url = f"https://shop.example:{secure.port}/"
        asked = replace(request(url), allow_private=True)
        with pytest.raises(RequestError, match="self-signed certificate"):
            send(asked, lambda _host, _port: ["127.0.0.1"])
        monkeypatch.setattr(http_client, "_tls", lambda: trusting)
        assert send(asked, lambda _host, _port: ["127.0.0.1"]).body == b'{"free": true}'
        other = replace(asked, url=url.replace("shop", "other"))
        with pytest.raises(RequestError, match="Hostname mismatch"):
            send(other, lambda _host, _port: ["127.0.0.1"])
    finally:
        secure.close()
    assert len(secure.asked) == 1
