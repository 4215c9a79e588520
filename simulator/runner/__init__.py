"""Playing many calls: the plan, the places, attempts, and what is evaluated of each."""

__all__ = [
    "capabilities",
    "evaluate",
    "expectations_after",
    "from_call",
    "lint",
    "percentiles",
    "plan",
    "process_pool",
    "progress",
    "run",
]
