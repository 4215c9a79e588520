"""What an operator sees of calls: logs, metrics, records, recordings, timelines, traces."""

__all__ = [
    "call_recording",
    "call_records",
    "logs",
    "mark_sinks",
    "metrics",
    "retention",
    "secrets",
    "traces",
]
