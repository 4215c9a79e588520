"""How many calls at once, until callers notice."""

__all__ = ["load_ramp"]
