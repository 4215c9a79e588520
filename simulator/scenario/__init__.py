"""The language of scenarios: its model, its loader, and what is said about mistakes."""

__all__ = [
    "authoring",
    "expectations",
    "includes",
    "loader",
    "model",
    "moments",
    "network",
    "rows",
    "steps",
    "suite",
    "table",
]
