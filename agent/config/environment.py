"""`${NAME}` in a value of the settings: of the environment, the only place for keys."""

import re
from collections.abc import Mapping, Set

_NAMED = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def names_in(*settings: Mapping[str, str]) -> Set[str]:
    """The names of the environment that the values of these need."""
    return {name for one in settings for value in one.values() for name in _NAMED.findall(value)}


def filled(setting: Mapping[str, str], env: Mapping[str, str]) -> dict[str, str]:
    """The same, with the values of the environment; all that it names are in `env`."""
    return {key: _NAMED.sub(lambda found: env[found[1]], value) for key, value in setting.items()}


def check_named(key: str, value: str, *, is_secret: bool) -> None:
    """Check a value of the settings that may name something of the environment.

    Raises:
        ValueError: it names nothing that can be there, or it is a key that stands there itself.
    """
    if "${" in _NAMED.sub("", value):
        raise ValueError(f"{key}: expected ${{NAME}}, a name of the environment's")
    if is_secret and not _NAMED.search(value):
        raise ValueError(f"{key}: a key belongs in the environment: write ${{NAME}}")


def variable(name: str, env: Mapping[str, str]) -> str:
    """The value of a name, for a header or a query.

    Raises:
        ValueError: it is not set, or is nothing that a header may hold.
    """
    value = env.get(name, "")
    if not value:
        raise ValueError(f"{name} is not set in the environment")
    if not (value.isascii() and value.isprintable()) or value != value.strip():
        raise ValueError(f"{name} of the environment is no line of ASCII")
    return value
