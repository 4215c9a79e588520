"""The telephone's side: the interface of a call's leg, its media, one folder an engine."""

__all__ = [
    "engine", "engines", "errors", "interface", "media", "options", "sip_message", "srtp", "tls",
]  # fmt: skip
