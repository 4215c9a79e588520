"""What is relied on in PJSUA2 is tried at start: a wrong layout is noticed, and said in a sentence.

Each try is made in a process of its own: the library can be started once in the life of one.
"""

import subprocess
import sys

import pytest

START = """
import os, sys
from callerside.agent.telephony.errors import SipError
from callerside.agent.telephony.options import SipOptions
from callerside.agent.telephony.pjsua.native import media
from callerside.agent.telephony.pjsua.stack import Stack
{change}
try:
    Stack(SipOptions(transports=("udp",))).start()
except SipError as error:
    print(error)
else:
    print("started")
sys.stdout.flush()
os._exit(0)
"""


def start(change: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-c", START.format(change=change)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


def test_the_installed_version_is_taken() -> None:
    assert start() == "started"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("media.JITTER_SIZE_WORD = 7", "the jitter buffer's state"),
        ("media.BRIDGE_PORT_AT = 24", "the parameters of a new stream"),
        ("media.OPERATIONS_AT = 48", "media sockets do not lie"),
        ("media.GET_INFO = 9", "a media socket does not say which it is"),
        ("media.AUDIO = 2", "frames do not lie"),
        ("media._FUNCTIONS += (('pjmedia_no_such_thing', None, ()),)", "pjmedia_no_such_thing"),
    ],
)
def test_what_lies_elsewhere_is_noticed(change: str, what: str) -> None:
    told = start(change)
    assert what in told
    assert "install pjsua2-python 2.15" in told
