"""Reads a YAML file that somebody wrote by hand."""

from pathlib import Path

from callerside.files import read_text
from callerside.yaml.source import MAX_BYTES, Source, YamlError, place_in


def read(path: Path) -> Source:
    """Read a file.

    Raises:
        YamlError: it is absent, too large, no text, or no YAML.
    """
    try:
        return Source(path, read_text(path, at_most=MAX_BYTES))
    except UnicodeDecodeError as error:
        place = place_in(path, error.object[: error.start].decode())
        raise YamlError(f"{place}: not a text file in UTF-8") from None
    except OSError as error:
        raise YamlError(f"{path}: cannot be read: {error.strerror or error}") from None
