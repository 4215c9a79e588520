"""What stands in the way of a call: on this machine, and on the way to somebody's agent."""

__all__ = ["extra", "findings", "machine", "reach"]
