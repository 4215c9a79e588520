"""The virtual lane: agent, fake and caller in memory under one virtual clock."""

__all__ = ["audio_invariants", "call", "invariants", "lane", "leg", "trace"]
