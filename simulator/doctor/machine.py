"""What this machine has for calls, and what it lacks."""

import os
import platform
import shutil
import socket
import sys
import time
from collections.abc import Iterator

from callerside.agent.telephony.engines import survey
from callerside.host import hurry, processors
from callerside.simulator.doctor.extra import missing
from callerside.simulator.doctor.findings import Finding, State
from callerside.simulator.lanes.sip.process_pair import calls_at_once
from callerside.speech.synthesis import synthesise
from callerside.speech.voices import ESPEAK_NG, VoiceError

LEAST_CORES = 2
WATCH_S = 2.0
_TICK_S = 0.005
_LATE_MS = 10.0
"""Half a packet: less than what a call would notice."""
_MUCH = 0.02
"""Of the time; on such a machine calls are often not measured."""
_PORTS = 40
_LOW, _HIGH = 10_000, 32_000
_LEAST_FREE_MB = 500


def examine(*, watch_s: float = WATCH_S) -> list[Finding]:
    """Look at everything a run needs; takes `watch_s` and a moment more."""
    return [
        _python(),
        _harness(),
        *_engines(),
        *_voices(),
        _ports(),
        _cores(),
        _priority(),
        _stalls(watch_s),
        _disk(),
    ]


def _python() -> Finding:
    told = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.platform != "linux":
        return Finding(
            about="python", state=State.DOUBTFUL, told=told,
            advice="the SIP lane is made for Linux; `--lane virtual` runs everywhere",
        )  # fmt: skip
    return Finding(about="python", state=State.FINE, told=told)


def _harness() -> Finding:
    if absent := missing():
        return Finding(
            about="harness", state=State.BAD,
            told=f"a plain install, of agent and fake server: {', '.join(absent)} not installed",
            advice="pip install 'callerside[sim]'",
        )  # fmt: skip
    return Finding(about="harness", state=State.FINE, told="what plays and reports calls is here")


def _engines() -> Iterator[Finding]:
    found = survey()
    usable = [one for one in found if not one.problem]
    for one in found:
        if one.problem:
            state = State.UNKNOWN if usable else State.BAD
            yield Finding(
                about="engine", state=state, told=one.problem,
                advice=f"pip install 'callerside[{one.name}]'",
            )  # fmt: skip
        else:
            best = " (the one that `auto` takes)" if one is usable[0] else ""
            yield Finding(about="engine", state=State.FINE, told=f"{one.name} {one.version}{best}")


def _voices() -> Iterator[Finding]:
    try:
        synthesise("One.")
    except (VoiceError, OSError, ImportError) as error:
        yield Finding(
            about="voice", state=State.BAD, told=str(error),
            advice="pip install 'callerside[sim]'",
        )  # fmt: skip
    else:
        yield Finding(about="voice", state=State.FINE, told="the default voice speaks")
    if ESPEAK_NG.version:
        told = f"espeak-ng speaks a hundred other languages ({ESPEAK_NG.version})"
        yield Finding(about="languages", state=State.FINE, told=told)
    else:
        told = "callers speak English; others need espeak-ng: pip install 'callerside[languages]'"
        yield Finding(about="languages", state=State.UNKNOWN, told=told)


def _ports() -> Finding:
    free = 0
    for port in range(_LOW, _HIGH, (_HIGH - _LOW) // _PORTS):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            free += 1
    told = f"of {_PORTS} UDP ports from {_LOW} to {_HIGH} on loopback {free} are free"
    if free < _PORTS // 2:
        return Finding(
            about="ports", state=State.BAD, told=told, advice="stop what has taken the others"
        )
    return Finding(about="ports", state=State.FINE, told=told)


def _cores() -> Finding:
    cores = len(processors())
    told = f"{cores}, enough for {calls_at_once()} calls at once"
    if cores < LEAST_CORES:
        return Finding(
            about="cores", state=State.DOUBTFUL, told=told,
            advice="agent, caller and server share one: give it two, or use `--jobs 1`",
        )  # fmt: skip
    return Finding(about="cores", state=State.FINE, told=told)


def _priority() -> Finding:
    if _may_hurry():
        told = "threads that send audio may go first (real time)"
        return Finding(about="priority", state=State.FINE, told=told)
    return Finding(
        about="priority", state=State.DOUBTFUL,
        told="threads that send audio have no priority over other programs",
        advice="where it matters: CAP_SYS_NICE (`docker run --cap-add SYS_NICE`), or rtprio in "
        "limits.conf",
    )  # fmt: skip


def _may_hurry() -> bool:
    """In a process of its own, for it would keep the priority."""
    child = os.fork()
    if child == 0:
        os._exit(0 if hurry(1) else 1)
    return os.waitpid(child, 0)[1] == 0


def _stalls(watch_s: float) -> Finding:
    """How late a thread that sleeps wakes up, as one that sends audio would."""
    late_ms: list[float] = []
    began_s = time.monotonic()
    while (now_s := time.monotonic()) - began_s < watch_s:
        time.sleep(_TICK_S)
        late_ms.append((time.monotonic() - now_s - _TICK_S) * 1000)
    lost = [ms for ms in late_ms if ms > _LATE_MS]
    share = sum(lost) / (watch_s * 1000)
    told = f"in {watch_s:.0f} s this machine stood still {len(lost)} times over {_LATE_MS:.0f} ms"
    if lost:
        told += f", the longest {max(lost):.0f} ms"
    if share > _MUCH:
        return Finding(
            about="stalls", state=State.DOUBTFUL, told=told,
            advice="others use it too: calls that they disturb are told as not measured",
        )  # fmt: skip
    return Finding(about="stalls", state=State.FINE, told=told)


def _disk() -> Finding:
    free_mb = shutil.disk_usage(".").free // 1_000_000
    told = f"{free_mb} MB are free here, where `out/` goes"
    if free_mb < _LEAST_FREE_MB:
        return Finding(about="disk", state=State.BAD, told=told, advice="make room")
    return Finding(about="disk", state=State.FINE, told=told)
