"""The telephone's side: the interface of a call's leg, its playout, one folder an engine."""

__all__ = [
    "arrivals", "engine", "engines", "errors", "interface", "jitter_buffer", "options",
    "playout_buffer", "rtp", "sip_message",
]  # fmt: skip
