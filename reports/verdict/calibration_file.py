"""Where the harness's own error is kept: in the user's cache."""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from callerside.atomic_files import write_atomically
from callerside.files import read_bytes
from callerside.reports.verdict.calibration import Calibration, CalibrationError, from_data, to_data

_log = logging.getLogger(__name__)


def default_path(environment: Mapping[str, str] = os.environ) -> Path:
    """Where this machine's calibration is kept: under the user's state directory."""
    state = environment.get("XDG_STATE_HOME")
    base = Path(state) if state else Path.home() / ".local" / "state"
    return base / "callerside" / "calibration.json"


def save(calibration: Calibration, path: Path) -> None:
    """Keep a calibration."""
    write_atomically(path, (json.dumps(to_data(calibration), indent=2) + "\n").encode())


def load(path: Path) -> Calibration | None:
    """The calibration that is kept, or None if there is none.

    Raises:
        CalibrationError: the file is no calibration of this version.
    """
    try:
        return from_data(json.loads(read_bytes(path)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise CalibrationError(f"{path}: {error}: calibrate again, or remove it") from None


def kept() -> Calibration | None:
    """This machine's calibration, if there is one that can be read."""
    try:
        return load(default_path())
    except CalibrationError as error:
        _log.warning("%s", error)
        return None
