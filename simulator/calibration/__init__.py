"""The harness's own error: a responder whose delays are known, and what was measured of it."""

__all__ = ["burner", "calibrate", "placing", "speech"]
