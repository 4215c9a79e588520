"""Versions of files: an older one means what it meant, and can be rewritten."""

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from callerside.agent.config.loader import ConfigError, load, outdated
from callerside.agent.config.settings import CallSettings
from callerside.fakes.script.loader import ScriptError, load_script
from callerside.simulator.scenario.loader import ScenarioError, load_file
from callerside.yaml.source import YamlError
from callerside.yaml.versions import NEWEST, Kind, NewerVersionError, migrated, source

PATH = Path("file.yaml")


@pytest.mark.parametrize(
    ("kind", "text", "line"),
    [
        ("settings", "dtmf: {gap_ms: 9}\n", 1),
        ("settings", "routes:\n  - called: a\n    dtmf:\n      gap_ms: 9\n", 4),
        ("settings", "version: 1\ndtmf: {'gap_ms': 9}\n", 2),
        ("scenario", "about: x\nsteps: []\nagent: {dtmf: {gap_ms: 9}}\n", 3),
        ("scenario", "about: x\nsteps: []\nmatrix:\n  agent.dtmf.gap_ms: [9]\n", 4),
        ("scenario", "about: x\nsteps: []\nmatrix:\n  agent.dtmf:\n    - gap_ms: 9\n", 5),
        ("scenario", "about: x\nsteps: []\nmatrix: {agent: [{dtmf: {gap_ms: 9}}]}\n", 3),
    ],
)
def test_a_key_is_read_and_written_by_its_name_of_today(kind: Kind, text: str, line: int) -> None:
    renamed = text.replace("gap_ms", "interdigit_timeout_ms")
    meant = source(PATH, text, kind)
    assert meant.data == source(PATH, renamed, kind).data
    assert [key.place.line for key in meant.old_keys] == [line]
    new, changes = migrated(PATH, text, kind)
    plain = renamed.removeprefix("version: 1\n")
    assert new == f"version: {NEWEST}\n{plain}"
    assert re.search(rf"^file\.yaml:{line}:\d+: .*gap_ms is called .*interdigit_t", changes[0])


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("scenario", "about: x\nsteps: []\nbudget: {gap_ms: off}\n"),
        ("scenario", "about: x\nsteps: []\ncaller: {dtmf: {gap_ms: 1}}\n"),
        ("scenario", "dtmf: {gap_ms: 1}\n"),
        ("script", "dtmf: {gap_ms: 1}\n"),
        ("settings", "dtmf: [{gap_ms: 1}]\n"),
        ("settings", "beep: {gap_ms: 1}\nroutes: {dtmf: {gap_ms: 1}}\n"),
        ("settings", f"version: {NEWEST}\ndtmf: {{gap_ms: 1}}\n"),
    ],
)
def test_the_same_word_elsewhere_and_in_a_new_file_stays(kind: Kind, text: str) -> None:
    meant = source(PATH, text, kind)
    assert meant.old_keys == []
    assert "gap_ms" in str(meant.data)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "version: 2\n"),
        ("# only a comment", "# only a comment\nversion: 2\n"),
        ("# why\n\nvoice: a # which\n", "# why\n\nversion: 2\nvoice: a # which\n"),
        ("---\n# why\nvoice: a\n...\n", "---\n# why\nversion: 2\nvoice: a\n...\n"),
        ("  voice: a\n  beep: {}\n", "  version: 2\n  voice: a\n  beep: {}\n"),
        ("{voice: a}", "{version: 2, voice: a}"),
        ("# x\n{ }\n", "# x\n{version: 2 }\n"),
        ("voice: a\r\nbeep: {}\r\n", "version: 2\r\nvoice: a\r\nbeep: {}\r\n"),
        ("voice: a\nversion: 1 # old\n", "voice: a\nversion: 2 # old\n"),
        ("? voice\n: a\n", "version: 2\n? voice\n: a\n"),
        ("voice: a\rbeep: {}\r", "version: 2\rvoice: a\rbeep: {}\r"),
        ("version: &v 1\nvoice: a\n", "version: &v 2\nvoice: a\n"),
        ("\ufeffvoice: a\n", "\ufeffversion: 2\nvoice: a\n"),
        ("&all\nvoice: a\n", "&all\nversion: 2\nvoice: a\n"),
    ],
)
def test_a_file_says_its_version_before_its_first_key(text: str, expected: str) -> None:
    assert migrated(PATH, text, "settings")[0] == expected
    assert migrated(PATH, expected, "settings") == (expected, [])


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("beep: &x {gap_ms: 1}\ndtmf: *x\n", r"1:11: this cannot be rewritten without"),
        ('dtmf: {"gap\\x5fms": 1}\n', r"1:8: this cannot be rewritten without"),
        ("dtmf:\n  gap_ms: 1\n  interdigit_timeout_ms: 2\n", r"3:3: .* stands here and in line 2"),
        ("version: 3\n", r"1:10: version: the file is of version 3, and this callerside \("),
        ("voice: a\nversion: '2'\n", r"2:10: version: expected a whole number from 1 to 2"),
        ("version: 0\n", r"1:10: version: expected a whole number"),
        ("version: [1]\n", r"1:10: version: expected a whole number"),
        ("version: 1\nversion: 2\n", r"2:10: version stands here and in line 1"),
        ("- a\n", r"1:1: expected a mapping"),
        ("a: [\n", r"2:1: not YAML"),
    ],
)
def test_what_cannot_be_migrated_is_told_with_its_place(text: str, what: str) -> None:
    with pytest.raises(YamlError, match=rf"^file\.yaml:{what}"):
        migrated(PATH, text, "settings")


