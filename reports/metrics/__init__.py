"""From marks and a recording to numbers: `registry` declares each; docs/metrics.md tells more."""

__all__ = [
    "audible",
    "edges",
    "machine_stalls",
    "machine_time",
    "measurement",
    "measures",
    "metrics",
    "registry",
    "turn_path",
    "turns",
]
