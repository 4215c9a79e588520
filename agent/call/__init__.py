"""One call's behaviour, without I/O: a machine that hears what happened, says what to do."""

__all__ = [
    "builtin_tools",
    "consultation",
    "event_bounds",
    "events",
    "machine",
    "prompts",
    "states",
]
