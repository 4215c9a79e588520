"""The language of scenarios: its model, its loader, and what is said about mistakes."""

__all__ = [
    "authoring",
    "durations",
    "expectations",
    "includes",
    "loader",
    "model",
    "network",
    "rows",
    "steps",
    "suite",
    "table",
]
