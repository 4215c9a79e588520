"""How many functions of ours a caller's frame passes through, from its packet to the append.

A real call over real sockets: PJSUA2 in a process of its own, as it can be started once in the life
of one, with a call's machine, driver and WebSocket client on top, against the fake server. The
counted thread is the loop's; nothing is paced meanwhile, as what has left goes another way.

Each function costs every call of a worker, fifty times a second: see
tests/agent/service/test_function_counts.py for the part of this way that begins with `feed`.
"""

import multiprocessing

import pytest
from counting_agent import FRAMES, PATIENCE_S, count
from function_calls import Way
from sip_rig import START_S, open_phone

from callerside.agent.telephony.interface import MediaReady

MOST = 12
"""From the loop's wake: 8 of the telephone, and 4 from `feed` on."""


@pytest.fixture(scope="module")
def frames() -> list[Way]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=count, args=(theirs,), daemon=True)
    process.start()
    assert ours.poll(START_S)
    with open_phone("caller") as caller:
        call = caller.dial(f"sip:100@127.0.0.1:{ours.recv()}", codec="PCMU")
        caller.wait_for(call, MediaReady)
        assert ours.poll(PATIENCE_S)
        found: list[Way] = ours.recv()
        caller.do(call, "hang_up")
        process.join(PATIENCE_S)
    assert process.exitcode == 0
    return found


def test_a_frame_comes_from_its_packet_to_the_append_in_few_functions(frames: list[Way]) -> None:
    """Of a calm line; a wake that found no audio (RTCP, which has a socket of its own) adds itself.

    The median, as two packets that came together are one way here.
    """
    assert len(frames) >= FRAMES
    usual = sorted(frames, key=len)[len(frames) // 2]
    assert len(usual) <= MOST, "\n".join([f"{len(usual)} functions:", *usual])
