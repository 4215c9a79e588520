"""What is asked for: the scenarios of some files and folders, by names and tags, by a draw.

`-k EXPR` chooses by names and tags, as pytest does: `barge and not late`.
"""

import ast
import random
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from callerside.command_line import CommandError
from callerside.simulator.runner.plan import with_forerunners
from callerside.simulator.scenario import loader
from callerside.simulator.scenario.model import Lane, Scenario
from callerside.yaml.errors import nearest

_WORD = re.compile(r"[^\s()]+")
_JOINTS = ("and", "or", "not")


class SelectionError(ValueError):
    """An expression that cannot be read: says what and where."""


class RunError(CommandError):
    """The run could not be done at all; nothing is said about the agent."""


def choose(
    paths: Sequence[Path],
    expression: str | None = None,
    lane: Lane | None = None,
    *,
    sample: float | None = None,
    seed: int = 0,
) -> list[Scenario]:
    """The scenarios that are asked for and that `lane` can play, forerunners included.

    Of what fits a `sample` is drawn, a share, by `seed`.

    Raises:
        RunError: a file cannot be read, or nothing is left.
    """
    try:
        loaded = loader.load(paths)
        chosen = select(loaded, expression) if expression else loaded
        chosen = [one for one in chosen if lane in (None, *one.lanes)]
        chosen = chosen if sample is None else draw(chosen, sample, seed)
        everything = loader.with_forerunners_beside(loaded)
    except (loader.ScenarioError, SelectionError) as error:
        raise RunError(str(error)) from None
    chosen = [s for s in with_forerunners(chosen, everything) if lane in (None, *s.lanes)]
    if not chosen:
        where = ", ".join(map(str, paths))
        wanted = [f"that the {lane} lane plays"] if lane else []
        if expression:
            words = [word for one in loaded for word in (one.name, *one.tags)]
            whole = loader.scenario_of_call(expression)
            is_call = whole != expression and whole in words
            near = f"; {whole} plays all of its calls: -k {whole}" if is_call else None
            wanted += [f"that fits -k {expression!r}{near or nearest(expression, words)}"]
        raise RunError(f"{where}: no scenario {' and '.join(wanted)} (of {len(loaded)})")
    return chosen


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
