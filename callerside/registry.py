"""What a thing of a registry declares beside its model.

Steps, expectations and faults are each declared once: a model whose docstring says what it does,
with its place in the fuzzer, and with an `Entry` where that is not all. Schema, messages and pages
follow from it; who carries it out is known by the model (`refuse_unperformed`).
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Drawn:
    """The fuzzer draws it."""

    values: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Fields that it gives, and what each may be; the simplest comes first."""
    weight: int = 1
    """How much likelier than one of weight 1; 0: it is never drawn by itself, it has its place."""
    then: Sequence[str] = ()
    """What comes behind it: an end for what it begins."""
    later: bool = True
    """A fault that may also strike some time after its place."""


@dataclass(frozen=True, slots=True)
class OneIn:
    """The fuzzer gives this field once in so many times."""

    times: int
    values: tuple[float, ...]
    """What it may be; the simplest comes first."""


@dataclass(frozen=True, slots=True)
class NotDrawn:
    """The fuzzer does not draw it."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Of a model, what is not in its fields."""

    name: str
    """As people write it."""
    page: str
    """Where it is taught: `docs/PAGE.md#ANCHOR`."""
    unit: str = ""
    """What its value is, with its unit; empty for one that is a bare word."""
    examples: tuple[str, ...] = ()
    """How it is written: whole ones, the shortest first."""
    fuzz: Drawn | NotDrawn = Drawn()
    """Its place in the fuzzer."""
    says: str = ""
    """What it is, in a sentence; without it, that is the model's docstring."""


class UnperformedError(NotImplementedError):
    """Something is declared, and nobody carries it out."""


def refuse_unperformed(
    declared: Mapping[str, object], performed: Container[object], where: str
) -> None:
    """Stop an import that would let a call pass in which something was never done.

    Args:
        declared: models or words, by name.
        performed: those that somebody performs.
        where: the module that should, for the message.

    Raises:
        UnperformedError: names what nobody performs.
    """
    left = [name for name, model in declared.items() if model not in performed]
    if left:
        raise UnperformedError(f"{', '.join(left)}: declared, but {where} has no performer for it")
