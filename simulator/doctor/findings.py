"""What a look at something has found, and how it is shown."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How it stands with one thing."""

    FINE = "ok"
    DOUBTFUL = "warn"
    """Calls are possible, and may not be what is expected."""
    BAD = "FAIL"
    UNKNOWN = "-"
    """What went wrong before leaves it open."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was looked at."""

    about: str
    """In a word or two."""
    state: State
    told: str
    """What was seen, in a sentence."""
    advice: str = ""
    """What to do about it: a line to type, or a sentence."""
    evidence: tuple[str, ...] = ()
    """What came or went, as it did."""


def lines(findings: list[Finding]) -> list[str]:
    """For a terminal: a line each, and what to do and the evidence below what is not fine."""
    width = max((len(one.about) for one in findings), default=0)
    shown: list[str] = []
    for one in findings:
        shown.append(f"{one.state.value:>4}  {one.about:{width}}  {one.told}")
        if one.state in (State.FINE, State.UNKNOWN):
            continue
        indent = " " * (width + 8)
        if one.advice:
            shown.append(f"{indent}-> {one.advice}")
        shown += [f"{indent}   | {line}" for line in one.evidence]
    return shown
