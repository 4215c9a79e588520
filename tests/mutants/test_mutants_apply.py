"""Each mutant still has its place: what is not found exactly once brings nothing back."""

from collections import Counter

import pytest
from mutant import Mutant, complaints
from mutants import ALL


@pytest.mark.parametrize("mutant", ALL, ids=lambda mutant: mutant.name)
def test_has_its_place(mutant: Mutant) -> None:
    assert list(complaints(mutant)) == []


def test_names_are_unique() -> None:
    assert [name for name, times in Counter(one.name for one in ALL).items() if times > 1] == []
