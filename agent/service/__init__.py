"""The agent as a process: workers, their supervisor, signals, draining, probes."""

__all__ = ["driver", "early_reloads", "kept_settings", "run", "signals", "worker"]
