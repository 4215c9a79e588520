"""Imported first by each process of the tests: it begins as the command `callerside` does.

With a thread of numpy for each processor, several such processes wait for each other's threads, in
loops: on two processors that doubles the CPU of all that measures sound.
"""

import os
import sys

from callerside.child_processes import ONE_THREAD
from callerside.host import keep_freed_memory

assert "numpy" not in sys.modules, "numpy counts its threads when it is imported: import this first"
os.environ.setdefault(ONE_THREAD, "1")
keep_freed_memory()
