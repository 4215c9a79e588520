"""The engine on baresip: its SIP, and RTP of our own."""

__all__ = ["engine"]
