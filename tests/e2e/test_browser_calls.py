"""A browser calls: by WebSocket and TLS to Kamailio, by ICE, DTLS and SRTP to rtpengine.

All of it is real: Chromium with a microphone that plays a file, sip.js of npm, Kamailio and
rtpengine as `callerside-agent kamailio` configures them. The kernel has no module of rtpengine's.
"""

import base64
import contextlib
import functools
import http.server
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np
import pytest
from agent_rig import WAIT_S, Agent, fake_realtime, free_port, until
from browser import CHROMIUM, Browser, headless
from certificates import Authority

from callerside.audio import silence, to_samples, tone
from callerside.audio_files import write_wav

pytestmark = [pytest.mark.e2e, pytest.mark.peer]

SIP_JS = "sip.js@0.21.2"
BEEP_HZ, GREETING_HZ, SPEECH_HZ, ANSWER_HZ = 440, 700, 300, 1_200
MICROPHONE_HZ = 48_000
SPEAKS_AT_MS = 5_000
SHORT = "200"
"""A number whose calls end soon."""
HOST = "127.0.0.1"
WINDOW_MS = 100
"""In which a pitch is looked for."""


def needed(program: str, package: str) -> str:
    found = shutil.which(program, path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/bin")
    if found is None:
        pytest.skip(f"{program} is not installed (Debian: apt install {package})")
    return found


@dataclass(frozen=True, slots=True)
class Edge:
    """What stands between pages and the agent."""

    agent: Agent
    server: str
    """Its URL."""
    trust: Path
    """Who has signed its certificate."""


@contextlib.contextmanager
def running(folder: Path, name: str, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page that calls, and sip.js beside it."""
    folder = tmp_path_factory.mktemp("page")
    command = ["install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), SIP_JS]
    subprocess.run([needed("npm", "npm"), *command], check=True, timeout=60)
    (folder / "node_modules/sip.js").rename(folder / "sip.js")
    shutil.copy(Path(__file__).parent.parent / "support/browser_call.html", folder / "index.html")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(
        (HOST, 0), functools.partial(Quiet, directory=str(folder))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://{HOST}:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def edge(page: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    tmp_path = tmp_path_factory.mktemp("edge")
    kamailio = needed("kamailio", "kamailio kamailio-tls-modules kamailio-websocket-modules")
    rtpengine = needed("rtpengine", "rtpengine-daemon")
    authority = Authority(tmp_path / "certificates")
    signed = authority.sign("proxy")
    write_wav(tmp_path / "greeting.wav", to_samples(tone(GREETING_HZ, 1_500, 24_000)), 24_000)
    write_wav(tmp_path / "answer.wav", to_samples(tone(ANSWER_HZ, 1_500, 24_000)), 24_000)
    script = {"greeting": {"wav": "greeting.wav"}, "replies": [{"wav": "answer.wav"}]}
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(fake_realtime(tmp_path, script))
        settings = {
            "realtime": {"url": url},
            "sip": {"port": free_port(), "allowed_peers": [f"{HOST}/32"]},
            "routes": [{"called": SHORT, "limits": {"call_ms": 2_000}}],
        }
        agent = Agent(tmp_path, settings)
        stack.callback(agent.close)
        plain, wss, told = free_port(), free_port(), free_port()
        out = tmp_path / "proxy"
        first = free_port()
        subprocess.run(
            [
                *(sys.executable, "-m", "callerside.agent.cli", "kamailio"),
                *("--config", str(agent.config), "--listen", f"{HOST}:{plain}"),
                *("--browsers", f"{HOST}:{wss}", "--rtpengine", f"{HOST}:{told}"),
                *("--origin", page.rstrip("/")),
                *("--certificate", str(signed.certificate), "--key", str(signed.key)),
                *("--media-ports", f"{first}-{first + 100}", "--out", str(out)),
            ],
            check=True,
            timeout=60,
        )
        stack.enter_context(
            running(
                *(tmp_path, "rtpengine", rtpengine, f"--config-file={out / 'rtpengine.conf'}"),
                *("--foreground", "--log-stderr", f"--pidfile={tmp_path / 'rtpengine.pid'}"),
            )
        )
        stack.enter_context(
            running(
                *(tmp_path, "kamailio", kamailio, "-f", str(out / "kamailio.cfg")),
                *("-Y", str(tmp_path), "-DD", "-E", "-m", "64", "-M", "8"),
                *("-P", str(tmp_path / "kamailio.pid")),
            )
        )
        until(lambda: listens(wss), "kamailio takes pages")
        yield Edge(agent, f"wss://{HOST}:{wss}/", authority.certificate)


def microphone(folder: Path) -> Path:
    """What the page's microphone hears: nothing, then somebody speaks, then nothing more."""
    sound = (
        silence(SPEAKS_AT_MS, MICROPHONE_HZ)
        + tone(SPEECH_HZ, 1_500, MICROPHONE_HZ)
        + silence(20_000, MICROPHONE_HZ)
    )
    write_wav(folder / "microphone.wav", to_samples(sound), MICROPHONE_HZ)
    return folder / "microphone.wav"


def pitches(browser: Browser) -> list[int]:
    """What is heard, one pitch after the other."""
    rate_hz = int(browser.run("window.rateHz"))
    if not rate_hz:
        return []
    heard = np.frombuffer(base64.b64decode(browser.run("window.heard()")), np.int16)
    size = rate_hz * WINDOW_MS // 1000
    found: list[int] = []
    for start in range(0, len(heard) - size, size):
        window = heard[start : start + size].astype(float)
        if np.sqrt(np.mean(window**2)) < 500:
            continue
        spectrum = np.abs(np.fft.rfft(window * np.hanning(size)))
        hz = float(spectrum.argmax()) * rate_hz / size
        known = [one for one in (BEEP_HZ, GREETING_HZ, ANSWER_HZ) if abs(hz - one) < 20]
        if known and known[0] not in found[-1:]:
            found.append(known[0])
    return found


@contextlib.contextmanager
def calling(edge: Edge, page: str, folder: Path, called: str) -> Iterator[Browser]:
    """A page that calls, once its call is up."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (Debian: apt install chromium)")
    flags = [
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone(folder)}%noloop",
        "--autoplay-policy=no-user-gesture-required",
        "--allow-loopback-in-peer-connection",
        "--ignore-certificate-errors",  # the authority is the test's own
    ]
    with headless(folder / "profile", *flags) as browser:
        asked = {"server": edge.server, "callee": f"sip:{called}@{HOST}"}
        browser.open(f"{page}?{urlencode(asked)}")
        until(lambda: browser.run("window.state") == "Established", "the call is up")
        yield browser


def record_of(edge: Edge, called: str) -> dict[str, Any]:
    """The agent's, once the call has ended."""

    def of_it() -> list[dict[str, Any]]:
        return [one for one in edge.agent.records() if one["called"] == called]

    until(of_it, "the agent's record of the call")
    (record,) = of_it()
    return record


def test_a_page_hears_beep_greeting_and_answer(edge: Edge, page: str, tmp_path: Path) -> None:
    with calling(edge, page, tmp_path, "100") as browser:
        wanted = [BEEP_HZ, GREETING_HZ, ANSWER_HZ]
        until(lambda: pitches(browser) == wanted, f"heard {wanted}")
        browser.run("window.hangUp()")
        assert record_of(edge, "100")["ended"]["by"] == "caller"


def test_a_page_is_told_that_the_agent_has_hung_up(edge: Edge, page: str, tmp_path: Path) -> None:
    with calling(edge, page, tmp_path, SHORT) as browser:
        until(lambda: browser.run("window.state") == "Terminated", "the page knows")
    assert record_of(edge, SHORT)["ended"]["by"] == "agent"


def test_the_connection_is_of_the_certificate_and_for_the_pages_named(
    edge: Edge, page: str
) -> None:
    status, headers = opened(edge, page.rstrip("/"))
    assert (status, headers["Sec-WebSocket-Protocol"]) == (101, "sip")
    status, _ = opened(edge, "https://elsewhere.example")
    assert status == 403


def opened(edge: Edge, origin: str) -> tuple[int, Message]:
    """The answer to a page of an origin that wants to speak SIP: its status and headers.

    Asked by one thread: of a connection by TLS that one thread reads while another writes, as the
    client of `websockets` has it (17.4), one of a hundred waits without end.
    """
    at = urlsplit(edge.server)
    headers = {
        "Host": at.netloc,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": "sip",
        "Origin": origin,
    }
    trust = ssl.create_default_context(cafile=edge.trust)
    with contextlib.closing(
        HTTPSConnection(at.netloc, context=trust, timeout=WAIT_S)
    ) as connection:
        connection.request("GET", "/", headers=headers)
        response = connection.getresponse()
        return response.status, response.headers
