"""The extra `sim`: what the harness needs, and a plain install has not."""

from importlib.util import find_spec

_MODULES = ("jinja2", "rich", "psutil")
"""Without one of them no command of the harness but `doctor` runs."""


def missing() -> list[str]:
    """Its modules that are not here."""
    return [name for name in _MODULES if find_spec(name) is None]
