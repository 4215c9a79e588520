"""Runs a module whose clock of the day can be set: `python other_clock.py FILE MODULE ARGUMENTS`.

FILE holds by how many seconds it is set, read whenever the time is asked for. The monotonic clock
is the machine's.
"""

import datetime
import runpy
import sys
import time
from pathlib import Path
from typing import Self

NS_PER_S = 1_000_000_000
_real_ns = time.time_ns


def _now_ns() -> int:
    return _real_ns() + int(_by.read_text() or 0) * NS_PER_S


class _Datetime(datetime.datetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Self:
        return cls.fromtimestamp(time.time(), tz)


if __name__ == "__main__":
    _by = Path(sys.argv[1])
    time.time_ns = _now_ns
    time.time = lambda: _now_ns() / NS_PER_S
    datetime.datetime = _Datetime  # type: ignore[misc]
    del sys.argv[:2]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
