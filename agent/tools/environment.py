"""What functions need of the environment: keys, which no model and no log sees."""

from collections.abc import Iterable, Mapping
from typing import Self

from callerside.agent.config.environment import variable
from callerside.agent.tools.interface import ToolError


class FromEnvironment(dict[str, str]):
    """Variables of the environment that a function's settings name."""

    @classmethod
    def read(cls, function: str, names: Iterable[str], env: Mapping[str, str]) -> Self:
        """Those of the names; `function`: where in the settings they stand.

        Raises:
            ToolError: one is not there, or is nothing that a header may hold.
        """
        return cls({name: _variable(function, name, env) for name in sorted(names)})

    def taken_out(self, text: str) -> str:
        """The text with the names in place of the values."""
        for name, value in self.items():
            text = text.replace(value, f"[{name}]")
        return text


def _variable(function: str, name: str, env: Mapping[str, str]) -> str:
    try:
        return variable(name, env)
    except ValueError as error:
        raise ToolError(f"{function}: {error}") from None
