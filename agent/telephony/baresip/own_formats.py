"""The formats of descriptions that are ours, where a stack goes by what was agreed last. No I/O.

baresip's offers within a call begin with what the other side has, and number anew what it has not:
a number might then mean another codec than before, which it must not (RFC 3264 §8.3.2).
"""

import re
from collections.abc import Sequence

from callerside.agent.telephony.invite import STATIC_FORMATS

_LINES = re.compile(r"^(?=m=)", re.MULTILINE)
_FORMATS = re.compile(r"m=audio \S+ \S+ ([^\r\n]*)")
_NAMES = re.compile(r"^a=rtpmap:(\d+)[ \t]+(\S+)", re.MULTILINE)
_NUMBERED = re.compile(r"(?<=^a=)(rtpmap:|fmtp:)(\d+)\b", re.MULTILINE)
_ONE_CHANNEL = "/1"
_KEYS = "TELEPHONE-EVENT"
_DYNAMIC = [str(number) for number in range(96, 128)]
"""RFC 3551 §6: numbers that mean what a description says; others are what they always were."""


class OwnFormats:
    """Of one call.

    Args:
        codecs: ours, in order of preference.
    """

    def __init__(self, codecs: Sequence[str]) -> None:
        self._codecs = codecs
        self._names: dict[str, str] = {}
        """What numbers have meant last, all that there were."""
        self._numbers: dict[str, str] = {}
        """What formats have been called last."""

    def note(self, description: str) -> None:
        """One of either side's."""
        for line in _LINES.split(description):
            names = _dynamic(line) if _FORMATS.match(line) else {}
            self._names |= names
            self._numbers |= {name: number for number, name in reversed(names.items())}

    def written(self, description: str) -> str:
        """One of ours as it is to leave: in our order, keys last, with the numbers of before.

        Who takes the first format that it has (RFC 3264 §6.1) would else read one of keys for a
        codec.
        """
        told = "".join(map(self._written, _LINES.split(description)))
        self.note(told)
        return told

    def _written(self, line: str) -> str:
        formats = _FORMATS.match(line)
        if formats is None:
            return line
        names = {**STATIC_FORMATS, **dict(_NAMES.findall(line))}
        numbers = self._renumbered(_dynamic(line))
        ordered = sorted(formats[1].split(), key=lambda number: self._rank(names.get(number, "")))
        start, end = formats.span(1)
        said = " ".join(numbers.get(number, number) for number in ordered)
        rest = _NUMBERED.sub(lambda at: at[1] + numbers.get(at[2], at[2]), line[end:])
        return line[:start] + said + rest

    def _renumbered(self, names: dict[str, str]) -> dict[str, str]:
        """What the numbers of a description become."""
        found: dict[str, str] = {}
        for number, name in names.items():
            wanted, taken = self._numbers.get(name, number), found.values()
            if wanted in taken or self._names.get(wanted, name) != name:
                unheard = (one for one in _DYNAMIC if one not in self._names and one not in names)
                wanted = next((one for one in unheard if one not in taken), number)
            found[number] = wanted
        return found

    def _rank(self, name: str) -> int:
        codec = name.partition("/")[0].upper()
        if codec in self._codecs:
            return self._codecs.index(codec)
        return len(self._codecs) + (codec == _KEYS)


def _dynamic(line: str) -> dict[str, str]:
    """The formats of a line by their numbers, in one spelling (RFC 4566 §6)."""
    return {
        number: name.lower().removesuffix(_ONE_CHANNEL)
        for number, name in _NAMES.findall(line)
        if number in _DYNAMIC
    }
