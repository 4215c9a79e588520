"""Numbers and pages: from marks and a recording to metrics, verdicts and HTML."""
