"""The functions that a model may call: loaded from the user's module, run beside the call."""

__all__ = ["executor", "loader"]
