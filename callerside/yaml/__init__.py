"""YAML as people write it: where each value stands, and what is wrong with it in words."""

__all__ = ["errors", "kinds", "reader", "source", "variables", "versions"]
