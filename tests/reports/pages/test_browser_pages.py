"""The pages in a real browser: they are clicked, played, zoomed, and looked at."""

import base64
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, HEIGHT, WIDTH, Browser, headless
from load_steps import knee, step
from synthetic_call import MS, START_NS, SyntheticCall, TurnTruth

from callerside.marks import Mark, Source
from callerside.reports.formats.write import write_run
from callerside.reports.pages.html import knee_page
from callerside.reports.verdict.results import RunInfo

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


def mark(at_ms: float, source: Source, name: str, **fields: Any) -> Mark:
    at_ns = START_NS + round(at_ms * MS)
    return Mark(at_ns=at_ns, source=source, call="slow", name=name, fields=fields)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    turns = [TurnTruth(), TurnTruth(barge_in_after_ms=600), TurnTruth(downlink_ms=90)]
    slow = SyntheticCall(name="slow", turns=turns).build()
    troubles = [
        mark(2500, "realtime", "fault_applied", fault="stall", at="delta"),
        mark(1200, "caller", "impairment_applied", what="loss", at="to_caller", packets=3),
        mark(9000, "agent", "rtp_measured", received_packets=420, lost_packets=3, jitter_ms=0.7),
    ]
    marks = sorted([*slow.marks, *troubles], key=lambda m: m.at_ns)
    calls = [SyntheticCall(name="good").build(), replace(slow, marks=marks)]
    write_run(folder, RunInfo(started_at="2026-08-01T12:00:00+00:00"), calls)
    (folder / "knee.html").write_text(knee_page(knee(step(1, 20), step(4, 39), step(8, 55))))
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with headless(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


def test_a_call_can_be_heard_from_where_one_clicks(browser: Browser, run: Path) -> None:
    browser.open((run / "calls" / "slow" / "call.html").as_uri())
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


def test_an_edge_is_heard_with_300_ms_around_it(browser: Browser, run: Path) -> None:
    browser.open((run / "calls" / "slow" / "call.html").as_uri())
    assert browser.run("document.querySelector('.closer').hidden")
    browser.run("document.getElementById('edges').open = true")
    browser.click("#edges tr:nth-of-type(3) button")
    heard = "document.documentElement.dataset.heard"
    browser.wait(lambda: browser.run(heard) is not None)
    from_s, length_s = map(float, browser.run(heard).split())
    edge = browser.run("JSON.parse(document.getElementById('page').textContent).edges[2]")
    offset = "JSON.parse(document.getElementById('page').textContent).recording_offset_ms"
    at_ms = edge["known_ms"] if edge["known_ms"] is not None else edge["detected_ms"]
    assert from_s == pytest.approx((at_ms - browser.run(offset)) / 1000 - 0.15, abs=0.001)
    assert length_s == 0.3
    assert not browser.run("document.querySelector('.closer').hidden")
    box = "document.querySelector('.closer').getBoundingClientRect()"
    assert 0 <= browser.run(f"{box}.top") < browser.run(f"{box}.bottom") <= HEIGHT  # to be seen
    assert "detected" in browser.run("document.getElementById('closer-text').textContent")
    drawn = "document.getElementById('closer').getContext('2d').getImageData(0,0,1200,220).data"
    assert browser.run(f"{drawn}.some((value) => value > 0)")
    assert browser.run("document.getElementById('audio').paused")


def test_an_event_tells_its_json(browser: Browser, run: Path) -> None:
    browser.open((run / "calls" / "slow" / "call.html").as_uri())
    browser.click(".event[aria-label='response created']")
    told = json.loads(browser.run("document.getElementById('event').textContent"))
    assert (told["source"], told["name"]) == ("realtime", "response_created")
    assert told["fields"]["response"].startswith("resp_")


def test_a_failure_leads_to_where_it_can_be_heard(browser: Browser, run: Path) -> None:
    browser.open((run / "calls" / "slow" / "call.html").as_uri())
    told = browser.run("document.querySelector('.wrong').innerText")
    assert "numbers are beyond the limit" in told
    assert re.search(r"Turn 3: turn_ms \d+\.\d ms, expected at most \d+", told)
    assert "The server's own delay was 8" in told
    assert "Slowest of agent and path: playout to ear" in told
    browser.wait(lambda: browser.run("document.getElementById('audio').readyState >= 2"))
    browser.click(".wrong button")
    browser.wait(lambda: not browser.run("document.getElementById('audio').paused"))
    wanted_ms = browser.run("Number(document.querySelector('.wrong button').dataset.ms)")
    at_s = browser.run("document.getElementById('audio').currentTime")
    assert at_s == pytest.approx(wanted_ms / 1000, abs=1.5)
    browser.press("k", "k")


def test_the_transcript_is_heard_and_followed(browser: Browser, run: Path) -> None:
    browser.open((run / "calls" / "slow" / "call.html").as_uri())
    second = "document.querySelectorAll('.says button')[1]"
    assert browser.run(f"{second}.innerText").endswith("utterance 2")
    assert browser.run(f"{second}.getAttribute('aria-current')") is None
    browser.wait(lambda: browser.run("document.getElementById('audio').readyState >= 2"))
    browser.click(".says button:nth-of-type(2)")
    assert browser.run(f"{second}.getAttribute('aria-current')") == "true"
    browser.press("k", "k")
    browser.wait(lambda: browser.run("document.getElementById('audio').paused"))


def test_everything_lies_on_one_axis(browser: Browser, run: Path) -> None:
    """The ladder, RTP loss, faults, states, the budget and the hops, at their instants."""
    browser.open((run / "calls" / "slow" / "call.html").as_uri())
    length_ms = browser.run("JSON.parse(document.getElementById('page').textContent).length_ms")

    def at_ms(selector: str) -> float:
        left = str(browser.run(f"document.querySelector({json.dumps(selector)}).style.left"))
        return float(left.removesuffix("%")) * float(length_ms) / 100

    assert at_ms(".event[aria-label='fault applied: stall']") == pytest.approx(2500, abs=1)
    assert at_ms(".strike") == pytest.approx(2500, abs=1)
    assert at_ms(".lost.to_caller") == pytest.approx(1200, abs=1)
    assert at_ms(".event[aria-label^='INVITE']") == pytest.approx(0, abs=1)
    assert at_ms(".head.down") == pytest.approx(8, abs=1)
    assert browser.run("document.querySelectorAll('.hops .hop').length") >= 20
    assert browser.run("document.querySelectorAll('.deadline.failed').length") == 1
    assert "3 lost" in browser.run("document.querySelector('.rtp').innerText")
    assert browser.run("document.querySelectorAll('.state').length") >= 4


def test_labels_do_not_lie_upon_one_another(browser: Browser, run: Path) -> None:
    browser.open((run / "calls" / "slow" / "call.html").as_uri())
    script = """(() => {
      const seen = (label) => getComputedStyle(label).visibility === "visible";
      const boxes = (name) => [...document.querySelectorAll(name)].filter(seen)
        .map((label) => label.getBoundingClientRect());
      const upon = (a, b) => a.left < b.right && b.left < a.right
        && a.top < b.bottom - 1 && b.top < a.bottom - 1;
      return [".event.shown b", ".due"].map((name) => boxes(name)
        .filter((a, i, all) => all.some((b, j) => j > i && upon(a, b))).length);
    })()"""
    assert browser.run(script) == [0, 0]
    browser.click("#in")
    browser.click("#in")
    assert browser.run(script) == [0, 0]


@pytest.mark.parametrize("width", [390, 900, 1600])
def test_a_page_fits_screens_of_all_widths(browser: Browser, run: Path, width: int) -> None:
    size = {"height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
    browser.call("Emulation.setDeviceMetricsOverride", width=width, **size)
    for page in ("knee.html", "index.html", "calls/slow/call.html"):
        browser.open((run / page).as_uri())
        assert browser.run("document.documentElement.scrollWidth") <= width
        drawn = "[...document.querySelectorAll('.chart text')].map(t => t.getBoundingClientRect())"
        assert browser.run(f"{drawn}.every(box => box.height >= 9)"), "small, and still legible"
        cells = "[...document.querySelectorAll('td:not(details td)')]"
        high = f"{cells}.filter(cell => cell.clientHeight > 90)"
        squeezed = browser.run(f"{high}.map(cell => cell.innerText)")
        assert squeezed == [], f"{page}: words below one another in a narrow column"
    beside = "document.querySelector('aside').getBoundingClientRect().top"
    axis = "document.querySelector('.axis').getBoundingClientRect().top"
    assert (browser.run(beside) < browser.run(axis)) == (width > 1150), "beside it, or below"
    browser.call("Emulation.setDeviceMetricsOverride", width=WIDTH, **size)


def test_the_keyboard_zooms_steps_and_returns(browser: Browser, run: Path) -> None:
    browser.open((run / "calls" / "slow" / "call.html").as_uri())
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
    browser.open((run / "calls" / "slow" / "call.html").as_uri())
    reached = set()
    for _ in range(25):
        browser.press("Tab")
        reached.add(browser.run("document.activeElement.id || document.activeElement.className"))
    assert {"play", "in", "out", "whole", "axis"} <= reached
    assert any(name.startswith("event") for name in reached)


def test_failed_calls_can_be_filtered(browser: Browser, run: Path) -> None:
    browser.open((run / "index.html").as_uri())
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
    browser.open((run / page).as_uri())
    picture = browser.screenshot()
    (tmp_path / f"{Path(page).stem}-{scheme}.png").write_bytes(picture)
    assert len(picture) > 20_000, "an empty page is smaller"
    ground = browser.run("getComputedStyle(document.body).backgroundColor")
    bright = sum(int(part) for part in re.findall(r"\d+", ground)[:3]) > 384
    assert bright == (scheme == "light")
    assert browser.run("document.documentElement.scrollWidth") <= WIDTH


def test_a_page_prints(browser: Browser, run: Path) -> None:
    browser.open((run / "calls" / "slow" / "call.html").as_uri())
    pdf = base64.b64decode(
        browser.call("Page.printToPDF", printBackground=True, preferCSSPageSize=True)["data"]
    )
    assert io.BytesIO(pdf).read(5) == b"%PDF-"
    assert re.search(rb"/MediaBox \[0 0 8\d\d\.?\d* 59\d", pdf), "the axis lies on its side"
    browser.call("Emulation.setEmulatedMedia", media="print")
    hidden = browser.run("getComputedStyle(document.querySelector('.controls')).display")
    browser.call("Emulation.setEmulatedMedia", media="")
    assert hidden == "none"


def test_nothing_was_fetched_and_nothing_complained(browser: Browser, run: Path) -> None:
    """Last: looks back on all pages that the tests before it opened."""
    browser.open((run / "calls" / "good" / "call.html").as_uri())
    assert [
        url for url in browser.requested if not url.startswith(("file:", "blob:", "data:"))
    ] == []
    assert browser.complaints == []
