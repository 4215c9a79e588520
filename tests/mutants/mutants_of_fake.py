"""Faults of the fake Realtime server that were mended."""

from mutant import Edit, Mutant

_AUDIO = "fakes/session/input_audio.py"
_SESSION = "fakes/session/session.py"
_TURNS = "fakes/session/user_turns.py"
_REPLAY = "fakes/recording/replay.py"
_FAULTS = "fakes/session/faults.py"
_TESTS = "tests/fakes/session/test_fake_session.py"

MUTANTS = (
    Mutant(
        name="appends_overtake_what_waits",
        row="fake 3",
        says="audio goes into the wrong item: appends overtake requests that wait for a commit",
        edits=(
            Edit(
                _SESSION,
                "        waits = self._appends_wait if is_append else self._turns.commit_pending\n",
                "        waits = not is_append and self._turns.commit_pending\n",
            ),
        ),
        tests=(_TESTS,),
    ),
    Mutant(
        name="ended_response_speaks_on_in_a_replay",
        row="fake 5",
        says="a client that interrupts a replay gets audio after response.done",
        edits=(
            Edit(
                _REPLAY,
                '                self._cut_short(part_of(event, "response"))\n',
                "                pass\n",
            ),
        ),
        tests=("tests/fakes/recording/test_replay.py",),
    ),
    Mutant(
        name="refused_request_claims_the_answer_of_the_next",
        row="fake 4",
        says="in a replay a refused request gets what the next one got",
        edits=(
            Edit(
                "fakes/recording/causality.py",
                "    _ACTIVE_ALREADY: _CREATE,\n",
                "    f'no {_ACTIVE_ALREADY}': _CREATE,\n",
            ),
        ),
        tests=(
            "tests/fakes/recording/test_replay.py",
            "tests/fakes/recording/test_recorded_order.py",
        ),
    ),
    Mutant(
        name="recording_with_a_line_separator_is_lost",
        row="fake 6",
        says="a recording with U+2028 in a text cannot be read",
        in_calls=False,
        edits=(
            Edit(
                "fakes/recording/format.py",
                '    *whole, rest = text.split("\\n")\n',
                '    *whole, rest = [*text.splitlines(), ""]\n',
            ),
        ),
        tests=("tests/fakes/recording/test_recordings.py",),
    ),
    Mutant(
        name="close_codes_that_close_nothing",
        row="fake 8",
        says="a close with a code that no frame can carry is accepted, and closes nothing",
        in_calls=False,
        edits=(Edit(_FAULTS, "    if code not in _CLOSE_CODES:", "    if code < 1000:"),),
        tests=("tests/fakes/session/test_faults.py",),
    ),
    Mutant(
        name="idle_timeout_strikes_amid_a_response",
        row="fake 9",
        says="the idle timeout fires while a newer response runs",
        edits=(Edit(_TURNS, "        if self._scheduler.is_busy:\n", "        if False:\n"),),
        tests=(_TESTS,),
    ),
    Mutant(
        name="idle_timeout_counts_what_nobody_waited_for",
        row="fake 9",
        says="the idle timeout fires at once when detection is switched on again",
        edits=(
            Edit(
                _TURNS,
                "        if self._idle_timeout_ms is None and self._idle_from_ms is not None:",
                "        if False and self._idle_from_ms is not None:",
            ),
        ),
        tests=(_TESTS,),
    ),
    Mutant(
        name="retrieved_item_has_another_format",
        row="fake 12",
        says="an item of a pcmu session is retrieved as PCM16",
        edits=(
            Edit(
                _TURNS,
                "                audio_format=self._state.config.input_format,\n",
                "",
            ),
        ),
        tests=(_TESTS,),
    ),
    Mutant(
        name="speech_starts_before_the_last_commit",
        row="fake 13",
        says="audio_start_ms reaches before a clear or the last commit",
        edits=(
            Edit(
                _AUDIO,
                "        return max(round(self._to_ms(self._committed_at)), speech.onset_ms"
                " - self._prefix_ms)",
                "        return max(0, speech.onset_ms - self._prefix_ms)",
            ),
        ),
        tests=(_TESTS,),
    ),
    Mutant(
        name="a_hundred_ms_are_too_little_after_an_odd_split",
        row="fake 14",
        says="exactly 100 ms are refused after an odd split",
        edits=(
            Edit(
                _AUDIO,
                """\
        if self._half or (len(wire) % 2 and self._format.encoding == "pcm"):
            wire = self._half + wire
            self._half = wire[len(wire) // 2 * 2 :]
""",
                """\
        if len(wire) % 2 and self._format.encoding == "pcm":
            wire = wire[:-1]
""",
            ),
        ),
        tests=(_TESTS,),
    ),
    Mutant(
        name="scripts_asked_for_at_once_are_refused",
        row="fake 1",
        says="scripts that are first asked for at the same time are refused with 500",
        in_calls=False,
        edits=(
            Edit(
                "fakes/script/cache.py",
                "[known for _, known in list(self._ready.values())]",
                "(known for _, known in self._ready.values())",
            ),
        ),
        tests=("tests/fakes/script/test_script_cache.py",),
    ),
    Mutant(
        name="digital_silence_is_a_voice",
        row="fake 7",
        says="a VAD threshold of 0.15 or less never ends a turn",
        edits=(
            Edit(
                "callerside/vad/turn_detector.py",
                "        if probability >= max(self.parameters.threshold - _HYSTERESIS, _LEAST_VOICED):",
                "        if probability >= self.parameters.threshold - _HYSTERESIS:",
            ),
        ),
        tests=("tests/callerside/test_turn_detector.py", _TESTS),
    ),
)
