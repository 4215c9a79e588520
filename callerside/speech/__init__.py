"""Speech and tones that we make: the synthesiser, its cache, the sounds of keys."""

__all__ = ["dtmf_tones", "synthesis"]
