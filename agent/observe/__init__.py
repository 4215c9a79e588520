"""What an operator sees of calls: logs, metrics, records, recordings, timelines."""
