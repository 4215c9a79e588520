"""The pages that people look at: a run, a call, a load ramp."""

__all__ = ["html", "line_chart"]
