"""What PJSUA2 does not offer, by ctypes: modules that see messages before PJSUA does; and its listening socket."""

__all__ = [
    "audio_line",
    "binding",
    "in_dialog_options",
    "message_filter",
    "refuser",
    "tcp_listener",
]
