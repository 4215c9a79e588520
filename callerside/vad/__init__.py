"""Voice activity: which frames hold speech, and when a turn begins and ends."""

__all__ = ["energy", "engines", "turn_detector"]
