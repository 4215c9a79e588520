"""Playing many calls: the plan, the places, attempts, and what is evaluated of each."""
