"""Scenarios as tests: the pytest plugin and what plays for it."""

__all__ = ["plugin"]
