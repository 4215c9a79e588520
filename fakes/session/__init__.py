"""One Realtime session's behaviour, without I/O: what it hears, plans, answers and refuses."""

__all__ = [
    "config",
    "context",
    "faults",
    "input_audio",
    "interface",
    "one_way",
    "refusals",
    "requests",
    "response_plan",
    "schema",
    "session",
]
