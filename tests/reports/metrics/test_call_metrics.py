"""The numbers against synthetic calls whose truth is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_call import SERVER_HZ, MadeCall, at_rate, steady, tone, voice
from msgspec import structs
from synthetic_call import (
    IN_ITS_FRAME_MS,
    LEAD_MS,
    MS,
    RATE_HZ,
    START_NS,
    SyntheticCall,
    TurnTruth,
    speech,
)

from callerside.marks import Mark
from callerside.reports.evidence import EAR, MOUTH, CallEvidence
from callerside.reports.metrics.audible import detected
from callerside.reports.metrics.error_bounds import ENERGY_ONSET, MASKED_END, MASKED_ONSET
from callerside.reports.metrics.measurement import Measurement
from callerside.reports.metrics.metrics import measure
from callerside.reports.metrics.turn_path import LATENCY_PATH

TOLERANCE_MS = 2
_OTHERS = "Please hold the line for a moment."


def numbers(evidence: CallEvidence) -> dict[tuple[str, int | None], Measurement]:
    return {(m.name, m.turn): m for m in measure(evidence).measurements}


def test_setting_up_is_measured_from_dialling_on() -> None:
    found = numbers(SyntheticCall(answer_ms=42, beep_ms=133, greeting_ms=655).build())
    assert found["answer_ms", None].value == 42
    assert found["connect_ms", None].value == 20
    assert found["media_ready_ms", None].value == 32
    assert found["beep_ms", None].value == pytest.approx(133, abs=TOLERANCE_MS)
    assert found["beep_hz", None].value == pytest.approx(440, abs=0.5)
    assert found["beep_length_ms", None].value == pytest.approx(400, abs=TOLERANCE_MS)
    assert found["greeting_ms", None].value == pytest.approx(655, abs=TOLERANCE_MS)
    assert found["greeting_ms", None].variant == "cached"
    assert found["ready_ms", None].value == pytest.approx(42 + 655 + 1100 + 1 - 8, abs=0.1)


@settings(max_examples=25, deadline=None)
@given(
    uplink_ms=st.integers(5, 120),  # 4 of them until it is taken and appended
    vad_ms=st.integers(200, 1000),
    think_ms=st.integers(100, 900),
    downlink_ms=st.integers(5, 150),
    says_ms=st.integers(400, 2000),
    seed=st.integers(0, 1000),
)
def test_a_turn_and_the_agents_part_of_it(
    uplink_ms: int, vad_ms: int, think_ms: int, downlink_ms: int, says_ms: int, seed: int
) -> None:
    truth = TurnTruth(
        says_ms=says_ms,
        uplink_ms=uplink_ms,
        vad_ms=vad_ms,
        think_ms=think_ms,
        downlink_ms=downlink_ms,
    )
    call = SyntheticCall(turns=[TurnTruth(), truth], seed=seed).build()
    found = numbers(call)
    own_ms = vad_ms + think_ms + LEAD_MS
    turn = found["turn_ms", 2]
    assert turn.value == pytest.approx(uplink_ms + own_ms + downlink_ms, abs=TOLERANCE_MS)
    assert turn.own_ms == pytest.approx(own_ms, abs=TOLERANCE_MS)
    overhead = found["agent_overhead_ms", 2]
    assert overhead.value == pytest.approx(uplink_ms + downlink_ms, abs=TOLERANCE_MS)
    assert "found in what the server received" in overhead.detail
    assert found["uplink_ms", 2].value == pytest.approx(uplink_ms - 2, abs=TOLERANCE_MS)
    assert found["downlink_ms", 2].value == pytest.approx(downlink_ms - 3, abs=TOLERANCE_MS)


def test_the_hops_of_a_turn_add_up_to_it_exactly() -> None:
    for turn in measure(SyntheticCall().build()).turns:
        assert turn.answer_ns is not None
        assert turn.hops[0].start_ns == turn.left_ns
        assert turn.hops[-1].end_ns == turn.answer_ns
        assert sum(h.end_ns - h.start_ns for h in turn.hops) == turn.answer_ns - turn.left_ns
        assert [h.name for h in turn.hops] == [point.hop for point in LATENCY_PATH.values()]


def test_the_way_of_the_sound_is_told_at_both_ends_of_the_rtp() -> None:
    """It begins when the packet with the last voiced sample leaves, when that has been said."""
    turn = measure(SyntheticCall(turns=[TurnTruth(uplink_ms=12)]).build()).turns[0]
    lengths = {hop.name: hop.length_ms for hop in turn.hops}
    assert (turn.left_ns - turn.end_ns) / MS == pytest.approx(IN_ITS_FRAME_MS, abs=0.2)
    assert lengths["RTP to agent"] == pytest.approx(12 - 4, abs=0.2)
    assert lengths["agent to append"] == pytest.approx(2, abs=0.2)
    assert lengths["append to server"] == pytest.approx(2, abs=0.2)


def test_an_append_of_many_frames_tells_when_each_was_taken() -> None:
    full = SyntheticCall(turns=[TurnTruth()]).build()
    frames = [m for m in full.marks if m.name == "audio_appended"]
    joined = [
        structs.replace(last, fields={**last.fields, "samples": 5 * last.fields["samples"]})
        for last in frames[4::5]
    ]
    marks = [m for m in full.marks if m.name != "audio_appended"] + joined
    evidence = replace(full, marks=sorted(marks, key=lambda m: m.at_ns))
    one, other = measure(full).turns[0].instants, measure(evidence).turns[0].instants
    assert other["heard"] == pytest.approx(one["heard"], abs=1000)
    assert other["appended"] >= one["appended"]


def test_a_beep_that_the_hang_up_cuts_has_no_length() -> None:
    full = SyntheticCall().build()
    beep = measure(full).audible.beep
    assert beep is not None
    hung_up_ns = beep.start_ns + 150 * MS
    marks = [m for m in full.marks if m.name not in {"hang_up_sent", "call_ended"}]
    hang_up = Mark(at_ns=hung_up_ns, source="caller", call="c", name="hang_up_sent")
    cut = full.recording[: full.sample_at(hung_up_ns)]
    marks = sorted([*marks, hang_up], key=lambda m: m.at_ns)
    found = numbers(replace(full, marks=marks, recording=cut))
    assert ("beep_ms", None) in found
    assert ("beep_length_ms", None) not in found


def test_a_beep_in_pieces_that_sounds_like_speech_is_no_greeting() -> None:
    full = SyntheticCall().build()
    beep = measure(full).audible.beep
    assert beep is not None
    start, end = full.sample_at(beep.start_ns), full.sample_at(beep.end_ns)
    pieces = full.recording.copy()
    pieces[start:end, 1] = speech(beep.length_ms, seed=5)[: end - start]
    found = numbers(replace(full, recording=pieces))
    assert found["greeting_ms", None] == numbers(full)["greeting_ms", None]


def test_a_prompt_or_a_tone_without_a_response_is_no_answer() -> None:
    full = SyntheticCall(turns=[TurnTruth()]).build()
    of_answers = {"first_delta", "delta_sent", "playout_started", "response_created"}
    silent = replace(full, marks=[m for m in full.marks if m.name not in of_answers])
    assert ("turn_ms", 1) not in numbers(silent)
    assert ("turn_ms", 1) in numbers(replace(full, marks=heard_only(full)))


def test_what_sounds_before_the_answer_is_sent_is_no_answer() -> None:
    """A tone while the API is still connecting, and a caller who hangs up before the answer."""
    call = MadeCall(10)
    call.set_up(None)
    end_ms = call.say(1000, at_rate(steady(800), SERVER_HZ))
    call.hears(end_ms + 450, tone(425, 250))
    call.respond(end_ms + 1450, end_ms + 1500, np.zeros(SERVER_HZ), heard=np.zeros(1))
    call.hang_up(end_ms + 1490)
    full = call.evidence()
    too_late = {"first_delta", "playout_started", "playout_ended"}
    heard = measure(replace(full, marks=[m for m in full.marks if m.name not in too_late]))
    assert not {"turn_ms", "agent_overhead_ms"} & {m.name for m in heard.measurements}
    reasons = {one.name: one.reason for one in heard.unmeasured}
    assert reasons["agent_overhead_ms"] == "no sound was heard after it"


def heard_only(full: CallEvidence) -> list[Mark]:
    """The marks of a call with an agent that is not ours."""
    return [mark for mark in full.marks if mark.source == "caller"]


@settings(max_examples=40, deadline=None)
@given(known=st.sets(st.sampled_from([name for name in LATENCY_PATH if name != "ear"])))
def test_hops_add_up_whatever_is_known(known: set[str]) -> None:
    (turn,) = measure(SyntheticCall(turns=[TurnTruth()]).build()).turns
    less = replace(turn, instants={k: v for k, v in turn.instants.items() if k in known})
    assert turn.answer_ns is not None
    assert sum(h.end_ns - h.start_ns for h in less.hops) == turn.answer_ns - turn.left_ns
    assert len(less.hops) == len(known) + 1
    whole = {hop.name for hop in turn.hops}
    for hop in less.hops:
        assert hop.name in whole or " to " in hop.name


def test_the_servers_vad_stands_in_where_its_audio_was_not_kept() -> None:
    found = numbers(replace(SyntheticCall().build(), server_heard=None))
    overhead = found["agent_overhead_ms", 1]
    assert overhead.value == pytest.approx(12 + 15, abs=32)
    assert "VAD" in overhead.detail


def test_a_black_box_agent_is_measured_by_what_is_heard() -> None:
    full = SyntheticCall().build()
    evidence = replace(
        full,
        marks=[m for m in full.marks if m.source == "caller"],
        server_heard=None,
        server_sent=None,
    )
    found = numbers(evidence)
    assert found["turn_ms", 1].value == pytest.approx(12 + 500 + 300 + LEAD_MS + 15, abs=2)
    assert found["turn_ms", 1].own_ms is None
    assert ("agent_overhead_ms", 1) not in found
    assert found["greeting_ms", None].value == pytest.approx(640, abs=TOLERANCE_MS)
    assert "connect_ms" not in {name for name, _ in found}


def test_a_production_call_has_what_the_agents_marks_show() -> None:
    full = SyntheticCall().build()
    evidence = CallEvidence(info=full.info, marks=[m for m in full.marks if m.source == "agent"])
    found = numbers(evidence)
    assert found["connect_ms", None].value == 20
    assert {name for name, _ in found} == {
        "connect_ms",
        "media_ready_ms",
        "ready_ms",
        "append_interval_ms",
        "gap_ms",
    }


def test_an_utterance_that_is_not_answered_has_no_turn() -> None:
    full = SyntheticCall(turns=[TurnTruth(), TurnTruth()]).build()
    cut = next(m.at_ns for m in full.marks if m.fields.get("response") == "resp_2")
    recording = full.recording.copy()
    recording[full.sample_at(cut) :, 1] = 0
    evidence = replace(
        full, recording=recording, marks=[m for m in full.marks if m.fields.get("item") != "item_2"]
    )
    result = measure(evidence)
    assert [turn.turn_ms is None for turn in result.turns] == [False, True]
    assert result.turns[1].hops == []


@pytest.mark.parametrize("stop_ms", [60, 120, 310])
def test_a_barge_in_is_measured_from_the_callers_onset_to_silence(stop_ms: int) -> None:
    turns = [TurnTruth(), TurnTruth(barge_in_after_ms=600, stop_ms=stop_ms)]
    found = numbers(SyntheticCall(turns=turns).build())
    assert found["barge_in_stop_ms", 2].value == pytest.approx(stop_ms, abs=TOLERANCE_MS)
    assert found["heard_error_ms", None].value == pytest.approx(0, abs=TOLERANCE_MS)
    assert found["talk_over_ms", None].value == pytest.approx(stop_ms, abs=TOLERANCE_MS)
    assert ("barge_in_stop_ms", 1) not in found


def test_a_wrong_truncation_is_found() -> None:
    turns = [TurnTruth(), TurnTruth(barge_in_after_ms=600)]
    full = SyntheticCall(turns=turns).build()

    def wrong(mark: Mark) -> Mark:
        if mark.name != "truncate_sent":
            return mark
        told = mark.fields["audio_end_ms"] + 180
        return structs.replace(mark, fields={**mark.fields, "audio_end_ms": told})

    found = numbers(replace(full, marks=[wrong(m) for m in full.marks]))
    assert found["heard_error_ms", None].value == pytest.approx(180, abs=TOLERANCE_MS)
    without_source = replace(full, marks=[wrong(m) for m in full.marks], server_sent=None)
    error = numbers(without_source)["heard_error_ms", None]
    assert error.value == pytest.approx(180 + LEAD_MS, abs=TOLERANCE_MS)
    assert "length" in error.detail


def test_what_the_server_took_counts_whatever_the_agent_says_it_sent() -> None:
    full = SyntheticCall(turns=[TurnTruth(), TurnTruth(barge_in_after_ms=600)]).build()
    sent = next(mark for mark in full.marks if mark.name == "truncate_sent")
    told = {"item": sent.fields["item"], "audio_end_ms": sent.fields["audio_end_ms"] + 180}
    taken = Mark(
        call=sent.call, at_ns=sent.at_ns + 1, source="realtime", name="truncated", fields=told
    )
    found = numbers(replace(full, marks=[*full.marks, taken]))
    assert found["heard_error_ms", None].value == pytest.approx(180, abs=TOLERANCE_MS)


def test_a_hole_in_an_answer_is_a_gap() -> None:
    full = SyntheticCall(turns=[TurnTruth()]).build()
    onset = full.sample_at(measure(full).turns[0].answer_ns or 0)
    recording = full.recording.copy()
    recording[onset + 3840 : onset + 4160, 1] = 0
    found = numbers(replace(full, recording=recording))
    assert found["gap_ms", 1].value == pytest.approx(40, abs=6)
    assert numbers(full)["gap_ms", 1].value == 0


def test_a_hole_that_nothing_follows_is_a_gap() -> None:
    """The server sent nothing more either: the agent's mark alone tells of it."""
    full = SyntheticCall(turns=[TurnTruth()]).build()
    fields = {"item": "item_1", "missing_ms": 900.0, "until": "given_up"}
    hole = Mark(
        at_ns=full.marks[-3].at_ns, source="agent", call="c", name="playout_underrun", fields=fields
    )
    found = numbers(replace(full, marks=[*full.marks[:-3], hole, *full.marks[-3:]]))
    assert found["gap_ms", 1].value == 900


