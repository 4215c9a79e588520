"""Beginnings and ends: as they are known, as they are detected, and the difference."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic_call import SyntheticCall, speech

from callerside.reports.evidence import EAR, MOUTH, CallEvidence, Said
from callerside.reports.metrics.edges import Edge, edges_of
from callerside.reports.metrics.metrics import measure


def edges(evidence: CallEvidence, channel: int) -> list[Edge]:
    found = edges_of(evidence, measure(evidence).audible)
    return [edge for edge in found if edge.channel == channel]


def test_the_difference_is_how_much_later_an_edge_was_detected_than_it_is() -> None:
    """The truth is put 30 ms before where the sound begins, and 50 ms before where it ends."""
    evidence = SyntheticCall().build()
    heard = measure(evidence).audible.mouth
    first, past = (evidence.sample_at(ns) for ns in (heard[0].start_ns, heard[0].end_ns))
    rate_hz = evidence.rate_hz
    said = [Said(turn=1, voiced=[(first - rate_hz * 30 // 1000, past - rate_hz * 50 // 1000)])]
    onset, end = edges(replace(evidence, said=said), MOUTH)[:2]
    assert (onset.kind, end.kind) == ("onset", "end")
    assert onset.difference_ms == pytest.approx(30, abs=0.2)
    assert end.difference_ms == pytest.approx(50, abs=0.2)


def test_what_is_known_and_was_not_detected_is_told_as_such() -> None:
    evidence = SyntheticCall().build()
    silent = np.zeros_like(evidence.recording)
    said = [Said(turn=1, voiced=[(8000, 16000)])]
    found = edges(replace(evidence, recording=silent, said=said), MOUTH)
    assert [(e.kind, e.detected_ns, e.difference_ms) for e in found] == [
        ("onset", None, None),
        ("end", None, None),
    ]


def test_without_anything_known_what_was_detected_stands_alone() -> None:
    evidence = SyntheticCall(server=False).build()
    found = edges(replace(evidence, server_sent=None), EAR)
    assert [edge.of for edge in found[:2]] == ["beep", "beep"]
    assert {edge.known_ns for edge in found} == {None}
    assert all(edge.detected_ns is not None for edge in found)


def test_a_sound_beside_what_is_known_is_an_edge_of_its_own() -> None:
    evidence = SyntheticCall().build()
    first = measure(evidence).audible.mouth[0]
    start, past = (evidence.sample_at(ns) for ns in (first.start_ns, first.end_ns))
    recording = evidence.recording.copy()
    cough = speech(200, 7)
    recording[past + 8000 : past + 8000 + cough.size, MOUTH] = cough
    said = [Said(turn=1, voiced=[(start, past)])]
    found = edges(replace(evidence, recording=recording, said=said), MOUTH)
    alone = [edge for edge in found if edge.known_ns is None]
    assert alone[0].kind == "onset"
    assert evidence.sample_at(alone[0].at_ns) == pytest.approx(past + 8000, abs=80)
