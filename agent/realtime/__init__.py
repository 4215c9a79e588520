"""The agent's reading of the OpenAI Realtime API: typed events, dialects, session, connection."""

__all__ = ["client", "events", "interface", "recorder", "requests"]
