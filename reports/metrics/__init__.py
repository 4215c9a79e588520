"""From marks and a recording to numbers; docs/metrics.md says what each means."""
