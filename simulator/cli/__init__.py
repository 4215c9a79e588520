"""The command `callerside`."""

__all__ = ["main", "run"]
