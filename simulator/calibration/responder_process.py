"""The responder's process.

`python -m callerside.simulator.calibration.responder_process SPEAKS.wav DIRECTORY`

That takes up to four calls at once and answers each as `calibration.responder` says; what it said
and heard of a call lies in DIRECTORY under the called name when the call is over. Prints `ready`
and its address.
"""

import asyncio
import dataclasses
import json
import signal
import sys
import time
from pathlib import Path
from typing import assert_never

from callerside import audio_files
from callerside.agent.telephony.engines import choose
from callerside.agent.telephony.interface import CallLeg, CallReceived, HungUp, LegInput
from callerside.agent.telephony.options import SipOptions
from callerside.atomic_files import write_atomically
from callerside.child_processes import end_with_parent
from callerside.simulator.calibration.responder import (
    Answer,
    Behaviour,
    Clear,
    Play,
    ResponderMachine,
    streams,
)
from callerside.simulator.caller.recorder import CALLER_RATE_HZ


class _Call:
    """One call: the machine's effects, run against its leg."""

    def __init__(self, leg: CallLeg, behaviour: Behaviour, directory: Path) -> None:
        self._leg = leg
        self._directory = directory
        self._machine = ResponderMachine(behaviour, leg.sample_rate_hz)
        self._name = "unnamed"
        self._answered_ns = 0
        leg.start(self._take)

    def _take(self, given: LegInput) -> None:
        if isinstance(given, CallReceived):
            self._name = given.called
        for effect in self._machine.handle(given, time.monotonic_ns()):
            match effect:
                case Answer(after_ms=after_ms):
                    asyncio.get_running_loop().call_later(after_ms / 1000, self._answer)
                case Play(pcm=pcm):
                    self._leg.play(pcm)
                case Clear():
                    self._leg.clear()
                case unknown:
                    assert_never(unknown)
        if isinstance(given, HungUp):
            self._keep()

    def _answer(self) -> None:
        self._leg.answer()
        self._answered_ns = time.monotonic_ns()  # the 200 OK has left

    def _keep(self) -> None:
        machine = self._machine
        audio_files.write_wav(
            self._directory / f"{self._name}.wav", streams(machine), machine.rate_hz
        )
        facts = {
            "received_ns": machine.received_ns,
            "answered_ns": self._answered_ns,
            "started_ns": machine.started_ns,
            "heard_ns": machine.heard_ns,
            "said": [dataclasses.asdict(said) for said in machine.said],
        }
        write_atomically(self._directory / f"{self._name}.json", json.dumps(facts).encode())


async def serve(behaviour: Behaviour, directory: Path) -> None:
    """Take calls until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    calls: list[_Call] = []
    endpoint = choose("auto").answering(
        SipOptions(
            sample_rate_hz=CALLER_RATE_HZ,
            user_agent="callerside-responder",
        ),
        on_call=lambda leg: calls.append(_Call(leg, behaviour, directory)),
    )
    port = await endpoint.start()
    sys.stdout.write(f"ready sip:127.0.0.1:{port}\n")
    sys.stdout.flush()
    await stop.wait()
    await endpoint.stop()


def main() -> None:
    """The process."""
    end_with_parent()
    speaks, directory = map(Path, sys.argv[1:])
    behaviour = Behaviour(reply=audio_files.read_wav(speaks, CALLER_RATE_HZ))
    asyncio.run(serve(behaviour, directory))


if __name__ == "__main__":
    main()
