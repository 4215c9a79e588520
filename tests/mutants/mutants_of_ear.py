"""What was measured falsely at the ear, by an independent truth, and was mended."""

from mutant import Edit, Mutant

_ALIGNMENT = "reports/hearing/alignment.py"
_ANSWERS = "reports/metrics/answers.py"
_AUDIBLE = "reports/metrics/audible.py"
_BARGE_IN = "reports/metrics/barge_in.py"
_FAULTS = "reports/metrics/answer_faults.py"
_TURNS = "reports/metrics/turns.py"
_CALLS = "tests/reports/metrics/test_call_metrics.py"
_TRUTH = "tests/reports/metrics/test_truth.py"

MUTANTS = (
    Mutant(
        name="hole_that_nothing_follows_is_none",
        row="ear 1",
        says="silence inside an answer of which nothing more came is no gap: the call passes",
        in_calls=False,
        edits=(Edit(_FAULTS, "        if open_ms > gap_ms:\n", "        if False:\n"),),
        tests=(_CALLS, _TRUTH),
    ),
    Mutant(
        name="another_sound_runs_into_the_answer",
        row="ear 2",
        says="a sound of the agent's own that runs into its answer adds seconds to `turn_ms`",
        in_calls=False,
        edits=(
            Edit(
                _TURNS,
                "        if started_ns is not None and sound.start_ns < earliest_ns < sound.end_ns"
                " - _RUNS_ON_NS:\n",
                "        if started_ns is None and not sound:\n",
            ),
        ),
        tests=(_CALLS, _TRUTH),
    ),
    Mutant(
        name="answer_begins_by_its_energy",
        row="ear 2",
        says="an answer begins with the next sound that starts, not where it was recognised",
        in_calls=False,
        edits=(Edit(_TURNS, "    if known:\n", "    if known and not audible.ear:\n"),),
        tests=(_CALLS, _TRUTH),
    ),
    Mutant(
        name="other_words_are_the_same_sound",
        row="ear 3",
        says="where a delta is lost other words are taken for it: numbers are absurd",
        in_calls=False,
        edits=(
            Edit(
                _ALIGNMENT,
                "_JUMP = 7.0  # another lag\n",
                "_JUMP = 0.7  # another lag\n",
            ),
        ),
        tests=("tests/reports/hearing/test_behind_faults.py", _TRUTH),
    ),
    Mutant(
        name="faults_of_an_unknown_answer_are_absent",
        row="ear 5",
        says="an answer that was not recognised has no metrics, and nobody is told",
        in_calls=False,
        edits=(
            Edit(
                _FAULTS,
                "            for name in _OF_AN_ANSWER:\n"
                "                yield Unmeasured(name=name, turn=turn, reason=_unrecognised(answer))\n",
                "",
            ),
        ),
        tests=(_CALLS, _TRUTH),
    ),
    Mutant(
        name="tail_that_nobody_cut_is_not_missed",
        row="ear 6",
        says="the last 60 to 1,500 ms of an answer are never played, and `missing_ms` is 0",
        in_calls=False,
        edits=(
            Edit(
                _FAULTS,
                "        if alignment.unheard and not _was_cut(answer):\n",
                "        if alignment.unheard < 0 and not _was_cut(answer):\n",
            ),
        ),
        tests=(_CALLS, _TRUTH),
    ),
    Mutant(
        name="echo_of_the_caller_is_the_agent",
        row="ear 9",
        says="the caller's echo at the ear counts as the agent's: stops and talk-over are too long",
        in_calls=False,
        edits=(
            Edit(
                _AUDIBLE,
                '            if sound.kind == "beep" or not _is_echo(evidence, looked_at, mouth):\n',
                '            if sound.kind == "beep" or looked_at:\n',
            ),
        ),
        tests=("tests/reports/metrics/test_short_sounds.py", _TRUTH),
    ),
    Mutant(
        name="echo_of_the_agent_is_the_caller",
        row="ear 8",
        says="the agent's echo at the mouth counts as the caller: `talk_over_ms` where there is none",
        in_calls=False,
        edits=(
            Edit(
                _AUDIBLE,
                "        mouth = [one for one in mouth if not _is_echo(evidence, one, heard, of=EAR)]\n",
                "        mouth = list(mouth)\n",
            ),
        ),
        tests=("tests/reports/metrics/test_short_sounds.py", _TRUTH),
    ),
    Mutant(
        name="pause_of_its_own_is_a_stop",
        row="ear 10",
        says="an agent that does not stop passes, if its answer pauses after the caller's onset",
        in_calls=False,
        edits=(
            Edit(
                _BARGE_IN,
                "        stopped = last.end_ns, last.end_bound\n",
                "        falls_silent = (s.end_ns for s in last.sounds if s.end_ns > said.start_ns)\n"
                "        stopped = next(falls_silent), last.end_bound\n",
            ),
        ),
        tests=(_CALLS, _TRUTH),
    ),
    Mutant(
        name="answer_before_its_turn_is_timed",
        row="ear 11",
        says="an answer that began before the caller was done has a `turn_ms`",
        in_calls=False,
        edits=(
            Edit(
                _TURNS,
                "    if answer_ns is not None and answer_ns < left_ns:\n",
                "    if answer_ns is not None and answer_ns < 0:\n",
            ),
        ),
        tests=(_CALLS, _TRUTH),
    ),
    Mutant(
        name="high_beep_is_none",
        row="ear 13",
        says="a beep of 2,000 Hz is not heard, and is the greeting's beginning",
        in_calls=False,
        edits=(
            Edit(
                "reports/hearing/tone_detector.py",
                "_TONE_HIGHEST_HZ = 3400.0 ",
                "_TONE_HIGHEST_HZ = 1800.0 ",
            ),
        ),
        tests=("tests/reports/hearing/test_detector.py", _TRUTH),
    ),
    Mutant(
        name="quieter_answer_has_holes",
        row="ear 16",
        says="an answer that is heard 16 dB quieter than it was sent has a gap of 425 ms",
        in_calls=False,
        edits=(
            Edit(
                _ALIGNMENT,
                "_LEVELS = ((1.0, 0.0), (0.32, 0.4), (0.1, 0.8), (3.2, 0.4), (8.0, 0.8))\n",
                "_LEVELS = ((1.0, 0.0),)\n",
            ),
        ),
        tests=("tests/reports/hearing/test_alignment.py", _TRUTH),
    ),
    Mutant(
        name="lead_by_the_edges_of_clean_sound",
        row="ear 17",
        says="a faint beginning charges the agent with up to 267 ms",
        in_calls=False,
        edits=(
            Edit(
                _ANSWERS,
                "    wave = _at_rate(piece, sent.rate_hz, evidence.rate_hz)[first:end]\n",
                "    first += round(0.1 * evidence.rate_hz)\n"
                "    wave = _at_rate(piece, sent.rate_hz, evidence.rate_hz)[first:end]\n",
            ),
        ),
        tests=(_CALLS, _TRUTH),
    ),
)
