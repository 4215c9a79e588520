"""SIP messages that were honest once: bytes and lines changed at random, by a seed."""

import random
from collections.abc import Callable

from torture import ROWS, message

WORDS = (
    *(b"\0", b"\r", b"\n", b"\r\n\r\n", b"\xff", b"\xc3\x28", b"\x1b[2J", b"%00", b"%", b'"', b"<"),
    *(b";;", b"9" * 40, b"-1", b"\xe2\x80\xae", b"a" * 5_000, b"m=audio 0 RTP/AVP 0\r\n", b"c="),
)
Change = Callable[[random.Random, bytes], bytes]


def mutated(rng: random.Random, port: int, own_port: int) -> bytes:
    """A message with one to four changes; one in ten has none."""
    wire = message(rng.choice(ROWS), port, own_port, "udp").encode(errors="surrogateescape")
    for _ in range(rng.choice((0, 1, 1, 1, 2, 2, 3, 3, 4, 4))):
        wire = rng.choice(CHANGES)(rng, wire)
    return wire[:65_000]


def _flip(rng: random.Random, wire: bytes) -> bytes:
    at = rng.randrange(len(wire) or 1)
    return wire[:at] + bytes([rng.randrange(256)]) + wire[at + 1 :]


def _insert(rng: random.Random, wire: bytes) -> bytes:
    at = rng.randrange(len(wire) + 1)
    return wire[:at] + rng.choice(WORDS) + wire[at:]


def _cut(rng: random.Random, wire: bytes) -> bytes:
    return wire[: rng.randrange(len(wire) + 1)]


def _drop(rng: random.Random, wire: bytes) -> bytes:
    at = rng.randrange(len(wire) + 1)
    return wire[:at] + wire[at + rng.randrange(1, 30) :]


def _of_lines(change: Callable[[random.Random, list[bytes]], None]) -> Change:
    def changed(rng: random.Random, wire: bytes) -> bytes:
        lines = wire.split(b"\r\n")
        change(rng, lines)
        return b"\r\n".join(lines)

    return changed


def _double(rng: random.Random, lines: list[bytes]) -> None:
    one = rng.choice(lines)
    lines.insert(rng.randrange(len(lines) + 1), one)


def _remove(rng: random.Random, lines: list[bytes]) -> None:
    if len(lines) > 1:
        lines.pop(rng.randrange(1, len(lines)))


def _swap(rng: random.Random, lines: list[bytes]) -> None:
    a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[a], lines[b] = lines[b], lines[a]


def _revalue(rng: random.Random, lines: list[bytes]) -> None:
    at = rng.randrange(len(lines))
    name = lines[at].partition(b":")[0]
    lines[at] = name + b": " + rng.choice(WORDS)


CHANGES: tuple[Change, ...] = (
    _flip, _insert, _cut, _drop,
    _of_lines(_double), _of_lines(_remove), _of_lines(_swap), _of_lines(_revalue),
)  # fmt: skip
