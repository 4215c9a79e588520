"""A bare recording of somebody's call: what can be known of it from its sound alone, and judged."""

__all__ = ["facts", "files", "moments", "report"]
