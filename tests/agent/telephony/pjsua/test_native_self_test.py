"""What is relied on in PJSUA2 is tried at start: a wrong layout is noticed, and said in a sentence.

Each try is made in a process of its own, as its outcome is kept for the life of one.
"""

import subprocess
import sys

import pytest

TRY = """
from callerside.agent.telephony import engines
from callerside.agent.telephony.errors import SipError
from callerside.agent.telephony.pjsua.native import media
{change}
try:
    engines.resolve("pjsua2")
    engines.choose("pjsua2")
except SipError as error:
    print(error)
else:
    print("chosen")
"""
CHOOSE = """
from callerside.agent.telephony import engines
from callerside.agent.telephony.pjsua.native import media
load = engines._load
engines._load = lambda name: load(name) if name == "pjsua2" else object()
engines.version = lambda _package: "1.0"
{change}
print(engines.resolve("auto"), "of", engines.sentence())
"""
START = """
import asyncio, os, sys
from callerside.agent.telephony.engines import choose
from callerside.agent.telephony.options import SipOptions
{change}
asyncio.run(choose("pjsua2").answering(SipOptions(), print).start())
print("started")
sys.stdout.flush()
os._exit(0)
"""


def run(script: str, change: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-c", script.format(change=change)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


def test_the_installed_version_is_taken() -> None:
    assert run(TRY) == "chosen"


def test_trying_it_leaves_nothing_behind_that_its_start_would_stumble_over() -> None:
    assert run(START) == "started"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("media.JITTER_SIZE_WORD = 7", "the jitter buffer's state"),
        ("media.BRIDGE_PORT_AT = 24", "the parameters of a new stream"),
        ("media.OPERATIONS_AT = 48", "media sockets do not lie"),
        ("media.GET_INFO = 9", "a media socket does not say which it is"),
        ("media.AUDIO = 2", "frames do not lie"),
        ("media.SAME_TYPE = 200", "the clock of what is sent"),
        ("media._FUNCTIONS += (('pjmedia_no_such_thing', None, ()),)", "pjmedia_no_such_thing"),
    ],
)
def test_what_lies_elsewhere_is_noticed(change: str, what: str) -> None:
    told = run(TRY, change)
    assert what in told
    assert told.endswith("; pjsua2-python 2.15.1.post1 works")


@pytest.mark.parametrize(
    ("version", "is_taken"),
    [("2.10.post6", False), ("2.15", False), ("2.15.1", True), ("2.15.3", True), ("2.16", False)],
)
def test_another_version_is_not_taken_though_all_lies_where_it_should(
    version: str, *, is_taken: bool
) -> None:
    """With 2.10 a call's first packet was never heard."""
    change = (
        "import importlib.metadata as m; real = m.version; "
        f"m.version = lambda name: {version!r} if name == 'pjsua2-python' else real(name)"
    )
    told = run(TRY, change)
    assert (told == "chosen") is is_taken
    assert is_taken or told.endswith("; pjsua2-python 2.15.1.post1 works")


def test_an_engine_that_is_refused_leaves_its_place_to_the_next() -> None:
    assert run(CHOOSE).startswith("pjsua2 of SIP engines: pjsua2 1.0, baresip 1.0")
    told = run(CHOOSE, "media.JITTER_SIZE_WORD = 7")
    assert told.startswith("baresip of SIP engines: baresip 1.0; pjsua2 cannot be used: ")
    assert "the jitter buffer's state do not lie where they should" in told
