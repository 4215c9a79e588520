"""How many calls at once, until callers notice."""
