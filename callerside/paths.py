"""What somebody names as a place: whether it stays where it belongs. No I/O."""

from pathlib import PurePath


def inside(text: str) -> str:
    """The same text, if it leads to something within a folder, wherever that folder is.

    Raises:
        ValueError: as a path it leads out of it, or is no path.
    """
    path = PurePath(text)
    if path.is_absolute() or ".." in path.parts or "\0" in text:
        raise ValueError(f"{text!r} does not stay within its folder")
    return text


def name_of_one(text: str) -> str:
    """The same text, if it can be the name of a file or a folder.

    Raises:
        ValueError: it leads elsewhere, or nothing can be called so.
    """
    if text in (".", "..") or "/" in text or "\0" in text:
        raise ValueError(f"{text!r} is no name of a folder")
    return text
