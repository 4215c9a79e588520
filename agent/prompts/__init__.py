"""What is spoken without a model: greetings and other prompts, cached and made ahead of calls."""

__all__ = ["cache", "prefetch"]
