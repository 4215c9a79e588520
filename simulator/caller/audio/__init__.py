"""The sounds that the caller makes: utterances, noise, files, keys."""

__all__ = ["recordings", "utterances", "voice"]
