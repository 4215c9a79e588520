"""Reads the settings: a YAML file, overridden by the environment, where alone the secrets are.

`CALLERSIDE_SIP__PORT=5070` overrides `sip.port`; `yaml.variables` says how. What is wrong is told
with its place, what was expected, and the nearest word.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from callerside.agent.config.settings import Settings
from callerside.agent.telephony.options import AGENT_PASSWORD
from callerside.yaml import kinds, reader, variables
from callerside.yaml.errors import explain, nearest
from callerside.yaml.source import Source, YamlError

ENV_PREFIX = "CALLERSIDE_"
OTHERS = ("caller",)
"""Sections that are no settings of the agent's: that is the scripted caller's account."""
SECRET_NAMES = ("OPENAI_API_KEY", AGENT_PASSWORD)


class ConfigError(ValueError):
    """Settings that cannot be used: a line a mistake, of where, what, and what was expected."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Secrets:
    """What must never be written anywhere; not even shown by `repr`."""

    api_key: str | None = field(default=None, repr=False)
    sip_password: str | None = field(default=None, repr=False)


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
    source = _with_environment(source, env)
    try:
        return Settings.model_validate(source.data)
    except ValidationError as error:
        raise ConfigError("\n".join(explain(error, source, Settings))) from None


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
    return Secrets(api_key=key, sip_password=password)


def require_api_key(settings: Settings, secrets: Secrets) -> None:
    """Check that there is a key if some call needs one: every `wss` server asks for it.

    Raises:
        ConfigError: there is none.
    """
    urls = {settings.realtime.url, *(route.realtime.url for route in settings.routes)}
    needy = sorted(url for url in urls if url.startswith("wss:"))
    if needy and secrets.api_key is None:
        raise ConfigError(
            f"OPENAI_API_KEY is not set in the environment, and {needy[0]} asks for it"
        )


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
