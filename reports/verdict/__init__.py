"""From numbers to a verdict: budgets, results, baselines, comparisons."""

__all__ = [
    "baselines",
    "budget",
    "calibration",
    "calibration_file",
    "capacity",
    "compare",
    "results",
    "summary",
]
