"""Counts the functions of ours that run between two points of a way, by `sys.setprofile`.

Every call counts, also of properties, lambdas, comprehensions, and of what a dataclass generates:
a function is ours if its module is. What a library calls in between is its own business.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

Way = list[str]
"""Names of the functions, in the order of their calls."""


@contextmanager
def ways(begin: Any, end: Any) -> Iterator[list[Way]]:
    """Collects one way for each time that this thread goes from `begin` to the end of `end`.

    Args:
        begin: the function whose call begins a way, and is the first of it.
        end: the function whose return ends it; all that it calls before it returns is counted.
    """
    first, last = _code(begin), _code(end)
    found: list[Way] = []
    under_way: Way | None = None
    depth = 0

    def watch(frame: FrameType, event: str, _argument: object) -> None:
        nonlocal under_way, depth
        code = frame.f_code
        if event == "call":
            if code is first and under_way is None:
                under_way, depth = [], 0
            if under_way is not None and _is_ours(frame):
                under_way.append(code.co_qualname)
                depth += code is last
        elif event == "return" and under_way is not None and code is last:
            depth -= 1
            if not depth:
                found.append(under_way)
                under_way = None

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        yield found
    finally:
        sys.setprofile(before)


def _code(function: Any) -> CodeType:
    code = function.__code__
    assert isinstance(code, CodeType)
    return code


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).startswith("callerside.")
