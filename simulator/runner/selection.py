"""`-k EXPR`: choose scenarios by names and tags, as pytest does: `barge and not late`."""

import ast
import random
import re
from collections.abc import Callable, Collection, Sequence

from callerside.simulator.scenario.model import Scenario

_WORD = re.compile(r"[^\s()]+")
_JOINTS = ("and", "or", "not")


class SelectionError(ValueError):
    """An expression that cannot be read: says what and where."""


def select(scenarios: Sequence[Scenario], expression: str) -> list[Scenario]:
    """Those that fit; a word fits a name or a tag that holds it, in either case.

    A word that is the whole name of one is that one alone, beside what it is a whole tag of:
    `noise-1` does not choose `noise-10`. Words are joined by `and`, `or`, `not` and parentheses. A
    cell of a matrix is called as its call is, `noise-10`.

    Raises:
        SelectionError: the expression is none.
    """
    matches = compile_expression(expression, [one.name for one in scenarios])
    return [one for one in scenarios if matches(one.name, *one.tags)]


def draw(scenarios: Sequence[Scenario], share: float, seed: int) -> list[Scenario]:
    """A share of the scenarios by chance, in their order; at least one, where there is one."""
    count = min(len(scenarios), max(1, round(share * len(scenarios))))
    drawn = random.Random(seed).sample(range(len(scenarios)), count)
    return [scenarios[position] for position in sorted(drawn)]


def compile_expression(expression: str, names: Collection[str] = ()) -> Callable[..., bool]:
    """The expression as a test of words: it is called with a name and any number of tags.

    Args:
        expression: words, joined.
        names: what there is to choose from; a word that is one of them fits no longer one.

    Raises:
        SelectionError: the expression is none.
    """
    # A word may be what Python knows as something else: `911_call`, `class`, `noise-10`.
    words: list[str] = []

    def stand_in(match: re.Match[str]) -> str:
        if match[0] in _JOINTS:
            return match[0]
        words.append(match[0])
        return f"_{len(words) - 1}"

    readable = _WORD.sub(stand_in, expression.strip())
    try:
        tree = ast.parse(readable, mode="eval").body
    except SyntaxError as error:
        raise SelectionError(
            f"-k {expression!r}: {error.msg}; expected words joined by and, or, not and parentheses"
        ) from None
    whole = frozenset(name.lower() for name in names)
    return _compile(tree, words, whole, expression)


def _compile(
    node: ast.expr, words: Sequence[str], whole: frozenset[str], expression: str
) -> Callable[..., bool]:
    match node:
        case ast.BoolOp(op=op, values=values):
            parts = [_compile(value, words, whole, expression) for value in values]
            combine = all if isinstance(op, ast.And) else any
            return lambda *names: combine(part(*names) for part in parts)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            part = _compile(operand, words, whole, expression)
            return lambda *names: not part(*names)
        case ast.Name(id=placeholder):
            wanted = words[int(placeholder.removeprefix("_"))].lower()
            if wanted in whole:
                return lambda *names: any(wanted == name.lower() for name in names)
            return lambda *names: any(wanted in name.lower() for name in names)
        case _:
            raise SelectionError(
                f"-k {expression!r}: expected words joined by and, or, not and parentheses"
            )