def test_an_answer_that_is_not_recognised_has_a_reason_for_each_of_its_metrics() -> None:
    call = MadeCall(10)
    call.set_up(None)
    end_ms = call.say(1000, voice("Are you open on Saturday?"))
    answer = voice("We open at nine in the morning and close at five.")
    call.respond(end_ms + 900, end_ms + 950, answer, heard=at_rate(voice(_OTHERS, "en-us+f3")))
    call.hang_up(end_ms + 5000)
    heard = measure(call.evidence())
    of_it = {"missing_ms", "repeated_ms", "onset_clipped_ms", "tail_clipped_ms", "intelligibility"}
    assert not of_it & {one.name for one in heard.measurements}
    reasons = {one.name: one.reason for one in heard.unmeasured if one.turn == 1}
    for name in of_it:
        assert "was not recognised in what was heard" in reasons[name]


def test_a_sound_that_runs_into_an_answer_leaves_nothing_to_measure_by_sound_alone() -> None:
    call = MadeCall(10)
    call.set_up(None)
    end_ms = call.say(1000, voice("Are you open on Saturday?"))
    call.hears(end_ms + 300, at_rate(voice(_OTHERS, "en-us+f3")))
    answer = voice("We open at nine in the morning and close at five.")
    call.respond(end_ms + 900, end_ms + 1000, answer)
    call.hang_up(end_ms + 5000)
    heard = measure(replace(call.evidence(), server_sent=None))
    assert "turn_ms" not in {one.name for one in heard.measurements}
    reasons = {one.name: one.reason for one in heard.unmeasured}
    assert reasons["turn_ms"] == "another sound of the agent's runs on into the answer"


