"""Reads a YAML file that somebody wrote by hand."""

from pathlib import Path

from callerside.files import read_bytes
from callerside.yaml import versions
from callerside.yaml.source import MAX_BYTES, Source, YamlError, place_in
from callerside.yaml.versions import Kind


def read(path: Path, kind: Kind) -> Source:
    """Read a file, of the newest version or of an older one.

    Raises:
        YamlError: it is absent, too large, no text, no YAML, or of a version that is not known.
    """
    return versions.source(path, text_of(path), kind)


def text_of(path: Path) -> str:
    """What is in a file, its lines ended as they are.

    Raises:
        YamlError: it is absent, too large, or no text.
    """
    try:
        return read_bytes(path, at_most=MAX_BYTES).decode()
    except UnicodeDecodeError as error:
        place = place_in(path, error.object[: error.start].decode())
        raise YamlError(f"{place}: not a text file in UTF-8") from None
    except OSError as error:
        raise YamlError(f"{path}: cannot be read: {error.strerror or error}") from None
