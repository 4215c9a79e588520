"""`-k EXPR`: choose scenarios by names and tags, as pytest does: `barge and not late`."""

import ast
from collections.abc import Callable, Sequence

from callerside.simulator.scenario.model import Scenario


class SelectionError(ValueError):
    """An expression that cannot be read: says what and where."""


def select(scenarios: Sequence[Scenario], expression: str) -> list[Scenario]:
    """Those that fit; a word fits a name or a tag that holds it, in either case.

    A cell of a matrix is known by the name of its call, which a run prints (`noise-10`).
    Words are joined by `and`, `or`, `not` and parentheses. A hyphen belongs to a word.

    Raises:
        SelectionError: the expression is none.
    """
    matches = compile_expression(expression)
    return [scenario for scenario in scenarios if matches(scenario.call_name, *scenario.tags)]


def compile_expression(expression: str) -> Callable[..., bool]:
    """The expression as a test of words: it is called with a name and any number of tags.

    Raises:
        SelectionError: the expression is none.
    """
    # A hyphen inside a word would be read as a minus: it is spelled out for Python's own parser.
    readable = expression.strip().replace("-", "__hyphen__")
    try:
        tree = ast.parse(readable, mode="eval").body
    except SyntaxError as error:
        raise SelectionError(
            f"-k {expression!r}: {error.msg}; expected words joined by and, or, not and parentheses"
        ) from None
    return _compile(tree, expression)


def _compile(node: ast.expr, expression: str) -> Callable[..., bool]:
    match node:
        case ast.BoolOp(op=op, values=values):
            parts = [_compile(value, expression) for value in values]
            combine = all if isinstance(op, ast.And) else any
            return lambda *words: combine(part(*words) for part in parts)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            part = _compile(operand, expression)
            return lambda *words: not part(*words)
        case ast.Name(id=word):
            wanted = word.replace("__hyphen__", "-").lower()
            return lambda *words: any(wanted in word.lower() for word in words)
        case _:
            raise SelectionError(
                f"-k {expression!r}: {ast.unparse(node)} is no word; "
                "expected words joined by and, or, not and parentheses"
            )
