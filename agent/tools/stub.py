"""Functions that only seem to be there: what a scenario says that they answer, and when.

One is made for each telephone call, in which it counts how often it has been called. It runs in
no thread: the driver gives its answers by the call's clock, so that they take their time in memory,
too.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from callerside.agent.call.builtin_tools import Declaration
from callerside.agent.config.settings import StubSettings
from callerside.json_schema import problem_with

WRONG_ARGUMENTS = "wrong arguments"
"""Begins the reason why a stub was not called: they do not fit its schema."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StubbedAnswer:
    """What a stub answers to one call."""

    ok: bool = False
    output: str
    after_ms: float = 0.0
    refused: str = ""
    """Why the call should not have been made; empty if it was right."""


class Stub:
    """One function, in one telephone call."""

    def __init__(self, declaration: Declaration, settings: StubSettings) -> None:
        """`declaration`: of the function in whose place it is, whose schema arguments must fit."""
        self.declaration = declaration
        self._settings = settings
        self._calls = 0

    def answer(self, arguments: Mapping[str, Any]) -> StubbedAnswer | None:
        """The answer to the next call; None: there will never be one.

        Arguments that do not fit the schema are refused, and take none of the answers.
        """
        wrong = problem_with(arguments, self.declaration["parameters"])
        if wrong is not None:
            return refused(f"{WRONG_ARGUMENTS}: {wrong}")
        answers = self._settings.each_answer
        answer = answers[min(self._calls, len(answers) - 1)]
        self._calls += 1
        if answer.never_returns:
            return None
        if answer.fails is not None:
            output = json.dumps({"error": answer.fails})
            return StubbedAnswer(output=output, after_ms=answer.after)
        result = answer.returns
        output = result if isinstance(result, str) else json.dumps(result, default=str)
        return StubbedAnswer(ok=True, output=output, after_ms=answer.after)


class OutOfReach:
    """A real function where none may be called: it is declared, and refuses."""

    def __init__(self, declaration: Declaration) -> None:
        self.declaration = declaration

    def answer(self, _arguments: Mapping[str, Any]) -> StubbedAnswer:
        """The refusal, with what to do."""
        name = self.declaration["name"]
        return refused(
            f"{name} is a real function, and not called here: "
            f"give it an answer (agent.tools.stub.{name}), or allow it (agent.tools.real: true)"
        )


def refused(why: str) -> StubbedAnswer:
    """The answer to a call that should not have been made."""
    return StubbedAnswer(output=json.dumps({"error": why}), refused=why)
