"""Reads the settings: a YAML file, overridden by the environment, where alone the secrets are.

`CALLERSIDE_SIP__PORT=5070` overrides `sip.port`; `yaml.variables` says how. What is wrong is told
with its place, what was expected, and the nearest word.
"""

import os
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from callerside.agent.config.environment import variable
from callerside.agent.config.settings import RealtimeSettings, Settings
from callerside.agent.telephony.options import AGENT_PASSWORD
from callerside.yaml import kinds, reader, variables
from callerside.yaml.errors import explain, nearest
from callerside.yaml.source import Source, YamlError

ENV_PREFIX = "CALLERSIDE_"
OTHERS = ("caller",)
"""Sections that are no settings of the agent's: that is the scripted caller's account."""
_SETTING = re.compile(r"[a-z_]+(?:\.[a-z0-9_]+)+(?=[: ])")
SECRET_NAMES = ("OPENAI_API_KEY", AGENT_PASSWORD)


class ConfigError(ValueError):
    """Settings that cannot be used: a line a mistake, of where, what, and what was expected."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Secrets:
    """What must never be written anywhere; not even shown by `repr`."""

    api_key: str | None = field(default=None, repr=False)
    sip_password: str | None = field(default=None, repr=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What settings may name as `${NAME}`."""

    def values(self, settings: Settings) -> list[str]:
        """Those that these settings use, to be taken out of whatever is written."""
        named = (self.environment.get(name) for name in _named(settings))
        return [value for value in (self.api_key, self.sip_password, *named) if value]


def load(path: Path, env: Mapping[str, str] = os.environ, *, may_be_empty: bool = True) -> Settings:
    """The settings of a file and the environment.

    Args:
        path: the file.
        env: the environment.
        may_be_empty: take an empty file for the defaults. While we run it is more likely one that
            somebody is just writing.

    Raises:
        ConfigError: the file cannot be read, or something in it or in the environment is wrong.
    """
    source = _read(path, env, may_be_empty=may_be_empty)
    try:
        return Settings.model_validate(source.data)
    except ValidationError as error:
        raise ConfigError("\n".join(explain(error, source, Settings))) from None


def with_place(problem: str, path: Path, env: Mapping[str, str] = os.environ) -> str:
    """What is wrong with settings that could be loaded, behind the place of what it begins with.

    Args:
        problem: a line that begins with a setting, as `sip.codecs: ...`; others stay as they are.
        path: their file.
        env: the environment.
    """
    setting = _SETTING.match(problem)
    if setting is None:
        return problem
    keys = (int(key) if key.isdecimal() else key for key in setting[0].split("."))
    return f"{_read(path, env).place(tuple(keys))}: {problem}"


def outdated(path: Path) -> str | None:
    """What of a file that can be read is called otherwise by now; None if nothing is.

    Raises:
        YamlError: it cannot be read any more.
    """
    old = reader.read(path, "settings").old_keys
    return "; ".join(map(str, old)) or None


def load_secrets(env: Mapping[str, str] = os.environ) -> Secrets:
    """The secrets that are set."""
    key, password = (env.get(name) or None for name in SECRET_NAMES)
    return Secrets(api_key=key, sip_password=password, environment=dict(env))


def require_keys(settings: Settings, secrets: Secrets) -> None:
    """Check that there is a key if some call needs one: every `wss` server asks for it.

    Raises:
        ConfigError: there is none, or one that is named is not set, or can stand in no header.
    """
    for name in sorted(_named(settings)):
        try:
            variable(name, secrets.environment)
        except ValueError as error:
            raise ConfigError(
                f"{error}, and realtime.headers or realtime.query asks for it"
            ) from None
    needy = sorted(
        one.url for one in _servers(settings) if one.url.startswith("wss:") and not one.has_a_key
    )
    if needy and secrets.api_key is None:
        raise ConfigError(
            f"OPENAI_API_KEY is not set in the environment, and {needy[0]} asks for it"
        )


def _servers(settings: Settings) -> list[RealtimeSettings]:
    return [settings.realtime, *(route.realtime for route in settings.routes)]


def _named(settings: Settings) -> Set[str]:
    return {name for one in _servers(settings) for name in one.from_environment}


def _read(path: Path, env: Mapping[str, str], *, may_be_empty: bool = True) -> Source:
    """See `load`."""
    try:
        source = reader.read(path, "settings")
        kinds.see_that_it_is(source, "settings")
    except YamlError as error:
        raise ConfigError(str(error)) from None
    if source.data is None and not may_be_empty:
        raise ConfigError(f"{path}: expected settings, and the file is empty: nothing changes")
    if source.data is None:
        source = source.changed({}, {})
    if not isinstance(source.data, dict):
        raise ConfigError(f"{source.place(())}: expected settings, as in `voice: marin`")
    return _with_environment(source, env)


def _with_environment(source: Source, env: Mapping[str, str]) -> Source:
    """The file's data under what the environment says."""
    for name in sorted(env):
        if not name.startswith(ENV_PREFIX) or name in SECRET_NAMES:
            continue
        keys = name.removeprefix(ENV_PREFIX).split("__")
        section = keys[0].lower()
        if section not in Settings.model_fields:
            if len(keys) == 1 or section in OTHERS:
                continue  # somebody else's variable: other commands have some of that prefix
            known = sorted(Settings.model_fields)
            raise ConfigError(f"{name}: there is no setting {section!r}{nearest(section, known)}")
        try:
            source = variables.overridden(source, name, keys, env[name], Settings)
        except YamlError as error:
            raise ConfigError(str(error)) from None
    return source