def test_an_answer_begins_where_what_was_sent_is_heard_not_with_the_next_sound() -> None:
    call = MadeCall(10)
    call.set_up(None)
    end_ms = call.say(1000, at_rate(steady(800), SERVER_HZ))
    answer_ms = end_ms + 1600
    call.hears(end_ms + 1000, tone(425, 200))
    call.respond(end_ms + 900, answer_ms, steady(1500, seed=9), playout_ms=end_ms + 950)
    call.hang_up(answer_ms + 3000)
    turn = numbers(call.evidence())["turn_ms", 1]
    assert turn.value == pytest.approx(answer_ms - call.left_ms(end_ms), abs=TOLERANCE_MS)


def test_an_answer_that_began_before_the_callers_last_packet_left_has_no_turn() -> None:
    call = MadeCall(10)
    call.set_up(None)
    wave = at_rate(steady(800), SERVER_HZ)
    begins_ms = max(range(1000, 1020), key=lambda ms: call.left_ms(ms + 800.0) - ms)
    end_ms = call.say(begins_ms, wave)
    assert call.left_ms(end_ms) - end_ms > 10
    call.respond(end_ms + 1, end_ms + 3, steady(1500, seed=9))
    call.hang_up(end_ms + 4000)
    heard = measure(call.evidence())
    assert "turn_ms" not in {m.name for m in heard.measurements}


