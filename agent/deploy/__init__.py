"""Files for running the agent in production; docs/deploy.md says how to use them."""

__all__ = ["kamailio", "kamailio_browsers", "kamailio_media"]
