"""The production agent: answers a phone call and holds the conversation over the Realtime API."""

__all__ = [
    "call",
    "cli",
    "config",
    "observe",
    "prompts",
    "realtime",
    "service",
    "telephony",
    "tools",
]

if __name__ != "callerside.agent":
    # In a checkout the folder agent/ can be reached under that name, too; a module that is loaded
    # under two names has two of each of its classes.
    raise ImportError("this package is callerside.agent", name=__name__)