def test_how_well_an_answer_could_be_understood() -> None:
    full = SyntheticCall(turns=[TurnTruth(answer_length_ms=2500)]).build()
    assert numbers(full)["intelligibility", 1].value > 99
    onset = full.sample_at(measure(full).turns[0].answer_ns or 0)
    rng = np.random.default_rng(1)
    values = []
    for noise_db in (-30, -5):
        recording = full.recording.copy()
        ear = recording[onset:, 1].astype(float)
        loud = np.sqrt(np.mean(ear**2)) * 10 ** (noise_db / 20)
        recording[onset:, 1] = np.clip(ear + rng.normal(0, loud, ear.size), -32768, 32767)
        values.append(numbers(replace(full, recording=recording))["intelligibility", 1].value)
    assert values[0] > 95
    assert values[1] < values[0]


def test_too_short_an_answer_has_no_intelligibility() -> None:
    found = numbers(SyntheticCall(turns=[TurnTruth(answer_length_ms=300)]).build())
    assert ("gap_ms", 1) in found
    assert ("intelligibility", 1) not in found


def test_the_more_is_lost_the_less_is_understood() -> None:
    full = SyntheticCall(turns=[TurnTruth(answer_length_ms=2500)]).build()
    onset = full.sample_at(measure(full).turns[0].answer_ns or 0)
    values = []
    for length_ms in (0, 60, 600):
        recording = full.recording.copy()
        recording[onset + 4000 : onset + 4000 + length_ms * 8, 1] = 0
        values.append(numbers(replace(full, recording=recording))["intelligibility", 1].value)
    assert values == sorted(values, reverse=True)
    assert values[1] > 90 > values[2]


