"""Voice activity: which frames hold speech, and when a turn begins and ends."""

__all__ = ["engines", "turn_detector"]
