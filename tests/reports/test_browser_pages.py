"""The pages in a real browser: they are clicked, played, zoomed, and looked at."""

import base64
import io
import json
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from synthetic_call import SyntheticCall, TurnTruth
from websockets.sync.client import ClientConnection, connect

from reports.results import RunInfo
from reports.write import write_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WAIT_S = 20
WIDTH, HEIGHT = 1300, 1000
_LISTENING = re.compile(r"DevTools listening on ws://127\.0\.0\.1:(\d+)/")

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


class Browser:
    """One tab of a headless Chromium, worked through its debugging protocol."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._number = 0
        self.requested: list[str] = []
        self.complaints: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=WIDTH,
            height=HEIGHT,
            deviceScaleFactor=1,
            mobile=False,
        )

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        number = self._number
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=WAIT_S))
            if message.get("id") == number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    def open(self, page: Path) -> None:
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=page.as_uri())
        here = f"location.href === {json.dumps(page.as_uri())}"
        script = f"{here} && document.documentElement?.dataset.ready"
        self.wait(lambda: self.run(script) == "true")

    def run(self, script: str) -> Any:
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def click(self, selector: str, *, at: float = 0.5) -> None:
        """Click an element, `at` that share of its width."""
        self.run(
            f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block:'center'}})"
        )
        box = self.run(
            f"(() => {{ const b = document.querySelector({json.dumps(selector)})"
            ".getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; })()"
        )
        x, y = box[0] + box[2] * at, box[1] + box[3] / 2
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str, text: str = "") -> None:
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def screenshot(self) -> bytes:
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, "the page did not do it in time"
            time.sleep(0.02)

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        if message.get("method") == "Network.requestWillBeSent":
            self.requested.append(params["request"]["url"])
        elif message.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
            self.complaints.append(json.dumps(params))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    turns = [TurnTruth(), TurnTruth(barge_in_after_ms=600), TurnTruth(downlink_ms=90)]
    calls = [SyntheticCall(name="good").build(), SyntheticCall(name="slow", turns=turns).build()]
    write_run(folder, RunInfo(started_at="2026-08-01T12:00:00+00:00"), calls)
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert CHROMIUM is not None
    profile = tmp_path_factory.mktemp("profile")
    process = subprocess.Popen(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--mute-audio",
            "--remote-debugging-port=0",
            f"--user-data-dir={profile}",
            "about:blank",
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield from _tab(process)
    finally:
        process.terminate()
        process.wait(WAIT_S)
        if process.stderr:
            process.stderr.close()


def _tab(process: "subprocess.Popen[str]") -> Iterator[Browser]:
    assert process.stderr is not None
    found = next((m for line in process.stderr if (m := _LISTENING.search(line))), None)
    assert found is not None, "chromium ended before it was ready"
    with urllib.request.urlopen(f"http://127.0.0.1:{found[1]}/json/list") as answer:
        tab = next(t for t in json.load(answer) if t["type"] == "page")
    with connect(tab["webSocketDebuggerUrl"], max_size=None) as socket:
        yield Browser(socket)


def test_a_call_can_be_heard_from_where_one_clicks(browser: Browser, run: Path) -> None:
    browser.open(run / "calls" / "slow" / "call.html")
    browser.wait(lambda: browser.run("document.getElementById('audio').readyState >= 2"))
    browser.click(".wave:nth-of-type(3) svg", at=0.5)
    browser.wait(lambda: not browser.run("document.getElementById('audio').paused"))
    length_s = browser.run("document.getElementById('audio').duration")
    at_s = browser.run("document.getElementById('audio').currentTime")
    assert at_s == pytest.approx(length_s / 2, abs=1.5)
    browser.wait(lambda: browser.run("document.getElementById('audio').currentTime") > at_s + 0.1)
    assert browser.run("document.getElementById('play').textContent") == "Pause"
    cursor = browser.run("parseFloat(document.querySelector('.cursor').style.left)")
    assert cursor == pytest.approx(50, abs=10)
    browser.press("k", "k")
    browser.wait(lambda: browser.run("document.getElementById('audio').paused"))


def test_an_event_tells_its_json(browser: Browser, run: Path) -> None:
    browser.open(run / "calls" / "slow" / "call.html")
    browser.click(".event[aria-label='response created']")
    told = json.loads(browser.run("document.getElementById('event').textContent"))
    assert (told["source"], told["name"]) == ("realtime", "response_created")
    assert told["fields"]["response"].startswith("resp_")


def test_the_keyboard_zooms_steps_and_returns(browser: Browser, run: Path) -> None:
    browser.open(run / "calls" / "slow" / "call.html")
    width = browser.run("document.querySelector('.track').clientWidth")
    browser.press("+", "+")
    browser.press("+", "+")
    assert browser.run("document.querySelector('.track').clientWidth") == pytest.approx(
        4 * width, rel=0.01
    )
    assert browser.run("document.getElementById('zoom').textContent")[:1] == "4"
    browser.press("0", "0")
    assert browser.run("document.querySelector('.track').clientWidth") == width
    browser.press("ArrowRight")
    assert browser.run("document.getElementById('clock').textContent") == "0.020 s"
    browser.press("End")
    assert float(browser.run("parseFloat(document.querySelector('.cursor').style.left)")) == 100


def test_everything_can_be_reached_by_the_keyboard(browser: Browser, run: Path) -> None:
    browser.open(run / "calls" / "slow" / "call.html")
    reached = set()
    for _ in range(25):
        browser.press("Tab")
        reached.add(browser.run("document.activeElement.id || document.activeElement.className"))
    assert {"play", "in", "out", "whole", "axis"} <= reached
    assert any(name.startswith("event") for name in reached)


def test_failed_calls_can_be_filtered(browser: Browser, run: Path) -> None:
    browser.open(run / "index.html")
    shown = (
        "[...document.querySelectorAll('#calls tbody tr:not([hidden])')].map(r => r.dataset.name)"
    )
    assert browser.run(shown) == ["good", "slow"]
    browser.click("[data-show=wrong]")
    assert browser.run(shown) == ["slow"]
    browser.click("[data-show=all]")
    browser.click("#name")
    browser.call("Input.insertText", text="goo")
    assert browser.run(shown) == ["good"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", ["index.html", "calls/slow/call.html"])
def test_a_page_is_drawn_in_light_and_dark(
    browser: Browser, run: Path, tmp_path: Path, page: str, scheme: str
) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.call("Emulation.setEmulatedMedia", features=features)
    browser.open(run / page)
    picture = browser.screenshot()
    (tmp_path / f"{Path(page).stem}-{scheme}.png").write_bytes(picture)
    assert len(picture) > 20_000, "an empty page is smaller"
    ground = browser.run("getComputedStyle(document.body).backgroundColor")
    bright = sum(int(part) for part in re.findall(r"\d+", ground)[:3]) > 384
    assert bright == (scheme == "light")
    assert browser.run("document.documentElement.scrollWidth") <= WIDTH


def test_a_page_prints(browser: Browser, run: Path) -> None:
    browser.open(run / "calls" / "slow" / "call.html")
    pdf = base64.b64decode(browser.call("Page.printToPDF", printBackground=True)["data"])
    assert io.BytesIO(pdf).read(5) == b"%PDF-"
    browser.call("Emulation.setEmulatedMedia", media="print")
    hidden = browser.run("getComputedStyle(document.querySelector('.controls')).display")
    browser.call("Emulation.setEmulatedMedia", media="")
    assert hidden == "none"


def test_nothing_was_fetched_and_nothing_complained(browser: Browser, run: Path) -> None:
    """Last: looks back on all pages that the tests before it opened."""
    browser.open(run / "calls" / "good" / "call.html")
    assert [
        url for url in browser.requested if not url.startswith(("file:", "blob:", "data:"))
    ] == []
    assert browser.complaints == []