def test_dead_air_is_the_longest_silence_of_both() -> None:
    turns = [TurnTruth(), TurnTruth(pause_before_ms=3300)]
    found = numbers(SyntheticCall(turns=turns).build())
    assert found["dead_air_ms", None].value == pytest.approx(3300, abs=25)


def test_appends_that_stall_show_in_their_interval() -> None:
    full = SyntheticCall().build()
    appended = [m for m in full.marks if m.name == "audio_appended"]
    every_sixth = set(map(id, appended[::6]))
    thinned = [m for m in full.marks if m.name != "audio_appended" or id(m) in every_sixth]
    found = numbers(replace(full, marks=thinned))
    assert found["append_interval_ms", None].value == pytest.approx(120, abs=10)


def test_speech_that_comes_first_from_the_caller_is_not_taken_for_a_greeting() -> None:
    call = SyntheticCall(greeting_length_ms=0, turns=[TurnTruth()]).build()
    marks = [m for m in call.marks if not m.name.startswith("greeting")]
    names = {m.name for m in measure(replace(call, marks=marks)).measurements}
    assert "greeting_ms" not in names


def test_a_call_that_was_never_answered_has_no_numbers() -> None:
    dialed = Mark(at_ns=START_NS, source="caller", call="x", name="call_dialed", fields={})
    ended = Mark(at_ns=START_NS + 30_000 * MS, source="caller", call="x", name="call_ended")
    evidence = CallEvidence(info=SyntheticCall().build().info, marks=[dialed, ended])
    assert measure(evidence).measurements == []


