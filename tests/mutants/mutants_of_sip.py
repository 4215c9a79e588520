"""Faults that a telephone, a settings file or a deployment showed, and that were mended."""

from mutant import Edit, Mutant

_INVITE = "agent/telephony/invite.py"
_ADMISSION = "agent/telephony/pjsua/admission.py"
_ADMISSION_TESTS = ("tests/agent/telephony/pjsua/test_admission.py",)
_KEPT = "agent/service/kept_settings.py"

MUTANTS = (
    Mutant(
        name="anybody_takes_the_place_of_a_call",
        row="sip 1",
        says="an INVITE with Replaces is let in: it ended the call that it names, then the process",
        in_calls=False,
        edits=(Edit(_ADMISSION, "        if invite.replaces:\n", "        if False:\n"),),
        tests=_ADMISSION_TESTS,
    ),
    Mutant(
        name="strangers_are_judged_last",
        row="sip 1",
        says="a stranger's INVITE is looked at before the stranger is refused",
        in_calls=False,
        edits=(
            Edit(
                _ADMISSION,
                "        if not self._peers.allows(invite.source):\n            return NOT_ALLOWED\n",
                "",
            ),
        ),
        tests=_ADMISSION_TESTS,
    ),
    Mutant(
        name="sixteen_lines_of_audio_are_let_in",
        row="sip 2",
        says="an offer of sixteen lines of audio opens handles for each: three end the process",
        in_calls=False,
        edits=(
            Edit(
                _ADMISSION,
                "        if _has_too_many_lines(shown):\n            return TOO_MANY_LINES\n",
                "",
            ),
        ),
        tests=_ADMISSION_TESTS,
    ),
    Mutant(
        name="first_line_is_the_calls_audio",
        row="sip 3",
        says="a call whose audio is not the first line is answered, and stays mute",
        in_calls=False,
        edits=(
            Edit(
                _INVITE,
                "    usable = [n for n, line in enumerate(lines) if next(_known(line, codecs), None)]\n",
                "    usable = [n for n, line in enumerate(lines) if n == 0 and next(_known(line,"
                " codecs), None)]\n",
            ),
        ),
        tests=("tests/agent/telephony/test_offer.py",),
    ),
    Mutant(
        name="refused_line_is_the_calls_audio",
        row="sip 3",
        says="a line of audio that its own offer refuses (port 0) is taken for the call's",
        in_calls=False,
        edits=(
            Edit(
                _INVITE, 're.compile(r"m=audio (?!0+[ /])\\S+ RTP', 're.compile(r"m=audio \\S+ RTP'
            ),
        ),
        tests=("tests/agent/telephony/test_offer.py",),
    ),
    Mutant(
        name="unit_forbids_what_numpy_calls",
        row="sip 4",
        says="under the systemd unit the agent ends at its start, again and again",
        in_calls=False,
        edits=(
            Edit(
                "agent/deploy/callerside-agent.service",
                "SystemCallFilter=sched_setscheduler mbind\n",
                "SystemCallFilter=sched_setscheduler\n",
            ),
        ),
        tests=("tests/agent/deploy/test_deploy_files.py",),
    ),
    Mutant(
        name="rtp_leaves_its_block",
        row="sip 5",
        says="the last call's RTP has a port behind the block: the next worker's first",
        in_calls=False,
        edits=(
            Edit(
                "agent/telephony/pjsua/stack.py",
                "    return max(1, 2 * pairs - 2)\n",
                "    return max(1, 2 * pairs)\n",
            ),
        ),
        tests=("tests/conformance/test_sip_engines.py",),
    ),
    Mutant(
        name="worker_comes_back_with_the_file_as_it_is",
        row="sip 6",
        says="a worker that dies comes back with settings that a reload has just refused to take",
        in_calls=False,
        edits=(
            Edit(
                _KEPT,
                "            settings = load()\n            after = self._config.read_bytes()\n",
                "            write_atomically(self.current, before, PRIVATE)\n"
                "            settings = load()\n            after = self._config.read_bytes()\n",
            ),
        ),
        tests=("tests/agent/service/test_kept_settings.py",),
    ),
    Mutant(
        name="reload_moves_what_needs_a_restart",
        row="sip 6",
        says="after a reload a worker that dies comes back at other ports than the proxy's list has",
        in_calls=False,
        edits=(
            Edit(
                _KEPT,
                'NEEDS_RESTART = ("workers", "sip", "http",',
                'NEEDS_RESTART = ("workers", "http",',
            ),
        ),
        tests=("tests/agent/service/test_kept_settings.py",),
    ),
    Mutant(
        name="reload_during_the_start_ends_it",
        row="sip 7",
        says="SIGHUP while the agent starts ends it, and systemd takes that for a clean end",
        in_calls=False,
        edits=(
            Edit(
                "agent/service/early_reloads.py",
                "    signal.signal(signal.SIGHUP, lambda number, _frame: _asked.append(number))\n",
                "",
            ),
        ),
        tests=("tests/agent/service/test_early_reloads.py", "tests/e2e/test_workers_serve.py"),
    ),
    Mutant(
        name="early_reload_is_forgotten",
        row="sip 7",
        says="what SIGHUP asked for during the start is never done",
        in_calls=False,
        edits=(
            Edit(
                "agent/service/signals.py",
                "        loop.call_soon(reload)\n",
                "        pass\n",
            ),
        ),
        tests=("tests/agent/service/test_serve.py", "tests/e2e/test_workers_serve.py"),
    ),
    Mutant(
        name="workers_of_tcp_are_called_by_udp",
        row="sip 9",
        says="with `transports: [tcp]` the proxy reaches no worker: every call is 503",
        in_calls=False,
        edits=(
            Edit(
                "agent/deploy/kamailio.py",
                '    return "udp" if "udp" in proxy.transports else "tcp"\n',
                '    return "udp"\n',
            ),
        ),
        tests=("tests/agent/deploy/test_deploy_kamailio.py",),
    ),
    Mutant(
        name="route_with_an_unknown_setting_loses_the_file",
        row="sip 10",
        says="`settings:` in a route is taken without a word, and the file's own are lost",
        in_calls=False,
        edits=(
            Edit(
                "agent/config/settings.py",
                "        resolved = [merge(base, route) for route in routes]\n",
                "        resolved = [\n"
                "            {k: v for k, v in route.items() if k != 'settings'}\n"
                "            if 'settings' in route\n"
                "            else merge(base, route)\n"
                "            for route in routes\n"
                "        ]\n",
            ),
        ),
        tests=("tests/agent/config/test_settings_loader.py",),
    ),
    Mutant(
        name="who_only_listens_is_hung_up_upon",
        row="sip 11",
        says="a caller whose audio is `recvonly` is hung up for sending none",
        in_calls=False,
        edits=(
            Edit(
                _INVITE,
                '        return self.direction not in ("recvonly", "inactive")\n',
                "        return True\n",
            ),
        ),
        tests=("tests/agent/telephony/test_offer.py", "tests/conformance/test_sip_engines.py"),
    ),
    Mutant(
        name="strangers_subscribe",
        row="sip 12",
        says="SUBSCRIBE of a stranger is answered with 200, and NOTIFYs to wherever it says",
        in_calls=False,
        edits=(
            Edit(
                "agent/telephony/screening.py",
                '    "SUBSCRIBE": _BAD_EVENT,  # RFC 6665 §4.2.1.1\n',
                '    "SUBSCRIBE": None,\n',
            ),
        ),
        tests=("tests/agent/telephony/test_screening.py",),
    ),
    Mutant(
        name="caller_chooses_the_host_that_gets_the_key",
        row="sip small",
        says="`wss://{called}/` is accepted: the caller names the host that gets the key",
        in_calls=False,
        edits=(
            Edit(
                "agent/config/settings.py",
                "        if _CALLED in urlsplit(url).netloc:\n",
                "        if not url:\n",
            ),
        ),
        tests=("tests/agent/config/test_settings_loader.py",),
    ),
    Mutant(
        name="routes_take_brackets_for_a_pattern",
        row="sip small",
        says="a route to `[2001:db8::1]` or `[x]` is a pattern, and holds for other numbers",
        in_calls=False,
        edits=(
            Edit(
                "agent/config/settings.py",
                'fnmatchcase(called, r.called.replace("[", "[[]")))\n',
                "fnmatchcase(called, r.called))\n",
            ),
        ),
        tests=("tests/agent/config/test_settings_loader.py",),
    ),
    Mutant(
        name="request_within_no_call_is_answered_as_if_outside",
        row="sip small",
        says="OPTIONS within a call that there is not is 200, and not 481",
        in_calls=False,
        edits=(
            Edit(
                "agent/telephony/screening.py",
                "    if request.in_dialog and request.method in _OUTSIDE_CALLS:\n",
                "    if request.in_dialog and request.method not in _OUTSIDE_CALLS:\n",
            ),
        ),
        tests=("tests/agent/telephony/test_screening.py",),
    ),
    Mutant(
        name="what_is_sent_again_is_judged_again",
        row="sip small",
        says="a refused INVITE that is sent again counts, and is judged, each time",
        in_calls=False,
        edits=(
            Edit(
                "agent/telephony/repeats.py",
                "        self._decided[request] = (now_ns, decision)\n",
                "        self._decided[request] = (now_ns - MEMORY_NS, decision)\n",
            ),
        ),
        tests=("tests/agent/telephony/test_repeats.py",),
    ),
)
