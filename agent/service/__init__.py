"""The agent as a process: workers, their supervisor, signals, draining, probes."""