def test_noise_on_the_line_moves_the_numbers_little() -> None:
    call = SyntheticCall(noise_dbfs=-48, turns=[TurnTruth(), TurnTruth()])
    found = numbers(call.build())
    for turn in (1, 2):
        assert found["agent_overhead_ms", turn].value == pytest.approx(12 + 15, abs=10)


def test_a_silent_recording_has_dead_air_and_nothing_else_heard() -> None:
    full = SyntheticCall(said=False).build()
    found = numbers(replace(full, recording=np.zeros((RATE_HZ * 10, 2), np.int16)))
    assert found["dead_air_ms", None].value == pytest.approx(10_000, abs=50)
    assert not {"beep_ms", "greeting_ms", "turn_ms"} & {name for name, _ in found}


def test_every_hop_is_explained_in_the_docs() -> None:
    page = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
    hops = page.split("## Hops")[1].split("## ")[0]
    assert [point.name for point in LATENCY_PATH.values() if point.name not in hops] == []
    for party in {point.party for point in LATENCY_PATH.values()}:
        assert f"| {party} |" in hops


def in_two_sessions(call: CallEvidence, *, lost: int) -> CallEvidence:
    """The call as if its connection had been lost and made anew between its two turns.

    The new session counts from zero; `lost` appends before that never came.
    """
    utterances = call.find("caller", "utterance_ended", "utterance_started")
    end, start = [mark.at_ns for mark in utterances][1:3]
    anew_ns = (end + start) // 2 + 1500 * MS
    arrived = [m for m in call.find("realtime", "audio_received") if m.at_ns < anew_ns]
    gone = {id(mark) for mark in arrived[len(arrived) - lost :]}
    before = {"audio_received": 0, "delta_sent": 0}
    marks = []
    for mark in call.marks:
        if id(mark) in gone:
            continue
        if mark.name not in before:
            marks.append(mark)
        elif mark.at_ns < anew_ns:
            marks.append(mark)
            before[mark.name] = int(mark.fields["total_samples"])
        else:
            past = before[mark.name] + (
                lost * int(mark.fields["samples"]) if mark.name == "audio_received" else 0
            )
            total = int(mark.fields["total_samples"]) - past
            marks.append(structs.replace(mark, fields={**mark.fields, "total_samples": total}))
    made = Mark(at_ns=anew_ns, source="agent", call=call.name, name="realtime_connected", fields={})
    heard = call.server_heard
    assert heard is not None
    step = int(arrived[-1].fields["samples"])
    cut = np.arange(before["audio_received"], before["audio_received"] + lost * step)
    return replace(
        call,
        marks=sorted([*marks, made], key=lambda mark: mark.at_ns),
        server_heard=replace(heard, samples=np.delete(heard.samples, cut)),
    )


