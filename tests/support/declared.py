"""A mark that its registry does not know, or has otherwise, fails the test that wrote it."""

from collections.abc import Mapping

from callerside.mark_registry import complaint
from callerside.marks import Source


def assert_declared(source: Source, name: str, fields: Mapping[str, object]) -> None:
    wrong = complaint(source, name, fields)
    assert not wrong, wrong
