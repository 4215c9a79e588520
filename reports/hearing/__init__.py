"""What is in a recording: speech, tones, levels, and how it lies over what was sent."""

__all__ = [
    "active_level",
    "alignment",
    "correlation",
    "detector",
    "echo",
    "holes",
    "intelligibility",
    "keys",
    "retrospect",
]
