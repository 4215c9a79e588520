"""Faults of the harness that were mended: what passed and should not have, and false numbers."""

from mutant import Edit, Mutant

_EXPECT = "simulator/caller/expect.py"
_AFTER = "simulator/runner/expectations_after.py"
_STATE = "simulator/caller/call_state.py"
_STEPS = "simulator/caller/step_runner.py"
_LISTENER = "simulator/caller/listener.py"
_PLAYED = "tests/simulator/scenario/test_language_played.py"
_NOW = "tests/simulator/scenario/test_expectations_of_now.py"

MUTANTS = (
    Mutant(
        name="what_the_end_cut_has_ended",
        row="harness 1",
        says="a reply that the end of the call cut in mid-sentence meets `expect: reply`",
        grave=True,
        edits=(
            Edit(
                _LISTENER,
                "        utterance.cut = heard_ns - quiet_ns < ms_to_ns(LAST_SILENCE_MS)\n",
                "        utterance.cut = False\n",
            ),
        ),
        tests=("tests/simulator/caller/test_caller_machine.py", _PLAYED),
    ),
    Mutant(
        name="steps_go_on_in_a_dead_call",
        row="harness 1",
        says="hold, resume and hang_up go as written in a call that has ended",
        grave=True,
        edits=(
            Edit(
                _STEPS,
                "        if observed.ended is not None and not isinstance(step, Expect):",
                "        if observed.ended is not None and isinstance(step, Voiced):",
            ),
        ),
        tests=(_PLAYED, "tests/simulator/caller/test_caller_machine.py"),
    ),
    Mutant(
        name="silence_of_before_counts",
        row="harness 2",
        says="silence from before the step meets `expect: {silence: …}`",
        grave=True,
        edits=(
            Edit(
                _EXPECT,
                "        end_ns = max(since_ns, self._since_ns) + ms_to_ns(length_ms)",
                "        end_ns = since_ns + ms_to_ns(length_ms)",
            ),
        ),
        tests=(_PLAYED, "tests/simulator/caller/test_caller_machine.py"),
    ),
    Mutant(
        name="silence_of_before_the_turn_counts",
        row="harness 2",
        says="silence from before the end of the caller's own turn meets `expect: {silence: …}`",
        grave=True,
        edits=(
            Edit(
                _EXPECT,
                "        end_ns = max(since_ns, self._since_ns) + ms_to_ns(length_ms)",
                "        end_ns = since_ns + ms_to_ns(length_ms)",
            ),
            Edit(
                _STATE,
                """\
        if self.media_ns is None or self._in_turn or self.listener.sounding:
            return None
        quiet_ns = self.listener.utterances[-1].quiet_ns if self.listener.utterances else None
        return max(self.media_ns, quiet_ns or 0, self._turn_end_ns or 0)
""",
                """\
        if self.media_ns is None or self.listener.sounding:
            return None
        quiet_ns = self.listener.utterances[-1].quiet_ns if self.listener.utterances else None
        return max(self.media_ns, quiet_ns or 0)
""",
            ),
        ),
        tests=(_PLAYED, "tests/simulator/caller/test_caller_machine.py"),
    ),
    Mutant(
        name="never_misses_replies_to_keys",
        row="harness 3",
        says="`never: reply` misses every reply before the first utterance that was spoken",
        grave=True,
        edits=(
            Edit(
                _AFTER,
                "                if is_reply(number, talk.at_ns, greets=greets, first_turn_end_ns=first_ns)",
                "                if first_ns is not None and talk.at_ns >= first_ns",
            ),
            Edit(_AFTER, '        if ends or mark.name == "dtmf_sent":', "        if ends:"),
        ),
        tests=(_PLAYED,),
    ),
    Mutant(
        name="steps_meanwhile_may_be_left_undone",
        row="harness 4",
        says="steps of `meanwhile` that were never reached pass, when one before was under way",
        grave=True,
        edits=(
            Edit(
                _STEPS,
                "        return left > 1 or (left == 1 and (not begun or isinstance(self._step,"
                " Expect)))",
                "        return left > 0 and not begun",
            ),
        ),
        tests=(_PLAYED, "tests/simulator/caller/test_caller_machine.py"),
    ),
    Mutant(
        name="two_calls_of_one_name",
        row="harness 5",
        says="a file beside a repeated one that is called as a repeat of it is never played",
        in_calls=False,
        edits=(
            Edit(
                "simulator/runner/plan.py",
                "                if name in planned_calls:\n                    raise",
                "                if False:\n                    raise",
            ),
        ),
        tests=("tests/simulator/runner/test_plan.py",),
    ),
    Mutant(
        name="what_came_a_turn_ago_counts",
        row="harness 6",
        says="keys or a transfer of a turn ago meet an expectation of now",
        edits=(
            Edit(
                _EXPECT,
                "        return self._observed.turn_start_ns(self._since_ns)",
                "        return 0 * self._observed.turn_start_ns(self._since_ns)",
            ),
        ),
        tests=(_NOW,),
    ),
    Mutant(
        name="within_counts_from_when_it_was_sure",
        row="harness 6",
        says="`within` beside `when: … end` counts from when that end was sure, 700 ms later",
        edits=(
            Edit(
                _STEPS,
                "            moment_ns=now_ns if moment_ns is None else max(moment_ns,"
                " progress.began_ns),",
                "            moment_ns=now_ns,",
            ),
        ),
        tests=(_NOW, "tests/simulator/caller/test_caller_machine.py"),
    ),
    Mutant(
        name="never_misses_short_silence",
        row="harness 7",
        says="`never: {silence: …}` misses silence that is shorter than `end_silence`",
        edits=(
            Edit(
                _AFTER,
                '    if mark.name != "pause_heard":\n        return (mark,)\n',
                '    if mark.name != "pause heard":\n        return (mark,)\n',
            ),
        ),
        tests=("tests/simulator/runner/test_expectations_after.py", _PLAYED),
    ),
    Mutant(
        name="limit_on_one_variant_lifts_the_others",
        row="harness 8",
        says="a limit on one variant of a metric takes the default of the others away",
        in_calls=False,  # such a call is "not measured" then, which is no pass either
        edits=(
            Edit(
                "reports/verdict/budget.py",
                "    return {**others, **limit}\n",
                "    return dict(limit)\n",
            ),
        ),
        tests=("tests/reports/verdict/test_budget.py",),
    ),
    Mutant(
        name="limit_that_nothing_was_held_to_passes",
        row="harness 8",
        says="a scenario's own limit that nothing was held to passes",
        edits=(
            Edit(
                "reports/verdict/call_result.py",
                "        return [name for name in kinds if name not in held]\n",
                "        return [name for name in kinds if name not in kinds and name not in held]\n",
            ),
        ),
        tests=("tests/reports/verdict/test_outcome.py", "tests/reports/formats/test_run_report.py"),
    ),
    Mutant(
        name="rest_of_an_answer_is_a_reply",
        row="harness 9",
        says="the rest of an answer that the caller spoke into meets `expect: reply`",
        edits=(
            Edit(
                _AFTER,
                "        *(_rests(scenario, marks) if by_agent else ()),\n",
                "",
            ),
            Edit(_STATE, "        self.listener.spoken_into()\n", ""),
            Edit(
                _STATE,
                "                and (since_ns is None or utterance.start_ns >= since_ns)",
                "                and (since_ns is None or utterance.quiet_ns is None"
                " or utterance.quiet_ns >= since_ns)",
            ),
        ),
        tests=(
            "tests/simulator/runner/test_rests.py",
            "tests/simulator/caller/test_caller_machine.py",
        ),
    ),
    Mutant(
        name="word_within_a_sentence_takes_the_turn",
        row="harness 11",
        says="a word of `meanwhile` inside the caller's sentence takes the turn",
        in_calls=False,  # a number is wrong; no verdict of a drawn call hangs on it
        edits=(
            Edit(
                "simulator/caller/machine.py",
                "                if not observed.speech.taking_turn:  # what is said within a"
                " sentence ends no turn\n",
                "                if True:\n",
            ),
        ),
        tests=(_NOW, "tests/simulator/caller/test_caller_machine.py"),
    ),
    Mutant(
        name="refusal_is_a_hang_up",
        row="lanes 8",
        says="`expect: hang_up` is met by a refusal",
        in_calls=False,  # in memory no call is refused
        edits=(
            Edit(
                _EXPECT,
                "observed.ended if observed.answered_ns is not None else None  # not refused",
                "observed.ended",
            ),
            Edit(
                _EXPECT,
                'by_agent = ended is not None and ended.by == "agent"',
                "by_agent = ended is not None",
            ),
        ),
        tests=("tests/simulator/caller/test_caller_machine.py", _PLAYED),
    ),
    Mutant(
        name="one_long_attempt_names_no_seed",
        row="harness 15",
        says="results.json calls every call of a repeated scenario its first",
        in_calls=False,
        edits=(
            Edit(
                "simulator/runner/plan.py",
                "                    repeat=number,\n",
                "                    repeat=1,\n",
            ),
        ),
        tests=("tests/simulator/runner/test_plan.py",),
    ),
)
