"""YAML is read by libyaml where that is safe, and means what PyYAML by itself makes of it."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from callerside.yaml import source
from callerside.yaml.source import YamlError

LIBRARY = sorted((Path(__file__).parents[2] / "scenarios").rglob("*.yaml"))


WRONG = ["a: *x", "{a: b", "a: b: c", "'abc", "a\ud800", "a\n---\nb", "\0"]


def flat(node: yaml.Node) -> tuple[Any, ...]:
    """A node with all that is used of it: what it is, and where it begins."""
    place = node.start_mark.line, node.start_mark.column
    if isinstance(node, yaml.ScalarNode):
        return node.tag, place, node.value
    if isinstance(node, yaml.SequenceNode):
        return node.tag, place, [flat(item) for item in node.value]
    return node.tag, place, [(flat(key), flat(value)) for key, value in node.value]


def by_itself(text: str) -> yaml.Node:
    node = yaml.compose(text, Loader=source.Loader)
    assert node is not None
    return node


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_the_library_is_read_alike(path: Path) -> None:
    text = path.read_text()
    node = source.parse(path, text)
    assert node is not None
    assert flat(node) == flat(by_itself(text))


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
))  # fmt: skip
def test_whatever_is_written_is_read_alike(data: Any) -> None:
    text = yaml.safe_dump(data, allow_unicode=True)
    node = source.parse(Path("a.yaml"), text)
    assert node is not None
    assert flat(node) == flat(by_itself(text))


@pytest.mark.parametrize("deep", ["[" * 300_000, "- " * 300_000, "{a: " * 100_000])
def test_what_is_too_deep_ends_no_process(deep: str) -> None:
    with pytest.raises(YamlError, match="too much else"):
        source.parse(Path("a.yaml"), deep)


def test_aliases_of_aliases_count_each_time() -> None:
    """A few lines are a million values; these are just too many, and harm nobody who reads them."""
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 5)]
    text = "\n".join([f"l0: &l0 [{', '.join('abcdefghij')}]", *levels])
    with pytest.raises(YamlError, match="more than 50000 values"):
        source.Source(Path("a.yaml"), text, source.parse(Path("a.yaml"), text))
    few = text.rpartition("\n")[0]
    assert source.Source(Path("a.yaml"), few, source.parse(Path("a.yaml"), few)).data["l3"]


def test_mappings_are_not_merged() -> None:
    """As with aliases, a few lines of them are more values than a machine has room for."""
    levels = [f"l{n}: &l{n} {{<<: [{', '.join([f'*l{n - 1}'] * 9)}]}}" for n in range(1, 9)]
    text = "\n".join(["l0: &l0 {a: 1}", *levels])
    with pytest.raises(YamlError, match=r"a\.yaml:2:10: <<: mappings are not merged here"):
        source.Source(Path("a.yaml"), text, source.parse(Path("a.yaml"), text))


@pytest.mark.parametrize(
    "wrong", ["a: *x", "{a: b", "a: b: c", "'abc", "a\ud800", "a\n---\nb", "\0"]
)
def test_an_error_is_told_in_the_same_words_as_ever(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(YamlError) as told:
        source.parse(Path("a.yaml"), wrong)
    monkeypatch.setattr(source, "_FAST_LOADER", None)
    with pytest.raises(YamlError) as by_pyyaml:
        source.parse(Path("a.yaml"), wrong)
    assert str(told.value) == str(by_pyyaml.value)


def test_an_ordinary_file_is_read_by_libyaml(monkeypatch: pytest.MonkeyPatch) -> None:
    if not yaml.__with_libyaml__:
        pytest.skip("this PyYAML was built without libyaml")
    monkeypatch.setattr(source, "Loader", None)
    assert source.parse(Path("a.yaml"), "a: [1, 2]") is not None
