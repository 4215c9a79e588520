"""The telephone side: everything that touches pjsua2."""

__all__ = ["call", "endpoint", "errors", "leg", "options", "stack"]
