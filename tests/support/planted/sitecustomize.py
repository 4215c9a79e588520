"""Plants a bug into an agent's process: this folder on PYTHONPATH, the bug's name in PLANTED_BUG.

Python imports a module of this name when it starts; only a process that is an agent is changed.
"""

import os
import sys
from pathlib import Path

if "callerside.agent.cli" in sys.orig_argv and "PLANTED_BUG" in os.environ:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import planted_bugs

    from callerside.agent.service import service

    bug = getattr(planted_bugs, os.environ["PLANTED_BUG"])
    setattr(service, "CallMachine", bug)  # noqa: B010 - no door of it: mypy refuses to see it
