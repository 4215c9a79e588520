"""What an operator sees of calls: logs, metrics, records, recordings, timelines, traces."""

__all__ = [
    "call_recording",
    "call_records",
    "logs",
    "mark_sinks",
    "masking",
    "metrics",
    "retention",
    "secrets",
    "traces",
]
