"""Settings from YAML and the environment: what is wrong is told with its place."""

from pathlib import Path

import pytest

from callerside.agent.config.loader import (
    ConfigError,
    Secrets,
    load,
    load_secrets,
    require_keys,
    with_place,
)
from callerside.agent.config.settings import (
    CallSettings,
    Settings,
    audio_format,
    realtime_url,
)
from callerside.yaml.variables import merge


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "agent.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    settings = load(write(tmp_path, ""), {})
    assert (
        settings.for_call("anything").model_dump(exclude={"called"}) == CallSettings().model_dump()
    )
    assert settings.realtime.model == "gpt-realtime-2.1"
    assert settings.sip.host == "127.0.0.1"


ALIASES = "x0: &x0 [1]\n" + "".join(
    f"x{i}: &x{i} [{', '.join(3 * [f'*x{i - 1}'])}]\n" for i in range(1, 25)
)
"""A few lines that say hundreds of billions of values."""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "turns:\n  policy: serv",
            ':2:11: policy: "serv"; did you mean "server"? (expected server, client, local)',
        ),
        ("a: 1\nturns: {}", ':1:1: unknown key "a" (expected answers, beep, '),
        ("turns:\n  polcy: server", ':2:3: unknown key "polcy"; did you mean "policy"?'),
        (
            "routes:\n  - called: a\n    vioce: ash",
            ':3:5: unknown key "vioce"; did you mean "voice"?',
        ),
        (
            "routes:\n  - called: a\n    turns: {polcy: x}",
            ':3:13: unknown key "polcy"; did you mean "policy"?',
        ),
        ("routes:\n  - turns: {}", ":2:5: called is missing in routes"),
        (
            "routes:\n  - called: a\n    settings: {voice: ash}",
            ':3:5: unknown key "settings"',
        ),
        ("routes: 3", ":1:9: routes: expected a list"),
        ("routes: [3]", ":1:10: route 1: expected a mapping"),
        ("\nsip: {port: abc}", ':2:13: port: expected a whole number, not "abc"'),
        (
            "sip: {port: 70000}",
            ":1:13: port: 70000: expected a number less than",
        ),
        ("voice: marin\nbeep: {hz: 440}\nvoice: cedar", ":3:1: voice stands here and in line 1"),
        ("sip: &x\n  a: *x", ":1:1: something in it is within itself"),
        (ALIASES, ":1:5: more than 50000 values"),
        ("[" * 3000, ":1:1: something in it is within itself"),
        ("routes:\n  - {called: a, called: b}", ":2:17: called stands here and in line 2"),
        ("sip: {allowed_peers: [10.0.0.0/99]}", ":1:22: allowed_peers: '10.0.0.0/99' does not"),
        ("sip: {registration: {registrar: '', user: a}}", ":1:33: registrar: '': expected host"),
        (
            "sip: {rtp_port: 4001, rtp_port_count: 8, max_calls: 4}",
            ":1:6: sip: rtp_port_count: 4 calls take 8",
        ),
        (
            "sip: {transports: [tcp], registration: {registrar: pbx, user: a}}",
            ":1:6: sip: registration.transport: udp is not among the transports",
        ),
        (
            "sip: {registration: {registrar: 'pbx:99999', user: a}}",
            ":1:33: registrar: 'pbx:99999': expected host, or host:port with a port of 1 to 65535",
        ),
        ("sip: {public_host: '192.0.2.1:5060'}", ":1:20: public_host: '192.0.2.1:5060': expected"),
        (
            "failure: {transfer_to: 'sip:a@b:65536'}",
            ":1:24: transfer_to: 'sip:a@b:65536': expected",
        ),
        ("tools: {transfer: ['sip:b:0;x=1']}", ":1:20: transfer 1: 'sip:b:0;x=1': expected a port"),
        ("realtime: {url: 'ws://x:99999/'}", ":1:17: url: 'ws://x:99999/' is no URL: Port out of"),
        ("failure: {transfer_to: '+49 30 1'}", ":1:24: transfer_to: '+49 30 1' is no URI"),
        ("tools: {transfer: ['sip:a@b', desk]}", ":1:31: transfer 2: 'desk' is no URI"),
        (
            "turns: {append_interval_ms: 30}",
            ":1:29: append_interval_ms: 30: expected a multiple of 20",
        ),
        ("realtime: {url: 'http://x'}", ":1:17: url: 'http://x' is not a WebSocket URL"),
        ("realtime: {url: 'ws://x/{caller}'}", ":1:17: url: 'ws://x/{caller}': {called} is"),
        ("realtime: {url: 'ws://x/{called.x}'}", ":1:17: url: 'ws://x/{called.x}': {called} is"),
        ("realtime: {url: 'ws://x/{called!r:>9}'}", ":1:17: url: 'ws://x/{called!r:>9}': {called}"),
        ("realtime: {url: 'ws://x/{called'}", ":1:17: url: 'ws://x/{called': {called} is the"),
        ("realtime: {url: 'wss://{called}/'}", ":1:17: url: 'wss://{called}/': the caller would"),
        ("realtime: {url: 'wss://h:8{called}/'}", ":1:17: url: 'wss://h:8{called}/': the caller"),
        ("realtime: {url: 'wss://x/#y'}", ":1:17: url: 'wss://x/#y': a WebSocket URL has no #"),
        ("records: {file: '~nosuchuser/x'}", ":1:17: file: '~nosuchuser/x': there is no such"),
        ("realtime: {url: 'wss://key@x'}", ":1:17: url: a URL with a password in it"),
        ("realtime: {api_key: sk-1}", ':1:12: unknown key "api_key"'),
        ("- 1", ":1:1: expected settings"),
        ("a: [", ":1:5: not YAML"),
        ("voice: !!python/name:os.system", ":1:8: '' cannot be read as os.system"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        load(path, {})
    message = str(error.value)
    assert message.startswith(f"{path}{problem}")


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "agent.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"cannot be read: No such|not a text file"):
        load(path, {})


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "sip: {port: 5060, max_calls: 2}")
    env = {
        "CALLERSIDE_SIP__PORT": "5070",
        "CALLERSIDE_VOICE": "ash",
        "CALLERSIDE_RECORDINGS": "/x",
        "A": "b",
    }
    del env["CALLERSIDE_RECORDINGS"]
    settings = load(path, env)
    assert (settings.sip.port, settings.sip.max_calls, settings.voice) == (5070, 2, "ash")


