"""`python -m callerside.simulator.cli`: the command `callerside`."""

import sys

from callerside.simulator.cli.main import main

sys.exit(main())
