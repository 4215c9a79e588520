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
    "simulator/fuzz/clients.py",
    *(
        f"simulator/lanes/virtual/{name}.py"
        for name in (
            "audio_invariants",
            "caller_invariants",
            "invariants",
            "playout_model",
            "record_invariants",
            "stops",
            "told_invariants",
        )
    ),
}
"""They pick what they look for from a tape of everything, and judge what has come of all of it."""


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in FILES:
        yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def falls(match: ast.Match) -> bool:
    """Whether something that no case knows is passed over."""
    last = match.cases[-1]
    takes_all = isinstance(last.pattern, ast.MatchAs) and last.pattern.pattern is None
    return not takes_all or last.guard is not None or all(map(does_nothing, last.body))


LOGGERS = {"log", "_log", "logging"}


def does_nothing(line: ast.stmt) -> bool:
    """Whether a line passes over what has led to it; to say so in a log is not enough."""
    match line:
        case ast.Pass() | ast.Continue():
            return True
        case ast.Return(value=value):
            return value is None or ast.unparse(value) in ("None", "()", "[]", "{}")
        case ast.Expr(value=ast.Constant()):
            return True
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=logger))):
            return ast.unparse(logger).rpartition(".")[2] in LOGGERS
        case _:
            return False


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
    silent = all(map(does_nothing, chain.orelse))  # as it is without an `else`
    return silent and None not in names and len(names) > 1 and len(set(names)) == 1


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


NOTHING = (
    *("pass", "...", "'as before'", "continue", "return", "return None", "return ()", "return []"),
    *("log.warning('what is this?')", "self._log.debug('no %s', it)", "logging.info('')"),
)


@pytest.mark.parametrize("line", NOTHING)
def test_the_rule_sees_a_line_that_does_nothing(line: str) -> None:
    (match,) = ast.parse(PASSED_OVER.replace("pass", line)).body
    assert isinstance(match, ast.Match)
    assert falls(match)


@pytest.mark.parametrize("line", ["return it", "return False", "g()", "x = ()", "raise E"])
def test_the_rule_sees_a_line_that_does_something(line: str) -> None:
    (match,) = ast.parse(PASSED_OVER.replace("pass", line)).body
    assert isinstance(match, ast.Match)
    assert not falls(match)


@pytest.mark.parametrize(("text", "wrong"), [(FALLING, True), (PASSED_OVER, True), (CLOSED, False)])
def test_the_rule_sees_a_match_that_falls(text: str, wrong: bool) -> None:
    (match,) = ast.parse(text).body
    assert isinstance(match, ast.Match)
    assert falls(match) == wrong


def test_the_rule_sees_a_chain_that_ends_in_silence() -> None:
    text = "if isinstance(it, A):\n    f()\nelif isinstance(it, B):\n    g()\n"
    for end, wrong in (("", True), ("else:\n    ...\n", True), ("else:\n    h()\n", False)):
        (chain,) = ast.parse(text + end).body
        assert isinstance(chain, ast.If)
        assert ends_in_silence(chain) == wrong


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
