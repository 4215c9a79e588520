"""What is written and read again: reports, JUnit, Markdown, rebuilt runs."""

__all__ = ["markdown", "rebuild", "write"]
