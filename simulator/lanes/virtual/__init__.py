"""The virtual lane: agent, fake and caller in memory under one virtual clock."""

__all__ = ["call", "caller_invariants", "invariants", "lane", "leg", "trace"]
