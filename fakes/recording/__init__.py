"""Recorded sessions: their format, what caused what in them, and their replay."""

__all__ = ["audio_files", "cassette", "format", "replay", "transcript", "turn"]