@pytest.mark.parametrize(
    "text", ["4711", "+49301", "on", "true", "1.5", "Be brief: no more.", "[a", "*", "# 1"]
)
def test_a_variable_is_text_where_text_is_expected(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, "voice: marin\ntools: {http: {Look: {description: d, url: 'http://x'}}}")
    env = {
        "CALLERSIDE_INSTRUCTIONS": text,
        "CALLERSIDE_GREETING__INSTRUCTIONS": f'"{text}"',
        "CALLERSIDE_RECORDINGS__DIR": text,
        "CALLERSIDE_TOOLS__MODULE": "~",
        "CALLERSIDE_TOOLS__HTTP__LOOK__DESCRIPTION": text,
        "CALLERSIDE_TOOLS__STUB__Other": "{returns: 3, after: 5, description: 7}",
        "CALLERSIDE_SIP__MAX_CALLS": "null",
        "CALLERSIDE_SIP__RTP_PUBLIC_HOST": "",
    }
    settings = load(path, env)
    assert settings.instructions == settings.greeting.instructions == text
    assert settings.recordings.dir == Path(text)
    assert settings.tools.http["Look"].description == text
    assert settings.tools.stub["Other"].returns == 3
    assert settings.tools.stub["Other"].description == "7"
    assert (settings.tools.module, settings.sip.max_calls) == (None, None)
    assert settings.sip.rtp_public_host is None


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    with pytest.raises(ConfigError, match=r'^CALLERSIDE_SIP__PORT: port: .* not "x"'):
        load(path, {"CALLERSIDE_SIP__PORT": "x"})
    with pytest.raises(ConfigError, match=r"^CALLERSIDE_SIP__PORT: its value is not YAML"):
        load(path, {"CALLERSIDE_SIP__PORT": "["})


@pytest.mark.parametrize(
    ("word", "meant"), [("yes", True), ("on", True), ("no", False), ("off", False)]
)
def test_a_switch_is_written_as_people_do(tmp_path: Path, word: str, meant: bool) -> None:
    assert load(write(tmp_path, f"beep: {{enabled: {word}}}"), {}).beep.enabled is meant
    assert load(write(tmp_path, ""), {"CALLERSIDE_BEEP__ENABLED": word}).beep.enabled is meant
    with pytest.raises(ConfigError, match=r':1:17: enabled: expected true or false, not "maybe"'):
        load(write(tmp_path, "beep: {enabled: maybe}"), {})


def test_every_mistake_is_told_at_once_and_in_order(tmp_path: Path) -> None:
    path = write(tmp_path, "voise: x\nroutes:\n  - {called: a, beep: {hz: 5}}\nbeep: {hz: 9}\n")
    with pytest.raises(ConfigError) as error:
        load(path, {"CALLERSIDE_SIP__PORT": "x"})
    lines = [line.removeprefix(f"{path}:") for line in str(error.value).splitlines()]
    assert [line.split(" ")[0] for line in lines] == [
        "1:1:", "3:28:", "4:12:", "CALLERSIDE_SIP__PORT:"
    ]  # fmt: skip


