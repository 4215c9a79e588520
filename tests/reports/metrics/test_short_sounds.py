"""A snatch of the agent's voice while the caller speaks is the agent's, and no echo."""

from typing import Literal

import numpy as np
import pytest
from made_call import at_rate, voice

from callerside.reports.evidence import CallEvidence, CallInfo
from callerside.reports.hearing import active_level
from callerside.reports.metrics.audible import listen

RATE_HZ = 16_000
SNATCHES = 20


def heard(mouth: np.ndarray, ear: np.ndarray) -> list[tuple[int, int]]:
    """First samples and past the last ones of what the agent is heard to say."""
    evidence = a_call(mouth, ear, "virtual")
    sounds = listen(evidence).ear
    return [(evidence.sample_at(one.start_ns), evidence.sample_at(one.end_ns)) for one in sounds]


def a_call(
    mouth: np.ndarray, ear: np.ndarray, lane: Literal["virtual", "recording"]
) -> CallEvidence:
    both = np.stack([np.pad(one, (RATE_HZ, RATE_HZ)) for one in (mouth, ear)], axis=1)
    return CallEvidence(
        info=CallInfo(name="short", lane=lane),
        marks=[],
        recording=(np.clip(both, -1, 1) * 32767).astype(np.int16),
        rate_hz=RATE_HZ,
        recording_start_ns=0,
    )


@pytest.mark.parametrize("length_ms", [30, 60, 120])
def test_a_snatch_while_the_caller_speaks_is_no_echo(length_ms: int) -> None:
    mouth = at_rate(voice("I would like to know whether you are open on Saturday morning."))
    agent = at_rate(voice("We have two rooms free, both of them with a bath.", "en-us+f3"))
    size = length_ms * RATE_HZ // 1000
    lost = []
    for number in range(SNATCHES):
        first = (agent.size - size) * number // SNATCHES
        snatch = agent[first : first + size]
        if active_level.loud((snatch * 32767).astype(np.int16), RATE_HZ).size < size // 2:
            continue
        ear = np.zeros(mouth.size)
        ear[mouth.size // 2 : mouth.size // 2 + size] = snatch
        if not heard(mouth, ear):
            lost.append(number)
    assert not lost


def test_an_echo_of_a_short_word_is_not_the_agent() -> None:
    mouth = np.pad(at_rate(voice("Yes.")), (0, RATE_HZ // 8))
    echo = 0.5 * np.roll(mouth, RATE_HZ // 8)
    assert heard(np.zeros(mouth.size), echo)  # it is loud enough to be heard
    assert not heard(mouth, echo)


def test_an_echo_of_the_agent_is_not_the_caller_of_a_bare_recording() -> None:
    """Who listens by a loudspeaker has the agent's voice in the telephone's microphone."""
    agent = np.pad(at_rate(voice("We have two rooms free, both of them with a bath.")), (0, 2000))
    echo = 0.8 * np.roll(agent, 2000)
    assert listen(a_call(echo, np.zeros(agent.size), "recording")).mouth
    assert not listen(a_call(echo, agent, "recording")).mouth
