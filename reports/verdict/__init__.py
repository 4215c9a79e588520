"""From numbers to a verdict: budgets, results, baselines, comparisons."""
