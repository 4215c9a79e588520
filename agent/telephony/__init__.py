"""The telephone's side: the interface of a call's leg, its playout, one folder an engine."""

__all__ = ["interface", "pjsua", "playout_buffer"]