def test_routes_override_deeply_and_the_first_that_matches_holds(tmp_path: Path) -> None:
    text = """
voice: ash
turns: {policy: client, append_interval_ms: 100}
routes:
  - called: "4912*"
    turns: {policy: local}
    instructions: You are in Berlin.
  - called: "49*"
    voice: cedar
"""
    settings = load(write(tmp_path, text), {})
    berlin = settings.for_call("491234")
    assert (berlin.turns.policy, berlin.turns.append_interval_ms) == ("local", 100)
    assert (berlin.voice, berlin.instructions) == ("ash", "You are in Berlin.")
    assert settings.for_call("4930").voice == "cedar"
    assert settings.for_call("1").voice == "ash"
    assert settings.for_call("1").turns.policy == "client"


def test_a_route_knows_two_signs_and_no_more() -> None:
    settings = Settings.model_validate({"routes": [{"called": "[19]?!*", "voice": "ash"}]})
    assert settings.for_call("[19]4!").voice == "ash"
    assert settings.for_call("14!").voice != "ash"


def test_settings_are_frozen() -> None:
    settings = Settings.model_validate({})
    with pytest.raises(ValueError, match="frozen"):
        settings.voice = "x"  # type: ignore[misc]


def test_secrets_are_not_shown() -> None:
    secrets = load_secrets({"OPENAI_API_KEY": "sk-secret", "CALLERSIDE_SIP_PASSWORD": "pw-secret"})
    assert (secrets.api_key, secrets.sip_password) == ("sk-secret", "pw-secret")
    assert "secret" not in repr(secrets)
    assert load_secrets({"OPENAI_API_KEY": ""}).api_key is None


def test_a_key_is_asked_for_where_a_server_needs_one() -> None:
    real = Settings.model_validate({})
    with pytest.raises(ConfigError, match="OPENAI_API_KEY is not set"):
        require_keys(real, Secrets())
    require_keys(real, Secrets(api_key="k"))
    own = Settings.model_validate({"realtime": {"url": "ws://127.0.0.1:9/x"}})
    require_keys(own, Secrets())


def test_the_url_template() -> None:
    settings = Settings.model_validate({"realtime": {"url": "ws://h/{called}/v1"}})
    assert realtime_url(settings.realtime, "+49 30/1") == "ws://h/%2B49%2030%2F1/v1"


@pytest.mark.parametrize("called", [".", "..", "..."])
def test_a_number_of_dots_leads_nowhere_else(called: str) -> None:
    settings = Settings.model_validate({"realtime": {"url": "ws://h/v1/{called}/rt"}})
    assert realtime_url(settings.realtime, called) == f"ws://h/v1/{'_' * len(called)}/rt"


def test_the_format_fits_the_leg() -> None:
    assert audio_format(24_000, "PCMU").encoding == "pcm"
    assert audio_format(8_000, None).encoding == "pcmu"
    assert audio_format(8_000, "PCMA").encoding == "pcma"
    with pytest.raises(ValueError, match="16000 Hz"):
        audio_format(16_000, None)


def test_merging_is_deep_and_leaves_its_sources_alone() -> None:
    base = {"a": {"b": 1, "c": [1]}, "d": 1}
    assert merge(base, {"a": {"c": [2]}}) == {"a": {"b": 1, "c": [2]}, "d": 1}
    assert base == {"a": {"b": 1, "c": [1]}, "d": 1}


def test_a_variable_of_a_section_that_is_none_is_told_with_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    told = r"^CALLERSIDE_SPI__PORT: there is no setting 'spi'; .*sip"
    with pytest.raises(ConfigError, match=told):
        load(path, {"CALLERSIDE_SPI__PORT": "5070"})
    load(path, {"CALLERSIDE_CALLER__USER": "2001", "CALLERSIDE_NO_SKIPS": "1"})


def test_no_session_in_no_time_is_no_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="connect_timeout_ms"):
        load(write(tmp_path, "realtime: {connect_timeout_ms: 0}"), {})


def test_what_is_wrong_behind_the_loading_stands_at_its_place(tmp_path: Path) -> None:
    path = write(tmp_path, "sip:\n  codecs: [OPUS]\nroutes:\n- called: '1'\n  timeline: {dir: x}\n")
    env = {"CALLERSIDE_SIP__MAX_CALLS": "12"}
    told = {
        "sip.codecs: OPUS: no": f"{path}:2:11: sip.codecs: OPUS: no",
        "sip.max_calls: too many": "CALLERSIDE_SIP__MAX_CALLS: sip.max_calls: too many",
        "sip.port: 5060": f"{path}:2:3: sip.port: 5060",
        "routes.0.timeline.dir: x": f"{path}:5:19: routes.0.timeline.dir: x",
        "this process: no": "this process: no",
    }
    assert {problem: with_place(problem, path, env) for problem in told} == told
