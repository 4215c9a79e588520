"""What PJSUA2 does not offer, by ctypes: its streams, modules that see messages, and guards."""

__all__ = [
    "audio_line",
    "binding",
    "gatekeeper",
    "in_dialog_requests",
    "invite_session",
    "media",
    "message_filter",
    "refuser",
    "self_test",
    "tcp_listener",
    "unread",
]
