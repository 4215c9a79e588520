"""The settings: what there is, read from YAML and the environment, and their page in the docs."""

__all__ = ["environment", "loader", "reference", "settings"]
