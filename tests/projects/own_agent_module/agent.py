"""A voice agent of the user's own, and a tool for ours."""


def main() -> str:
    """What it says."""
    return "mine"


def opening_hours(day: str) -> str:
    """When the shop is open."""
    return f"{day}: nine to five"
