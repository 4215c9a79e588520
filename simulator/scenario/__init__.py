"""The language of scenarios: its model, its loader, and what is said about mistakes."""

__all__ = [
    "authoring",
    "durations",
    "expectations",
    "impairment",
    "known_marks",
    "loader",
    "model",
    "network",
    "steps",
]
