"""Playing many calls: the plan, the places, attempts, and what is evaluated of each."""

__all__ = [
    "answers",
    "capabilities",
    "evaluate",
    "expectations_after",
    "from_call",
    "interruption",
    "kept_runs",
    "lint",
    "percentiles",
    "plan",
    "process_pool",
    "progress",
    "record",
    "run",
    "selection",
]
