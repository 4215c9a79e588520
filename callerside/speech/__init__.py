"""Speech and tones that we make: engines and their voices, what is kept, the sounds of keys."""

__all__ = ["dtmf_tones", "synthesis", "voices"]
