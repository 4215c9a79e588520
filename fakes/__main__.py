"""`python -m callerside.fakes` is `fake-realtime`."""

from callerside.fakes.cli import main

main()
