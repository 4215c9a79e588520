"""Two recordings compared by meaning: what one conversation says that the other does not.

Times, lengths, ids and how words were cut into events are no difference.
"""

from collections.abc import Iterator
from difflib import SequenceMatcher

from callerside.fakes.recording.conversation import Told, tell
from callerside.fakes.recording.format import Recording


def differences(one: Recording, other: Recording) -> Iterator[str]:
    """A line for each that is in one alone (`-`) or the other alone (`+`); none: they say the same.

    Each says when it was.
    """
    before, after = tell(one), tell(other)
    meant, meant_after = list(map(_meaning, before)), list(map(_meaning, after))
    matcher = SequenceMatcher(None, meant, meant_after)
    for kind, start, end, other_start, other_end in matcher.get_opcodes():
        if kind != "equal":
            yield from (_line("-", told) for told in before[start:end])
            yield from (_line("+", told) for told in after[other_start:other_end])


def _meaning(told: Told) -> tuple[str, str]:
    return told.who, told.what


def _line(sign: str, told: Told) -> str:
    return f"{sign}{told.at_s:9.3f}  {told.who:<8}{told.what}"