@pytest.mark.parametrize("kept", [True, False], ids=["audio kept", "by the VAD"])
@pytest.mark.parametrize("lost", [0, 10])
def test_a_connection_made_anew_takes_nothing_from_the_numbers(lost: int, kept: bool) -> None:
    whole = SyntheticCall(turns=[TurnTruth(), TurnTruth(pause_before_ms=3000)]).build()
    torn = in_two_sessions(whole, lost=lost)
    if not kept:
        marks = [in_the_sessions_own_time(torn, mark) for mark in torn.marks]
        torn, whole = (
            replace(torn, marks=marks, server_heard=None),
            replace(whole, server_heard=None),
        )
    one, other = numbers(whole), numbers(torn)
    for name in ("turn_ms", "agent_overhead_ms", "uplink_ms", "downlink_ms", "gap_ms"):
        for turn in (1, 2):
            assert other[name, turn].value == pytest.approx(one[name, turn].value, abs=0.1), name


def in_the_sessions_own_time(call: CallEvidence, mark: Mark) -> Mark:
    """`last_voiced_ms` on the audio clock of the session that it is told in."""
    begun = [
        m
        for m in call.find("realtime", "audio_received")
        if m.fields["total_samples"] == m.fields["samples"] and m.at_ns <= mark.at_ns
    ]
    if mark.name != "speech_stopped" or len(begun) < 2:
        return mark
    first = next(
        m for m in call.find("agent", "audio_appended") if m.at_ns >= begun[-1].at_ns - 5 * MS
    )
    past_ms = (int(first.fields["total_samples"]) - int(first.fields["samples"])) / 24
    last_ms = float(mark.fields["last_voiced_ms"]) - past_ms
    return structs.replace(mark, fields={**mark.fields, "last_voiced_ms": last_ms})


@pytest.mark.parametrize(("noise_dbfs", "is_told"), [(-45, True), (-27, False)])
def test_where_nothing_stands_out_of_loud_noise_nobody_is_said_to_be_silent(
    noise_dbfs: float, is_told: bool
) -> None:
    full = SyntheticCall(said=False).build()
    wave = np.random.default_rng(1).normal(0, 32768 * 10 ** (noise_dbfs / 20), RATE_HZ * 10)
    recording = np.stack([np.zeros(RATE_HZ * 10), wave], axis=1).astype(np.int16)
    measured = measure(replace(full, recording=recording))
    assert any(one.name == "dead_air_ms" for one in measured.measurements) is is_told
    why = {one.name: one.reason for one in measured.unmeasured}
    if not is_told:
        for name in ("dead_air_ms", "talk_over_ms", "double_talk_share"):
            assert "out of the noise at the ear (-27 dBFS)" in why[name]


def test_edges_amid_an_echo_that_was_taken_off_are_known_less_well() -> None:
    full = SyntheticCall(turns=[TurnTruth(barge_in_after_ms=600)], server=False).build()
    plain = [(one.start_bound, one.end_bound) for one in detected(full, EAR)]
    late = RATE_HZ * 120 // 1000
    recording = full.recording.astype(np.float64)
    recording[late:, EAR] += 0.03 * recording[:-late, MOUTH]
    echoed = replace(full, recording=np.rint(recording).astype(np.int16))
    sounds = [one for one in detected(echoed, EAR) if one.kind == "speech"]
    assert {MASKED_ONSET, MASKED_END}.isdisjoint(bound for bounds in plain for bound in bounds)
    spoke = [(one.start_ns, one.end_ns) for one in measure(full).audible.mouth]
    for one in sounds:
        amid = any(start < one.end_ns < end + 600 * MS for start, end in spoke)
        assert (one.end_bound == MASKED_END) is amid
    assert any(one.end_bound == MASKED_END for one in sounds)
    assert any(one.start_bound == ENERGY_ONSET for one in sounds)
