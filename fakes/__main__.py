"""`python -m callerside.fakes` is `fake-realtime`."""

import sys

from callerside.fakes.entry import main

sys.exit(main())
