"""What the demo's agent can look up."""

_HOURS = {"Saturday": "ten to midnight", "Sunday": "noon to ten"}


def opening_hours(day: str) -> str:
    """When the restaurant is open.

    Args:
        day: Name of the weekday, in English.
    """
    return _HOURS.get(day, "noon to eleven")
