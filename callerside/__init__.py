"""callerside judges a voice agent by what the caller hears.

What every room stands on is in this folder; the rooms themselves lie beside it in the repository
and are its sub-packages: `callerside.agent` is agent/, `callerside.fakes` is fakes/, and so on.
"""

__all__ = [
    "agent",
    "announcements",
    "atomic_files",
    "audio",
    "audio_files",
    "child_processes",
    "clock",
    "event_loop",
    "fakes",
    "files",
    "host",
    "interrupts",
    "loop_clock",
    "marks",
    "models",
    "paths",
    "ports",
    "reports",
    "simulator",
    "speech",
    "terminal",
    "timelines",
    "timers",
    "vad",
    "yaml",
]
