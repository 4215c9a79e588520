"""`python tests/scorers/score_calls.py FOLDER`: what other people's scorers say of those calls.

It runs where they are installed (`nox -s scorers`), and writes `theirs.json` beside each call.
hotato is told where the caller begins, as its labels tell it; callback-voice has the caller's clean
voice.
"""

import json
import sys
from pathlib import Path

from callback_voice.core.models.thresholds import Thresholds
from callback_voice.providers.vad.silero_vad import SileroVad
from callback_voice.scoring.score_call import score_call
from hotato._engine import read_wav, score_stereo


def hotato(folder: Path, truth: dict) -> dict:
    """Both of its signals, each from its own onset."""
    sound = read_wav(str(folder / "call.wav"))
    asked = score_stereo(sound, 0, 1, truth["question_s"][0])
    barged = score_stereo(sound, 0, 1, truth["interruption_s"])
    gap_s = asked.signals["latency"]["response_gap_sec"]
    stop_s = barged.time_to_yield_sec if barged.agent_talking_at_onset else None
    return {"gap_ms": _ms(gap_s), "stop_ms": _ms(stop_s)}


def callback(folder: Path, truth: dict, vad: SileroVad) -> dict:
    """By its own defaults; a latency belongs to the question if it counts from its end."""
    score = score_call(folder, Thresholds(), vad)
    latency = score.metric("response_latency_p50_s")
    asked_s = truth["question_s"][1]
    gaps = [
        gap
        for gap, at in zip(latency.samples, latency.sample_times_s, strict=True)
        if abs(at - asked_s) < 0.5
    ]
    stops = score.metric("time_to_yield_p95_s").samples
    return {"gap_ms": _ms(gaps[0] if gaps else None), "stop_ms": _ms(stops[0] if stops else None)}


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else 1000 * seconds


def main() -> None:
    """Score each call of the folder."""
    vad = SileroVad()
    for path in sorted(Path(sys.argv[1]).glob("*/truth.json")):
        truth = json.loads(path.read_text())
        theirs = {
            "hotato": hotato(path.parent, truth),
            "callback-voice": callback(path.parent, truth, vad),
        }
        (path.parent / "theirs.json").write_text(json.dumps(theirs, indent=2) + "\n")


if __name__ == "__main__":
    main()
