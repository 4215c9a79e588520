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
)
