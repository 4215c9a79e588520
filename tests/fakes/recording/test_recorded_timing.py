"""What `timing.json` of the recordings tells: which event came when, in two more responses."""

import json
from typing import Any

import pytest
from in_memory import Client
from recorded import FOLDER, needs_recordings

DELTAS = ("response.output_audio.delta", "response.output_audio_transcript.delta")
MS_PER_TOKEN = 50


def recorded_responses() -> list[dict[str, Any]]:
    path = FOLDER / "timing.json"
    return list(json.loads(path.read_text())["responses"]) if path.is_file() else []


def in_order(types: list[str]) -> list[str]:
    """Types without repetitions of what flows, and without what comes anywhere."""
    order: list[str] = []
    for kind in types:
        told = "deltas" if kind in DELTAS else kind
        if "input_audio_transcription" not in told and (told != "deltas" or order[-1:] != [told]):
            order.append(told)
    return order


def ours(recorded: dict[str, Any]) -> tuple[Client, list[tuple[str, float]]]:
    """The same happens to the fake: its client, and its events since the request or the commit."""
    events = [(event["type"], 1000 * event["at"]) for event in recorded["events"]]
    first_ms = next(at_ms for kind, at_ms in events if kind == DELTAS[0])
    text = "Are you still there, on the line, or shall I call you again later on today, my friend?"
    script: dict[str, Any] = {"timing": {"think_ms": first_ms - events[0][1]}}
    client = Client({**script, "greeting": {"say": text}, "default_reply": {"say": text}})
    if recorded["trigger"] == "response.create":
        client.send("response.create")
        begun = 1
    else:
        detection = {"type": "server_vad", "idle_timeout_ms": 5000}
        client.turn_detection(detection)
        client.send("response.create")
        client.wait(3000)
        client.hear(bytes(48 * 12_000))
        begun = client.types.index("input_audio_buffer.committed")
    client.wait(5000)
    return client, list(zip(client.types, client.times_ms, strict=True))[begun:]


@needs_recordings
@pytest.mark.parametrize("recorded", recorded_responses(), ids=lambda r: r["trigger"])
def test_events_come_in_the_order_that_was_timed(recorded: dict[str, Any]) -> None:
    _, events = ours(recorded)
    until = [kind for kind, _ in events].index("rate_limits.updated") + 1
    expected = [event["type"] for event in recorded["events"]]
    expected = [kind for kind in expected if not kind.startswith("client ")]
    assert in_order([kind for kind, _ in events[:until]]) == in_order(expected)


@needs_recordings
@pytest.mark.parametrize("recorded", recorded_responses(), ids=lambda r: r["trigger"])
def test_the_tail_comes_as_soon_as_was_timed(recorded: dict[str, Any]) -> None:
    """From the last delta on; the machine of a recording needs a few milliseconds of its own."""
    at_ms = {event["type"]: 1000 * event["at"] for event in recorded["events"]}
    _, events = ours(recorded)
    until = [kind for kind, _ in events].index("rate_limits.updated") + 1
    our_ms = dict(events[:until])
    for kind in ("response.output_audio.done", "response.done", "rate_limits.updated"):
        recorded_ms = at_ms[kind] - at_ms[DELTAS[0]]
        assert our_ms[kind] - our_ms[DELTAS[0]] == pytest.approx(recorded_ms, abs=5), kind


@needs_recordings
def test_audio_is_sent_as_large_and_as_fast_as_was_timed() -> None:
    recorded = max(recorded_responses(), key=lambda response: response["audio_tokens"])
    deltas_ms = [1000 * e["at"] for e in recorded["events"] if e["type"] == DELTAS[0]]
    length_ms = recorded["audio_tokens"] * MS_PER_TOKEN
    size_ms, pace = length_ms / len(deltas_ms), length_ms / (deltas_ms[-1] - deltas_ms[0])
    client, _ = ours(recorded)
    marks = client.marked("delta_sent")
    last = marks[-1].fields["response"]
    ours_of_it = [mark for mark in marks if mark.fields["response"] == last]
    sizes_ms = [mark.fields["samples"] / 24 for mark in ours_of_it]
    took_ms = (ours_of_it[-1].at_ns - ours_of_it[0].at_ns) / 1e6
    # Eight deltas of 375 ms here; over all recorded sessions they average 255 ms (188 to 275).
    assert sum(sizes_ms[:-1]) / len(sizes_ms[:-1]) == pytest.approx(size_ms, rel=0.35)
    assert sum(sizes_ms) / took_ms == pytest.approx(pace, rel=0.35)