def test_an_alias_is_rewritten_where_it_stands() -> None:
    text = "dtmf: &x {gap_ms: 1}\nroutes: [{called: a, dtmf: *x}]\n"
    new, changes = migrated(PATH, text, "settings")
    assert new == "version: 2\n" + text.replace("gap_ms", "interdigit_timeout_ms")
    assert len(changes) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "# a\nsip:\n  # b\n  clock_phase_ms: 5  # c\n  # d\n  port: 1\n",
            "# a\nversion: 2\nsip:\n  # b\n  # d\n  port: 1\n",
        ),
        ("sip:\n  port: 1\n  clock_phase_ms:", "version: 2\nsip:\n  port: 1\n"),
        ("sip:\n  clock_phase_ms: 5  # c\n", "version: 2\nsip:\n  {}  # c\n"),
        ("sip: {clock_phase_ms: 5}\n", "version: 2\nsip: {}\n"),
        ("sip: {clock_phase_ms: 5, port: 1}\n", "version: 2\nsip: {port: 1}\n"),
        ("sip: {port: 1, clock_phase_ms: 5}\n", "version: 2\nsip: {port: 1}\n"),
        (
            "sip: {\r\n port: 1, # a\r\n clock_phase_ms: 5 }\r\n",
            "version: 2\r\nsip: {\r\n port: 1, # a\r\n  }\r\n",
        ),
    ],
)
def test_a_key_that_means_nothing_any_more_is_not_read_and_taken_out(
    text: str, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / "agent.yaml"
    path.write_bytes(text.encode())
    meant, said = load(path, {}), outdated(path)
    assert said is not None
    assert said.endswith(": clock_phase_ms means nothing any more")
    new, changes = migrated(path, text, "settings")
    assert (new, changes[0]) == (expected, said)
    path.write_bytes(new.encode())
    assert (load(path, {}), outdated(path)) == (meant, None)


def test_a_key_that_is_gone_is_unknown_in_a_new_file_and_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    for text in ("version: 2\nsip: {clock_phase_ms: 5}\n", "beep: {clock_phase_ms: 5}\n"):
        path.write_text(text)
        with pytest.raises(ConfigError, match='unknown key "clock_phase_ms"'):
            load(path, {})


def test_a_newer_file_is_refused_with_what_to_do_wherever_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "new.yaml"
    what = r"new\.yaml:1:10: version: the file is of version 9, and .* up to 2: upgrade callerside"
    path.write_text("version: 9\nabout: x\nsteps: [hang_up]\n")
    with pytest.raises(ScenarioError, match=what):
        load_file(path)
    path.write_text("version: 9\n")
    with pytest.raises(ConfigError, match=what):
        load(path, {})
    with pytest.raises(ScriptError, match=what):
        load_script(path)
    with pytest.raises(NewerVersionError, match=what):
        source(path, path.read_text(), "settings")
    path.write_text("about: x\nsteps: [hang_up]\n")
    (tmp_path / "suite.yaml").write_text("# shared\nversion: 9\n")
    with pytest.raises(ScenarioError, match=r"suite\.yaml:2:10: version: the file is of version 9"):
        load_file(path)


def test_an_older_suite_is_read_under_a_newer_scenario(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text("agent: {dtmf: {gap_ms: 7}}\n")
    path = tmp_path / "a.yaml"
    path.write_text("version: 2\nabout: x\nsteps: [hang_up]\n")
    (scenario,) = load_file(path)
    assert scenario.agent == {"dtmf": {"interdigit_timeout_ms": 7}}
    assert [key.place.path.name for key in scenario.old_keys] == ["suite.yaml"]


def test_settings_that_are_old_hold_and_are_told(tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text("dtmf: {gap_ms: 700}\nroutes: [{called: '1', dtmf: {gap_ms: 300}}]\n")
    found = load(path, {})
    assert found.for_call("1").dtmf.interdigit_timeout_ms == 300
    assert found.for_call("2").dtmf.interdigit_timeout_ms == 700
    assert outdated(path) == (
        f"{path}:1:8: gap_ms is called interdigit_timeout_ms now; "
        f"{path}:2:31: gap_ms is called interdigit_timeout_ms now"
    )
    path.write_text(migrated(path, path.read_text(), "settings")[0])
    assert load(path, {}) == found
    assert outdated(path) is None


def test_a_variable_is_of_no_version_and_has_the_name_of_today(tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text("dtmf: {gap_ms: 700}\n")
    env = {"CALLERSIDE_DTMF__INTERDIGIT_TIMEOUT_MS": "800"}
    assert load(path, env).dtmf.interdigit_timeout_ms == 800
    for name, became in (
        ("DTMF__GAP_MS", "it is called interdigit_timeout_ms now"),
        ("SIP__CLOCK_PHASE_MS", "it means nothing any more"),
    ):
        with pytest.raises(ConfigError) as caught:
            load(path, {f"CALLERSIDE_{name}": "8"})
        key = name.partition("__")[2].lower()
        assert str(caught.value) == f'CALLERSIDE_{name}: unknown key "{key}"; {became}'


def test_an_old_name_in_a_new_file_is_told_with_its_new_one(tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text("version: 2\nroutes: [{called: a, dtmf: {gap_ms: 700}}]\n")
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert str(caught.value) == (
        f'{path}:2:29: unknown key "gap_ms"; it is called interdigit_timeout_ms now '
        "(the file says `version: 2`)"
    )
    path.write_text("version: 2\nabout: x\nsteps: [hang_up]\nagent: {dtmf: {gap_ms: 7}}\n")
    with pytest.raises(ScenarioError, match=r"4:16: .*it is called interdigit_timeout_ms now"):
        load_file(path)


WORDS = st.text("abz é'\"#:-{}[]\\", max_size=12)
DTMF = st.fixed_dictionaries(
    {}, optional={"gap_ms": st.integers(0, 9000), "interrupts": st.booleans()}
)
CALL = {"dtmf": DTMF, "instructions": WORDS, "voice": WORDS}
ROUTE = st.fixed_dictionaries({"called": WORDS.filter(bool)}, optional=CALL)
SETTINGS = st.fixed_dictionaries(
    {}, optional={**CALL, "routes": st.lists(ROUTE, max_size=3), "version": st.just(1)}
)


def commented(data: dict[str, Any], comments: list[str], *, flow: bool | None) -> str:
    """The data as YAML, with a comment line before some of its first keys."""
    parts = [yaml.safe_dump({key: value}, default_flow_style=flow) for key, value in data.items()]
    blocks = [part[1:-2] + "\n" if part.startswith("{") else part for part in parts]
    notes = itertools.cycle(f"# {comment}\n" for comment in comments or [""])
    return "".join(f"{next(notes)}{block}" for block in blocks)


@settings(deadline=None)
@given(
    SETTINGS,
    st.lists(st.text("abz: {}'\"#", max_size=9), max_size=3),
    st.sampled_from([True, False, None]),
    st.booleans(),
)
def test_migrating_keeps_meaning_and_all_that_is_no_key(
    data: dict[str, Any], comments: list[str], flow: bool | None, windows: bool
) -> None:
    text = commented(data, comments, flow=flow)
    text = text.replace("\n", "\r\n") if windows else text
    meant = source(PATH, text, "settings").data or {}
    new, changes = migrated(PATH, text, "settings")
    assert changes
    assert source(PATH, new, "settings").data == meant
    CallSettings.model_validate({key: meant[key] for key in CALL if key in meant})
    assert migrated(PATH, new, "settings") == (new, [])
    back = re.sub(r"^version: 2\r?\n", "", new, count=1, flags=re.MULTILINE)
    if "version" in data:
        back = new.replace("version: 2", "version: 1", 1)
    assert back.replace("interdigit_timeout_ms", "gap_ms") == text
