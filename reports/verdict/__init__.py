"""From numbers to a verdict: budgets, results, baselines, comparisons."""

__all__ = [
    "baselines",
    "budget",
    "budget_file",
    "calibration",
    "calibration_file",
    "call_result",
    "capacity",
    "compare",
    "limit_sense",
    "looked_at",
    "machine",
    "outcome",
    "results",
    "summary",
]
