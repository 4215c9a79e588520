"""Files for running the agent in production; docs/deploy.md tells how to use them."""

__all__ = ["kamailio"]
