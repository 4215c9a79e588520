"""Recorded sessions: their format, what caused what in them, and their replay."""

__all__ = [
    "as_script",
    "audio_files",
    "cassette",
    "comparison",
    "conversation",
    "format",
    "known_events",
    "replay",
    "transcript",
    "turn",
]
