"""The engine on PJSUA2: everything that touches pjsua2."""

__all__ = ["engine"]
