"""The scripted caller's behaviour, without I/O, with its driver and its recorder."""

__all__ = [
    "audio",
    "call_state",
    "driver",
    "events",
    "expect",
    "listener",
    "machine",
    "performers",
    "recorder",
    "speaker",
]
