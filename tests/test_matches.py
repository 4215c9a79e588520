"""What tells the members of a union apart decides about each of them, the next one included.

mypy holds each `match` to be exhaustive (`exhaustive-match`). Here is held what it does not see:
that a `match` says so where it runs, too, and that nobody tells members apart by a chain that ends
in silence.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted(
    path
    for room in ("agent", "fakes", "reports", "simulator", "callerside")
    for path in (ROOT / room).rglob("*.py")  # which follows no links
)


WITNESSES = {
    f"simulator/lanes/virtual/{name}.py"
    for name in ("audio_invariants", "invariants", "playout_model")
}
"""They pick what they look for from a tape of everything, and judge what has come of all of it."""


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in FILES:
        yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def falls(match: ast.Match) -> bool:
    """Whether something that no case knows is passed over."""
    last = match.cases[-1]
    takes_all = isinstance(last.pattern, ast.MatchAs) and last.pattern.pattern is None
    does_nothing = all(isinstance(line, ast.Pass) for line in last.body)
    return not takes_all or last.guard is not None or does_nothing


def told_apart(test: ast.expr) -> str | None:
    """The name of what a test asks the type of; None if it asks else, or for a type of PyYAML's."""
    if not (isinstance(test, ast.Call) and ast.unparse(test.func) == "isinstance"):
        return None
    name, types = map(ast.unparse, test.args)
    return None if types.startswith("yaml.") else name


def ends_in_silence(chain: ast.If) -> bool:
    """Whether two types or more of a thing are told apart, and no other is thought of."""
    names = [told_apart(chain.test)]
    while len(chain.orelse) == 1 and isinstance(chain.orelse[0], ast.If):
        chain = chain.orelse[0]
        names.append(told_apart(chain.test))
    return not chain.orelse and None not in names and len(names) > 1 and len(set(names)) == 1


FALLING = """
match it:
    case A():
        f()
"""
PASSED_OVER = (
    FALLING
    + """    case _:
        pass
"""
)
CLOSED = (
    FALLING
    + """    case unknown:
        assert_never(unknown)
"""
)


@pytest.mark.parametrize(("text", "wrong"), [(FALLING, True), (PASSED_OVER, True), (CLOSED, False)])
def test_the_rule_sees_a_match_that_falls(text: str, wrong: bool) -> None:
    (match,) = ast.parse(text).body
    assert isinstance(match, ast.Match)
    assert falls(match) == wrong


def test_the_rule_sees_a_chain_that_ends_in_silence() -> None:
    text = "if isinstance(it, A):\n    f()\nelif isinstance(it, B):\n    g()\n"
    (silent,), (closed,) = (ast.parse(one).body for one in (text, f"{text}else:\n    h()\n"))
    assert isinstance(silent, ast.If)
    assert isinstance(closed, ast.If)
    assert [ends_in_silence(one) for one in (silent, closed)] == [True, False]


def test_no_match_passes_over_what_it_does_not_know() -> None:
    found = [
        f"{name}:{node.lineno}"
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Match) and falls(node)
    ]
    assert found == [], "close each with `case unknown: assert_never(unknown)`"


def test_no_chain_tells_types_apart_and_ends_in_silence() -> None:
    found = [
        f"{name}:{node.lineno}"
        for name, tree in trees()
        if name not in WITNESSES
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ends_in_silence(node)
    ]
    assert found == [], "make it a match"
