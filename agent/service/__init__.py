"""The agent as a process: workers, their supervisor, signals, draining, probes."""

__all__ = ["driver", "run", "signals", "worker"]
