"""The agent as a process: workers, their supervisor, signals, draining, probes."""

__all__ = ["driver", "kept_settings", "run", "signals", "worker"]
