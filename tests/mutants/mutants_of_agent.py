"""Faults of the agent that were mended, each as it would be if it came back."""

from mutant import Edit, Mutant

_MACHINE = "agent/call/machine.py"
_OPENING = "agent/call/opening.py"
_PLAYOUT = "agent/call/playout.py"
_RESPONSES = "agent/call/responses.py"
_SESSION = "agent/call/api_session.py"
_TURNS = "agent/call/turn_taking.py"

MUTANTS = (
    Mutant(
        name="dropped_session_is_told_to_nobody",
        row="agent A1",
        says="a session that we dropped ourselves is not missed: silence until the call's limit",
        grave=True,
        edits=(
            Edit(
                _SESSION,
                """\
        self._context.mark("realtime_failed", {"reason": reason})
        self._try_again()
""",
                """\
        self._context.mark("realtime_failed", {"reason": reason})
        told, self.on_session_lost = self.on_session_lost, lambda: None
        self._try_again()
        self.on_session_lost = told
""",
            ),
        ),
        tests=("tests/agent/call/test_api_session.py",),
    ),
    Mutant(
        name="mark_that_is_no_utf8_is_lost",
        row="agent A2",
        says="one byte of a caller's that is no UTF-8 loses the end of its call",
        grave=True,
        in_calls=False,  # in memory marks are no text, and a telephone's bytes are none either
        edits=(
            Edit(
                "callerside/marks.py",
                """\
        try:
            return _encode(self).decode()
        except UnicodeEncodeError:""",
                """\
        try:
            return _encode(self).decode()
        except ZeroDivisionError:""",
            ),
        ),
        tests=("tests/callerside/test_marks.py",),
    ),
    Mutant(
        name="own_answer_becomes_the_greeting",
        row="agent A3",
        says="one caller's answer becomes everybody's greeting",
        grave=True,
        edits=(
            Edit(
                _RESPONSES,
                "        purpose = self._purpose(event)\n",
                """\
        purpose = self._purpose(event)
        if event.purpose is None and self._requested is not None:
            purpose = self._requested.purpose
""",
            ),
            Edit(
                _OPENING,
                "self._spoiled = self._spoiled or self._history.has_caller",
                "self._spoiled = self._spoiled or False",
            ),
        ),
        tests=("tests/agent/call/test_opening.py",),
    ),
    Mutant(
        name="clear_drops_the_protected_greeting",
        row="agent A4",
        says="a barge-in drops what has arrived of a greeting that may not be interrupted",
        grave=True,
        edits=(
            Edit(
                _PLAYOUT,
                "            self._context.add(ClearPlayout(tags=frozenset(cleared)))",
                "            self._context.add(ClearPlayout(tags=frozenset(self._segments)))",
            ),
            Edit(
                _PLAYOUT,
                """\
        for tag, _ in event.dropped:
            self._clearing.discard(tag)
""",
                """\
        for tag, _ in event.dropped:
            if tag not in self._clearing:
                continue
            self._clearing.discard(tag)
""",
            ),
        ),
        tests=("tests/agent/call/test_playout.py", "tests/agent/call/test_opening.py"),
    ),
    Mutant(
        name="protected_greeting_is_interrupted",
        row="agent A4",
        says="a greeting that may not be interrupted, and is whole, is dropped unheard",
        grave=True,
        edits=(
            Edit(
                _PLAYOUT,
                "self._drop([one for one in self._segments.values() if one.interruptible])",
                "self._drop(list(self._segments.values()))",
            ),
        ),
        tests=("tests/agent/call/test_playout.py", "tests/agent/call/test_opening.py"),
    ),
    Mutant(
        name="own_commit_counts_as_a_turn",
        row="agent A5",
        says="a turn is answered twice where the way to the model takes 100 ms",
        grave=True,
        edits=(
            Edit(
                _TURNS,
                "        if not self.committing and self._is_ours():\n            return\n",
                "",
            ),
        ),
        tests=("tests/agent/call/test_turn_taking.py",),
    ),
    Mutant(
        name="recording_of_events_ends_the_session",
        row="agent B10",
        says="half a surrogate pair in a server's event ends the session that is recorded",
        in_calls=False,
        edits=(
            Edit(
                "agent/realtime/recorder.py",
                'text.encode("utf-8", "backslashreplace")',
                'text.encode("utf-8")',
            ),
            Edit(
                "agent/realtime/recorder.py",
                "        except (OSError, RoomError, ValueError, RecursionError) as error:",
                "        except (OSError, RoomError) as error:",
            ),
        ),
        tests=("tests/agent/realtime/test_realtime_recorder.py",),
    ),
    Mutant(
        name="refused_request_leaves_no_limit",
        row="agent C",
        says="after a request that was refused the caller's silence has no limit",
        edits=(Edit(_MACHINE, "        self._listen_again()\n", ""),),
        tests=("tests/agent/call/test_turn_taking.py",),
    ),
    Mutant(
        name="another_response_stops_the_watch_on_ours",
        row="agent C",
        says="a request of ours is watched no more when the server's own response begins",
        edits=(
            Edit(
                _RESPONSES,
                "        if self._requested is None:  # else it is the server's own, and ours is still"
                " to come\n            self._context.cancel_timer(Timer.RESPONSE_LIMIT)\n",
                "        self._context.cancel_timer(Timer.RESPONSE_LIMIT)\n",
            ),
            Edit(
                _MACHINE,
                "owed = parts.session.ready and (parts.responses.pending or committed)",
                "owed = parts.session.ready and committed",
            ),
        ),
        tests=("tests/agent/call/test_turn_taking.py",),
    ),
    Mutant(
        name="answered_without_a_commit_is_asked_again",
        row="agent C",
        says="where `committed` was lost, an answer that came all the same is asked for once more",
        edits=(
            Edit(
                _TURNS,
                "        if of_its_own and not self.answer_due:",
                "        if False and of_its_own:",
            ),
        ),
        tests=("tests/agent/call/test_turn_taking.py",),
    ),
    Mutant(
        name="late_refusal_of_an_update_ends_the_session",
        row="agent C",
        says="an error that names session.update after the session is ready ends it",
        in_calls=False,  # the fake refuses an update, or accepts it, and never both
        edits=(
            Edit(
                _SESSION,
                "        if self.state is ApiSessionState.UPDATING:\n            self.drop(f",
                "        if True:\n            self.drop(f",
            ),
        ),
        tests=("tests/agent/call/test_api_session.py",),
    ),
    Mutant(
        name="goodbye_without_sound_ends_in_silence",
        row="docs 5",
        says="a goodbye that was begun and never heard: the caller is hung up upon in silence",
        edits=(
            Edit(
                _MACHINE,
                "        if termination.goodbye_owed and not (running and running.has_sound):",
                "        if False and running:",
            ),
        ),
        tests=("tests/agent/call/test_own_words.py",),
    ),
    Mutant(
        name="first_caller_waits_in_silence",
        row="docs 3",
        says="who waits for a session that is to make the greeting is told nothing",
        edits=(
            Edit(
                _MACHINE,
                "        waits = parts.opening.over or parts.opening.awaits_session\n",
                "        waits = parts.opening.over\n",
            ),
        ),
        tests=("tests/agent/call/test_api_session.py",),
    ),
    Mutant(
        name="caller_is_talked_over",
        row="agent B6",
        says="what is created while the caller speaks is said over the caller",
        edits=(
            Edit(
                _MACHINE,
                "        self._parts.turns.spoken_over()\n",
                "",
            ),
        ),
        tests=("tests/agent/call/test_turn_taking.py",),
    ),
    Mutant(
        name="greeting_with_a_hole_is_cached",
        row="agent B11",
        says="a greeting that lacks what could not be read greets every later caller",
        in_calls=False,  # the fake sends what is garbage beside the rest, and not in its place
        edits=(
            Edit(
                _OPENING,
                "        self._spoiled = self._spoiled or self.greeting_state is GreetingState.MAKING\n",
                "        self._spoiled = self._spoiled or False\n",
            ),
        ),
        tests=("tests/agent/call/test_opening.py",),
    ),
    Mutant(
        name="response_that_is_told_twice_costs_twice",
        row="agent C",
        says="a response.done that comes twice counts its tokens twice",
        edits=(
            Edit(
                _RESPONSES,
                "        if event.response_id in self._done:",
                "        if event.response_id in ():",
            ),
        ),
        tests=("tests/agent/call/test_turn_taking.py",),
    ),
    Mutant(
        name="nobody_hears_what_was_kept",
        row="agent B7",
        says="policy local: what is said while there is no session is never answered",
        edits=(
            Edit(
                _MACHINE,
                "            parts.uplink.on_resent = parts.turns.hear\n",
                "            pass\n",
            ),
        ),
        tests=("tests/agent/call/test_turn_taking.py",),
    ),
    Mutant(
        name="done_speaking_is_greeted_twice",
        row="agent C",
        says="a greeting is asked for twice when the session is lost while the first waits",
        edits=(
            Edit(
                _RESPONSES,
                "            if replace(one, tries=request.tries, stands_in=request.stands_in) == request:\n",
                "            if request.purpose is not Purpose.GREETING and replace(\n"
                "                one, tries=request.tries, stands_in=request.stands_in) == request:\n",
            ),
        ),
        tests=("tests/agent/call/test_opening.py", "tests/agent/call/test_api_session.py"),
    ),
    Mutant(
        name="odd_bytes_are_noise",
        row="agent C",
        says="a delta of an odd size is noise until the next odd one",
        in_calls=False,  # the fake sends whole samples
        edits=(
            Edit(
                _RESPONSES,
                "        if self._is_pcm and (response.left or len(audio) & 1):",
                "        if False:",
            ),
        ),
        tests=("tests/agent/call/test_turn_taking.py",),
    ),
    Mutant(
        name="last_words_may_be_interrupted",
        row="agent B12",
        says="a barge-in over the goodbye, or before a transfer, hangs up or transfers at once",
        edits=(
            Edit(
                _RESPONSES,
                "        return is_last_word or (greeting and not self._settings.greeting.interruptible)",
                "        return greeting and not self._settings.greeting.interruptible and is_last_word is not None",
            ),
            Edit(_MACHINE, "            response.must_be_heard()  #", "            pass  #"),
        ),
        tests=("tests/agent/call/test_tool_calls.py", "tests/agent/call/test_own_words.py"),
    ),
    Mutant(
        name="blind_transfer_has_ten_seconds",
        row="agent B8",
        says="a transfer is called failed while the desk still rings",
        edits=(
            Edit(
                "agent/call/tool_calls.py",
                "            limit_ms = max(limit_ms, TRANSFER_LIMIT_MS)\n",
                "            pass\n",
            ),
        ),
        tests=("tests/agent/call/test_tool_calls.py",),
        in_calls=False,  # in memory a transfer has come to its end at once
    ),
    Mutant(
        name="late_words_stand_behind_their_answer",
        row="agent B9",
        says="a new session is told the caller's words behind the answer to them",
        in_calls=False,  # what a session is told changes nothing that the fake says
        edits=(
            Edit(
                _MACHINE,
                "        self._parts.history.caller_spoke(event.item_id)\n",
                "",
            ),
        ),
        tests=("tests/agent/call/test_history.py",),
    ),
    Mutant(
        name="unheard_words_count_as_said",
        row="agent B9",
        says="after a barge-in a new session is told words that nobody has heard",
        in_calls=False,
        edits=(
            Edit(
                "agent/call/history.py",
                "        heard = _share_of(words, self._heard.get(item_id, 1.0))\n",
                "        heard = words.strip()\n",
            ),
        ),
        tests=("tests/agent/call/test_history.py",),
    ),
    Mutant(
        name="call_is_forgotten_before_its_output",
        row="agent B9",
        says="a new session is told the output of a call that it was never told",
        in_calls=False,
        edits=(
            Edit(
                "agent/call/history.py",
                "            if oldest.startswith(_CALL):",
                "            if not oldest:",
            ),
        ),
        tests=("tests/agent/call/test_history.py",),
    ),
)
