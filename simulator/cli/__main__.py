"""`python -m callerside.simulator.cli`: the command `callerside`."""

import sys

from callerside.simulator.cli.entry import main

sys.exit(main())
