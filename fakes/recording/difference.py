"""Where two client events differ: what a live client says otherwise than the recorded one."""

from collections.abc import Iterator, Mapping
from typing import Any

_LONGEST = 60
_MEASURED = ("audio_end_ms",)  # no two sessions have the same


def first_difference(recorded: object, live: object) -> tuple[str, str] | None:
    """The first place where they differ, in the words of both sides; None if there is none.

    Ids and the client's audio are left out, and so is what was measured.
    """
    return next(_differences(recorded, live, ""), None)


def _differences(recorded: object, live: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(recorded, Mapping) and isinstance(live, Mapping):
        for key in dict.fromkeys((*recorded, *live)):
            if not _is_left_out(key, recorded.get(key), live.get(key)):
                below = f"{path}.{key}" if path else str(key)
                yield from _differences(recorded.get(key), live.get(key), below)
    elif isinstance(recorded, list) and isinstance(live, list):
        for index in range(max(len(recorded), len(live))):
            one, other = (side[index] if index < len(side) else None for side in (recorded, live))
            yield from _differences(one, other, f"{path}[{index}]")
    elif recorded != live:
        yield _quoted(path, recorded), _quoted(path, live)


def _is_left_out(key: str, *values: Any) -> bool:
    if key == "audio":
        return all(isinstance(value, str | bytes | None) for value in values)
    return key == "id" or key.endswith("_id") or key in _MEASURED


def _quoted(path: str, value: object) -> str:
    text = "nothing" if value is None else repr(value)
    return f"{path} {text if len(text) <= _LONGEST else text[: _LONGEST - 1] + '…'}"
