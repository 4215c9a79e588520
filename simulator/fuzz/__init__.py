"""Generated calls, what must be true of every call, and what becomes of a failure."""

__all__ = ["runner"]
