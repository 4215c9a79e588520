"""What baresip's library writes to when it is stopped is still ours then."""

import subprocess
import sys

import pytest

pytest.importorskip("baresip")

STARTED_AND_STOPPED = """
import asyncio
from callerside.agent.telephony.baresip.native import open_library
from callerside.agent.telephony.engines import choose
from callerside.agent.telephony.options import SipOptions

async def main():
    endpoint = choose("baresip").answering(SipOptions(), lambda leg: None)
    await endpoint.start()
    up = [bool(one.value) for one in open_library().listeners]
    await endpoint.stop()
    print(up, [bool(one.value) for one in open_library().listeners])

asyncio.run(main())
"""


def test_where_listeners_are_written_is_kept_until_they_are_gone() -> None:
    """Each is written twice: its address when it begins, and zero when it ends.

    Memory that was given back by then was another's: a timer of the loop had lost its time.
    """
    done = subprocess.run(
        [sys.executable, "-P", "-c", STARTED_AND_STOPPED],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split("\n")[0] == "[True, True, True, True] [False, False, False, False]"
