"""Places the calls of a calibration over SIP: callers' processes that call responders."""

import asyncio
import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from callerside.simulator.lanes.sip.child_process import ChildProcess
from callerside.simulator.lanes.sip.order import Order
from callerside.simulator.lanes.sip.process_pair import caller_process, calls_a_pair, child
from callerside.simulator.lanes.sip.scheduler_stalls import StallWatch

CALL_LIMIT_S = 60.0


class CalibrateError(RuntimeError):
    """The calibration could not be done."""


class Calling(NamedTuple):
    """What an order says of a call: see `Order`."""

    scenario: str
    audio: dict[str, str]


async def place(
    directory: Path,
    callings: Mapping[str, Calling],
    speaks: Path,
    concurrency: int,
    progress: Callable[[str], None],
    stalls: StallWatch | None = None,
) -> dict[str, int]:
    """Place the calls, by their names; the evidence of each lies in a folder of its name.

    Args:
        directory: where the calls' folders go, and what the responders keep.
        callings: what each caller does.
        speaks: what the responders say: see `calibration.responder_process`.
        concurrency: how many calls at once.
        progress: called with a line after each call.
        stalls: is told which processes there are, to see what they wait for.

    Returns:
        In which pair of processes each call was.

    Raises:
        CalibrateError: a call does not end.
        ProcessError: a process died, or did not start.
    """
    waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}

    def take(line: str) -> None:
        message = json.loads(line) if line.startswith("{") else {}
        future = waiting.get(message.get("call", ""))
        if "verdict" in message and future is not None and not future.done():
            future.set_result(message)

    pairs = [
        _pair(directory, speaks, str(number), take)
        for number in range(1, -(-concurrency // calls_a_pair("auto")) + 1)
    ]
    processes = [process for pair in pairs for process in pair]
    try:
        await asyncio.gather(*(process.start() for process in processes))
        if stalls is not None:
            # The responder is in the agent's place: what it does itself is no wait of anybody's.
            parties = (
                (f"{who}{number}", process)
                for number, pair in enumerate(pairs)
                for who, process in (("caller", pair.caller), ("agent", pair.responder))
            )
            stalls.look_at({name: one.pid for name, one in parties if one.pid is not None})
        places: asyncio.Queue[_Pair] = asyncio.Queue()
        for number in range(concurrency):
            places.put_nowait(pairs[number % len(pairs)])
        rng, played_in = random.Random(0), dict[str, int]()

        async def call(name: str) -> None:
            pair = await places.get()
            await asyncio.sleep(rng.uniform(0, 0.5))  # so that no two begin on the same tick
            waiting[name] = asyncio.get_running_loop().create_future()
            uri = pair.responder.ready_line.split()[-1]
            played_in[name] = pairs.index(pair)
            pair.caller.send_line(_order(name, callings[name], uri, directory / name).to_line())
            try:
                message = await asyncio.wait_for(waiting[name], CALL_LIMIT_S)
            except TimeoutError:
                raise CalibrateError(
                    f"{name} was not over after {CALL_LIMIT_S:.0f} s; the caller's last words: "
                    f"{pair.caller.last_words()}"
                ) from None
            progress(f"{name}: {message['verdict']}: {message['detail']}")
            places.put_nowait(pair)

        await asyncio.gather(*map(call, callings))
    finally:
        await asyncio.gather(*(process.stop() for process in processes))
    return played_in


class _Pair(NamedTuple):
    """A caller's process and a responder's: each carries as many calls as its engine takes."""

    caller: ChildProcess
    responder: ChildProcess


def _pair(directory: Path, speaks: Path, name: str, take: Callable[[str], None]) -> _Pair:
    arguments = [str(speaks), str(directory)]
    module = "callerside.simulator.calibration.responder_process"
    return _Pair(
        caller=caller_process(name, [], directory, take),
        responder=child(f"responder{name}", module, arguments, directory),
    )


def _order(name: str, calling: Calling, uri: str, directory: Path) -> Order:
    directory.mkdir(parents=True, exist_ok=True)
    return Order(
        call=name,
        scenario=calling.scenario,
        audio=calling.audio,
        uri=uri.replace("sip:", f"sip:{name}@"),
        seed=0,
        directory=str(directory),
    )
