"""What PJSUA2 does not offer, by ctypes: modules that see messages, and a guard of its listener."""

__all__ = [
    "audio_line",
    "binding",
    "in_dialog_options",
    "media",
    "message_filter",
    "refuser",
    "self_test",
    "tcp_listener",
]
