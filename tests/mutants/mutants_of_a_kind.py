"""Faults that nobody has found here: one for each invariant that no fault of the past breaks.

What can never fail says nothing. These are of the kind that the invariant speaks of.
"""

from mutant import Edit, Mutant

MUTANTS = (
    Mutant(
        name="second_item_is_heard_twice",
        row="kind",
        says="of an answer in several items, what the second says is heard twice",
        edits=(
            Edit(
                "agent/call/responses.py",
                "        self._playout.write(segment, pcm)\n        return is_first\n",
                "        for _ in response.segments:\n"
                "            self._playout.write(segment, pcm)\n"
                "        return is_first\n",
            ),
        ),
        tests=("tests/agent/call/test_playout.py", "tests/agent/call/test_turn_taking.py"),
    ),
    Mutant(
        name="caller_is_let_go_without_a_word",
        row="kind",
        says="a limit of the caller's ends the call at once, without a goodbye",
        edits=(
            Edit(
                "agent/call/machine.py",
                '        self._termination.with_goodbye(f"limit reached: {timer.value}")\n',
                '        self._termination.now(f"limit reached: {timer.value}")\n',
            ),
        ),
        tests=("tests/agent/call/test_own_words.py",),
    ),
    Mutant(
        name="what_was_cancelled_costs_nothing",
        row="kind",
        says="a call's record leaves out what its interrupted answers have cost",
        edits=(
            Edit(
                "agent/observe/call_records.py",
                '        elif mark.name == "response_done":\n',
                '        elif mark.name == "response_done" and mark.fields["status"] != "cancelled":\n',
            ),
        ),
        tests=("tests/agent/observe/test_call_records.py",),
    ),
    Mutant(
        name="any_error_ends_the_session",
        row="kind",
        says="an error that nobody caused ends a session that works",
        edits=(
            Edit(
                "agent/call/api_session.py",
                "        if event_id is None or event_id != self._update_id:\n            return False\n"
                "        if self.state is ApiSessionState.UPDATING:\n",
                "        if event_id is not None and event_id != self._update_id:\n"
                "            return False\n"
                "        if message:\n",
            ),
        ),
        tests=("tests/agent/call/test_api_session.py",),
    ),
    Mutant(
        name="drain_waits_for_the_caller",
        row="kind",
        says="a call that is to end at once, as its process does, goes on",
        edits=(
            Edit(
                "agent/call/machine.py",
                "        if event.at_once:\n            self._termination.now(event.reason)\n",
                "        if event.at_once and self._playout.idle:\n"
                "            self._termination.now(event.reason)\n",
            ),
        ),
        tests=("tests/agent/call/test_tool_calls.py", "tests/agent/call/test_consultation.py"),
    ),
    Mutant(
        name="turn_that_nobody_began_is_out_of_place",
        row="kind",
        says="the end of a turn without speech, as the idle timeout's, is dropped",
        edits=(
            Edit(
                "agent/call/states.py",
                "            # key press, or the answer to a turn that was dismissed too early.\n"
                "            Trigger.SPEECH_STOPPED: State.COMMITTING_INPUT,\n",
                "            # key press, or the answer to a turn that was dismissed too early.\n",
            ),
        ),
        tests=("tests/agent/call/test_states.py", "tests/agent/call/test_turn_taking.py"),
    ),
    Mutant(
        name="who_leaves_amid_an_answer_is_kept",
        row="kind",
        says="a call goes on for ever whose caller hangs up while the agent speaks",
        edits=(
            Edit(
                "agent/call/termination.py",
                '        """The telephone\'s side is over, whoever ended it."""\n',
                "        if not self._playout.idle:\n            return\n",
            ),
        ),
        tests=("tests/agent/call/test_turn_taking.py", "tests/agent/call/test_playout.py"),
    ),
    Mutant(
        name="keys_are_answered_before_the_greeting",
        row="kind",
        says="a key that is pressed before the greeting is answered before it",
        edits=(
            Edit(
                "agent/call/responses.py",
                "        if self._greets_first and self._waiting[0].purpose is Purpose.TURN:\n",
                "        if self._greets_first and self._waiting[0].purpose is Purpose.GOODBYE:\n",
            ),
        ),
        tests=("tests/agent/call/test_opening.py",),
    ),
    Mutant(
        name="what_is_kept_has_no_bound",
        row="kind",
        says="what the caller says without a session is kept beyond `limits.capture_ms`",
        edits=(
            Edit(
                "agent/call/uplink.py",
                "        while self._kept_bytes > self._max_kept_bytes:\n",
                "        while self._kept_bytes > 10 * self._max_kept_bytes:\n",
            ),
        ),
        tests=("tests/agent/call/test_api_session.py", "tests/agent/call/test_opening.py"),
    ),
    Mutant(
        name="mark_has_another_field",
        row="kind",
        says="a mark says something else than the page of marks: who reads it finds nothing",
        edits=(
            Edit(
                "agent/call/playout.py",
                '            "dropped_ms": self.ms(segment.queued - segment.played),\n        }\n',
                '            "left_ms": self.ms(segment.queued - segment.played),\n        }\n',
            ),
        ),
        tests=("tests/agent/call/test_playout.py", "tests/agent/call/test_turn_taking.py"),
    ),
    Mutant(
        name="what_waits_to_be_heard_has_no_bound",
        row="kind",
        says="each delta may fill all of `playout.max_ms`, whatever waits to be heard",
        edits=(
            Edit(
                "agent/call/playout.py",
                "        room = 0 if segment.cut_short else self._max_samples - self._waiting_samples\n",
                "        room = 0 if segment.cut_short else self._max_samples\n",
            ),
        ),
        tests=("tests/agent/call/test_playout.py",),
    ),
    Mutant(
        name="what_was_dropped_is_heard_later",
        row="kind",
        says="what a barge-in has dropped is heard behind what follows",
        edits=(
            Edit(
                "agent/telephony/media/playout_buffer.py",
                "            size = sum(map(len, self._queues.pop(tag, ())))\n",
                "            queue = self._queues.pop(tag, deque())\n"
                "            size = sum(map(len, queue))\n"
                "            self._queues.setdefault(0, deque()).extend(queue)\n"
                "            self._size += size\n",
            ),
        ),
        tests=("tests/agent/telephony/media/test_playout_buffer.py",),
    ),
    Mutant(
        name="audio_goes_to_a_session_that_is_not_ready",
        row="kind",
        says="the caller's first words go to a session that does not know their format yet",
        edits=(
            Edit(
                "agent/call/api_session.py",
                "        return self.state is ApiSessionState.READY\n",
                "        return self.state in (ApiSessionState.UPDATING, ApiSessionState.READY)\n",
            ),
        ),
        tests=("tests/agent/call/test_api_session.py",),
    ),
    Mutant(
        name="transcript_behind_its_answer_ends_all",
        row="kind",
        says="a transcript that comes when no answer runs is an exception",
        edits=(
            Edit(
                "agent/call/responses.py",
                "        if active and active.id == event.response_id and"
                " len(active.transcripts) < MOST_ITEMS:\n",
                "        if active.id == event.response_id and"
                " len(active.transcripts) < MOST_ITEMS:\n",
            ),
        ),
        tests=("tests/agent/call/test_answers.py", "tests/agent/call/test_turn_taking.py"),
    ),
    Mutant(
        name="cached_greeting_lacks_its_end",
        row="kind",
        says="what is cached of a greeting lacks its last part: every later caller hears it cut",
        edits=(
            Edit(
                "agent/call/opening.py",
                '            pcm = b"".join(response.audio)\n',
                '            pcm = b"".join([*response.audio][:-1])\n',
            ),
        ),
        tests=("tests/agent/call/test_opening.py",),
    ),
    Mutant(
        name="deltas_of_an_answer_are_lost",
        row="kind",
        says="one delta in four of an answer is never heard",
        edits=(
            Edit(
                "agent/call/responses.py",
                "        self._playout.write(segment, pcm)\n        return is_first\n",
                "        if is_first or response.purpose is not Purpose.TURN or response.samples % 4:\n"
                "            self._playout.write(segment, pcm)\n"
                "        return is_first\n",
            ),
        ),
        tests=("tests/agent/call/test_playout.py", "tests/agent/call/test_turn_taking.py"),
    ),
    Mutant(
        name="next_answer_drops_the_one_before",
        row="kind",
        says="what waits to be heard of an answer is dropped when the next one begins",
        edits=(
            Edit(
                "agent/call/responses.py",
                "            if self._playout.fills_silence:\n"
                "                self._playout.give_way()\n",
                "            self._playout.interrupt()\n",
            ),
        ),
        tests=("tests/agent/call/test_answers.py", "tests/agent/call/test_playout.py"),
    ),
    Mutant(
        name="caller_is_let_go_amid_the_last_word",
        row="kind",
        says="the call ends when the last word has come, and not when it was heard",
        edits=(
            Edit(
                "agent/call/termination.py",
                "        if self._wish is None or more_to_come or not self._playout.idle"
                " or self.transferring:\n",
                "        if self._wish is None or more_to_come or self.transferring:\n",
            ),
        ),
        tests=("tests/agent/call/test_own_words.py", "tests/agent/call/test_tool_calls.py"),
    ),
    Mutant(
        name="where_two_deltas_meet_is_silence",
        row="kind",
        says="a frame that has the end of a delta has silence instead of the beginning of the next",
        edits=(
            Edit(
                "agent/telephony/media/playout_buffer.py",
                "            parts.append(part)\n        return taken\n",
                "            parts.append(bytes(len(part)) if parts else part)\n"
                "        return taken\n",
            ),
        ),
        tests=("tests/agent/telephony/media/test_playout_buffer.py",),
    ),
    Mutant(
        name="record_lists_the_first_turn_alone",
        row="kind",
        says="a call's record has none of its turns but the first",
        edits=(
            Edit(
                "agent/observe/call_records.py",
                '            "turns": [_turn(turn) for turn in self.turns],\n',
                '            "turns": [_turn(turn) for turn in self.turns[:1]],\n',
            ),
        ),
        tests=("tests/agent/observe/test_call_records.py",),
    ),
    Mutant(
        name="record_counts_each_item_that_is_cut",
        row="kind",
        says="where a barge-in cuts several items at once, the record has several barge-ins",
        edits=(
            Edit(
                "agent/observe/call_records.py",
                '        self.counts["barge_ins"] += mark.at_ns != self.cleared_ns\n',
                '        self.counts["barge_ins"] += 1\n',
            ),
        ),
        tests=("tests/agent/observe/test_call_records.py",),
    ),
    Mutant(
        name="record_takes_the_caller_for_the_called",
        row="kind",
        says="a call's record has the called number as its caller's",
        edits=(
            Edit(
                "agent/observe/call_records.py",
                '            "caller": self.received.get("caller"),\n',
                '            "caller": self.received.get("called"),\n',
            ),
        ),
        tests=("tests/agent/observe/test_call_records.py",),
    ),
    Mutant(
        name="record_ends_with_the_last_answer",
        row="kind",
        says="a call's record is as long as until its last answer was heard",
        edits=(
            Edit(
                "agent/observe/call_records.py",
                "        length_ms = None if end is None else ns_to_ms(end.at_ns - self.first_at_ns)\n",
                '        last_ns = max(self.cleared_ns, self.at_ns.get("playout_ended", 0))\n'
                "        length_ms = None if end is None else ns_to_ms(\n"
                "            (last_ns if last_ns > 0 else end.at_ns) - self.first_at_ns)\n",
            ),
        ),
        tests=("tests/agent/observe/test_call_records.py",),
    ),
    Mutant(
        name="keys_are_never_forgotten",
        row="kind",
        says="the model is told each number with all that was keyed in before it",
        edits=(
            Edit(
                "agent/call/dtmf.py",
                '        digits, self._digits = self._digits, ""\n',
                "        digits = self._digits\n",
            ),
        ),
        tests=("tests/agent/call/test_tool_calls.py", "tests/agent/call/test_turn_taking.py"),
    ),
    Mutant(
        name="keys_from_the_fourth_on_are_lost",
        row="kind",
        says="of a number that is keyed in the model is told three keys",
        edits=(
            Edit(
                "agent/call/dtmf.py",
                '        digits, self._digits = self._digits, ""\n',
                '        digits, self._digits = self._digits[:3], ""\n',
            ),
        ),
        tests=("tests/agent/call/test_tool_calls.py", "tests/agent/call/test_turn_taking.py"),
    ),
    Mutant(
        name="second_function_is_never_told",
        row="kind",
        says="of functions that are called at once the model is told what the first one said",
        edits=(
            Edit(
                "agent/call/tool_calls.py",
                "        for call_id, output in self._unsaid:\n",
                "        for call_id, output in self._unsaid[:1]:\n",
            ),
        ),
        tests=("tests/agent/call/test_tool_calls.py",),
    ),
    Mutant(
        name="failures_are_told_as_successes",
        row="kind",
        says="the model is told of a function that could not be called, or never answered, that it did",
        edits=(
            Edit(
                "agent/call/tool_calls.py",
                '        output = json.dumps({"error": reason})\n',
                '        output = json.dumps({"ok": True})\n',
            ),
        ),
        tests=("tests/agent/call/test_tool_calls.py",),
    ),
    Mutant(
        name="answers_change_places",
        row="kind",
        says="of functions whose answers wait together each is told what another one said",
        edits=(
            Edit(
                "agent/call/tool_calls.py",
                "        for call_id, output in self._unsaid:\n",
                "        said = [output for _, output in reversed(self._unsaid)]\n"
                "        for (call_id, _), output in zip(self._unsaid, said, strict=True):\n",
            ),
        ),
        tests=("tests/agent/call/test_tool_calls.py",),
    ),
    Mutant(
        name="answers_are_cut_short",
        row="kind",
        says="of what a function says the model is told the beginning",
        edits=(
            Edit(
                "agent/call/tool_calls.py",
                "MAX_OUTPUT_CHARS = 20_000\n",
                "MAX_OUTPUT_CHARS = 40\n",
            ),
        ),
        tests=("tests/agent/call/test_tool_calls.py",),
    ),
    Mutant(
        name="beep_is_heard_twice",
        row="kind",
        says="the caller hears the beep twice",
        edits=(
            Edit(
                "agent/call/opening.py",
                "            self._playout.play(Segment(kind=Kind.BEEP, interruptible=False), pcm)\n",
                "            self._playout.play(Segment(kind=Kind.BEEP, interruptible=False), pcm)\n"
                "            self._playout.play(Segment(kind=Kind.BEEP, interruptible=False), pcm)\n",
            ),
        ),
        tests=("tests/agent/call/test_opening.py",),
    ),
    Mutant(
        name="beep_is_ten_times_as_faint",
        row="kind",
        says="the caller hears a beep that is 20 dB fainter than is set",
        edits=(
            Edit(
                "agent/call/opening.py",
                "level_dbfs=beep.level_dbfs)",
                "level_dbfs=beep.level_dbfs - 20)",
            ),
        ),
        tests=("tests/agent/call/test_opening.py",),
    ),
    Mutant(
        name="beep_is_twice_as_long",
        row="kind",
        says="the caller hears a beep of another length than is set",
        edits=(
            Edit(
                "agent/call/opening.py",
                "tone(beep.hz, beep.length_ms,",
                "tone(beep.hz, beep.length_ms * 2,",
            ),
        ),
        tests=("tests/agent/call/test_opening.py",),
    ),
    Mutant(
        name="function_runs_again_with_its_response_done",
        row="kind",
        says="what was begun as soon as it was called is called again when the response is done",
        edits=(
            Edit(
                "agent/call/tool_calls.py",
                "        new = [call for call in calls if call.call_id not in self._started]"
                "[:MOST_ITEMS]\n",
                "        new = [*calls][:MOST_ITEMS]\n",
            ),
        ),
        tests=("tests/agent/call/test_tool_calls.py", "tests/agent/call/test_answers.py"),
    ),
)
