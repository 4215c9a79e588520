"""Recorded sessions: their format, what caused what in them, and their replay."""
