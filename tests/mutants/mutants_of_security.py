"""What strangers could do, and cannot any more."""

from mutant import Edit, Mutant

_KAMAILIO = "agent/deploy/kamailio.cfg.in"
_PROXY = "fakes/server/proxy.py"
_PROXY_TESTS = ("tests/fakes/server/test_recording_proxy.py",)

MUTANTS = (
    Mutant(
        name="any_caller_gets_a_digest_of_the_password",
        row="security 1",
        says="calls are on the account that has the registrar's password: who challenges, gets it",
        grave=True,
        in_calls=False,
        edits=(
            Edit(
                "agent/telephony/pjsua/stack.py",
                "            config.priority = _LAST if registers else _FIRST\n",
                "            config.priority = _FIRST if registers else _LAST\n",
            ),
        ),
        tests=("tests/e2e/test_registrar.py",),
    ),
    Mutant(
        name="proxy_relays_for_anybody",
        row="security 2",
        says="an invented tag and a Route are relayed anywhere by the generated Kamailio",
        grave=True,
        in_calls=False,
        edits=(Edit(_KAMAILIO, "        route(ONLY_TO_WORKER);\n", "        ;\n"),),
        tests=("tests/e2e/test_kamailio_calls.py",),
    ),
    Mutant(
        name="redirect_gets_the_key",
        row="security 3",
        says="a redirect leads the key and the caller's voice to another host",
        grave=True,
        in_calls=False,
        edits=(
            Edit(
                "agent/realtime/client.py",
                '        """A redirect is a refusal, as any other status."""\n        return exc\n',
                '        """A redirect is a refusal, as any other status."""\n'
                "        return super().process_redirect(exc)\n",
            ),
        ),
        tests=("tests/agent/realtime/test_realtime_redirect.py",),
    ),
    Mutant(
        name="web_page_borrows_the_key",
        row="security 4",
        says="any web page in the developer's browser connects to the recording proxy",
        grave=True,
        in_calls=False,
        edits=(
            Edit(
                _PROXY, "            if origin not in self._origins:\n", "            if False:\n"
            ),
        ),
        tests=_PROXY_TESTS,
    ),
    Mutant(
        name="key_is_lent_unasked",
        row="security 4",
        says="the recording proxy lends its key to whoever connects, unasked",
        grave=True,
        in_calls=False,
        edits=(Edit(_PROXY, "            if self._lends_key:\n", "            if True:\n"),),
        tests=_PROXY_TESTS,
    ),
    Mutant(
        name="run_folder_leads_out_of_itself",
        row="security 5",
        says="a hostile run folder names files outside of it, and `report` writes over them",
        in_calls=False,
        edits=(
            Edit(
                "reports/verdict/baselines.py",
                "_WithinRun = Annotated[str, AfterValidator(inside)]",
                "_WithinRun = Annotated[str, AfterValidator(str)]",
            ),
        ),
        tests=("tests/reports/test_report_commands.py",),
    ),
    Mutant(
        name="display_name_forges_the_caller",
        row="security 6",
        says='`From: "sip:+4930110@police" <sip:mallory@…>` is recorded as +4930110',
        in_calls=False,
        edits=(
            Edit(
                "agent/telephony/sip_message.py",
                "    unnamed = without_quoted(value)\n",
                "    unnamed = value.replace('\"', '')\n",
            ),
            Edit(
                "agent/telephony/invite.py",
                '_URI = re.compile(r"\\s*(?:sips?|tel):',
                '_URI = re.compile(r"[^<]*?(?:sips?|tel):',
            ),
            Edit(
                "agent/telephony/invite.py",
                '    address, _ = address_of(SipMessage(invite).header("from"))\n',
                '    address = SipMessage(invite).header("from")\n',
            ),
        ),
        tests=("tests/agent/telephony/test_parties.py",),
    ),
    Mutant(
        name="key_that_is_said_back_is_written",
        row="security 7",
        says="a server's error that says the key back brings it into timelines and recordings",
        in_calls=False,
        edits=(
            Edit(
                "agent/observe/secrets.py",
                "                mark = mark if clean == fields else replace(mark, fields=clean)\n",
                "",
            ),
        ),
        tests=("tests/agent/observe/test_secrets.py", "tests/agent/service/test_service.py"),
    ),
    Mutant(
        name="strangers_command_the_terminal",
        row="security 8",
        says="a Call-ID or a name with an escape sequence clears the screen, or forges a line",
        in_calls=False,
        edits=(
            Edit(
                "callerside/terminal.py",
                "        self.drawing.write(shown(text))\n",
                "        self.drawing.write(text)\n",
            ),
        ),
        tests=("tests/callerside/test_terminal.py",),
    ),
    Mutant(
        name="yaml_merges_grow_without_end",
        row="security 9",
        says="750 bytes of YAML with << take 3 GB, or for ever",
        in_calls=False,
        edits=(
            Edit(
                "callerside/yaml/source.py",
                '            if key_node.tag == "tag:yaml.org,2002:merge":\n',
                '            if key_node.tag == "no such tag":\n',
            ),
        ),
        tests=("tests/agent/config/test_settings_loader.py", "tests/callerside/test_yaml.py"),
    ),
    Mutant(
        name="yaml_aliases_count_once",
        row="security 9",
        says="aliases of aliases grow without a bound",
        in_calls=False,
        edits=(
            Edit(
                "callerside/yaml/source.py",
                "        if len(self.values) >= MAX_VALUES:\n",
                "        if len(self.values) < 0:\n",
            ),
        ),
        tests=("tests/callerside/test_yaml.py", "tests/simulator/scenario/test_scenario_loader.py"),
    ),
    Mutant(
        name="recorded_calls_can_be_read_by_all",
        row="security 10",
        says="recorded sound, which has the caller's voice in it, can be read by every user",
        in_calls=False,
        edits=(
            Edit(
                "agent/observe/call_recording.py",
                "os.O_CREAT | os.O_TRUNC, 0o600)\n",
                "os.O_CREAT | os.O_TRUNC, 0o644)\n",
            ),
        ),
        tests=("tests/agent/observe/test_call_recording.py",),
    ),
    Mutant(
        name="nested_arguments_end_the_session",
        row="security 11",
        says="arguments of 3,000 brackets leave a call without output, and lose the session",
        in_calls=False,
        edits=(
            Edit(
                "agent/call/tool_calls.py",
                "        except (ValueError, RecursionError) as error:  # the latter",
                "        except ValueError as error:  # the latter",
            ),
        ),
        tests=("tests/agent/call/test_tool_calls.py",),
    ),
    Mutant(
        name="nested_event_ends_the_session",
        row="security 11",
        says="a server's event that is nested too deep ends the session with an exception",
        in_calls=False,
        edits=(
            Edit(
                "agent/realtime/client.py",
                "    except (ValueError, RecursionError) as error:\n",
                "    except ValueError as error:\n",
            ),
        ),
        tests=("tests/conformance/test_realtime_connection.py",),
    ),
    Mutant(
        name="page_may_run_anything",
        row="security 13",
        says="a report's page may run and load whatever gets into it",
        in_calls=False,
        edits=(
            Edit(
                "reports/pages/html.py",
                "    return page.replace(_CHARSET, policy, 1)\n",
                "    return page if policy else policy\n",
            ),
        ),
        tests=("tests/reports/pages/test_page_policy.py",),
    ),
    Mutant(
        name="web_page_reads_the_metrics",
        row="security 13",
        says="a web page that has led its name to this machine reads /metrics",
        in_calls=False,
        edits=(
            Edit(
                "agent/service/http.py",
                "        return bool(ip_address(name))\n    return False\n",
                "        return bool(ip_address(name))\n    return True\n",
            ),
        ),
        tests=("tests/agent/service/test_http.py",),
    ),
)
