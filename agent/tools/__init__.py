"""The functions that a model may call: the user's own, requests, stubs; run beside the call."""

__all__ = ["executor", "interface", "loader", "stub", "toolboxes"]
