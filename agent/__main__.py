"""`python -m callerside.agent` is `callerside-agent`."""

import sys

from callerside.agent.entry import main

sys.exit(main())
