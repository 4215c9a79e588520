"""From marks and a recording to numbers; docs/metrics.md says what each means."""

__all__ = ["audible", "machine_stalls", "measurement", "metrics", "turn_path", "turns"]
