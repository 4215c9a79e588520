"""The responder's process.

`python -m callerside.simulator.calibration.responder_process SPEAKS DIRECTORY`

SPEAKS is a WAV file, or a folder with one of each called name: then what it answers has no faults,
and it waits longer for the end of what it hears, for that is anybody's speech. It takes as many
calls at once as its engine carries and answers each as `calibration.responder` says; what it said
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

    def __init__(self, leg: CallLeg, speaks: Path, directory: Path) -> None:
        self._leg = leg
        self._speaks = speaks
        self._directory = directory
        self._machine: ResponderMachine | None = None
        self._name = "unnamed"
        self._answered_ns = 0
        leg.start(self._take)

    def _take(self, given: LegInput) -> None:
        if isinstance(given, CallReceived):
            self._name = given.called
            behaviour = behaviour_of(self._speaks, given.called)
            self._machine = ResponderMachine(behaviour, self._leg.sample_rate_hz)
        machine = self._machine
        if machine is None:
            return  # nobody has called
        for effect in machine.handle(given, time.monotonic_ns()):
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
            self._keep(machine)

    def _answer(self) -> None:
        self._leg.answer()
        self._answered_ns = time.monotonic_ns()  # the 200 OK has left

    def _keep(self, machine: ResponderMachine) -> None:
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


def behaviour_of(speaks: Path, called: str) -> Behaviour:
    """What is done in a call, by what is spoken: a file, or a folder with one of each call."""
    if speaks.is_dir():
        reply = audio_files.read_wav(speaks / f"{called}.wav", CALLER_RATE_HZ)
        return Behaviour(reply=reply, faulty=0, heard_end_ms=700, delays_ms=(900, 900, 900))
    return Behaviour(reply=audio_files.read_wav(speaks, CALLER_RATE_HZ))


async def serve(speaks: Path, directory: Path) -> None:
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
        on_call=lambda leg: calls.append(_Call(leg, speaks, directory)),
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
    asyncio.run(serve(speaks, directory))


if __name__ == "__main__":
    main()
